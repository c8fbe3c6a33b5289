"""What the tests of migrations, backups and privileges share."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

from tomato_dao import connect, layout
from tomato_dao.ops.scratch import drop_database, with_database

NEXT = "29990101000000_next.sql"
GOOD = "-- migrate:up\ncreate table later (id int);\n-- migrate:down\ndrop table later;\n"


@pytest.fixture
def saved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The directory of backups."""
    monkeypatch.setenv("BACKUP_DIR", str(tmp_path / "backups"))
    return tmp_path / "backups"


@pytest.fixture
def next_migration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file of one more migration than the database has; what it does is the test's."""
    (tmp_path / "migrations").mkdir()
    for file in layout.files():
        (tmp_path / "migrations" / file.name).write_bytes(file.read_bytes())
    monkeypatch.setattr(layout, "DB_DIR", tmp_path)
    path = tmp_path / "migrations" / NEXT
    path.write_text(GOOD)
    return path


@contextmanager
def dropped_afterwards(url: str) -> Iterator[None]:
    """Databases that a restore keeps are dropped at the end."""
    try:
        yield
    finally:
        name = conninfo_to_dict(url)["dbname"]
        with psycopg.connect(with_database(url, "postgres"), autocommit=True) as server:
            kept = server.execute("select datname from pg_database where datname like %s", [f"{name}\\_before\\_%"]).fetchall()
        for (other,) in kept:
            drop_database(with_database(url, other))


def organizations(url: str) -> list[str]:
    with connect(url, pool_size=1) as db:
        return [organization.name for organization in db.organizations.list()]

"""Every program works on the database that our own sessions are in, whatever service files and PG* variables say."""

import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlencode

import psycopg
import pytest
from psycopg import pq

from tests.fixtures.operations import NEXT
from tomato_dao import InvalidValue, TomatoError
from tomato_dao.ops import backup, programs
from tomato_dao.ops.dbmate import dbmate
from tomato_dao.ops.migrate import migrate, migrate_for, roll_back
from tomato_dao.ops.scratch import scratch_database
from tomato_dao.server.probe import maintenance, probe
from tomato_dao.server.target import Target, server_of, target_of

pytestmark = pytest.mark.slow


@pytest.fixture
def another(tomato_server_url: str) -> Iterator[str]:
    """Provide the URL of an empty database, beside that of the test."""
    with scratch_database(tomato_server_url, migrated=False) as url:
        yield url


@pytest.fixture
def services(tomato_url: str, another: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Target]:
    """Provide the databases that a service file names “mine”, which is the test's, and “another”."""
    targets = {"mine": reached(tomato_url), "another": reached(another)}
    lines: list[str] = []
    for name, target in targets.items():
        settings = {word: target.settings[word] for word in ("host", "port", "user", "dbname")}
        password = {"password": target.password} if target.password else {}
        lines += [f"[{name}]", *(f"{word}={value}" for word, value in {**settings, **password}.items())]
    (tmp_path / "services").write_text("\n".join(lines) + "\n")
    monkeypatch.setenv("PGSERVICEFILE", str(tmp_path / "services"))
    return targets


def reached(url: str) -> Target:
    with probe(url) as connection:
        return target_of(connection)


def saved_database(file: Path) -> str:
    """Return the name of the database that a backup is of, as pg_restore tells it."""
    listed = subprocess.run([programs.binaries() / "pg_restore", "-l", file], capture_output=True, text=True, check=True).stdout
    return next(line.split(": ")[1] for line in listed.splitlines() if line.startswith(";     dbname: "))


def tables(url: str) -> int:
    with psycopg.connect(url) as connection:
        (count,) = connection.execute("select count(*) from pg_tables where schemaname = 'public'").fetchone() or (0,)
        return int(count)


def test_variables_of_another_database_lead_no_program_astray(
    tomato_url: str,
    another: str,
    services: dict[str, Target],
    saved: Path,
    next_migration: Path,
    server: psycopg.Connection,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    server.execute("insert into organizations (name) values ('uni')")
    for name, value in {
        "PGSERVICE": "another", "PGDATABASE": "nowhere", "PGUSER": "nobody", "PGHOST": "nowhere.invalid",
        "DBMATE_MIGRATIONS_TABLE": "elsewhere", "DBMATE_DRIVER": "sqlite",
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    mine = services["mine"].database
    assert saved_database(backup.back_up(tomato_url)) == mine
    assert migrate(tomato_url) == [NEXT.partition("_")[0]]
    (_, before_migration) = backup.backups(mine)
    assert saved_database(before_migration) == mine
    assert tables(another) == 0


def test_every_url_that_libpq_accepts_can_be_migrated(
    tomato_url: str, services: dict[str, Target], next_migration: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = services["mine"]
    several = {**mine.settings, "host": f"/nowhere,{mine.settings['host']}", "port": f"5432,{mine.settings['port']}"}
    more = {"channel_binding": "prefer", "gssencmode": "disable", "keepalives_idle": "5", "target_session_attrs": "any"}
    password = {"password": mine.password} if mine.password else {}
    urls = [
        "postgresql://?service=mine",
        f"{tomato_url}&{urlencode(more)}",
        f"postgresql://?{urlencode({**several, **password, 'hostaddr': ''})}",
        f"  {tomato_url}\n",
    ]
    for url in urls:
        assert migrate(url) == [NEXT.partition("_")[0]], url
        assert roll_back(url) == NEXT.partition("_")[0]
    for option in pq.Conninfo.get_defaults():
        if option.envvar and option.keyword.decode() in (*mine.settings, "password"):
            monkeypatch.setenv(option.envvar.decode(), {**mine.settings, **password}.get(option.keyword.decode(), ""))
    assert migrate("postgresql://") == [NEXT.partition("_")[0]]


def test_owner_and_worker_are_compared_as_libpq_understands_them(
    tomato_url: str, services: dict[str, Target], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OWNER_DATABASE_URL", "postgresql://?service=mine")
    migrate_for(tomato_url, 0)
    monkeypatch.setenv("OWNER_DATABASE_URL", "postgresql://?service=another")
    with pytest.raises(InvalidValue, match=services["another"].database):
        migrate_for(tomato_url, 0)


def test_a_program_that_finds_itself_elsewhere_writes_nothing(
    tomato_url: str, another: str, services: dict[str, Target], saved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    astray = replace(services["mine"], settings=services["another"].settings)
    names = (services["another"].database, services["mine"].database)
    with pytest.raises(TomatoError, match=r"it is in the database \d+/\d+/{}, not in \d+/\d+/{}".format(*names)):
        dbmate(astray, "migrate")
    assert tables(another) == 0
    monkeypatch.setattr(backup, "target_of", lambda _: astray)
    with pytest.raises(TomatoError, match="SNAPSHOT"):
        backup.back_up(tomato_url)
    assert list(saved.iterdir()) == []


def test_the_plugins_server_stays_the_same_when_the_environment_changes(
    tomato_url: str, services: dict[str, Target], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGSERVICE", "mine")
    server = server_of("postgresql://")
    monkeypatch.setenv("PGSERVICE", "another")
    monkeypatch.setenv("PGHOSTADDR", "127.0.0.9")
    with maintenance(server) as connection:
        found = target_of(connection)
    assert (found.database, found.settings["host"]) == ("postgres", services["mine"].settings["host"])

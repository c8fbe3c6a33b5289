"""Dumps of older schemas: loaded by way of a scratch database, all or nothing."""

import io
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import psycopg
import pytest
import zstandard
from psycopg.conninfo import conninfo_to_dict

from tests.helpers.dao_cases import until
from tests.helpers.rollout_cases import CONTRACT, EXPAND, Rollout
from tests.helpers.transfer_cases import peak_memory
from tomato_dao import NotAllowed, WrongSchema, connect, dump, load
from tomato_dao.ops import backfills, migrate, older
from tomato_dao.ops.dbmate import dbmate
from tomato_dao.ops.leftovers import SCRATCH
from tomato_dao.ops.older import load_older
from tomato_dao.ops.scratch import scratch_database
from tomato_dao.server import schema
from tomato_dao.server.probe import probe
from tomato_dao.server.target import target_of
from tomato_dao.transfer.files import source

pytestmark = pytest.mark.slow
MOST = 110  # MB, as of a load, and a dump beside it


@pytest.fixture
def rolled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Rollout:
    """Provide a release after this one."""
    return Rollout(tmp_path, monkeypatch)


@pytest.fixture
def old_dump(tomato_url: str, server: psycopg.Connection, tmp_path: Path) -> Path:
    """Provide a dump of this release, with odd values."""
    server.execute(
        "insert into organizations (name, description)"
        " select 'o' || n, e'\\x01\\u2028\\\\N \\t' || n from generate_series(1, 30) n"
    )
    file = tmp_path / "old.json.zst"
    with connect(tomato_url) as db:
        dump(db, file)
    return file


@pytest.fixture
def target_url(tomato_server_url: str, rolled: Rollout, old_dump: Path) -> Iterator[str]:
    """Provide an empty database of the newer release, whose code this process runs from here on."""
    rolled.newer()
    with scratch_database(tomato_server_url) as url:
        yield url


def exists(server: psycopg.Connection, name: str) -> bool:
    return server.execute("select exists (select from pg_database where datname = %s)", [name]).fetchone() == (True,)


def scratch_of_load(server: psycopg.Connection, target_url: str) -> str:
    """Return the name of the scratch database that a load uses now, as soon as it does."""
    condition = (
        "from pg_stat_activity where application_name = 'tomato-dao load' and starts_with(datname, %s) and datname <> %s"
    )
    values = [SCRATCH, str(conninfo_to_dict(target_url)["dbname"])]
    until(server, f"exists (select {condition})", *values)
    (name,) = server.execute(f"select datname {condition} limit 1".encode(), values).fetchone() or ("",)
    return str(name)


@pytest.mark.one_server
def test_an_older_dump_is_as_a_load_at_its_version_followed_by_migration(
    tomato_url: str, target_url: str, old_dump: Path, server: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    used: list[str] = []
    told: list[str] = []

    def noted(url: str, *, migrated: bool) -> AbstractContextManager[str]:
        context = scratch_database(url, migrated=migrated)

        @contextmanager
        def noting() -> Iterator[str]:
            with context as scratch:
                used.append(str(conninfo_to_dict(scratch)["dbname"]))
                yield scratch

        return noting()

    monkeypatch.setattr(older, "scratch_database", noted)
    with source(old_dump) as file:
        summary = load_older(target_url, file, progress=lambda progress: told.append(progress.doing))
    assert summary.models["organization"] == 30
    assert [exists(server, name) for name in used] == [False]
    phases = list(dict.fromkeys(doing[:3] for doing in told))
    assert phases == ["mak", "1/3", "2/3", "3/3"]
    assert migrate.migrate(tomato_url, save=False) == [EXPAND]
    with psycopg.connect(tomato_url, autocommit=True) as old:
        backfills.backfill(old, "fill")
    migrate.migrate(tomato_url, save=False)
    texts = []
    for url in (tomato_url, target_url):
        with connect(url) as db:
            dump(db, text := io.BytesIO())
        texts.append(text.getvalue())
    assert texts[0] == texts[1]


def test_the_command_takes_an_older_dump_and_says_what_it_goes_through(
    rolled: Rollout, target_url: str, old_dump: Path
) -> None:
    checked = rolled.command(target_url, "load", "--check", str(old_dump))
    assert checked.returncode == 0, checked.stderr
    assert f"would be migrated by {EXPAND}_expand, {CONTRACT}_contract" in checked.stderr
    loaded = rolled.command(target_url, "load", str(old_dump))
    assert loaded.returncode == 0, loaded.stderr
    assert "organization 30" in loaded.stderr
    again = rolled.command(target_url, "load", str(old_dump))
    assert (again.returncode, "is not empty" in again.stderr) == (1, True)
    for option in ("--replace", "--merge"):
        assert rolled.command(target_url, "load", option, str(old_dump)).returncode == 0


def test_a_fault_in_an_older_dump_leaves_all_as_it_was(
    rolled: Rollout, target_url: str, old_dump: Path, tmp_path: Path
) -> None:
    text = zstandard.ZstdDecompressor().stream_reader(io.BytesIO(old_dump.read_bytes())).read()
    damaged = tmp_path / "damaged.json"
    damaged.write_bytes(text.replace(b'"o7"', b'"o8"', 1))
    done = rolled.command(target_url, "load", str(damaged))
    assert done.returncode == 1
    assert "load: line " in done.stderr or "already" in done.stderr, done.stderr
    with psycopg.connect(target_url) as connection:
        assert connection.execute("select count(*) from organizations").fetchone() == (0,)


def test_the_scratch_database_of_a_killed_load_is_removed_by_the_next(
    rolled: Rollout, target_url: str, old_dump: Path, server: psycopg.Connection
) -> None:
    loading = subprocess.Popen(
        [sys.executable, "-m", "tomato_dao", "load", str(old_dump)], env=rolled.environment(target_url), cwd=rolled.directory
    )
    left = scratch_of_load(server, target_url)
    loading.send_signal(signal.SIGKILL)
    loading.wait()
    until(server, "not exists (select from pg_stat_activity where datname = %s)", left)
    done = rolled.command(target_url, "load", str(old_dump))
    assert done.returncode == 0, done.stderr
    assert not exists(server, left)


def test_a_user_who_may_not_create_databases_is_told_what_for(
    target_url: str, old_dump: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with psycopg.connect(target_url, autocommit=True) as owner:
        owner.execute(f"create role frugal login in role {owner.info.user}".encode())
    try:
        url = psycopg.conninfo.make_conninfo(target_url, user="frugal")
        with (
            source(old_dump) as file,
            pytest.raises(
                NotAllowed,
                match=r"an older schema is migrated in a scratch database, which failed: .* may not create databases",
            ),
        ):
            load_older(url, file)
    finally:
        with psycopg.connect(target_url, autocommit=True) as owner:
            owner.execute("drop role frugal")


def test_the_library_and_newer_dumps_are_refused_with_what_to_do(
    rolled: Rollout, target_url: str, old_dump: Path, tomato_url: str
) -> None:
    with connect(target_url) as db, pytest.raises(WrongSchema, match=r"lacks 2 of .* bin/load applies them while loading"):
        load(db, old_dump)
    with connect(target_url) as db:
        dump(db, newer := io.BytesIO())
    rolled.older()
    newer.seek(0)
    with connect(tomato_url) as db, pytest.raises(WrongSchema, match="migrations that this code does not know"):
        load(db, newer)


def test_memory_does_not_grow_with_the_rows_of_an_older_dump(
    tomato_url: str, rolled: Rollout, server: psycopg.Connection, tmp_path: Path, tomato_server_url: str
) -> None:
    server.execute("insert into usage_statistics (attrs) select '{}' from generate_series(1, 150000)")
    file = tmp_path / "large.json"
    with connect(tomato_url) as db:
        dump(db, file)
    rolled.newer()
    with scratch_database(tomato_server_url) as url:
        rolled.environment(url)
        assert peak_memory(url, "load", str(file), directory=rolled.directory) < MOST


def test_an_older_version_is_made_by_its_migrations_alone(tomato_server_url: str, rolled: Rollout) -> None:
    rolled.newer()
    with scratch_database(tomato_server_url, migrated=False) as url, probe(url) as connection:
        dbmate(target_of(connection), "migrate", upto=rolled.base)
        assert schema.applied(connection)[-1] == rolled.base

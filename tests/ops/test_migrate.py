"""Migrations, as operators and starting workers use them."""

import json
import re
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from secrets import token_hex

import psycopg
import pytest

import tomato_dao
from tests.conftest import CHECKOUT
from tests.fixtures.operations import NEXT, dropped_afterwards, organizations
from tests.helpers.dao_cases import BLOCKED as WAITING
from tests.helpers.dao_cases import until
from tests.helpers.pooler_cases import pgbouncer
from tests.helpers.session_cases import LOCKS
from tests.ops.test_commands import run
from tests.server.test_schema import catalog
from tomato_dao import InvalidValue, TomatoError, Unavailable, WrongSchema, WrongState, connect
from tomato_dao.ops import backup, databases, migrate, migration_lock
from tomato_dao.ops.restore import restore
from tomato_dao.ops.scratch import drop_database, scratch_database, with_database
from tomato_dao.server import probe as probe_module
from tomato_dao.server import schema
from tomato_dao.server.probe import probe

pytestmark = pytest.mark.slow

BROKEN = "-- migrate:up\ncreate table half (id int);\nselect 1 / 0;\n-- migrate:down\n"
CONCURRENT = (
    "-- migrate:up transaction:false\ncreate index concurrently later on organizations (description);\n-- migrate:down\n"
)
ENDS_OTHERS_SESSIONS = """-- migrate:up
set role none;
select pg_terminate_backend(pid, 5000) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid();
select 1 / 0;
-- migrate:down
"""
HELD = f"select count(*) {LOCKS} and relation = 'migration_lock'::regclass and mode = 'ShareUpdateExclusiveLock'"
BLOCKED = "-- migrate:up\nalter table organizations add column later int;\n-- migrate:down\n"


def test_connect_migrates_if_asked(tomato_server_url: str) -> None:
    with scratch_database(tomato_server_url, migrated=False) as url:
        with pytest.raises(WrongSchema, match="run make migrate"):
            connect(url)
        with connect(url, migrate=True) as db:
            assert db.organizations.list() == []
        assert tomato_dao.migrate(url) == []


def test_connect_creates_the_database_if_asked_to_migrate(tomato_server_url: str) -> None:
    url = with_database(tomato_server_url, f"tomato_made_by_connect_{token_hex(6)}")
    with pytest.raises(Unavailable, match="does not exist"):
        connect(url)
    try:
        with connect(url, migrate=True) as db:
            assert db.organizations.create("uni") in db.organizations.list()
        with psycopg.connect(url) as connection:
            assert schema.applied(connection) == schema.known()
        assert organizations(url) == ["uni"]
    finally:
        drop_database(url)


def test_a_database_that_another_process_makes_at_the_same_moment_is_used(
    tomato_server_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = with_database(tomato_server_url, f"tomato_made_meanwhile_{token_hex(6)}")

    def maintenance(url: str, timeout: float) -> psycopg.Connection:
        """Connect; between the look for the database and the look into the list of all, another process makes it."""
        monkeypatch.undo()
        databases.create_database(url)
        return probe_module.maintenance(url, timeout)

    monkeypatch.setattr(databases, "maintenance", maintenance)
    try:
        databases.create_database(url)
        with psycopg.connect(url) as connection:
            assert connection.info.dbname.startswith("tomato_made_meanwhile_")
    finally:
        drop_database(url)


def test_a_worker_cannot_hold_up_a_migration_with_a_lock(tomato_url: str, app_url: str, next_migration: Path) -> None:
    with psycopg.connect(app_url, autocommit=True) as worker:
        for mode in ("row exclusive", "share update exclusive", "access exclusive"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege), worker.transaction():
                worker.execute(f"lock table migration_lock in {mode} mode".encode())
        with worker.transaction():
            worker.execute("lock table migration_lock in access share mode")  # as a dump does
            assert migrate.migrate(tomato_url) == [NEXT.partition("_")[0]]


def test_processes_that_make_the_lock_at_once_all_find_it(tomato_server_url: str) -> None:
    with scratch_database(tomato_server_url, migrated=False) as url, ExitStack() as opened, ThreadPoolExecutor(8) as threads:
        connections = [opened.enter_context(psycopg.connect(url, autocommit=True)) for _ in range(8)]
        together = threading.Barrier(len(connections))

        def make(connection: psycopg.Connection) -> None:
            together.wait()
            migration_lock.make_migration_lock(connection)

        for _ in range(25):  # PostgreSQL refuses it in three ways, by how far the other process is
            list(threads.map(make, connections))
            connections[0].execute("drop table migration_lock")


def test_a_type_in_the_place_of_the_lock_is_told(tomato_server_url: str) -> None:
    with scratch_database(tomato_server_url, migrated=False) as url:
        with psycopg.connect(url) as connection:
            connection.execute("create domain public.migration_lock as int")
        with pytest.raises(TomatoError, match='type "migration_lock" already exists'):
            migrate.migrate(url)


def test_a_process_waits_while_another_migrates(tomato_url: str, next_migration: Path, server: psycopg.Connection) -> None:
    with server.transaction():
        migration_lock.lock_migrations(server)
        applied: list[str] = []
        other = threading.Thread(target=lambda: applied.extend(migrate.migrate(tomato_url)))
        other.start()
        other.join(0.5)
        assert other.is_alive()
        assert schema.applied(server) == schema.known()[:-1]
    other.join(60)
    assert applied == [NEXT.partition("_")[0]]


def test_processes_that_migrate_at_once_make_one_backup(
    tomato_url: str, next_migration: Path, saved: Path, server: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.execute("insert into organizations (name) values ('uni')")
    told_to_wait = threading.Semaphore(0)
    monkeypatch.setattr(migration_lock.logger, "info", lambda *_: told_to_wait.release())
    with ThreadPoolExecutor(3) as threads:
        with server.transaction():
            migration_lock.lock_migrations(server)
            calls = [threads.submit(migrate.migrate, tomato_url) for _ in range(3)]
            assert all(told_to_wait.acquire(timeout=60) for _ in calls)
        applied = [call.result(60) for call in calls]
    assert sorted(applied) == [[], [], [NEXT.partition("_")[0]]]
    assert len(list(saved.iterdir())) == 1


@pytest.mark.one_server
def test_a_process_that_waits_for_a_migration_holds_no_connection(
    tomato_url: str, next_migration: Path, server: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = threading.Event()
    monkeypatch.setattr(migration_lock.logger, "info", lambda *_: told.set())
    with ThreadPoolExecutor(1) as threads, psycopg.connect(tomato_url, autocommit=True) as watcher:
        with server.transaction():
            migration_lock.lock_migrations(server)
            server.execute("lock table schema_migrations")  # as the migration does that alters it
            call = threads.submit(migrate.migrate, tomato_url)
            assert told.wait(60)
            until(watcher, "count(*) = 2 from pg_stat_activity where datname = current_database()")
        assert call.result(60) == [NEXT.partition("_")[0]]


def test_an_idle_timeout_of_the_role_does_not_end_the_migration_lock(
    tomato_url: str, next_migration: Path, server: psycopg.Connection
) -> None:
    next_migration.write_text(BLOCKED)
    server.execute(f"alter role current_user in database {server.info.dbname} set idle_in_transaction_session_timeout = 500")
    with ThreadPoolExecutor(1) as threads:
        with server.transaction():
            server.execute("lock table organizations in access share mode")
            call = threads.submit(migrate.migrate, tomato_url)
            until(server, WAITING, 1)  # from now on the session with the lock idles
            with psycopg.connect(tomato_url) as later:
                later.execute("select 1")
                until(server, "not exists (select from pg_stat_activity where pid = %s)", later.info.backend_pid)
            assert server.execute(HELD).fetchone() == (1,)
        assert call.result(60) == [NEXT.partition("_")[0]]


@pytest.mark.parametrize(
    ("unknown", "said"),
    [
        ("20000101000000", r"was never released \(20000101000000 …\): recreate it"),
        ("29990102000000", r"does not know \(29990102000000\): it belongs to a newer tomato-dao; install that version"),
    ],
    ids=["older", "newer"],
)
@pytest.mark.parametrize("change", [migrate.migrate, migrate.roll_back])
def test_a_database_of_an_unknown_schema_stays_as_it_is(
    tomato_url: str,
    next_migration: Path,
    saved: Path,
    server: psycopg.Connection,
    change: Callable[[str], object],
    unknown: str,
    said: str,
) -> None:
    server.execute("insert into organizations (name) values ('uni')")
    server.execute("insert into schema_migrations values (%s)", [unknown])
    before = schema.applied(server)
    with pytest.raises(WrongSchema, match=said):
        change(tomato_url)
    assert schema.applied(server) == before
    assert server.execute("select to_regclass('later')").fetchone() == (None,)
    assert not saved.exists()


def test_the_lock_works_through_a_pooler(tomato_url: str, next_migration: Path, server: psycopg.Connection) -> None:
    with pgbouncer(tomato_url) as pooled:
        assert migrate.migrate(pooled) == [NEXT.partition("_")[0]]
        with migration_lock.migrating(pooled, 0), probe(pooled) as other:
            other.execute("select 1")  # the pooler could give the session of the one that migrates to another
            assert server.execute(HELD).fetchone() == (1,)
            with other.transaction():
                assert not migration_lock.is_locked(other)


def test_the_lock_does_not_keep_an_index_from_being_built_concurrently(tomato_url: str, next_migration: Path) -> None:
    next_migration.write_text(CONCURRENT)
    with ThreadPoolExecutor(3) as threads:
        applied = list(threads.map(migrate.migrate, [tomato_url] * 3))
    assert sorted(applied) == [[], [], [NEXT.partition("_")[0]]]


def test_a_migration_that_is_blocked_gives_up(
    tomato_url: str, next_migration: Path, server: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    next_migration.write_text(BLOCKED)
    monkeypatch.setenv("MIGRATION_LOCK_TIMEOUT", "100ms")
    with server.transaction():
        server.execute("lock table organizations in access share mode")
        with pytest.raises(TomatoError, match="lock timeout"):
            migrate.migrate(tomato_url)


@pytest.mark.one_server  # a distributed backup is restored by the schema's file, which these migrations lack
def test_a_migration_that_fails_leaves_the_schema_and_a_backup_that_restores(
    tomato_url: str, next_migration: Path, saved: Path, server: psycopg.Connection
) -> None:
    server.execute("insert into organizations (name) values ('uni')")
    before = catalog(tomato_url)
    next_migration.write_text(BROKEN)
    with pytest.raises(TomatoError, match="division by zero") as failed:
        migrate.migrate(tomato_url)
    assert catalog(tomato_url) == before
    (file,) = saved.iterdir()
    assert f"the schema is unchanged; the database before is in {file}: “bin/restore {file}”" in str(failed.value)
    server.execute("delete from organizations")
    server.close()
    next_migration.unlink()
    with dropped_afterwards(tomato_url):
        assert restore(file, tomato_url) is not None
        assert catalog(tomato_url) == before
        assert organizations(tomato_url) == ["uni"]


def test_a_failed_migration_reports_the_schema_version_reached(
    tomato_url: str, next_migration: Path, saved: Path, server: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    last = next_migration.with_name("29990102000000_last.sql")
    last.write_text(BROKEN)
    with pytest.raises(TomatoError, match=r"division by zero.*; the schema is at 29990101000000, as before that migration$"):
        migrate.migrate(tomato_url)
    last.write_text(ENDS_OTHERS_SESSIONS)
    with pytest.raises(TomatoError, match=r"division by zero.*; the schema is unchanged"):
        migrate.migrate(tomato_url)
    last.write_text(CONCURRENT.replace("index concurrently later", "index concurrently if not exists half"))
    monkeypatch.setenv("MIGRATION_LOCK_TIMEOUT", "100ms")
    with psycopg.connect(tomato_url) as other:
        other.execute("insert into organizations (name) values ('uni')")
        said = r"the schema is unchanged; index half is invalid .* drop index concurrently half; then make migrate"
        with pytest.raises(TomatoError, match=said):
            migrate.migrate(tomato_url)
    with pytest.raises(
        WrongState,
        match=r"nothing was migrated in .*: index half is invalid .* if none is running, drop index concurrently half; then",
    ):
        migrate.migrate(tomato_url)  # or else it would be taken for the index
    told = json.loads(run([str(CHECKOUT / "bin" / "doctor"), "--json"], tomato_url).stdout)["findings"]
    (indexes,) = (finding for finding in told if finding["topic"] == "indexes")
    assert indexes["advice"] == ["if none is running, drop index concurrently half; then make migrate"]
    with psycopg.connect(tomato_url, autocommit=True) as other:
        other.execute("drop index concurrently half")
    assert migrate.migrate(tomato_url) == ["29990102000000"]


def test_what_became_of_migrations_is_looked_up_where_the_lock_was_lost(
    tomato_url: str, next_migration: Path, caplog: pytest.LogCaptureFixture
) -> None:
    next_migration.write_text(ENDS_OTHERS_SESSIONS.replace("select 1 / 0;\n", "create table later (id int);\n"))
    assert migrate.migrate(tomato_url) == [NEXT.partition("_")[0]]
    assert "was lost: terminating connection" in caplog.text
    with psycopg.connect(tomato_url) as connection:
        hashes = connection.execute("select count(*) from schema_migrations where sha256 is null").fetchone()
        assert hashes == (0,)  # what is left to do behind dbmate is done
    assert migrate.migrate(tomato_url) == []


def test_a_lock_that_is_lost_before_all_is_applied_is_told_with_the_schemas_version(
    tomato_url: str, next_migration: Path, server: psycopg.Connection
) -> None:
    rollout = "-- migrate:up\n-- breaks: of a test\n"
    next_migration.write_text(ENDS_OTHERS_SESSIONS.replace("select 1 / 0;\n", ""))
    next_migration.with_name("29990102000000_last.sql").write_text(BROKEN.replace("-- migrate:up\n", rollout))
    with pytest.raises(Unavailable, match=r"was lost: terminating .*; the schema is at 29990101000000: make migrate goes on"):
        migrate.migrate(tomato_url)


def test_only_a_database_that_holds_rows_is_saved_before_a_migration(
    tomato_url: str, next_migration: Path, saved: Path, server: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    migrate.migrate(tomato_url)
    assert not saved.exists()
    server.execute("insert into organizations (name) values ('uni')")
    monkeypatch.setenv("BACKUP", "no")
    assert migrate.roll_back(tomato_url) == NEXT.partition("_")[0]
    assert not saved.exists()
    monkeypatch.delenv("BACKUP")
    migrate.migrate(tomato_url)
    assert migrate.migrate(tomato_url) == []
    assert len(list(saved.iterdir())) == 1
    migrate.roll_back(tomato_url)
    assert len(list(saved.iterdir())) == 2


def test_nothing_is_migrated_where_the_backup_fails(
    tomato_url: str, next_migration: Path, server: psycopg.Connection, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    server.execute("insert into organizations (name) values ('uni')")
    monkeypatch.setattr(backup, "_program", lambda *_: Path("/bin/false"))
    monkeypatch.setenv("BACKUP_DIR", str(tmp_path / "backups"))
    with pytest.raises(TomatoError, match=r"nothing was migrated, .*pg_dump failed.*BACKUP=no"):
        migrate.migrate(tomato_url)
    assert schema.applied(server) == schema.known()[:-1]
    assert list((tmp_path / "backups").iterdir()) == []


def test_migrations_are_listed_with_their_state(tomato_url: str, server: psycopg.Connection) -> None:
    server.execute("delete from schema_migrations where version = %s", [schema.known()[-1]])
    server.execute("insert into schema_migrations values ('29990101000000')")
    done = run(["make", "-s", "-C", str(CHECKOUT), "migrate-status"], tomato_url)
    states = [line.split()[0] for line in done.stdout.splitlines()]
    assert states == ["applied"] * (len(schema.known()) - 1) + ["pending", "unknown"]


def test_a_new_migration_has_a_place_for_its_way_back(next_migration: Path) -> None:
    (schema.DB_DIR.parent / "Makefile").touch()
    try:
        made = migrate._new("host_owner")
        assert re.fullmatch(r"\d{14}_host_owner\.sql", made.name)
        assert made in schema.files()
        assert "-- migrate:up" in made.read_text()
        assert "-- migrate:down" in made.read_text()
    finally:
        (schema.DB_DIR.parent / "Makefile").unlink()
    for name in ("Host", "a/b", "../x", ""):
        with pytest.raises(InvalidValue):
            migrate._new(name)


def test_other_files_among_migrations_do_no_harm(
    tomato_url: str, next_migration: Path, saved: Path, server: psycopg.Connection
) -> None:
    server.execute("insert into organizations (name) values ('uni')")
    for name in (NEXT.replace(".sql", " (1).sql"), "scratch.sql", f"._{NEXT}", "20000101000000_Old.sql"):
        next_migration.with_name(name).write_text("select nonsense")
    next_migration.with_name(f".#{NEXT}").symlink_to("somebody@nowhere.1")
    assert migrate.migrate(tomato_url) == [NEXT.partition("_")[0]]
    assert len(list(saved.iterdir())) == 1
    assert organizations(tomato_url) == ["uni"]
    assert migrate.roll_back(tomato_url) == NEXT.partition("_")[0]

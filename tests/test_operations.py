"""Migrations, backups, roles and the doctor, as operators and starting workers use them."""

import json
import os
import re
import shlex
import stat
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import psycopg
import pytest
from conftest import CHECKOUT
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from test_commands import run
from test_layout import catalog
from test_unprepared import pgbouncer

import tomato_dao
from tomato_dao import (
    Busy,
    Database,
    InvalidValue,
    NotAllowed,
    NotFound,
    TomatoError,
    Unavailable,
    WrongLayout,
    connect,
    layout,
)
from tomato_dao.ops import backup, migrate, roles
from tomato_dao.ops.restore import restore
from tomato_dao.ops.scratch import drop_database, scratch_database, with_database
from tomato_dao.server import probe
from tomato_dao.transfer.load import check

NEXT = "29990101000000_next.sql"
GOOD = "-- migrate:up\ncreate table later (id int);\n-- migrate:down\ndrop table later;\n"
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
BLOCKED = "-- migrate:up\nalter table organizations add column later int;\n-- migrate:down\n"


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
    monkeypatch.setenv("DBMATE", os.environ.get("DBMATE") or str(CHECKOUT / "node_modules" / ".bin" / "dbmate"))
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


# Migrations.


def test_connect_migrates_where_it_is_told_to(tomato_server_url: str) -> None:
    with scratch_database(tomato_server_url, migrated=False) as url:
        with pytest.raises(WrongLayout, match="run make migrate"):
            connect(url)
        with connect(url, migrate=True) as db:
            assert db.organizations.list() == []
        assert tomato_dao.migrate(url) == []


def test_connect_makes_the_database_where_it_is_told_to_migrate(tomato_server_url: str) -> None:
    url = with_database(tomato_server_url, "tomato_made_by_connect")
    drop_database(url)
    try:
        connect(url, migrate=True).close()
    finally:
        drop_database(url)


def test_who_comes_while_another_migrates_waits(tomato_url: str, next_migration: Path, server: psycopg.Connection) -> None:
    with server.transaction():
        server.execute("select pg_advisory_xact_lock(%s)", [migrate._LOCK])
        applied: list[str] = []
        other = threading.Thread(target=lambda: applied.extend(migrate.migrate(tomato_url)))
        other.start()
        other.join(0.5)
        assert other.is_alive()
        assert layout.applied(server) == layout.known()[:-1]
    other.join(20)
    assert applied == [NEXT.partition("_")[0]]


def test_the_lock_works_through_a_pooler(tomato_url: str, next_migration: Path, server: psycopg.Connection) -> None:
    with pgbouncer(tomato_url) as pooled:
        assert migrate.migrate(pooled) == [NEXT.partition("_")[0]]
        with migrate._migrating(pooled, 0), probe(pooled) as other:
            other.execute("select 1")  # the pooler could give the session of the one that migrates to another
            held = "select count(*) from pg_locks where locktype = 'advisory' and pid <> pg_backend_pid()"
            assert server.execute(held + " and database = (select oid from pg_database where datname = current_database())"
                                  ).fetchone() == (1,)  # fmt: skip
            assert other.execute("select pg_try_advisory_xact_lock(%s)", [migrate._LOCK]).fetchone() == (False,)


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


def test_a_migration_that_fails_leaves_the_layout_and_a_backup_that_restores(
    tomato_url: str, next_migration: Path, saved: Path, server: psycopg.Connection
) -> None:
    server.execute("insert into organizations (name) values ('uni')")
    before = catalog(tomato_url)
    next_migration.write_text(BROKEN)
    with pytest.raises(TomatoError, match="division by zero") as failed:
        migrate.migrate(tomato_url)
    assert catalog(tomato_url) == before
    (file,) = saved.iterdir()
    assert f"the layout is as it was; the database before is in {file}: “bin/restore {file}”" in str(failed.value)
    server.execute("delete from organizations")
    server.close()
    next_migration.unlink()
    with dropped_afterwards(tomato_url):
        assert restore(file, tomato_url) is not None
        assert catalog(tomato_url) == before
        assert organizations(tomato_url) == ["uni"]


def test_how_far_a_migration_that_fails_has_come_is_told(
    tomato_url: str, next_migration: Path, saved: Path, server: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    last = next_migration.with_name("29990102000000_last.sql")
    last.write_text(BROKEN)
    with pytest.raises(TomatoError, match=r"division by zero.*; the layout is at 29990101000000, as before that migration$"):
        migrate.migrate(tomato_url)
    last.write_text(ENDS_OTHERS_SESSIONS)
    with pytest.raises(TomatoError, match=r"; the connection is lost: make migrate-status tells what was applied$"):
        migrate.migrate(tomato_url)
    last.write_text(CONCURRENT.replace("later", "half"))
    monkeypatch.setenv("MIGRATION_LOCK_TIMEOUT", "100ms")
    with psycopg.connect(tomato_url) as other:
        other.execute("insert into organizations (name) values ('uni')")
        with pytest.raises(TomatoError, match=r"half made, so before the next try: drop index concurrently half"):
            migrate.migrate(tomato_url)
    told = json.loads(run([str(CHECKOUT / "bin" / "doctor"), "--json"], tomato_url).stdout)["findings"]
    (indexes,) = (finding for finding in told if finding["topic"] == "indexes")
    assert indexes["advice"] == ["reindex index concurrently half;  -- unless somebody is making it now"]


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
    assert layout.applied(server) == layout.known()[:-1]
    assert list((tmp_path / "backups").iterdir()) == []


def test_the_migrations_are_told_with_their_state(tomato_url: str, server: psycopg.Connection) -> None:
    server.execute("delete from schema_migrations where version = %s", [layout.known()[-1]])
    server.execute("insert into schema_migrations values ('29990101000000')")
    done = run(["make", "-s", "-C", str(CHECKOUT), "migrate-status"], tomato_url)
    states = [line.split()[0] for line in done.stdout.splitlines()]
    assert states == ["applied"] * (len(layout.known()) - 1) + ["pending", "unknown"]


def test_a_new_migration_has_a_place_for_its_way_back(next_migration: Path) -> None:
    (layout.DB_DIR.parent / "Makefile").touch()
    try:
        made = migrate._new("host_owner")
        assert re.fullmatch(r"\d{14}_host_owner\.sql", made.name)
        assert made in layout.files()
        assert "-- migrate:up" in made.read_text()
        assert "-- migrate:down" in made.read_text()
    finally:
        (layout.DB_DIR.parent / "Makefile").unlink()
    for name in ("Host", "a/b", "../x", ""):
        with pytest.raises(InvalidValue):
            migrate._new(name)


# Backups.


def test_a_backup_is_for_its_owner_only_and_the_oldest_go(tomato_url: str, saved: Path) -> None:
    files = [backup.back_up(tomato_url) for _ in range(backup.KEPT + 1)]
    assert sorted(saved.iterdir()) == files[1:]
    assert stat.S_IMODE(saved.stat().st_mode) == 0o700
    assert {stat.S_IMODE(file.stat().st_mode) for file in saved.iterdir()} == {0o600}


def test_passwords_reach_no_list_of_processes_and_no_message(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "pg_dump"
    program.write_text('#!/bin/sh\necho "$@" "$PGPASSWORD at $PGHOST:$PGPORT/$PGDATABASE as $PGUSER" >&2\nexit 1\n')
    program.chmod(0o700)
    monkeypatch.setattr(backup, "_program", lambda *_: program)
    with pytest.raises(TomatoError) as failed:
        backup.run_program("pg_dump", 15, "postgresql://me:s3cret@db.example:5433/tomato", "--format=custom")
    assert str(failed.value) == "pg_dump failed: --no-password --format=custom … at db.example:5433/tomato as me"


def test_a_restore_refuses_while_workers_are_connected_unless_told_to_end_them(
    tomato_url: str, saved: Path, db: Database, server: psycopg.Connection, caplog: pytest.LogCaptureFixture
) -> None:
    db.organizations.create("uni")
    file = backup.back_up(tomato_url)
    db.organizations.create("later")
    with pytest.raises(Busy, match=r"is in use \(.*tomato-dao: \d.*with end_sessions$"):
        restore(file, tomato_url)
    with dropped_afterwards(tomato_url):
        kept = restore(file, tomato_url, end_sessions=True)
        assert [organization.name for organization in db.organizations.list()] == ["uni"]
        assert kept
        assert set(organizations(with_database(tomato_url, kept))) == {"uni", "later"}
    assert {record.name for record in caplog.records} <= {"tomato_dao"}  # workers hear nothing in the driver's words
    assert not any("\n" in record.getMessage() for record in caplog.records)


def test_a_restore_that_fails_leaves_the_database_and_nothing_else(tomato_url: str, tmp_path: Path) -> None:
    (tmp_path / "no.dump").write_text("PGDMP, but no backup")
    with pytest.raises(TomatoError, match=r"pg_restore failed: "):
        restore(tmp_path / "no.dump", tomato_url)
    with pytest.raises(NotFound, match="there is no file"):
        restore(tmp_path / "none.dump", tomato_url)
    with psycopg.connect(tomato_url) as connection:
        name = f"{connection.info.dbname}\\_%"
        assert connection.execute("select datname from pg_database where datname like %s", [name]).fetchall() == []
    assert organizations(tomato_url) == []


def test_the_commands_save_and_restore(tomato_url: str, saved: Path) -> None:
    done = run([str(CHECKOUT / "bin" / "backup")], tomato_url)
    (file,) = saved.iterdir()
    assert done.stdout.startswith(str(file)), done.stderr
    with dropped_afterwards(tomato_url):
        password = secret(tomato_url) or {"password": "s3cret"}  # where the server asks for none, any will do
        done = run([str(CHECKOUT / "bin" / "restore"), str(file)], make_conninfo(tomato_url, **password))
        restored, kept, drop = done.stdout.splitlines()
        assert restored == f"restored {file}", done.stderr
        name = kept.removeprefix("the database before is kept as ").partition(";")[0]
        assert password["password"] not in drop
        told = json.loads(run([str(CHECKOUT / "bin" / "doctor"), "--json"], tomato_url).stdout)["findings"]
        assert [row["name"] for row in told[-1]["figures"]["kept_databases"]] == [name]
        *_, server, option, statement = shlex.split(drop)
        assert option == "-c"
        with psycopg.connect(make_conninfo(server, **password), autocommit=True) as connection:
            connection.execute(statement.encode())
            assert connection.execute("select from pg_database where datname = %s", [name]).fetchall() == []


def secret(url: str) -> dict[str, str]:
    """The password of a URL, where it has one."""
    return {k: str(v) for k, v in conninfo_to_dict(url).items() if k == "password"}


def test_a_dump_and_a_backup_are_told_apart(tomato_url: str, saved: Path, db: Database, tmp_path: Path) -> None:
    dump = tmp_path / "dump.json"
    for name in ("dump.json", "dump.json.gz", "dump.json.zst"):
        tomato_dao.dump(db, tmp_path / name)
        with pytest.raises(InvalidValue, match=r"is a dump, not a backup: “bin/load .*dump.json"):
            restore(tmp_path / name, tomato_url)
    dump.write_text("neither")
    with pytest.raises(InvalidValue, match="is no backup of bin/backup"):
        restore(dump, tomato_url)
    file = backup.back_up(tomato_url)
    for load in (check, partial(tomato_dao.load, db)):
        with pytest.raises(InvalidValue, match="it is a backup, not a dump: bin/restore"):
            load(file)


def test_a_backup_from_before_the_roles_is_told_to_lack_them(
    tomato_url: str, has_roles: bool, saved: Path, server: psycopg.Connection
) -> None:
    if not has_roles:
        pytest.skip("the tests' user may not make roles")
    server.execute("revoke all on all tables in schema public from tomato_app")
    server.close()
    with dropped_afterwards(tomato_url):
        done = run([str(CHECKOUT / "bin" / "restore"), str(backup.back_up(tomato_url))], tomato_url)
        assert re.search("^note: .*tomato_app lacks privileges on .*: run make roles$", done.stdout, re.MULTILINE)


# Roles.


def refused_by_the_server(url: str, *statements: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        for statement in statements:
            with pytest.raises((psycopg.errors.InsufficientPrivilege, psycopg.errors.ReadOnlySqlTransaction)):
                connection.execute(statement.encode())


def test_a_worker_changes_rows_and_nothing_else(tomato_url: str, app_url: str) -> None:
    roles.make_roles(tomato_url)  # what is the database's own did not come along from the template
    refused_by_the_server(
        app_url,
        "create table mine (id int)",
        "create temporary table mine (id int)",
        "truncate organizations cascade",
        "alter table organizations add column mine int",
        "drop table organizations",
        "create schema mine",
        "delete from schema_migrations",
        "create role mine",
    )


def test_a_reader_reads_and_nothing_else(reader_url: str) -> None:
    with connect(reader_url) as db:
        assert db.organizations.list() == []
        with pytest.raises(NotAllowed):
            db.organizations.create("uni")
    refused_by_the_server(
        reader_url, "delete from organizations", "create table mine (id int)", "select nextval('hosts_id_seq')"
    )


def test_a_migrations_new_tables_are_covered(tomato_url: str, app_url: str, reader_url: str, next_migration: Path) -> None:
    owner = make_conninfo(tomato_url, options=f"-c role={roles.OWNER}")
    assert migrate.migrate(tomato_url)
    with psycopg.connect(owner) as connection:
        connection.execute("create table by_the_owner (id bigint generated always as identity primary key)")
    for table in ("later", "by_the_owner"):
        with psycopg.connect(app_url) as connection:
            connection.execute(f"insert into {table} default values".encode())
        with psycopg.connect(reader_url) as connection:
            assert connection.execute(f"select count(*) from {table}".encode()).fetchone() == (1,)


def test_a_worker_that_starts_on_an_old_layout_migrates_as_the_owner_or_says_that_it_cannot(
    tomato_url: str, app_url: str, next_migration: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OWNER_DATABASE_URL", raising=False)
    with pytest.raises(NotAllowed, match=r"may not migrate .*: name its owner, tomato_owner, in OWNER_DATABASE_URL"):
        connect(app_url, migrate=True)
    monkeypatch.setenv("OWNER_DATABASE_URL", with_database(tomato_url, "another"))
    with pytest.raises(InvalidValue, match="OWNER_DATABASE_URL names the database another, but tomato_test_"):
        connect(app_url, migrate=True)
    monkeypatch.setenv("OWNER_DATABASE_URL", tomato_url)
    with connect(app_url, migrate=True) as db:
        assert db.organizations.list() == []


@pytest.mark.parametrize("role", [roles.APP, roles.READER])
def test_who_may_not_make_roles_is_told(tomato_url: str, has_roles: bool, role: str) -> None:
    if not has_roles:
        pytest.skip("the tests' user may not make roles")
    options = f"-c role={role} -c default_transaction_read_only={'on' if role == roles.READER else 'off'}"
    with pytest.raises(NotAllowed, match=r"may not make the roles .*: run it as a superuser"):
        roles.make_roles(make_conninfo(tomato_url, options=options))


def test_who_may_not_read_is_told_as_whom_to_connect(tomato_url: str, app_url: str, server: psycopg.Connection) -> None:
    server.execute("revoke select on schema_migrations from tomato_app")
    with pytest.raises(NotAllowed, match=r"may not read the database .*: connect as another \(once make roles has run"):
        connect(app_url)


def test_a_directory_that_cannot_be_is_named_with_what_to_do(tomato_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BACKUP_DIR", "/proc/nope")
    with pytest.raises(Unavailable, match=r"^there can be no directory /proc/nope: .*; name another in BACKUP_DIR$"):
        backup.back_up(tomato_url)

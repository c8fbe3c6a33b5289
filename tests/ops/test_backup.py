"""Backups, and the way back to them."""

import gzip
import json
import os
import re
import shlex
import stat
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from secrets import token_hex

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

import tomato_dao
from tests.conftest import CHECKOUT
from tests.fixtures.operations import dropped_afterwards, organizations
from tests.ops.test_commands import run
from tomato_dao import Busy, Database, InvalidValue, NotFound, TomatoError, Unavailable, dump
from tomato_dao.ops import backup
from tomato_dao.ops import restore as restoring
from tomato_dao.ops.databases import create_database
from tomato_dao.ops.examinations import Finding, examine
from tomato_dao.ops.leftovers import SCRATCH, claim, restored_as
from tomato_dao.ops.restore import restore
from tomato_dao.ops.roles import make_roles
from tomato_dao.ops.scratch import drop_database, scratch_database, with_database
from tomato_dao.server.target import Target
from tomato_dao.transfer import files as transfer_files
from tomato_dao.transfer.files import hold
from tomato_dao.transfer.load import check

pytestmark = pytest.mark.slow


def test_a_backup_is_for_its_owner_only_and_the_oldest_go(
    tomato_url: str, saved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backup, "KEPT", 2)
    files = [backup.back_up(tomato_url) for _ in range(backup.KEPT + 1)]
    assert sorted(saved.iterdir()) == files[1:]
    assert stat.S_IMODE(saved.stat().st_mode) == 0o700
    assert {stat.S_IMODE(file.stat().st_mode) for file in saved.iterdir()} == {0o600}


def test_pruning_spares_the_backups_of_databases_with_similar_names(
    tomato_url: str, saved: Path, server: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backup, "KEPT", 1)
    name = f"{server.info.dbname}.a"
    others = [f"{name}-b", f"{name}-20200101T000000.000000Z.dump", f"b-{name}", name.replace(".a", "xa")]
    with ExitStack() as databases:
        for database in (name, *others):
            create_database(with_database(tomato_url, database))
            databases.callback(drop_database, with_database(tomato_url, database))
        spared = [backup.back_up(with_database(tomato_url, other)) for other in others]
        files = [backup.back_up(with_database(tomato_url, name)) for _ in range(2)]
        assert sorted(saved.iterdir()) == sorted([*spared, files[-1]])
        assert [backup.backups(other) for other in others] == [[file] for file in spared]
    assert backup.backups(name) == files[-1:]


def test_leftovers_of_killed_backups_and_restores_are_reported_and_removed_by_the_next(
    tomato_url: str, saved: Path, server: psycopg.Connection
) -> None:
    file = backup.back_up(tomato_url)
    name = server.info.dbname
    part = file.with_name(f"{name}-20200101T000000.000000Z.part")
    part.touch(0o600)
    left, at_work = restored_as(name), restored_as(name)
    for database in (left, at_work):
        create_database(with_database(tomato_url, database))
    with psycopg.connect(with_database(tomato_url, "postgres"), autocommit=True) as another, part.open("ab") as writing:
        hold(writing.fileno())
        claim(another, at_work)
        told = left_behind(server)
        assert (told.level, told.figures["left_files"]) == ("note", [])
        assert left in told.figures["left_databases"]
        assert at_work not in told.figures["left_databases"]
        assert f'drop database "{left}";' in told.advice
        backup.back_up(tomato_url)
        assert part.exists()
        writing.close()
        told = left_behind(server)
        assert told.figures["left_files"] == [part]
        assert told.advice[0] == "bin/backup, which removes the leftovers of killed ones"
        backup.back_up(tomato_url)
        assert not part.exists()
        server.close()
        with dropped_afterwards(tomato_url):
            restore(file, tomato_url)
        assert databases(another, left, at_work) == [at_work]
    drop_database(with_database(tomato_url, at_work))


@pytest.mark.parametrize("command", ["dump", "backup"])
def test_an_interrupt_as_soon_as_a_file_is_begun_leaves_none(
    tomato_url: str, db: Database, saved: Path, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    def hold_and_stop(descriptor: int) -> None:
        if not stat.S_ISDIR(os.fstat(descriptor).st_mode):
            assert list(saved.iterdir())
            raise KeyboardInterrupt

    monkeypatch.setattr(transfer_files, "hold", hold_and_stop)
    saved.mkdir(exist_ok=True)
    with pytest.raises(KeyboardInterrupt):
        dump(db, saved / "dump.json") if command == "dump" else backup.back_up(tomato_url)
    assert list(saved.iterdir()) == []


def left_behind(server: psycopg.Connection) -> Finding:
    return next(finding for finding in examine(server, 1) if finding.topic == "backup")


def databases(server: psycopg.Connection, *names: str) -> list[str]:
    """Those of the databases that there are."""
    found = server.execute("select datname::text from pg_database where datname = any(%s)", [list(names)])
    return [name for (name,) in found]


def test_a_scratch_database_of_a_killed_process_goes_with_the_next(tomato_server_url: str) -> None:
    left, at_work = (f"{SCRATCH}{token_hex(6)}" for _ in range(2))
    with psycopg.connect(with_database(tomato_server_url, "postgres"), autocommit=True) as another:
        claim(another, at_work)
        for database in (left, at_work):  # the first may be gone at once: other tests make scratch databases too
            create_database(with_database(tomato_server_url, database))
        with scratch_database(tomato_server_url, migrated=False):
            assert databases(another, left, at_work) == [at_work]
    drop_database(with_database(tomato_server_url, at_work))


def test_passwords_reach_no_list_of_processes_and_no_message(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "pg_dump"
    program.write_text('#!/bin/sh\necho "$@" "$PGPASSWORD at $PGHOST:$PGPORT/$PGDATABASE as $PGUSER" >&2\nexit 1\n')
    program.chmod(0o700)
    monkeypatch.setattr(backup, "_program", lambda *_: program)
    settings = {"host": "db.example", "port": "5433", "user": "me", "dbname": "tomato"}
    target = Target(settings, "s3cret", None, encrypted=True, version=150000, identity="", has_temporary_tables=True)
    with pytest.raises(TomatoError) as failed:
        backup.run_program("pg_dump", target, "--format=custom")
    assert str(failed.value) == "pg_dump failed: --no-password --format=custom … at db.example:5433/tomato as me"


def test_a_restore_refuses_while_workers_are_connected_unless_told_to_end_them(
    tomato_url: str,
    saved: Path,
    db: Database,
    server: psycopg.Connection,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    db.organizations.create("uni")
    file = backup.back_up(tomato_url)
    db.organizations.create("later")
    monkeypatch.setattr(restoring, "_PATIENCE", 0.1)
    with pytest.raises(Busy, match=r"is in use \(.*tomato-dao/\d+: \d.*with end_sessions$"):
        restore(file, tomato_url)
    with dropped_afterwards(tomato_url):
        kept = restore(file, tomato_url, end_sessions=True)
        assert [organization.name for organization in db.organizations.list()] == ["uni"]
        assert kept
        assert set(organizations(with_database(tomato_url, kept))) == {"uni", "later"}
    assert all(record.name.startswith("tomato_dao.") for record in caplog.records)  # workers hear nothing in the driver's words
    assert not any("\n" in record.getMessage() for record in caplog.records)


def test_a_restored_database_has_statistics(tomato_url: str, saved: Path, server: psycopg.Connection) -> None:
    server.execute("insert into organizations (name) select 'org' || n from generate_series(1, 500) n")
    file = backup.back_up(tomato_url)
    server.close()
    with dropped_afterwards(tomato_url):
        restore(file, tomato_url)
        with psycopg.connect(tomato_url) as restored:
            without = "select c.oid::regclass from pg_class c where c.relkind = 'r' and c.reltuples < 0"
            assert restored.execute(without).fetchall() == []
            columns = "select count(*) > 0 from pg_stats where tablename = 'organizations'"
            assert restored.execute(columns).fetchone() == (True,)


@pytest.mark.parametrize("granted", [True, False])
def test_a_restored_database_has_the_privileges_of_the_one_before(
    tomato_url: str, has_roles: bool, saved: Path, server: psycopg.Connection, granted: bool
) -> None:
    if not has_roles:
        pytest.skip("the tests' user may not make roles")
    if granted:
        for command in (
            "revoke all on database {} from public",
            "grant temporary on database {} to pg_monitor",
            "grant connect on database {} to tomato_app, tomato_reader",
            "grant create on database {} to pg_monitor with grant option",
            "alter database {} owner to tomato_owner",
        ):
            server.execute(sql.SQL(command).format(sql.Identifier(server.info.dbname)))
    file = backup.back_up(tomato_url)
    before = privileges(server)
    server.close()
    with dropped_afterwards(tomato_url):
        restore(file, tomato_url)
        with psycopg.connect(tomato_url) as restored:
            assert privileges(restored) == before


def privileges(connection: psycopg.Connection) -> set[tuple[str, str, str, bool]]:
    """Return the owner of a database with each privilege on it: to whom, which, and whether it may be granted to others."""
    rows = connection.execute("""
        select pg_get_userbyid(d.datdba), x.grantee::regrole::text, x.privilege_type, x.is_grantable
        from pg_database d
        cross join aclexplode(coalesce(d.datacl, acldefault('d', d.datdba))) x
        where d.datname = current_database()
    """)
    return set(rows.fetchall())


def test_a_restore_that_fails_leaves_the_database_and_nothing_else(tomato_url: str, tmp_path: Path) -> None:
    (tmp_path / "no.dump").write_text("PGDMP, but no backup")
    with pytest.raises(TomatoError, match=r"pg_restore failed: "):
        restore(tmp_path / "no.dump", tomato_url)
    with pytest.raises(NotFound, match="does not exist"):
        restore(tmp_path / "none.dump", tomato_url)
    with psycopg.connect(tomato_url) as connection:
        name = f"{connection.info.dbname}\\_%"
        assert connection.execute("select datname from pg_database where datname like %s", [name]).fetchall() == []
    assert organizations(tomato_url) == []


def test_the_commands_save_and_restore(tomato_url: str, has_roles: bool, saved: Path) -> None:
    if has_roles:
        make_roles(tomato_url)
    done = run([str(CHECKOUT / "bin" / "backup")], tomato_url)
    (file,) = saved.iterdir()
    assert done.stdout.startswith(str(file)), done.stderr
    with dropped_afterwards(tomato_url):
        password = secret(tomato_url) or {"password": "s3cret"}  # where the server asks for none, any will do
        done = run([str(CHECKOUT / "bin" / "restore"), str(file)], make_conninfo(tomato_url, **password))
        restored, kept, drop = done.stdout.splitlines()
        assert restored == f"restored {file}", done.stderr
        name = kept.removeprefix("the previous database is kept as ").partition(";")[0]
        assert password["password"] not in drop
        told = json.loads(run([str(CHECKOUT / "bin" / "doctor"), "--json"], tomato_url).stdout)["findings"]
        assert [row["name"] for row in told[-1]["figures"]["kept_databases"]] == [name]
        *_, server, option, statement = shlex.split(drop)
        assert option == "-c"
        with psycopg.connect(make_conninfo(server, **password), autocommit=True) as connection:
            connection.execute(statement.encode())
            assert connection.execute("select from pg_database where datname = %s", [name]).fetchall() == []


def secret(url: str) -> dict[str, str]:
    """Return the password of a URL, where it has one."""
    return {k: str(v) for k, v in conninfo_to_dict(url).items() if k == "password"}


def test_a_dump_and_a_backup_are_distinguished(tomato_url: str, saved: Path, db: Database, tmp_path: Path) -> None:
    dump = tmp_path / "dump.json"
    for name, said in (("dump.json", "a dump, not a backup"), ("dump.json.gz", "compressed"), ("dump.json.zst", "compressed")):
        tomato_dao.dump(db, tmp_path / name)
        with pytest.raises(InvalidValue, match=rf"is {said}: .*“bin/load .*{name}"):
            restore(tmp_path / name, tomato_url)
    dump.write_text("neither")
    with pytest.raises(InvalidValue, match="is not a backup of bin/backup"):
        restore(dump, tomato_url)
    file = backup.back_up(tomato_url)
    compressed = tmp_path / "backup.gz"
    compressed.write_bytes(gzip.compress(file.read_bytes()))
    for load in (check, partial(tomato_dao.load, db)):
        for path in (file, compressed):
            with pytest.raises(InvalidValue, match="it is a backup, not a dump: bin/restore"):
                load(path)


def test_a_restore_of_a_backup_without_roles_says_so(
    tomato_url: str, has_roles: bool, saved: Path, server: psycopg.Connection
) -> None:
    if not has_roles:
        pytest.skip("the tests' user may not make roles")
    server.execute("revoke all on all tables in schema public from tomato_app")
    server.close()
    with dropped_afterwards(tomato_url):
        done = run([str(CHECKOUT / "bin" / "restore"), str(backup.back_up(tomato_url))], tomato_url)
        assert re.search("^note: .*tomato_app lacks privileges on .*: run make roles$", done.stdout, re.MULTILINE)


def test_a_directory_that_cannot_be_is_named_with_what_to_do(tomato_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BACKUP_DIR", "/proc/nope")
    with pytest.raises(Unavailable, match=r"^cannot create the directory /proc/nope: .*; set BACKUP_DIR to another$"):
        backup.back_up(tomato_url)

"""The doctor's thresholds, each on both sides: what is just well, and what is just not."""

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import LiteralString

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo

from tests.helpers.dao_cases import BLOCKED, until
from tomato_dao.ops.backup import back_up
from tomato_dao.ops.databases import create_database
from tomato_dao.ops.examinations import Finding, examine, examine_roles, findings
from tomato_dao.ops.examinations.indexes import LARGE
from tomato_dao.ops.roles import ROLES, make_roles
from tomato_dao.ops.scratch import drop_database, scratch_database, with_database
from tomato_dao.server.capacity import BESIDE

pytestmark = pytest.mark.slow

# The server's sessions, but their transactions and states are as old as two settings say.
AGED = """
create schema aged;
create view aged.pg_stat_activity as
select
  a.datid, a.datname, a.pid, a.leader_pid, a.usename, a.application_name, a.backend_type, a.state, a.wait_event_type, a.query,
  case when a.xact_start is not null then clock_timestamp() - current_setting('aged.transaction')::interval end as xact_start,
  clock_timestamp() - current_setting('aged.state')::interval as state_change
from pg_catalog.pg_stat_activity a
"""


def finding(connection: psycopg.Connection, topic: str, pool_size: int = 1) -> Finding:
    return next(found for found in examine(connection, pool_size) if found.topic == topic)


@pytest.fixture(scope="module")
def idle_and_waiting(lasting_url: str) -> Iterator[str]:
    """Provide the URL of a database in which the session “waiting” is blocked by the open transaction of the session “idle”."""
    with (
        ThreadPoolExecutor(1) as threads,
        closing(psycopg.connect(lasting_url, application_name="waiting", autocommit=True)) as waiting,
        psycopg.connect(lasting_url, application_name="idle") as idle,
    ):
        with psycopg.connect(lasting_url, autocommit=True) as server:
            server.execute(AGED)
            idle.execute("lock table organizations")
            done = threads.submit(waiting.execute, "select from organizations")
            until(server, BLOCKED, 1)
        yield lasting_url
        idle.rollback()
        done.result(60)


def aged(url: str, transaction: int, state: int) -> psycopg.Connection:
    """Return a connection to which all transactions and states seem to be so many seconds old."""
    options = f"-c aged.transaction={transaction}s -c aged.state={state}s"
    return psycopg.connect(make_conninfo(url, options=options), autocommit=True)


@pytest.mark.parametrize(
    ("transaction", "state", "named"),
    [(299, 59, []), (299, 61, ["idle"]), (301, 59, ["idle", "waiting"]), (301, 0, ["idle", "waiting"])],
)
def test_long_transactions_and_shorter_idle_ones_are_bad(
    idle_and_waiting: str, transaction: int, state: int, named: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(findings, "CATALOG_PATH", "aged,pg_catalog")
    with aged(idle_and_waiting, transaction, state) as connection:
        found = finding(connection, "transactions")
    assert found.summary.endswith("; 1 idle in transaction")
    assert len(found.figures["transactions"]) == 2
    assert sorted(line.partition(" ")[0] for line in found.details) == named
    assert len(found.advice) == len(named)
    assert found.level == ("bad" if named else "ok")


@pytest.mark.parametrize(("seconds", "level"), [(9, "ok"), (11, "bad")])
def test_long_waits_for_locks_are_bad(idle_and_waiting: str, seconds: int, level: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(findings, "CATALOG_PATH", "aged,pg_catalog")
    with aged(idle_and_waiting, 0, seconds) as connection:
        found = finding(connection, "locks")
    assert (found.level, found.summary, len(found.advice)) == (level, "1 session waiting for a lock", int(level == "bad"))
    assert found.details[0].startswith("waiting ")


def test_a_server_without_room_for_one_more_pool_is_bad(server: psycopg.Connection) -> None:
    figures = finding(server, "connections").figures
    room = figures["allowed"] - figures["reserved"] - figures["used"]
    for size in (room - BESIDE, room - BESIDE + 1):
        found = finding(server, "connections", size)
        left = found.figures["allowed"] - found.figures["reserved"] - found.figures["used"]  # others come and go
        assert found.level == ("ok" if left >= size + BESIDE else "bad")
        assert bool(found.advice) is (left < size + BESIDE)


def make_table(server: psycopg.Connection, name: str, live: int, dead: int = 0) -> None:
    """A table of so many live and dead rows, as the server's statistics tell."""
    server.execute(f"create table {name} (id int) with (autovacuum_enabled = off)")
    server.execute(f"insert into {name} select generate_series(1, {live + dead})")
    server.execute(f"delete from {name} where id <= {dead}")
    server.execute("select pg_stat_force_next_flush()")
    until(server, "(select (n_live_tup, n_dead_tup) = (%s, %s) from pg_stat_all_tables where relname = %s)", live, dead, name)
    server.execute(f"analyze {name}")


def vacuums(found: Finding) -> list[str]:
    return [line for line in found.advice if line.startswith("vacuum")]


def test_tables_with_many_dead_rows_that_are_more_than_a_fifth_get_a_note(server: psycopg.Connection) -> None:
    make_table(server, "few", live=0, dead=10_000)
    make_table(server, "a_fifth", live=40_004, dead=10_001)
    assert vacuums(finding(server, "tables")) == []
    make_table(server, "many", live=40_003, dead=10_001)
    found = finding(server, "tables")
    assert (found.level, vacuums(found)) == ("note", ["vacuum (analyze) many;"])
    assert "; many dead rows in 1" in found.summary


def read_whole(server: psycopg.Connection, table: str, times: int) -> None:
    server.execute(f"do $$ begin for n in 1..{times} loop perform count(*) from {table}; end loop; end; $$")
    server.execute("select pg_stat_force_next_flush()")
    until(server, "(select seq_scan = %s from pg_stat_all_tables where relname = %s)", times, table)


def test_large_tables_that_are_often_read_as_a_whole_get_a_note(server: psycopg.Connection) -> None:
    for name, live, times in (("seldom", 10_001, 100), ("small", 10_000, 101), ("large", 10_001, 101)):
        found = finding(server, "indexes")
        assert (found.level, found.details, found.advice) == ("ok", [], [])
        server.execute(f"create table {name} as select generate_series(1, {live}) as id")
        read_whole(server, name, times)
    found = finding(server, "indexes")
    assert (found.level, found.advice) == ("note", [])
    assert found.details == ["large: read as a whole 101 times; a query may lack an index"]


@pytest.mark.parametrize("noted", [False, True])
def test_missing_and_invalid_indexes_are_bad(server: psycopg.Connection, noted: bool) -> None:
    if noted:
        server.execute("create table large as select generate_series(1, 10001) as id")
        read_whole(server, "large", 101)
    server.execute("create table sheets (host_id bigint constraint sheets_host references hosts)")
    found = finding(server, "indexes")
    assert (found.level, found.details[0]) == ("bad", "sheets_host on sheets: a foreign key without an index")
    assert found.advice == ["a new migration with “create index …”"]
    server.execute("drop table sheets; create table twice as select 1 as id from generate_series(1, 2)")
    with pytest.raises(psycopg.errors.UniqueViolation):
        server.execute("create unique index concurrently once on twice (id)")
    found = finding(server, "indexes")
    assert (found.level, found.details[0]) == (
        "bad",
        "index once is invalid (an earlier build failed, or one is still running), so no query of twice uses it",
    )
    assert found.advice == ["if none is running, drop index concurrently once; then make migrate"]
    assert len(found.details) == 1 + noted


def test_large_unused_indexes_are_reported(server: psycopg.Connection) -> None:
    server.execute("create table numbers as select generate_series(1, 60000) as id")
    for name, rows, is_large in (("smaller", 46_000, False), ("larger", 47_000, True)):
        # Nearly empty pages make an index large.
        server.execute(f"create index {name} on numbers (id) with (fillfactor = 10) where id <= {rows}")
        ((size,),) = server.execute("select pg_relation_size(%s::regclass)", [name]).fetchall()
        assert abs(size - LARGE) < 200_000
        found = finding(server, "indexes")
        assert [line.partition(" ")[0] for line in found.details] == [name] * is_large
        assert (found.level, found.advice) == ("ok", [])


def test_a_backup_that_is_missing_or_older_than_a_week_gets_a_note(
    tomato_url: str, saved: Path, server: psycopg.Connection
) -> None:
    assert (finding(server, "backup").level, finding(server, "backup").advice) == ("note", ["bin/backup"])
    file = back_up(tomato_url)
    for age, level in ((timedelta(days=7, minutes=-1), "ok"), (timedelta(days=7, minutes=1), "note")):
        made = (datetime.now(UTC) - age).timestamp()
        os.utime(file, (made, made))
        found = finding(server, "backup")
        assert (found.level, found.advice) == (level, ["bin/backup"] * (level == "note"))


def test_databases_that_restores_have_kept_for_more_than_a_week_get_a_note(
    tomato_url: str, saved: Path, server: psycopg.Connection
) -> None:
    back_up(tomato_url)
    server.execute("set timezone = 'Asia/Tokyo'")  # their names tell the time in UTC
    with ExitStack() as databases:
        for age, level in ((timedelta(days=7, minutes=-1), "ok"), (timedelta(days=7, minutes=1), "note")):
            name = f"{server.info.dbname}_before_{datetime.now(UTC) - age:%Y%m%dT%H%M%S}"
            create_database(with_database(tomato_url, name))
            databases.callback(drop_database, with_database(tomato_url, name))
            found = finding(server, "backup")
            assert found.level == level
            assert found.advice == [f'drop database "{name}";  -- if nobody needs it'] * (level == "note")


@pytest.fixture(scope="module")
def roles_url(tomato_server_url: str, tomato_template: str, has_roles: bool) -> Iterator[str]:
    """Provide the URL of a database in which the roles have just what they need."""
    if not has_roles:
        pytest.skip("the tests' user may not make roles")
    with scratch_database(tomato_server_url, template=tomato_template) as url:
        make_roles(url)
        yield url


@pytest.mark.parametrize(
    ("commands", "wrong"),
    [
        ("", []),
        ("revoke insert on hosts from tomato_app", ["tomato_app lacks privileges on 1 table"]),
        ("revoke update on hosts from tomato_app", ["tomato_app lacks privileges on 1 table"]),
        ("revoke delete on hosts from tomato_app", ["tomato_app lacks privileges on 1 table"]),
        (
            "revoke select on hosts, sites from tomato_app; revoke insert on hosts from tomato_app",
            ["tomato_app lacks privileges on 2 tables"],
        ),
        (
            "revoke select on hosts from tomato_app; revoke insert on hosts, sites from tomato_app",
            ["tomato_app lacks privileges on 2 tables"],
        ),
        ("revoke select on hosts from tomato_reader", ["tomato_reader lacks privileges on 1 table"]),
        ("revoke select on schema_migrations from tomato_app", ["tomato_app lacks privileges on 1 table"]),
        ("revoke usage on sequence hosts_id_seq from tomato_app", ["tomato_app lacks privileges on 1 sequence"]),
        (
            "revoke usage on schema public from public, tomato_reader",
            ["tomato_reader lacks privileges on the schema public"],
        ),
        (
            "alter default privileges for role tomato_owner in schema public revoke delete on tables from tomato_app",
            ["tomato_app lacks privileges on new tables"],
        ),
        ("grant create on schema public to tomato_app", ["tomato_app may create tables"]),
        ("grant create on schema public to tomato_reader", ["tomato_reader may create tables"]),
        (
            "grant insert, truncate on schema_migrations to tomato_app",
            ["tomato_app has more than it needs on schema_migrations: insert, truncate"],
        ),
        (
            "grant update (sha256) on schema_migrations to tomato_app",
            ["tomato_app has more than it needs on schema_migrations: update"],
        ),
        (
            "grant delete on migration_lock to tomato_app",
            ["tomato_app has more than it needs on migration_lock: delete"],
        ),
        ("grant insert on hosts to tomato_reader", ["tomato_reader has more than it needs on hosts: insert"]),
        (
            "grant trigger on sites to public",
            [f"tomato_{role} has more than it needs on sites: trigger" for role in ("app", "reader")],
        ),
        (
            "grant update on sequence hosts_id_seq to tomato_app",
            ["tomato_app has more than it needs on hosts_id_seq: update"],
        ),
        (
            "alter default privileges for role tomato_owner in schema public grant truncate on tables to tomato_app",
            ["tomato_app has more than it needs on new tables: truncate"],
        ),
        ("alter table hosts owner to current_user", ["tomato_owner does not own 1 table"]),
        ("alter function remove_usage() owner to current_user", ["tomato_owner does not own 1 function"]),
        ("alter schema public owner to pg_database_owner", ["tomato_owner does not own the schema public"]),
        ("alter role tomato_reader superuser", ["tomato_reader is a superuser"]),
        ("alter role tomato_reader rename to another", ["there is no tomato_reader"]),
    ],
)
def test_roles_with_less_or_more_than_they_need_are_bad(roles_url: str, commands: LiteralString, wrong: list[str]) -> None:
    with psycopg.connect(roles_url) as server, server.transaction(force_rollback=True):
        server.execute(commands)
        found = examine_roles(server)
    assert (found.level, found.details) == ("bad" if wrong else "ok", wrong)
    assert found.advice == ["make roles"] * bool(wrong)


def test_temporary_tables_and_new_schemas_of_workers_are_bad(roles_url: str) -> None:
    with psycopg.connect(roles_url) as server, server.transaction(force_rollback=True):
        database = sql.Identifier(server.info.dbname)
        server.execute(sql.SQL("grant temporary on database {} to public").format(database))
        server.execute(sql.SQL("grant create on database {} to tomato_app").format(database))
        found = examine_roles(server)
    assert found.details == [
        "tomato_app has more than it needs on the database: create, temporary",
        "tomato_reader has more than it needs on the database: temporary",
    ]


def test_large_objects_of_workers_get_a_note_since_only_a_superuser_can_forbid_them(roles_url: str) -> None:
    with psycopg.connect(roles_url) as server, server.transaction(force_rollback=True):
        server.execute("grant execute on function lo_create(oid) to public")
        found = examine_roles(server)
    assert (found.level, found.details) == ("note", ["tomato_app and tomato_reader may create large objects"])
    assert found.advice == ["OWNER_DATABASE_URL=postgresql://postgres@…/… make roles  -- only a superuser can forbid it"]


def test_a_server_without_the_roles_gets_a_note(lasting_url: str, has_roles: bool) -> None:
    if not has_roles:
        pytest.skip("the tests' user may not make roles")
    with psycopg.connect(lasting_url) as server, server.transaction(force_rollback=True):
        for role in ROLES:
            server.execute(sql.SQL("alter role {} rename to {}").format(sql.Identifier(role), sql.Identifier(f"not_{role}")))
        found = examine_roles(server)
    assert (found.level, found.advice) == ("note", ["make roles"])


def test_a_read_only_database_or_server_is_reported(tomato_url: str, server: psycopg.Connection) -> None:
    database = sql.Identifier(server.info.dbname)
    with psycopg.connect(tomato_url) as connection:
        assert "read-only" not in finding(connection, "server").summary
    server.execute(sql.SQL("alter database {} set default_transaction_read_only = on").format(database))
    with psycopg.connect(tomato_url) as connection:
        found = finding(connection, "server")
    assert (found.level, found.summary.endswith(", read-only")) == ("bad", True)
    reset = f"alter database {database.as_string()} reset default_transaction_read_only;  -- no worker can write"
    assert reset in found.advice
    with psycopg.connect(tomato_url, autocommit=True) as connection:
        connection.execute("set transaction_read_only = off")
        connection.execute("set default_transaction_read_only = off")
        connection.execute(reset)
    with psycopg.connect(make_conninfo(tomato_url, options="-c default_transaction_read_only=on")) as connection:
        assert "read-only" not in finding(connection, "server").summary  # the session's own wish

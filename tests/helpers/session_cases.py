"""Helpers that the tests of sessions share: who is connected, who waits, and how a session is ended."""

from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from time import monotonic, sleep
from typing import LiteralString

import psycopg
from psycopg.conninfo import make_conninfo

from tests.helpers.dao_cases import until
from tomato_dao import Database
from tomato_dao.ops.scratch import with_database

BACKENDS: LiteralString = (
    "from pg_stat_activity where datname = current_database() and split_part(application_name, '/', 1) = %s"
)
LOCKS: LiteralString = "from pg_locks l inner join pg_database d on d.oid = l.database where d.datname = current_database()"


def names(db: Database) -> list[str]:
    return [organization.name for organization in db.organizations.list()]


def kill(server: psycopg.Connection, application_name: str) -> int:
    """End the sessions of that name, wait until they are gone, and tell how many they were."""
    row = server.execute("select count(pg_terminate_backend(pid, 5000)) " + BACKENDS, [application_name]).fetchone()
    until(server, "not exists (select " + BACKENDS + ")", application_name)
    assert row
    return int(row[0])


def blocked(application_name: str, number: int = 1) -> tuple[LiteralString, str, int]:
    """Return the condition that so many sessions of that name wait for a lock."""
    return "(select count(*) " + BACKENDS + " and wait_event_type = 'Lock') = %s", application_name, number


def let_commits_wait(server: psycopg.Connection) -> None:
    """Let all commits of a server wait for a standby that is not there, and wait until one does.

    Other processes hear of the setting from the checkpointer, which may be late.
    """
    server.execute("alter system set synchronous_standby_names = 'missing'")
    server.execute("select pg_reload_conf()")
    end = "select pg_terminate_backend(pid) from pg_stat_activity where pid = %s and wait_event = 'SyncRep'"
    url = make_conninfo(server.info.dsn, password=server.info.password, options="-c synchronous_commit=on")
    deadline = monotonic() + 60
    while True:
        with closing(psycopg.connect(url, autocommit=True)) as probe:
            probe.pgconn.send_query(b"select pg_logical_emit_message(true, '', '')")
            while probe.pgconn.is_busy():
                pid = probe.info.backend_pid
                if server.execute(end, [pid]).rowcount:
                    until(server, "not exists (select from pg_stat_activity where pid = %s)", pid)
                    return
                assert monotonic() < deadline, "no commit waits"
                probe.pgconn.consume_input()


@contextmanager
def commits_waiting(server: psycopg.Connection) -> Iterator[None]:
    """Let all commits of a server wait in the block for a standby that is not there."""
    try:
        let_commits_wait(server)
        yield
    finally:
        server.execute("alter system reset synchronous_standby_names")
        server.execute("select pg_reload_conf()")


def setting(db: Database, name: str) -> str:
    with db.connection() as connection:
        row = connection.execute("select current_setting(%s)", [name]).fetchone()
    assert row
    return str(row[0])


def until_waiting(db: Database, number: int = 1) -> None:
    """Wait, 60 seconds at most, until so many tasks wait for a connection of the pool."""
    deadline = monotonic() + 60
    while db.stats().pool.waiting != number:
        assert monotonic() < deadline
        sleep(0.005)


def fill(db: Database) -> None:
    """Open all the connections that the pool may hold, and leave them idle."""
    with ExitStack() as leases:
        for _ in range(db.stats().pool.size):
            leases.enter_context(db.connection())


@contextmanager
def refusing_connections(url: str) -> Iterator[None]:
    """Refuse new sessions of a database while in the block; those that it has stay."""
    with psycopg.connect(with_database(url, "postgres"), autocommit=True) as admin, psycopg.connect(url) as inside:
        allow = f'alter database "{inside.info.dbname}" allow_connections '
        admin.execute(f"{allow} false".encode())
        try:
            yield
        finally:
            admin.execute(f"{allow} true".encode())

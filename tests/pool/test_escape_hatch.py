"""The escape hatch: nothing that is done to a leased connection reaches the next task."""

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import psycopg
import pytest
from psycopg import IsolationLevel
from psycopg.conninfo import make_conninfo
from psycopg.rows import dict_row

from tests.helpers.session_cases import names, setting
from tomato_dao import Database, connect
from tomato_dao.ops import roles

pytestmark = pytest.mark.slow


def state(db: Database) -> dict[str, str]:
    """All settings of the pool's session, and as whom it acts."""
    with db.connection() as connection:
        assert connection.autocommit
        found = dict(connection.execute("select s.name, s.setting from pg_settings s").fetchall())
        who = connection.execute("select session_user, current_user, current_setting('role')").fetchone()
    assert who
    return found | dict(zip(("session_user", "current_user", "role"), who, strict=True))


def change_attributes(connection: Any) -> None:
    connection.row_factory = dict_row
    connection.autocommit = False
    connection.isolation_level = IsolationLevel.SERIALIZABLE
    connection.read_only = connection.deferrable = True


def change_settings_in_a_transaction(connection: Any) -> None:
    connection.autocommit = False
    connection.execute("set search_path to pg_catalog")
    connection.execute("set statement_timeout = 1")


def change_settings(connection: Any) -> None:
    connection.execute("set search_path to pg_catalog")
    connection.execute("set statement_timeout = '7 min'")
    connection.execute("set default_transaction_read_only = on")
    connection.execute("set timezone = 'Asia/Tokyo'")
    connection.execute("set client_encoding = 'LATIN1'")


def fail_in_a_transaction(connection: Any) -> None:
    connection.autocommit = False
    with suppress(psycopg.errors.DivisionByZero):
        connection.execute("select 1 / 0")


def end_session(connection: Any) -> None:
    connection.autocommit = False
    connection.execute("select 1")
    with suppress(psycopg.OperationalError):
        connection.execute("select pg_terminate_backend(pg_backend_pid())")


@pytest.mark.parametrize(
    "use", [change_attributes, change_settings_in_a_transaction, change_settings, fail_in_a_transaction, end_session]
)
def test_changes_to_a_leased_connection_do_not_reach_the_next_task(single: Database, use: Callable[[Any], None]) -> None:
    before = state(single)
    for n in range(2):
        with single.connection() as connection:
            use(connection)
        assert len(names(single)) == n
        assert state(single) == before
        assert setting(single, "timezone") == "UTC"
        with single.transaction():
            single.organizations.create(f"{n}")


@pytest.mark.parametrize("change", ["set role", "set session authorization"])
@pytest.mark.parametrize("usual", [None, roles.APP], ids=["as connected", "as a role"])
def test_another_role_of_a_leased_connection_does_not_reach_the_next_task(
    tomato_url: str, has_roles: bool, change: str, usual: str | None
) -> None:
    if not has_roles:
        pytest.skip("the tests' user may not make roles")
    url = make_conninfo(tomato_url, options=f"-c role={usual}") if usual else tomato_url
    with connect(url, pool_size=1) as db:
        before = state(db)
        assert before["role"] == (usual or "none")
        with db.connection() as connection:
            connection.execute(f"{change} {roles.READER}".encode())
            assert connection.execute("select current_user").fetchone() == (roles.READER,)
        assert state(db) == before
        assert db.organizations.create("made").name == "made"


def test_times_are_in_utc_on_a_server_that_is_not(tomato_url: str, server: psycopg.Connection, prepare: bool) -> None:
    server.execute(f"alter database {server.info.dbname} set timezone = 'Asia/Tokyo'".encode())
    with connect(tomato_url, pool_size=1, prepare=prepare) as db:
        for _ in range(3):
            assert setting(db, "timezone") == "UTC"
            with db.connection() as connection:
                connection.execute("set timezone = 'America/New_York'")


def test_a_leased_connection_after_a_read_only_transaction_is_as_any_other(single: Database) -> None:
    before = state(single)
    with single.transaction(read_only=True, isolation=IsolationLevel.SERIALIZABLE):
        assert names(single) == []
    with single.connection() as connection, connection.transaction():
        isolation = connection.execute("show transaction_isolation").fetchone()
        connection.execute("insert into organizations (name) values ('made')")
    assert isolation == (before["transaction_isolation"],)
    assert names(single) == ["made"]


LEFT = """
select
  array(select l.objid from pg_locks l where l.locktype = 'advisory' and l.pid = pg_backend_pid()),
  array(select pg_listening_channels()),
  array(select c.relname from pg_class c where c.relnamespace = pg_my_temp_schema() and c.relkind in ('r', 'S')),
  array(select c.name from pg_cursors c where c.is_holdable)
"""


def test_settings_left_in_a_leased_session_do_not_reach_the_next_task(single: Database) -> None:
    with single.connection() as connection:
        before = connection.execute(LEFT).fetchone()
        connection.execute("select pg_advisory_lock(5)")
        connection.execute("listen news")
        connection.execute("create temporary table organizations as select * from public.organizations where false")
        connection.execute("declare rows cursor with hold for select 1")
        assert connection.execute(LEFT).fetchone() != before
    single.organizations.create("made")
    with single.connection() as connection:
        assert connection.execute(LEFT).fetchone() == before
    assert names(single) == ["made"]

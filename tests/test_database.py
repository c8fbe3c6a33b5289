"""connect() and the Database: transactions, the pool, session settings, what is refused at the door, and dead servers."""

import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from time import monotonic, sleep
from typing import LiteralString

import psycopg
import pytest
from conftest import World
from dao_cases import NOBODY, until
from psycopg import IsolationLevel, sql
from psycopg.conninfo import make_conninfo

from tomato_dao import (
    AlreadyExists,
    Conflict,
    Database,
    InvalidValue,
    NotAllowed,
    NotFound,
    TomatoError,
    Unavailable,
    WrongLayout,
    WrongState,
    connect,
    layout,
)
from tomato_dao.ops.scratch import drop_database, scratch_database, with_database

BACKENDS: LiteralString = "from pg_stat_activity where datname = current_database() and application_name = %s"


def names(db: Database) -> list[str]:
    return [organization.name for organization in db.organizations.list()]


def setting(db: Database, name: str) -> str:
    with db.connection() as connection:
        row = connection.execute("select current_setting(%s)", [name]).fetchone()
    assert row
    return str(row[0])


def everything_said(error: BaseException) -> str:
    return "\n".join([str(error), repr(error), *traceback.format_exception(error)])


@pytest.fixture(scope="module")
def lasting(tomato_server_url: str) -> Iterator[Database]:
    """A Database of one connection for all tests that leave nothing behind."""
    with scratch_database(tomato_server_url) as url, connect(url, pool_size=1) as db:
        yield db


@pytest.fixture
def single(tomato_url: str) -> Iterator[Database]:
    """A Database of one connection that the server shows as “single”."""
    with connect(tomato_url, pool_size=1, application_name="single", timeout=5) as db:
        yield db


def kill(server: psycopg.Connection, application_name: str) -> int:
    """End the sessions of that name, wait until they are gone, and tell how many they were."""
    row = server.execute("select count(pg_terminate_backend(pid, 5000)) " + BACKENDS, [application_name]).fetchone()
    until(server, "not exists (select " + BACKENDS + ")", application_name)
    assert row
    return int(row[0])


def blocked(application_name: str, number: int = 1) -> tuple[LiteralString, str, int]:
    """The condition that so many sessions of that name wait for a lock."""
    return "(select count(*) " + BACKENDS + " and wait_event_type = 'Lock') = %s", application_name, number


# Opening and closing.


def test_a_with_block_closes_the_database_and_its_sessions(tomato_url: str, server: psycopg.Connection) -> None:
    with connect(tomato_url, application_name="brief") as db:
        assert names(db) == []
    until(server, "not exists (select " + BACKENDS + ")", "brief")
    with pytest.raises(Unavailable, match="the database is closed"):
        db.organizations.list()


def test_a_closed_database_is_unavailable_in_every_way(tomato_url: str) -> None:
    db = connect(tomato_url)
    db.close()
    db.close()
    with pytest.raises(Unavailable, match="closed"):
        db.hosts.get(1)
    with pytest.raises(Unavailable, match="closed"):
        db.organizations.create("uni")
    with pytest.raises(Unavailable, match="closed"):
        db.transaction().__enter__()
    with pytest.raises(Unavailable, match="closed"):
        db.connection().__enter__()


def test_a_task_that_waits_when_the_database_is_closed_is_told_so(single: Database) -> None:
    with ThreadPoolExecutor() as threads, single.connection():
        waiting = threads.submit(single.organizations.list)
        deadline = monotonic() + 10
        while not single._pool._waiters:
            assert monotonic() < deadline
            sleep(0.005)
        single.close()
        with pytest.raises(Unavailable, match="closed"):
            waiting.result(10)


# Transactions.


def test_a_transaction_commits_all_of_its_calls(db: Database, server: psycopg.Connection) -> None:
    with db.transaction():
        db.organizations.create("one")
        db.organizations.create("two")
        assert names(db) == ["one", "two"]
        assert server.execute("select count(*) from organizations").fetchone() == (0,)
    assert server.execute("select count(*) from organizations").fetchone() == (2,)


@pytest.mark.parametrize("error", [ZeroDivisionError(), KeyboardInterrupt(), NotFound("x")], ids=repr)
def test_whatever_leaves_a_transaction_rolls_it_back(lasting: Database, error: BaseException) -> None:
    def fail() -> None:
        with lasting.transaction():
            lasting.organizations.create("lost")
            raise error

    with pytest.raises(type(error)) as raised:
        fail()
    assert raised.value is error
    assert names(lasting) == []


def test_an_inner_transaction_is_rolled_back_alone(db: Database) -> None:
    def fail() -> None:
        with db.transaction():
            db.organizations.create("inner")
            db.organizations.create("outer")

    with db.transaction():
        db.organizations.create("outer")
        with pytest.raises(AlreadyExists):
            fail()
        with db.transaction():
            db.organizations.create("later")
            with db.transaction():
                db.organizations.create("innermost")
    assert names(db) == ["outer", "later", "innermost"]


def test_an_outer_rollback_takes_committed_inner_ones_along(lasting: Database) -> None:
    def fail() -> None:
        with lasting.transaction():
            with lasting.transaction():
                lasting.organizations.create("inner")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert names(lasting) == []


def test_an_error_that_is_swallowed_does_not_lose_the_transaction_silently(lasting: Database) -> None:
    def swallow() -> None:
        with lasting.transaction():
            lasting.organizations.create("uni")
            with pytest.raises(AlreadyExists):
                lasting.organizations.create("uni")

    with pytest.raises(TomatoError):
        swallow()
    assert names(lasting) == []


def test_an_error_that_is_swallowed_in_an_inner_transaction_is_still_a_tomato_error(db: Database) -> None:
    def swallow() -> None:
        with db.transaction():
            db.organizations.create("uni")
            with pytest.raises(AlreadyExists):
                db.organizations.create("uni")

    with db.transaction():
        db.organizations.create("outer")
        with pytest.raises(TomatoError):
            swallow()
    assert names(db) == ["outer"]


def test_what_comes_after_a_swallowed_error_says_which_it_was_and_what_to_do(lasting: Database) -> None:
    def leave() -> None:
        pass

    def nest() -> None:
        with lasting.transaction():
            pass

    def swallow(and_then: Callable[[], object]) -> None:
        with lasting.transaction():
            lasting.organizations.create("uni")
            with pytest.raises(NotFound), lasting.transaction():
                lasting.sites.create("lab", organization_id=NOBODY)
            with pytest.raises(AlreadyExists):
                lasting.organizations.create("uni")
            and_then()

    told = r"^a call in the transaction failed \(organization with name 'uni' already exists\), .* nested transaction\(\)$"
    for and_then in (leave, nest, lasting.organizations.list):
        with pytest.raises(WrongState, match=told):
            swallow(and_then)
    assert names(lasting) == []


def test_what_failed_in_an_earlier_transaction_is_not_named(lasting: Database) -> None:
    def swallow() -> None:
        with lasting.transaction(), lasting.connection() as connection:
            with pytest.raises(NotFound), lasting.transaction():
                lasting.sites.create("lab", organization_id=NOBODY)
            with pytest.raises(psycopg.errors.DivisionByZero):
                connection.execute("select 1 / 0")
            lasting.organizations.list()

    with pytest.raises(WrongState, match=r"^a call in the transaction failed, so"):
        swallow()


def test_an_isolation_level_is_that_of_its_transaction_only(lasting: Database) -> None:
    default = setting(lasting, "transaction_isolation")
    for level in IsolationLevel:
        with lasting.transaction(isolation=level):
            assert setting(lasting, "transaction_isolation") == level.name.replace("_", " ").lower()
            with lasting.transaction():
                assert setting(lasting, "transaction_isolation") == level.name.replace("_", " ").lower()
        with lasting.transaction():
            assert setting(lasting, "transaction_isolation") == default


def test_a_serialization_failure_is_a_conflict(db: Database, world: World, server: psycopg.Connection) -> None:
    def come_second() -> None:
        with db.transaction(isolation=IsolationLevel.REPEATABLE_READ):
            assert db.hosts.get_by_name("host1") == world.host
            server.execute("update hosts set address = '10.0.0.9'")
            db.hosts.update("host1", {"address": "10.0.0.2"})

    with pytest.raises(Conflict):
        come_second()
    assert db.hosts.get_by_name("host1").address == "10.0.0.9"


def test_a_read_only_transaction_refuses_writes_and_the_next_does_not(single: Database) -> None:
    def write() -> None:
        with single.transaction(read_only=True):
            assert names(single) == []
            single.organizations.create("lost")

    with pytest.raises(NotAllowed, match="read-only"):
        write()
    with single.transaction():
        single.organizations.create("one")
    single.organizations.create("two")
    assert names(single) == ["one", "two"]


def test_only_the_outermost_transaction_has_isolation_and_read_only(db: Database) -> None:
    with db.transaction():
        with pytest.raises(InvalidValue, match="outermost"):
            db.transaction(read_only=True).__enter__()
        with pytest.raises(InvalidValue, match="outermost"):
            db.transaction(isolation=IsolationLevel.SERIALIZABLE).__enter__()
        db.organizations.create("uni")
    assert names(db) == ["uni"]


def test_a_transaction_is_its_threads_own(db: Database) -> None:
    with ThreadPoolExecutor() as threads:
        with db.transaction():
            db.organizations.create("uni")
            assert threads.submit(names, db).result(10) == []
            threads.submit(db.sites.list).result(10)
        assert threads.submit(names, db).result(10) == ["uni"]


def test_calls_in_a_transaction_share_its_connection(single: Database) -> None:
    with single.transaction(), single.connection() as connection:
        single.organizations.create("uni")
        assert connection.execute("select name from organizations").fetchall() == [("uni",)]
        connection.execute("insert into organizations (name) values ('other')")
        assert names(single) == ["uni", "other"]
        with single.connection() as again:
            assert again is connection
    assert names(single) == ["uni", "other"]


def test_a_connection_in_a_transaction_is_rolled_back_with_it(lasting: Database) -> None:
    def fail() -> None:
        with lasting.transaction(), lasting.connection() as connection:
            connection.execute("insert into organizations (name) values ('lost')")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert names(lasting) == []


def test_a_constraint_that_is_checked_at_commit_is_a_tomato_error(db: Database, world: World) -> None:
    topology = db.topologies.create("exp", owner_id=world.user.id)

    def break_it() -> None:
        with db.transaction(), db.connection() as connection:
            connection.execute("insert into connections (topology_id) values (%s)", [topology.id])

    with pytest.raises(InvalidValue, match="a connection has exactly two ends"):
        break_it()
    assert db.connections.list_of_topology(topology.id) == []


def test_a_leased_connection_commits_each_statement(db: Database) -> None:
    with db.connection() as connection:
        connection.execute("insert into organizations (name) values ('uni')")
        assert names(db) == ["uni"]


def test_a_transaction_left_open_on_a_leased_connection_is_undone(single: Database) -> None:
    with single.connection() as connection:
        connection.execute("begin")
        connection.execute("insert into organizations (name) values ('lost')")
    assert names(single) == []
    assert single.organizations.create("kept").name == "kept"


# The pool and its sessions.


def test_a_task_that_waits_too_long_is_told_the_figures(tomato_url: str) -> None:
    with connect(tomato_url, pool_size=2, timeout=0.1) as db, db.connection(), db.connection():
        for call in (db.organizations.list, db.transaction().__enter__, db.connection().__enter__):
            with pytest.raises(
                Unavailable, match=r"no connection free after 0.1 s: all 2 .*0 more tasks in the queue"
            ) as refused:
                call()
            assert "\n" not in str(refused.value)


def test_the_pool_never_holds_more_than_its_size(tomato_url: str, server: psycopg.Connection) -> None:
    with connect(tomato_url, pool_size=3, application_name="crowd") as db, ThreadPoolExecutor(12) as threads:
        with server.transaction():
            server.execute("lock table organizations")
            calls = [threads.submit(db.organizations.create, f"uni{n}") for n in range(12)]
            until(server, *blocked("crowd", 3))
            assert server.execute("select count(*) " + BACKENDS, ["crowd"]).fetchone() == (3,)
        assert sorted(call.result(10).name for call in calls) == sorted(f"uni{n}" for n in range(12))
        assert server.execute("select count(*) " + BACKENDS, ["crowd"]).fetchone() == (3,)


def test_a_failed_call_gives_its_connection_back(lasting: Database) -> None:
    for n in range(3):
        with pytest.raises(NotFound):
            lasting.organizations.get(n)
        with pytest.raises(InvalidValue):
            lasting.organizations.create("a/b")
    assert names(lasting) == []


def test_every_session_has_its_settings(tomato_url: str) -> None:
    expected = {
        "TimeZone": "UTC",
        "statement_timeout": "1500ms",
        "idle_in_transaction_session_timeout": "1500ms",
        "application_name": "settings",
        "client_encoding": "UTF8",
    }
    with connect(tomato_url, statement_timeout=1.5, application_name="settings") as db:
        assert {name: setting(db, name) for name in expected} == expected
        with db.transaction():
            assert {name: setting(db, name) for name in expected} == expected


def test_a_leased_connection_is_in_autocommit_mode(lasting: Database) -> None:
    with lasting.connection() as connection:
        assert connection.autocommit


def test_the_urls_own_settings_win(tomato_url: str) -> None:
    url = f"{tomato_url}&application_name=mine&options=-c%20statement_timeout%3D7s%20-c%20work_mem%3D8MB"
    with connect(url, application_name="default") as db:
        found = [setting(db, name) for name in ("application_name", "statement_timeout", "work_mem", "TimeZone")]
    assert found == ["mine", "7s", "8MB", "UTC"]


def test_a_url_may_be_given_as_key_and_value(tomato_url: str) -> None:
    with connect(make_conninfo(tomato_url)) as db:
        assert names(db) == []


def test_a_statement_that_takes_too_long_is_ended(tomato_url: str, server: psycopg.Connection) -> None:
    with connect(tomato_url, statement_timeout=0.1) as db:
        with server.transaction():
            server.execute("lock table organizations")
            with pytest.raises(Unavailable, match="statement timeout"):
                db.organizations.list()
        assert names(db) == []


def test_a_transaction_that_idles_too_long_is_ended(tomato_url: str, server: psycopg.Connection) -> None:
    with connect(tomato_url, statement_timeout=0.1, pool_size=1, application_name="idle") as db:

        def idle() -> None:
            with db.transaction():
                db.organizations.create("lost")
                until(server, "not exists (select " + BACKENDS + ")", "idle")
                db.organizations.list()

        with pytest.raises(Unavailable):
            idle()
        assert names(db) == []


# What is refused at the door.


def test_an_empty_database_is_refused_with_what_to_do(tomato_server_url: str) -> None:
    with (
        scratch_database(tomato_server_url, migrated=False) as url,
        pytest.raises(WrongLayout, match=rf"lacks {len(layout.known())} of .* migrations .* run make migrate"),
    ):
        connect(url)


def test_a_pending_migration_is_refused_with_what_to_do(tomato_url: str, server: psycopg.Connection) -> None:
    server.execute("delete from schema_migrations where version = %s", [layout.known()[-1]])
    with pytest.raises(WrongLayout, match=rf"lacks 1 of .*{layout.known()[-1]} is next.*run make migrate"):
        connect(tomato_url)


def test_an_unknown_migration_is_refused_with_what_to_do(tomato_url: str, server: psycopg.Connection) -> None:
    server.execute("insert into schema_migrations (version) values ('99990101000000')")
    with pytest.raises(WrongLayout, match=r"does not know \(99990101000000\).*newer tomato-dao; install that one"):
        connect(tomato_url)


@pytest.mark.parametrize("encoding", ["SQL_ASCII", "LATIN1"])
def test_another_encoding_is_refused_with_what_to_do(tomato_url: str, server: psycopg.Connection, encoding: str) -> None:
    name = f"{server.info.dbname}_{encoding.lower()}"
    url = with_database(tomato_url, name)
    server.execute(
        sql.SQL("create database {} encoding {} locale 'C' template template0").format(sql.Identifier(name), encoding)
    )
    try:
        with pytest.raises(WrongLayout, match=rf"{name} is encoded in {encoding}; .* create database … encoding 'UTF8'"):
            connect(url)
    finally:
        drop_database(url)


def test_a_database_that_is_not_there_is_unavailable(tomato_url: str) -> None:
    with pytest.raises(Unavailable, match="no_such_database") as refused:
        connect(with_database(tomato_url, "no_such_database"))
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("url", "kind", "said"),
    [
        ("postgresql://me:s3cret@127.0.0.1:1/tomato", Unavailable, "can't connect to 127.0.0.1:1, database tomato"),
        ("postgresql://me:s3cret@[::1]:1/tomato", Unavailable, "can't connect to ::1:1, database tomato"),
        ("host=127.0.0.1 port=1 user=me password=s3cret dbname=tomato", Unavailable, "can't connect to 127.0.0.1:1"),
        ("postgresql://me@127.0.0.1:1/tomato?password=s3cret", Unavailable, "can't connect to 127.0.0.1:1"),
        ("postgresql://me:s3cret@/tomato?host=/nowhere", Unavailable, "can't connect to /nowhere"),
        ("postgresql://me:s3cret@127.0.0.1,[::1]:1/tomato", TomatoError, "127.0.0.1"),
        ("postgresql://me:s3cret@127.0.0.1:port/tomato", TomatoError, "port"),
        ("postgresql://me:s3cret@127.0.0.1:1/tomato?sslmode=maybe", TomatoError, "sslmode"),
        ("postgresql://me:s3cret@127.0.0.1:1/tomato?nonsense=1", TomatoError, "postgresql://"),
        ("postgresql://me:s3cret%zz@127.0.0.1:1/tomato", TomatoError, "postgresql://"),
        ("mysql://me:s3cret@127.0.0.1/tomato", InvalidValue, "postgresql://user@host:port/database"),
        ("me:s3cret@127.0.0.1/tomato", InvalidValue, "postgresql://user@host:port/database"),
        ("not a URL, s3cret", InvalidValue, "postgresql://user@host:port/database"),
        # characters that should have been written as %40 and %2F
        ("postgresql://me:pa@s3cret@127.0.0.1:1/tomato", TomatoError, ""),
        ("postgresql://me:pa/s3cret@127.0.0.1:1/tomato", TomatoError, ""),
    ],
)
def test_a_server_that_cannot_be_reached_is_told_in_one_line_without_the_password(
    url: str, kind: type[TomatoError], said: str
) -> None:
    with pytest.raises(kind) as refused:
        connect(url, timeout=0.1)
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)
    assert "s3cret" not in everything_said(refused.value)


def test_a_wrong_password_is_told_without_the_password(tomato_url: str) -> None:
    url = make_conninfo(tomato_url, password="s3cret")
    try:
        psycopg.connect(url).close()
    except psycopg.OperationalError:
        with pytest.raises(Unavailable, match="check user and password") as refused:
            connect(url)
        assert "s3cret" not in everything_said(refused.value)
    else:
        pytest.skip("this server asks for no password")


# Sessions that the server ended.


def test_a_read_is_repeated_once_where_its_session_was_ended(single: Database, server: psycopg.Connection) -> None:
    uni = single.organizations.create("uni")
    assert kill(server, "single") == 1
    assert single.organizations.get_by_name("uni") == uni


def test_a_read_succeeds_where_all_sessions_of_the_pool_were_ended(tomato_url: str, server: psycopg.Connection) -> None:
    with connect(tomato_url, pool_size=3, application_name="three") as db:
        with ExitStack() as leases:
            for _ in range(3):
                leases.enter_context(db.connection())
        assert kill(server, "three") == 3
        assert names(db) == []


def test_a_read_at_work_is_repeated_where_its_session_is_ended(single: Database, server: psycopg.Connection) -> None:
    single.organizations.create("uni")
    with ThreadPoolExecutor() as threads:
        with server.transaction():
            server.execute("lock table organizations")
            read = threads.submit(names, single)
            until(server, *blocked("single"))
            server.execute("select pg_terminate_backend(pid) " + BACKENDS, ["single"])
        assert read.result(10) == ["uni"]


def test_a_write_is_not_repeated_where_its_session_was_ended(single: Database, server: psycopg.Connection) -> None:
    single.organizations.create("old")
    kill(server, "single")
    with pytest.raises(Unavailable) as refused:
        single.organizations.create("new")
    assert "\n" not in str(refused.value)
    assert names(single) == ["old"]
    kill(server, "single")
    with pytest.raises(Unavailable):
        single.organizations.delete("old")
    assert names(single) == ["old"]
    single.organizations.create("new")
    assert names(single) == ["old", "new"]


def test_a_write_at_work_is_not_repeated_where_its_session_is_ended(
    single: Database, world: World, server: psycopg.Connection
) -> None:
    with ThreadPoolExecutor() as threads:
        with server.transaction():
            server.execute("select from hosts for update")
            update = threads.submit(single.hosts.update, "host1", {"address": "10.0.0.2"})
            until(server, *blocked("single"))
            server.execute("select pg_terminate_backend(pid) " + BACKENDS, ["single"])
            with pytest.raises(Unavailable):
                update.result(10)
        assert single.hosts.get_by_name("host1") == world.host


def test_a_transaction_whose_session_was_ended_is_unavailable_and_over(single: Database, server: psycopg.Connection) -> None:
    def go_on() -> None:
        with single.transaction():
            single.organizations.create("lost")
            kill(server, "single")
            single.organizations.list()

    with pytest.raises(Unavailable):
        go_on()
    assert names(single) == []
    with single.transaction():
        single.organizations.create("kept")
    assert names(single) == ["kept"]


def test_a_commit_whose_session_was_ended_is_unavailable(single: Database, server: psycopg.Connection) -> None:
    def commit() -> None:
        with single.transaction():
            single.organizations.create("lost")
            kill(server, "single")

    with pytest.raises(Unavailable):
        commit()
    assert names(single) == []


def test_what_a_task_raises_is_not_hidden_by_the_end_of_its_session(single: Database, server: psycopg.Connection) -> None:
    def fail() -> None:
        with single.transaction():
            kill(server, "single")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert names(single) == []

"""Transactions: whole or not at all, nested, isolated, and their threads' own."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest
from psycopg import IsolationLevel
from psycopg.conninfo import make_conninfo

from tests.conftest import World
from tests.helpers.dao_cases import NOBODY
from tests.helpers.session_cases import names, setting
from tomato_dao import AlreadyExists, Conflict, Database, InvalidValue, NotAllowed, NotFound, TomatoError, WrongState, connect


def test_a_transaction_commits_all_of_its_calls(db: Database, server: psycopg.Connection) -> None:
    with db.transaction():
        db.organizations.create("one")
        db.organizations.create("two")
        assert names(db) == ["one", "two"]
        assert server.execute("select count(*) from organizations").fetchone() == (0,)
    assert server.execute("select count(*) from organizations").fetchone() == (2,)


@pytest.mark.parametrize("error", [ZeroDivisionError(), KeyboardInterrupt(), NotFound("x")], ids=repr)
def test_any_exception_that_leaves_a_transaction_rolls_it_back(lasting: Database, error: BaseException) -> None:
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


def test_a_call_after_a_swallowed_error_names_it_and_the_remedy(lasting: Database) -> None:
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


def test_an_error_of_an_earlier_transaction_is_not_named(lasting: Database) -> None:
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
            assert threads.submit(names, db).result(60) == []
            threads.submit(db.sites.list).result(60)
        assert threads.submit(names, db).result(60) == ["uni"]


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


def test_a_transaction_writes_only_where_the_sessions_default_lets_it(tomato_url: str) -> None:
    with connect(make_conninfo(tomato_url, options="-c default_transaction_read_only=on"), pool_size=1) as db:
        with pytest.raises(NotAllowed, match="read-only"), db.transaction():
            db.organizations.create("lost")
        assert names(db) == []

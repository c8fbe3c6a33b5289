"""Sessions that the server ended: reads are repeated, writes and transactions are not."""

import os
import socket
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import psycopg
import pytest

from tests.conftest import World
from tests.helpers.dao_cases import until
from tests.helpers.session_cases import BACKENDS, blocked, fill, kill, names, refusing_connections
from tests.helpers.statement_cases import sqlstate
from tomato_dao import Database, Unavailable, connect
from tomato_dao.sql.statements import QueryConnection

pytestmark = pytest.mark.slow


def test_a_read_is_repeated_once_where_its_session_was_ended(single: Database, server: psycopg.Connection) -> None:
    uni = single.organizations.create("uni")
    assert kill(server, "single") == 1
    assert single.organizations.get_by_name("uni") == uni


def test_a_read_succeeds_where_all_sessions_of_the_pool_were_ended(tomato_url: str, server: psycopg.Connection) -> None:
    with connect(tomato_url, pool_size=3, application_name="three") as db:
        fill(db)
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
        assert read.result(60) == ["uni"]


def test_writes_succeed_on_sessions_whose_end_has_arrived(tomato_url: str, server: psycopg.Connection) -> None:
    with connect(tomato_url, pool_size=2, application_name="two") as db:
        for n in range(20):
            fill(db)
            kill(server, "two")
            db.organizations.create(f"uni{n}")
        assert len(names(db)) == 20
        fill(db)
        kill(server, "two")
        db.organizations.delete("uni0")
        fill(db)
        kill(server, "two")
        with db.connection() as connection:
            connection.execute("delete from organizations where name = 'uni1'")
        assert len(names(db)) == 18


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
                update.result(60)
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


def test_a_read_in_a_transaction_whose_session_was_ended_is_not_repeated_outside_it(
    tomato_url: str, server: psycopg.Connection
) -> None:
    def go_on(db: Database) -> None:
        with db.transaction():
            db.organizations.create("lost")
            with db.connection() as connection:
                server.execute("select pg_terminate_backend(%s::int, 5000)", [connection.info.backend_pid])
            for _ in range(2):
                with pytest.raises(Unavailable):
                    db.organizations.list()

    with connect(tomato_url, pool_size=2) as db:
        fill(db)  # so that another session is there to read in
        with pytest.raises(Unavailable):
            go_on(db)
        assert names(db) == []


def test_a_transaction_begins_where_all_sessions_of_the_pool_were_ended(tomato_url: str, server: psycopg.Connection) -> None:
    with connect(tomato_url, pool_size=4, application_name="four") as db:
        fill(db)
        assert kill(server, "four") == 4
        with db.transaction():
            db.organizations.create("made")
        assert names(db) == ["made"]


def test_a_commit_whose_session_was_ended_is_unavailable(single: Database, server: psycopg.Connection) -> None:
    def commit() -> None:
        with single.transaction():
            single.organizations.create("lost")
            kill(server, "single")

    with pytest.raises(Unavailable):
        commit()
    assert names(single) == []


def test_a_tasks_error_is_not_hidden_by_the_end_of_its_session(single: Database, server: psycopg.Connection) -> None:
    def fail() -> None:
        with single.transaction():
            kill(server, "single")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert names(single) == []


def test_an_end_of_the_session_that_is_swallowed_does_not_lose_the_transaction_silently(
    single: Database, server: psycopg.Connection
) -> None:
    def swallow() -> None:
        with single.transaction():
            single.organizations.create("lost")
            kill(server, "single")
            with suppress(Unavailable), single.transaction():
                single.organizations.list()
            with suppress(Unavailable):
                single.organizations.create("lost too")

    told = r"^the session of the transaction ended \(terminating connection .*\), so all of it is rolled back$"
    with pytest.raises(Unavailable, match=told):
        swallow()
    assert names(single) == []


@pytest.mark.parametrize("state", ["57P01", "57P02", "57P03", "08006"])
def test_a_session_that_the_server_gives_up_is_not_used_again(single: Database, state: str) -> None:
    pids: list[int] = []

    def use_it(statement: bytes) -> None:
        with single.transaction(), single.connection() as connection:
            pids.append(connection.info.backend_pid)
            connection.execute(statement)

    use_it(b"select 1")
    with pytest.raises(Unavailable):
        use_it(sqlstate(state))
    use_it(b"select 1")
    assert pids[0] == pids[1] != pids[2]


def test_a_silently_cut_connection_is_reported_in_one_line(single: Database) -> None:
    def cut_it() -> None:
        with single.transaction():
            with single.connection() as connection, socket.socket(fileno=os.dup(connection.fileno())) as its:
                its.shutdown(socket.SHUT_RDWR)
            single.organizations.create("lost")

    with pytest.raises(Unavailable, match="closed the connection") as refused:
        cut_it()
    assert "\n" not in str(refused.value)
    assert names(single) == []


@pytest.mark.parametrize("what", ["run", "transaction"])
def test_sessions_that_always_end_at_once_are_unavailable_after_a_bounded_number_of_tries(
    tomato_url: str, server: psycopg.Connection, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    pids: list[int] = []
    method = getattr(QueryConnection, what)

    def end_session_first(connection: QueryConnection, *args: object) -> object:
        pids.append(connection.info.backend_pid)
        server.execute("select pg_terminate_backend(%s::int, 5000)", [pids[-1]])
        return method(connection, *args)

    with connect(tomato_url, pool_size=2) as db:
        with monkeypatch.context() as patch:
            patch.setattr(QueryConnection, what, end_session_first)
            with pytest.raises(Unavailable, match="terminating connection"):
                db.organizations.list() if what == "run" else db.transaction().__enter__()
        assert len(set(pids)) == len(pids) == db.stats().pool.size + 2
        assert names(db) == []


def test_a_repeated_read_that_fails_for_another_reason_is_not_repeated_again(
    tomato_url: str, server: psycopg.Connection
) -> None:
    with connect(tomato_url, pool_size=1, statement_timeout=0.2, application_name="slow") as db:
        assert names(db) == []
        kill(server, "slow")
        with server.transaction():
            server.execute("lock table organizations")
            with pytest.raises(Unavailable, match="statement timeout"):
                db.organizations.list()
        counted = db.stats().queries["organizations.list"]
        assert (counted.calls, counted.errors) == (3, 2)


def test_a_repeated_read_waits_for_a_connection_as_long_as_any_call(tomato_url: str, server: psycopg.Connection) -> None:
    with connect(tomato_url, pool_size=1, timeout=0.9, application_name="refused") as db:
        assert names(db) == []
        with refusing_connections(tomato_url):
            kill(server, "refused")
            with pytest.raises(Unavailable, match=r"^no connection free after 0\.\d+ s"):
                db.organizations.list()

"""Sessions that the server ended: reads are repeated, writes and transactions are not."""

from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import psycopg
import pytest
from conftest import World
from dao_cases import until
from session_cases import BACKENDS, blocked, kill, names

from tomato_dao import Database, Unavailable, connect


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

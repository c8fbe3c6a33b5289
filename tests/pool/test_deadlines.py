"""Calls return in time, whatever the server does: stopped, out of reach, at work on something else."""

from concurrent.futures import ThreadPoolExecutor
from functools import partial

import psycopg
import pytest

from tests.conftest import World
from tests.helpers.hanging_cases import proxy, stopped, within
from tests.helpers.session_cases import fill
from tomato_dao import Conflict, Database, Unavailable, connect

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("nested", [False, True])
def test_a_deadline_cancels_what_runs_and_rolls_the_transaction_back(
    single: Database, world: World, server: psycopg.Connection, nested: bool
) -> None:
    def in_a_transaction() -> None:
        with single.transaction():
            single.organizations.update("uni", {"description": "lost"})
            with single.transaction():
                single.hosts.update("host1", {"address": "lost"})

    with server.transaction():
        server.execute("select from hosts for update")
        work = in_a_transaction if nested else partial(single.hosts.update, "host1", {"address": "lost"})
        with within(0.3), pytest.raises(Unavailable, match=r"no answer within 0\.3 s"), single.timeout(0.3):
            work()
    assert server.execute("select o.description, h.address from organizations o, hosts h").fetchone() == ("", "10.0.0.1")
    assert single.stats().pool.connections == 1
    with single.timeout(60):
        assert single.hosts.get_by_name("host1").address == "10.0.0.1"


def test_the_earliest_of_nested_deadlines_counts_and_later_calls_are_not_started(single: Database) -> None:
    fill(single)
    with single.timeout(0), single.timeout(60):
        with pytest.raises(Unavailable, match="not started"):
            single.organizations.create("late")
        with pytest.raises(Unavailable, match="not started"), single.transaction():
            pass
    with single.timeout(60), single.timeout(0), pytest.raises(Unavailable):
        single.organizations.list()
    assert single.organizations.list() == []


def test_a_deadline_bounds_the_wait_for_a_connection(single: Database) -> None:
    with single.connection(), within(0.2), pytest.raises(Unavailable, match="no connection free"), single.timeout(0.2):
        single.organizations.list()


def test_a_deadline_ends_the_repeating_of_a_conflict(single: Database, server: psycopg.Connection) -> None:
    tries = []

    def lose() -> None:
        tries.append(1)
        raise Conflict("overtaken")

    with within(0.2), pytest.raises((Conflict, Unavailable)), single.timeout(0.2):
        single.run(lose, attempts=1000)
    assert 1 < len(tries) < 100


@pytest.mark.parametrize("where", ["a call", "a transaction", "connection()"])
def test_a_stopped_session_holds_nobody_beyond_the_deadline(single: Database, server: psycopg.Connection, where: str) -> None:
    def call() -> None:
        if where == "a call":
            single.organizations.list()
        elif where == "a transaction":
            with single.transaction():
                single.organizations.create("lost")
        else:
            with single.connection() as connection:
                connection.execute("select 1")

    fill(single)
    errors = (Unavailable, psycopg.errors.QueryCanceled)
    told = r"no answer within 0\.3 s; the server did not answer to the cancellation"
    with stopped(server, "single"), within(0.3), pytest.raises(errors, match=told), single.timeout(0.3):
        call()
    with single.timeout(60):
        assert single.organizations.list() == []


def test_a_server_out_of_reach_holds_nobody_beyond_the_deadline(tomato_url: str) -> None:
    with proxy(tomato_url) as way, connect(way.url, pool_size=2, timeout=5) as db:
        way.dark.set()
        for _ in range(2):
            with within(0.3), pytest.raises(Unavailable), db.timeout(0.3):
                db.organizations.list()
        with within(0.3), pytest.raises(Unavailable):
            connect(way.url, timeout=0.3)
        with within(0.2):
            db.close(grace=0.2)


def test_closing_does_not_wait_for_a_session_that_is_stopped(single: Database, server: psycopg.Connection) -> None:
    fill(single)
    with ThreadPoolExecutor(1) as threads, stopped(server, "single"):
        call = threads.submit(single.organizations.list)
        while single._pool._at_work() == []:
            pass
        with within(0.2):
            single.close(grace=0.2)
        with pytest.raises(Unavailable):
            call.result(5)

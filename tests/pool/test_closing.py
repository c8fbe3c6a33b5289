"""Closing a database: what runs may end within the grace, and is cancelled after it."""

import os
import signal
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from time import monotonic, thread_time

import psycopg
import pytest

from tests.conftest import World
from tests.helpers.dao_cases import until
from tests.helpers.session_cases import BACKENDS, blocked
from tomato_dao import Unavailable, connect

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("within", ["a call", "a transaction"])
def test_closing_cancels_what_runs_after_a_grace(
    tomato_url: str, world: World, server: psycopg.Connection, within: str, prepare: bool
) -> None:
    db = connect(tomato_url, application_name="closing", prepare=prepare)

    def update() -> None:
        with ExitStack() as stack:
            if within == "a transaction":
                stack.enter_context(db.transaction())
                db.organizations.update("uni", {"description": "lost"})
            db.hosts.update("host1", {"address": "lost"})

    with ThreadPoolExecutor(3) as threads, server.transaction():
        server.execute("select from hosts for update")
        calls = [threads.submit(update) for _ in range(1 if within == "a transaction" else 3)]
        until(server, *blocked("closing", len(calls)))
        began = monotonic()
        db.close(grace=0.2)
        took = monotonic() - began
        for call in calls:
            with pytest.raises(Unavailable):
                call.result(60)
        until(server, "not exists (select " + BACKENDS + ")", "closing")
    assert 0.2 <= took < 4
    with pytest.raises(Unavailable, match="closed"):
        db.hosts.list()
    assert server.execute("select h.address, o.description from hosts h, organizations o").fetchone() == ("10.0.0.1", "")


def test_closing_lets_what_runs_end_within_the_grace(tomato_url: str, world: World, server: psycopg.Connection) -> None:
    db = connect(tomato_url, application_name="closing")
    with ThreadPoolExecutor(2) as threads:
        with server.transaction():
            server.execute("select from hosts for update")
            call = threads.submit(db.hosts.update, "host1", {"address": "10.0.0.2"})
            until(server, *blocked("closing"))
            closing = threads.submit(db.close, grace=10)
            assert db._pool._closed.wait(60)
            with pytest.raises(Unavailable, match="closed"):
                db.hosts.list()
        assert call.result(60).address == "10.0.0.2"
        closing.result(60)
    until(server, "not exists (select " + BACKENDS + ")", "closing")


def test_closing_is_immediate_where_nothing_runs(tomato_url: str, server: psycopg.Connection) -> None:
    db = connect(tomato_url, pool_size=8, application_name="closing")
    with ExitStack() as leases:
        for _ in range(8):
            leases.enter_context(db.connection())
    until(server, "(select count(*) " + BACKENDS + ") = 8", "closing")
    began = monotonic()
    db.close()
    assert monotonic() - began < 4  # the grace is 5 seconds
    until(server, "not exists (select " + BACKENDS + ")", "closing")
    for call in (db.hosts.list, db.transaction().__enter__, db.connection().__enter__):
        with pytest.raises(Unavailable, match="closed"):
            call()


def test_closing_ends_a_transaction_that_idles(tomato_url: str, server: psycopg.Connection) -> None:
    db = connect(tomato_url, application_name="closing")

    def go_on() -> None:
        with db.transaction():
            db.organizations.create("lost")
            with ThreadPoolExecutor(1) as thread:
                thread.submit(db.close, grace=0.2).result(60)
            db.organizations.create("late")

    with pytest.raises(Unavailable):
        go_on()
    until(server, "not exists (select " + BACKENDS + ")", "closing")
    assert server.execute("select name from organizations").fetchall() == []


def test_a_transaction_that_is_left_after_closing_does_not_commit(tomato_url: str, server: psycopg.Connection) -> None:
    db = connect(tomato_url, application_name="closing")

    def go_on() -> None:
        with db.transaction():
            db.organizations.create("lost")
            with ThreadPoolExecutor(1) as thread:
                thread.submit(db.close, grace=0).result(60)

    with pytest.raises(Unavailable, match="closed"):
        go_on()
    until(server, "not exists (select " + BACKENDS + ")", "closing")
    assert server.execute("select name from organizations").fetchall() == []


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_database_that_was_closed_before_a_fork_is_closed_in_the_child(tomato_url: str) -> None:
    db = connect(tomato_url)
    db.close()
    taken, over = threading.Event(), threading.Event()

    def occupy() -> None:
        with db._pool._lock:
            taken.set()
            over.wait(60)

    thread = threading.Thread(target=occupy)
    thread.start()
    assert taken.wait(60)
    child = os.fork()
    if child == 0:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(60)
        try:
            db.organizations.list()
        except Unavailable:
            os._exit(0)
        finally:
            os._exit(1)
    over.set()
    thread.join()
    assert os.waitpid(child, 0)[1] == 0


def test_closing_waits_some_seconds_for_what_runs_unless_told_otherwise(
    tomato_url: str, world: World, server: psycopg.Connection
) -> None:
    db = connect(tomato_url, application_name="closing")

    def close() -> float:
        """Return the seconds of work that it costs."""
        began = thread_time()
        db.close()
        return thread_time() - began

    with ThreadPoolExecutor(2) as threads:
        with server.transaction():
            server.execute("select from hosts for update")
            call = threads.submit(db.hosts.update, "host1", {"address": "10.0.0.2"})
            until(server, *blocked("closing"))
            closing = threads.submit(close)
            with pytest.raises(TimeoutError):
                closing.result(0.5)
        assert call.result(60).address == "10.0.0.2"
        assert closing.result(60) < 0.1

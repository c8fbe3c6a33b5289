"""The pool replaces connections: those that broke, are old or unused, and all of them after a time without a server."""

import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from functools import partial
from pathlib import Path
from time import monotonic, sleep
from typing import cast
from weakref import ref

import psycopg
import pytest
from psycopg_pool import ConnectionPool

from tests.helpers.dao_cases import until
from tests.helpers.event_cases import wait_for_refusals
from tests.helpers.session_cases import BACKENDS, fill, kill, names, refusing_connections, until_waiting
from tests.helpers.statement_cases import query, run
from tomato_dao import Unavailable, connect, pool

pytestmark = pytest.mark.slow


def test_a_pool_of_one_recovers_after_a_time_without_any_connection(
    tomato_server_url: str, tomato_url: str, server: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tomato_dao.pool._ASK", 0.1)
    monkeypatch.setattr("tomato_dao.pool._BACKOFF", 0.1)
    with connect(tomato_url, pool_size=1, timeout=2, application_name="lost") as db:
        assert names(db) == []
        before = set(threading.enumerate())
        for n in range(2):
            with refusing_connections(tomato_url):
                assert kill(server, "lost") == 1
                with pytest.raises(Unavailable):
                    db.organizations.create("its session is dead")
                with pytest.raises(Unavailable, match="no connection free"):
                    db._pool.checkout(timeout=0.05)
                deadline = monotonic() + 60
                while not set(threading.enumerate()) <= before:  # somebody still asks for a connection
                    assert monotonic() < deadline
                    sleep(0.005)
            db.organizations.create(f"{n}")
        assert names(db) == ["0", "1"]


def test_a_task_that_waits_while_the_server_gives_no_connections_is_served_when_it_does(
    tomato_server_url: str, tomato_url: str, server: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tomato_dao.pool._ASK", 0.1)
    monkeypatch.setattr("tomato_dao.pool._BACKOFF", 0.1)
    with connect(tomato_url, pool_size=1, timeout=20, application_name="lost") as db, ThreadPoolExecutor(1) as thread:
        assert names(db) == []
        with refusing_connections(tomato_url):
            assert kill(server, "lost") == 1
            waiting = thread.submit(names, db)
            until_waiting(db)
            with pytest.raises(TimeoutError):
                waiting.result(0.5)  # by now psycopg_pool has given up
        assert waiting.result(60) == []


def test_a_waiting_task_gets_a_new_connection_where_the_holders_broke(tomato_url: str, server: psycopg.Connection) -> None:
    with connect(tomato_url, pool_size=1, timeout=20, application_name="held") as db, ThreadPoolExecutor(2) as threads:
        with db.connection() as connection:
            assert connection.execute("select 1").fetchone() == (1,)
            waiting = [threads.submit(names, db) for _ in range(2)]
            until_waiting(db, 2)
            assert kill(server, "held") == 1
        assert [task.result(60) for task in waiting] == [[], []]


@pytest.mark.parametrize(("lifetime", "sessions"), [(0, 3), (3600, 1)], ids=["over", "not over"])
def test_a_connection_is_replaced_when_its_lifetime_is_over(
    tomato_url: str,
    server: psycopg.Connection,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    lifetime: float,
    sessions: int,
) -> None:
    monkeypatch.setattr("tomato_dao.pool.LIFETIME", lifetime)
    who = query(tmp_path, "select pg_backend_pid()")
    with connect(tomato_url, pool_size=1, application_name="old") as db:
        assert len({run(db, who)[0] for _ in range(3)}) == sessions
        until(server, "(select count(*) " + BACKENDS + ") = 1", "old")


def test_connections_that_nobody_uses_are_closed_but_one(
    tomato_url: str, server: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tomato_dao.pool.IDLE_AFTER", 0.1)
    monkeypatch.setattr("tomato_dao.pool.ConnectionPool", partial(ConnectionPool, max_idle=0.1))
    with connect(tomato_url, pool_size=4, application_name="many") as db:
        for _ in range(2):
            with ExitStack() as leases:
                connections = [leases.enter_context(db.connection()) for _ in range(4)]
                connections[0].execute("select pg_sleep(0.15)")  # so that none has just run a query
            until(server, "(select count(*) " + BACKENDS + ") = 1", "many")
        assert names(db) == []


def test_a_task_that_gave_up_as_it_was_served_gets_nothing_of_it_later(tomato_url: str) -> None:
    with connect(tomato_url, pool_size=1) as db, ThreadPoolExecutor(1) as thread:
        pool = db._pool
        held = pool.checkout()
        waiting = thread.submit(pool.checkout)  # the thread has waited and was served before
        until_waiting(db)
        pool.release(held)
        held = waiting.result(60)
        began = threading.Event()

        def wait_briefly() -> None:
            began.set()
            with suppress(Unavailable):
                pool.release(pool.checkout(timeout=0.3))

        interval = sys.getswitchinterval()
        sys.setswitchinterval(10)  # so this thread keeps the interpreter while the other one's time runs out
        try:
            waiting_briefly = thread.submit(wait_briefly)
            began.wait(60)
            over = monotonic() + 0.4
            while monotonic() < over:
                pass
            pool.release(held)
        finally:
            sys.setswitchinterval(interval)
        waiting_briefly.result(60)
        held = pool.checkout(timeout=5)
        with pytest.raises(Unavailable, match="no connection free"):
            thread.submit(pool.checkout, 0.1).result(60)
        pool.release(held)


def test_a_server_that_refuses_connections_for_long_is_still_asked_every_few_seconds(
    tomato_url: str, server: psycopg.Connection, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("tomato_dao.pool._ASK", 0.1)
    monkeypatch.setattr("tomato_dao.pool._BACKOFF", 0.1)
    with connect(tomato_url, pool_size=1, timeout=20, application_name="lost") as db, ThreadPoolExecutor(1) as thread:
        assert names(db) == []
        with refusing_connections(tomato_url):
            assert kill(server, "lost") == 1
            waiting = thread.submit(names, db)
            wait_for_refusals(caplog, 8)  # pauses that were doubled without an end would be minutes
        assert waiting.result(60) == []


@pytest.mark.parametrize(("after", "left"), [(60, 2), (-1, 0)], ids=["used", "unused"])
def test_connections_stay_at_hand_while_they_are_used(
    tomato_url: str, monkeypatch: pytest.MonkeyPatch, after: float, left: int
) -> None:
    """Look after the connections once, as the thread for it does now and then."""
    monkeypatch.setattr("tomato_dao.pool.IDLE_AFTER", after)
    pauses: list[float] = []

    class Twice:
        def wait(self, pause: float) -> bool:
            pauses.append(pause)
            return len(pauses) == 2

    with connect(tomato_url, pool_size=2) as db:
        fill(db)
        pool._tidy(ref(db._pool), cast("threading.Event", Twice()))
        assert len(db._pool._idle) == left
        assert all(pause < 60 for pause in pauses)

"""Locks and listeners return in time where the server hangs, and wait where it is full."""

import os
import signal
import threading
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor
from concurrent.futures import wait as wait_for
from contextlib import ExitStack, suppress
from time import monotonic

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from tests.helpers.dao_cases import refused
from tests.helpers.hanging_cases import proxy, stopped, within
from tests.helpers.lock_cases import is_free
from tests.helpers.session_cases import fill
from tomato_dao import Database, LockLost, Unavailable, connect, locks

pytestmark = pytest.mark.slow


def test_a_stopped_session_of_locks_holds_nobody_and_loses_no_lock(
    here: Database, there: Database, watcher: psycopg.Connection
) -> None:
    with here.exclusive("topology", 1) as lock:
        with stopped(watcher, "here locks"):
            with within(0.3), refused(Unavailable, "topology", 2, "^topology 2: the server did not answer"):
                here.exclusive("topology", 2, wait=0.3).__enter__()
            with within(0.2), refused(Unavailable, "topology", 1, "did not answer"), here.timeout(0.2):
                lock.check()
        lock.check()
        assert is_free(there, 2)  # what came late was given back
        assert not is_free(there, 1)
    assert is_free(there, 1)


def test_a_lock_whose_session_does_not_answer_for_long_counts_as_lost(
    here: Database, watcher: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(locks, "_PATIENCE", 0.5)
    with suppress(LockLost), here.exclusive("topology", 1) as lock, stopped(watcher, "here locks"):
        with within(0.5), pytest.raises(LockLost, match="topology 1"):
            lock.check()
        assert is_free(here, 2)  # in a new session


def test_an_interrupt_is_heard_while_the_session_of_locks_is_stopped(here: Database, watcher: psycopg.Connection) -> None:
    def interrupted() -> None:
        with here.exclusive("topology", 2, wait=30):
            pass

    assert is_free(here, 2)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored, where a shell runs the tests in the background
    with ExitStack() as stack:
        stack.callback(signal.signal, signal.SIGINT, before)
        stack.enter_context(stopped(watcher, "here locks"))
        timer = threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT))
        timer.start()
        with within(0.8), pytest.raises(KeyboardInterrupt):
            interrupted()
    assert is_free(here, 2)


def test_threads_do_not_wait_for_each_other_where_the_session_is_stopped(
    here: Database, watcher: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(locks, "_PATIENCE", 60)  # after which the session counts as lost, and locks are taken in a new one

    def take(id: int) -> float:
        began = monotonic()
        with pytest.raises(Unavailable):
            here.exclusive("topology", id, wait=0.2).__enter__()
        return monotonic() - began

    assert is_free(here, 1)
    with ThreadPoolExecutor(20) as threads, stopped(watcher, "here locks"):
        seconds = list(threads.map(take, range(20)))
    assert max(seconds) < 3.5  # with turns of 0.2 s for each it would be more than 4 s, and one after the other 14 s


def test_closing_locks_and_listeners_does_not_wait_for_a_server_out_of_reach(lasting_url: str) -> None:
    with ExitStack() as stack:
        way = stack.enter_context(proxy(lasting_url))
        db = connect(way.url, pool_size=1)
        stack.callback(db.close, 0)
        assert is_free(db, 1)
        listener = db.listen("topologies")
        way.dark.set()
        with within(0.2), pytest.raises(Unavailable):
            db.exclusive("topology", 1, wait=0.2).__enter__()
        with within(0.2):
            db.close(grace=0.2)
        with pytest.raises(Unavailable):
            next(listener)


def test_a_first_lock_or_listener_returns_in_time_where_nothing_answers(lasting_url: str) -> None:
    with proxy(lasting_url) as way, connect(way.url, pool_size=1, timeout=0.3) as db:
        way.dark.set()
        with within(0.3), pytest.raises(Unavailable):
            db.exclusive("topology", 1, wait=0.3).__enter__()
        with within(0.3), pytest.raises(Unavailable):
            db.listen("topologies")
        db.close(0)


@pytest.mark.parametrize("what", ["a lock", "a listener"])
def test_locks_and_listeners_wait_for_a_server_that_is_full(lasting_url: str, watcher: psycopg.Connection, what: str) -> None:
    def wait(seconds: float, id: int = 1) -> None:
        if what == "a lock":
            with db.exclusive("topology", id, wait=seconds):
                pass
        else:
            db.listen("topologies", timeout=seconds).close()

    allow = f'alter database "{watcher.info.dbname}" connection limit '
    role = "limited_by_test"
    watcher.execute(f"create role {role} login; grant all on schema public to {role}; grant tomato_app to {role}".encode())
    try:
        with connect(make_conninfo(lasting_url, user=role), pool_size=1) as db, ThreadPoolExecutor(2) as threads:
            fill(db)
            watcher.execute(f"{allow} 2".encode())
            with pytest.raises(Unavailable, match="too many connections"):
                wait(0.1)
            waiting = [threads.submit(wait, 30, id) for id in (1, 2)]
            assert not wait_for(waiting, 1, FIRST_COMPLETED).done
            watcher.execute(f"{allow} -1".encode())
            for call in waiting:
                call.result(30)
    finally:
        watcher.execute(f"{allow} -1".encode())
        watcher.execute(f"drop owned by {role}; drop role {role}".encode())

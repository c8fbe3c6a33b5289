"""A pool that grows while threads are short, or while an interrupt comes: its counts stay right, and no task is forgotten."""

import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from time import monotonic, sleep

import psycopg
import pytest
from psycopg_pool import ConnectionPool

from tests.helpers.dao_cases import until
from tests.helpers.session_cases import BACKENDS, fill, kill, names, refusing_connections, until_waiting
from tomato_dao import Database, Unavailable, connect, pool
from tomato_dao.sql.statements import QueryConnection

START = threading.Thread.start


def before_it_runs(thread: threading.Thread) -> None:
    raise KeyboardInterrupt


def when_it_runs(thread: threading.Thread) -> None:
    START(thread)
    raise KeyboardInterrupt


def no_more(thread: threading.Thread) -> None:
    raise RuntimeError("can't start new thread")


def for_fetches(monkeypatch: pytest.MonkeyPatch, start: Callable[[threading.Thread], None], times: int = 1) -> list[str]:
    """Let the next threads that would fetch a connection start like this, and return the names of those that did."""
    started: list[str] = []

    def maybe(thread: threading.Thread) -> None:
        if not thread.name.endswith("-fetch") or len(started) == times:
            START(thread)
            return
        started.append(thread.name)
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", maybe)
    return started


def fetches() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.endswith("-fetch")]


def until_none_fetches() -> None:
    deadline = monotonic() + 60
    while fetches():
        assert monotonic() < deadline
        sleep(0.005)


def assert_holds_all(db: Database) -> None:
    """Lease all connections that the pool may hold, and see that one more task waits in vain."""
    until_none_fetches()
    assert (db._pool._taken, db._pool._coming) == (len(db._pool._idle), 0)
    fill(db)
    stats = db.stats().pool
    assert (stats.connections, stats.idle, stats.waiting) == (stats.size, stats.size, 0)
    leases = [db._pool.checkout(timeout=5) for _ in range(stats.size)]
    with pytest.raises(Unavailable, match="no connection free"):
        db._pool.checkout(timeout=0.05)
    assert fetches() == []  # there is no room for one more
    for lease in leases:
        db._pool.release(lease)
    until_none_fetches()
    assert (db._pool._taken, db._pool._coming) == (stats.size, 0)


def test_a_task_is_refused_if_no_thread_can_be_started_for_its_connection(
    tomato_url: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with connect(tomato_url, pool_size=2, timeout=20, application_name="short") as db:
        short = for_fetches(monkeypatch, no_more)
        told = r"^cannot start a thread to open a connection, as this process is at its limit: can't start new thread$"
        with pytest.raises(Unavailable, match=told):
            db.organizations.list()
        assert short == ["short-fetch"]
        assert db.stats().pool.waiting == 0
        assert "the pool of short: cannot start a thread" in caplog.text
        assert names(db) == []
        assert_holds_all(db)


def test_a_task_waits_for_those_at_work_where_no_thread_can_be_started(
    tomato_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with connect(tomato_url, pool_size=2, timeout=20) as db, ThreadPoolExecutor(1) as thread:
        with db.connection():
            short = for_fetches(monkeypatch, no_more)
            waiting = thread.submit(names, db)
            until_waiting(db)
        assert waiting.result(60) == []
        assert len(short) == 1
        assert_holds_all(db)


def test_a_lack_of_threads_is_reported_to_waiting_tasks_and_not_to_the_one_that_released(
    tomato_url: str, server: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    with connect(tomato_url, pool_size=1, timeout=20, application_name="short") as db, ThreadPoolExecutor(2) as threads:
        with db.connection():
            waiting = [threads.submit(names, db) for _ in range(2)]
            until_waiting(db, 2)
            kill(server, "short")
            for_fetches(monkeypatch, no_more)
        for task in waiting:
            with pytest.raises(Unavailable, match="cannot start a thread"):
                task.result(60)
        assert_holds_all(db)


@pytest.mark.parametrize("start", [before_it_runs, when_it_runs])
@pytest.mark.parametrize("size", [1, 2])
def test_an_interrupt_as_the_pool_grows_leaves_its_counts_right(
    tomato_url: str, monkeypatch: pytest.MonkeyPatch, start: Callable[[threading.Thread], None], size: int
) -> None:
    with connect(tomato_url, pool_size=size, timeout=20) as db:
        for _ in range(2):
            interrupted = for_fetches(monkeypatch, start)
            with suppress(KeyboardInterrupt):
                db.organizations.list()
                assert not interrupted
            monkeypatch.undo()
        assert names(db) == []
        assert_holds_all(db)


STEPS = [
    (threading.Thread, "__init__", MemoryError),
    (threading.Thread, "start", RuntimeError),
    (ConnectionPool, "getconn", RuntimeError),
    (ConnectionPool, "getconn", MemoryError),
    (ConnectionPool, "putconn", MemoryError),
    (QueryConnection, "connect", RuntimeError),
    (QueryConnection, "connect", psycopg.OperationalError),
    (pool, "adapt", psycopg.OperationalError),
]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
@pytest.mark.parametrize(("owner", "step", "failure"), STEPS, ids=lambda value: getattr(value, "__name__", value))
def test_a_step_of_growing_that_fails_once_costs_no_place_in_the_pool(
    tomato_url: str, monkeypatch: pytest.MonkeyPatch, owner: object, step: str, failure: type[Exception]
) -> None:
    real = getattr(owner, step)
    failed: list[str] = []

    def fail_once(*args: object, **kwargs: object) -> object:
        if not failed:
            failed.append(step)
            raise failure("made to fail once")
        return real(*args, **kwargs)

    with connect(tomato_url, pool_size=2, timeout=5) as db:
        monkeypatch.setattr(owner, step, fail_once)
        for _ in range(2):
            with suppress(Exception), db.connection() as connection:
                connection.close()
        monkeypatch.undo()
        assert failed == [step]
        assert names(db) == []
        assert_holds_all(db)


def test_connecting_where_no_thread_can_be_started_is_unavailable(tomato_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    before = threading.active_count()
    monkeypatch.setattr(threading.Thread, "start", no_more)
    with pytest.raises(Unavailable, match="cannot start a thread"):
        connect(tomato_url)
    monkeypatch.undo()
    assert threading.active_count() == before
    with connect(tomato_url) as db:
        assert names(db) == []


def test_listening_where_no_thread_can_be_started_is_unavailable_and_works_later(
    tomato_url: str, server: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    with connect(tomato_url, application_name="short") as db:
        with monkeypatch.context() as patch:
            patch.setattr(threading.Thread, "start", no_more)
            with pytest.raises(Unavailable, match="cannot start a thread for listeners"):
                db.listen("topologies")
        until(server, "not exists (select " + BACKENDS + ")", "short events")
        with db.listen("topologies", timeout=10) as listener:
            server.execute("notify tomato_changes, 'topology 1 deleted'")
            assert next(listener).id == 1


def test_a_forked_child_without_threads_is_refused_and_works_later(tomato_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with connect(tomato_url, pool_size=2) as parent:
        assert names(parent) == []
        read, write = os.pipe()
        if not (child := os.fork()):
            told = b""
            try:
                monkeypatch.setattr(threading.Thread, "start", no_more)
                with pytest.raises(Unavailable, match="cannot start a thread"):
                    names(parent)
                monkeypatch.undo()
                told = str(names(parent)).encode()
            finally:
                os.write(write, told)
                os._exit(0)
        os.close(write)
        os.waitpid(child, 0)
        assert os.read(read, 100) == b"[]"
        os.close(read)
        assert names(parent) == []


def test_a_task_brings_one_connection(tomato_url: str) -> None:
    with connect(tomato_url, pool_size=4) as db:
        assert names(db) == []
        until_none_fetches()
        assert (db._pool._taken, len(db._pool._idle)) == (1, 1)


def test_nothing_goes_on_asking_for_connections_once_the_database_is_closed(
    tomato_url: str, server: psycopg.Connection
) -> None:
    with connect(tomato_url, pool_size=2, timeout=20, application_name="closing") as db, ThreadPoolExecutor(1) as thread:
        with refusing_connections(tomato_url):
            kill(server, "closing")
            waiting = thread.submit(names, db)
            until_waiting(db)
            assert fetches() == ["closing-fetch"]
            db.close()
        with pytest.raises(Unavailable, match="closed"):
            waiting.result(60)
        until_none_fetches()
        assert (db._pool._taken, db._pool._coming) == (0, 0)

"""Ctrl-C ends what waits, and nothing else; signal handlers may use the database's figures and close it."""

import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from time import monotonic
from typing import Any

import psycopg
import pytest

from tests.conftest import World
from tests.helpers.dao_cases import until
from tests.helpers.session_cases import BACKENDS
from tomato_dao import Unavailable, connect, pool

pytestmark = pytest.mark.slow

INTERRUPTED = """
import signal, sys, threading
from time import monotonic, sleep
import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from tomato_dao import connect

signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored, where a shell runs the tests in the background
url, how = sys.argv[1:]
name = conninfo_to_dict(url)["dbname"]
db = connect(url, pool_size=1, application_name=name)
db.hosts.get_by_name("host1")
allow = "alter database " + name + " allow_connections {}"
leased, over = threading.Event(), threading.Event()

def waits():
    if how in ("pool", "server"):
        return db.stats().pool.waiting == 1
    sql = "select exists (select from pg_stat_activity where application_name ~ %s and wait_event_type = 'Lock')"
    return watcher.execute(sql, [name]).fetchone() == (True,)

def watch():
    while not waits() and not over.wait(0.005):
        pass
    print("waiting", flush=True)

def lease():
    with db.connection():
        leased.set()
        over.wait(90)

if how == "pool":
    threading.Thread(target=lease).start()
    leased.wait(60)
elif how == "server":
    watcher = psycopg.connect(make_conninfo(url, dbname="postgres"), autocommit=True)
    watcher.execute(allow.format("false"))
    watcher.execute("select pg_terminate_backend(pid, 5000) from pg_stat_activity where application_name ~ %s", [name])
else:
    watcher = psycopg.connect(url, autocommit=True)
threading.Thread(target=watch, daemon=True).start()
try:
    if how == "transaction":
        with db.transaction():
            db.organizations.update("uni", {"description": "lost"})
            db.hosts.update("host1", {"address": "lost"})
    elif how == "server":
        db.hosts.list()
    else:
        db.hosts.update("host1", {"address": "lost"})
    print("not interrupted")
except KeyboardInterrupt:
    print(monotonic(), flush=True)
over.set()
if how == "server":
    watcher.execute(allow.format("true"))
with db.transaction():
    print(db.organizations.update("uni", {"description_text": "after"}).description, flush=True)
print(db.hosts.get_by_name("host1").address, flush=True)
sys.stdin.read()
db.close()
"""


@pytest.mark.parametrize("how", ["call", "transaction", "pool", "server"])
def test_an_interrupt_ends_a_call_that_waits_and_nothing_else(
    tomato_url: str, world: World, server: psycopg.Connection, how: str
) -> None:
    command = [sys.executable, "-c", INTERRUPTED, tomato_url, how]
    with (
        server.transaction(),
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process,
    ):
        assert process.stdin
        assert process.stdout
        guard = threading.Timer(90, process.kill)
        guard.start()
        try:
            server.execute("select from hosts for update")
            assert process.stdout.readline() == "waiting\n"
            sent = monotonic()
            process.send_signal(signal.SIGINT)
            took = float(process.stdout.readline()) - sent
            print(f"KeyboardInterrupt after {took:.3f} s")
            assert [process.stdout.readline() for _ in range(2)] == ["\n", "10.0.0.1\n"]
            until(server, "(select array_agg(state) " + BACKENDS + ") = '{idle}'", server.info.dbname)
            process.stdin.close()
            assert process.wait(60) == 0
        finally:
            guard.cancel()
            process.kill()
    assert took < 5


def test_an_interrupt_at_the_moment_of_being_served_loses_nothing(tomato_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    class Interrupted:
        """A lock, and an interrupt as soon as it was had for the first time."""

        def __init__(self) -> None:
            self._lock = threading.Lock()
            self._lock.acquire()
            self._first = True
            self.release = self._lock.release

        def acquire(self, timeout: float) -> bool:
            had = self._lock.acquire(timeout=timeout)
            if self._first:
                self._first = False
                raise KeyboardInterrupt
            return had

    class Waiter:
        def __init__(self) -> None:
            self.connection = None
            self.ready = Interrupted()

    with connect(tomato_url, pool_size=1, timeout=5) as db:
        with monkeypatch.context() as patch:
            patch.setattr(pool, "_Waiter", Waiter)
            with pytest.raises(KeyboardInterrupt):
                db.organizations.list()
        db.organizations.list()


class Signalling(deque[Any]):
    """Idle connections; a signal comes in the middle of each taking and each return."""

    def pop(self) -> Any:  # type: ignore[override]
        """Take one."""
        connection = super().pop()
        signal.raise_signal(signal.SIGUSR1)
        return connection

    def append(self, connection: Any) -> None:
        """Bring one back."""
        super().append(connection)
        signal.raise_signal(signal.SIGUSR1)


@contextmanager
def on_signal(handle: Callable[[], object]) -> Iterator[None]:
    """Call a function at each SIGUSR1 while in the block; a block that stands still for a minute raises TimeoutError."""

    def give_up(*_: object) -> None:
        raise TimeoutError

    before = signal.signal(signal.SIGUSR1, lambda *_: handle()), signal.signal(signal.SIGALRM, give_up)
    signal.alarm(60)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGUSR1, before[0])
        signal.signal(signal.SIGALRM, before[1])


def test_a_signal_handler_reads_the_pools_figures_at_any_moment(tomato_url: str) -> None:
    with connect(tomato_url, pool_size=1) as db:
        db.organizations.list()
        db._pool._idle = Signalling(db._pool._idle)
        idle: list[int] = []
        with on_signal(lambda: idle.append(db.stats().pool.idle)):
            db.organizations.list()
    assert idle == [0, 1]


@pytest.mark.parametrize("moment", [1, 2], ids=["taken", "given back"])
def test_a_signal_handler_closes_the_database_at_any_moment(tomato_url: str, server: psycopg.Connection, moment: int) -> None:
    db = connect(tomato_url, pool_size=1, application_name="signalled")
    db.organizations.list()
    db._pool._idle = Signalling(db._pool._idle)
    signals = count(1)
    with on_signal(lambda: db.close(grace=0) if next(signals) == moment else None):
        assert db.organizations.list() == []
    with pytest.raises(Unavailable, match="closed"):
        db.organizations.list()
    until(server, "not exists (select " + BACKENDS + ")", "signalled")


def test_an_interrupt_right_after_being_served_loses_nothing(tomato_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    readings = count(1)

    def interrupted() -> float:
        """Return the time; at this thread's second reading, with which it ends its wait, an interrupt comes."""
        if threading.current_thread() is threading.main_thread() and next(readings) == 2:
            raise KeyboardInterrupt
        return monotonic()

    with connect(tomato_url, pool_size=1, timeout=5) as db:
        with monkeypatch.context() as patch:
            patch.setattr(pool, "monotonic", interrupted)
            with pytest.raises(KeyboardInterrupt):
                db.organizations.list()
        assert db.organizations.list() == []

"""Ctrl-C ends what waits, and nothing else."""

import signal
import subprocess
import sys
import threading
from time import monotonic

import psycopg
import pytest

from tests.conftest import World
from tests.helpers.dao_cases import until
from tests.helpers.session_cases import BACKENDS
from tomato_dao import connect, pool

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
    sql = "select exists (select from pg_stat_activity where application_name = %s and wait_event_type = 'Lock')"
    return watcher.execute(sql, [name]).fetchone() == (True,)

def watch():
    while not waits() and not over.wait(0.005):
        pass
    print("waiting", flush=True)

def lease():
    with db.connection():
        leased.set()
        over.wait(20)

if how == "pool":
    threading.Thread(target=lease).start()
    leased.wait(10)
elif how == "server":
    watcher = psycopg.connect(make_conninfo(url, dbname="postgres"), autocommit=True)
    watcher.execute(allow.format("false"))
    watcher.execute("select pg_terminate_backend(pid, 5000) from pg_stat_activity where application_name = %s", [name])
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


@pytest.mark.slow
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
        guard = threading.Timer(10, process.kill)
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
            assert process.wait(10) == 0
        finally:
            guard.cancel()
            process.kill()
    assert took < 1


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

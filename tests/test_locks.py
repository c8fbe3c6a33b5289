"""Exclusive work: one worker has a lock, across threads and processes; who loses it learns of it; nothing else waits."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager, suppress

import psycopg
import pytest
from conftest import World
from dao_cases import until
from psycopg.conninfo import make_conninfo
from test_database import BACKENDS, kill
from test_unprepared import pgbouncer

from tomato_dao import Busy, Database, InvalidValue, LockLost, Unavailable, WrongState, connect, locks
from tomato_dao.locks import Kind
from tomato_dao.ops.scratch import scratch_database
from tomato_dao.session import ask

HIGHEST = 2**60 - 1  # id that can be locked
ADVISORY = (
    "select count(*) from pg_locks l inner join pg_database d on d.oid = l.database"
    " where l.locktype = 'advisory' and d.datname = current_database()"
)


@pytest.fixture(scope="module")
def url(tomato_server_url: str) -> Iterator[str]:
    """The URL of a database for all tests that leave nothing behind."""
    with scratch_database(tomato_server_url) as url:
        yield url


@pytest.fixture
def here(url: str) -> Iterator[Database]:
    """A Database whose locks are in the session “here locks”."""
    with connect(url, pool_size=1, application_name="here") as db:
        yield db


@pytest.fixture
def there(url: str) -> Iterator[Database]:
    """Another one, whose locks are in the session “there locks”, as those of another process would be."""
    with connect(url, pool_size=1, application_name="there") as db:
        yield db


@pytest.fixture
def watcher(url: str) -> Iterator[psycopg.Connection]:
    """A connection of its own, in autocommit mode."""
    with psycopg.connect(url, autocommit=True) as connection:
        yield connection


def is_free(db: Database, id: int, kind: Kind = "topology") -> bool:
    try:
        with db.exclusive(kind, id):
            return True
    except Busy:
        return False


class Worker:
    """A thread that waits for the lock on a topology, and has it until it is told to leave."""

    def __init__(self, db: Database, id: int) -> None:
        self._db, self._id = db, id
        self.inside = threading.Event()
        self._told = threading.Event()
        threads = ThreadPoolExecutor(1)
        self._work = threads.submit(self._run)
        threads.shutdown(wait=False)

    def leave(self) -> None:
        """Raises what the thread raised."""
        self._told.set()
        self._work.result(20)

    def _run(self) -> None:
        with self._db.exclusive("topology", self._id, wait=15):
            self.inside.set()
            self._told.wait(15)


@contextmanager
def process(script: str, *arguments: str) -> Iterator["subprocess.Popen[str]"]:
    """A Python process, whose input and output are pipes; it is killed at the end, and after 20 seconds."""
    command = [sys.executable, "-c", script, *arguments]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as started:
        guard = threading.Timer(20, started.kill)
        guard.start()
        try:
            yield started
        finally:
            guard.cancel()
            started.kill()


def line(started: "subprocess.Popen[str]") -> str:
    assert started.stdout
    return started.stdout.readline().rstrip("\n")


# Who gets it.


def test_a_lock_is_one_workers_across_threads_and_processes(here: Database, there: Database) -> None:
    with ThreadPoolExecutor(1) as thread:
        for _ in range(2):
            with here.exclusive("topology", 1):
                assert not is_free(there, 1)
                assert not thread.submit(is_free, here, 1).result(10)
            assert is_free(there, 1)
            assert thread.submit(is_free, here, 1).result(10)


@pytest.mark.parametrize(("wait", "said"), [(0, "has the lock$"), (0.1, "has the lock, after 0.1 s of waiting too$")])
@pytest.mark.parametrize("holder", ["thread", "process"])
def test_a_refusal_says_what_is_taken(here: Database, there: Database, holder: str, wait: float, said: str) -> None:
    worker = Worker(here if holder == "thread" else there, 7)
    assert worker.inside.wait(10)
    with pytest.raises(Busy, match=f"^topology 7: another worker {said}") as refused:
        here.exclusive("topology", 7, wait=wait).__enter__()
    assert (refused.value.entity, refused.value.key) == ("topology", 7)
    worker.leave()


def test_locks_are_independent_of_each_other_and_of_the_migrations(
    here: Database, there: Database, watcher: psycopg.Connection
) -> None:
    kinds: tuple[Kind, ...] = ("topology", "element", "connection")
    watcher.execute("select pg_advisory_lock(%s), pg_advisory_lock(1), pg_advisory_lock(0, 1)", [0x746F6D61746F])
    with ExitStack() as held:
        for kind in kinds:
            for id in (0, 1, 2**32, 2**32 + 1, HIGHEST):
                assert is_free(there, id, kind)
                held.enter_context(here.exclusive(kind, id))
                assert not is_free(there, id, kind)


def test_a_thread_that_asks_for_its_own_lock_is_told(here: Database, there: Database) -> None:
    with here.exclusive("topology", 1):
        with pytest.raises(WrongState, match="topology 1: this thread has the lock already"):
            here.exclusive("topology", 1, wait=60).__enter__()
        assert not is_free(there, 1)
    assert is_free(there, 1)


@pytest.mark.parametrize(
    ("kind", "id", "wait", "said"),
    [
        ("host", 1, 0, "a topology, element or connection, not on 'host'"),
        ("topology", -1, 0, "topology: -1 is no id"),
        ("topology", HIGHEST + 1, 0, "is no id"),
        ("topology", "1", 0, "topology: '1' is no id"),
        ("topology", None, 0, "topology: None is no id"),
        ("topology", 1, -1, "topology 1: wait is 0 or more seconds, not -1"),
        ("topology", 1, float("nan"), "not nan"),
        ("topology", 1, float("inf"), "not inf"),
        ("topology", 1, None, "not None"),
        ("topology", 1, "1", "not '1'"),
    ],
)
def test_what_cannot_be_locked_is_refused(here: Database, kind: Kind, id: int, wait: float, said: str) -> None:
    with pytest.raises(InvalidValue, match=said):
        here.exclusive(kind, id, wait=wait).__enter__()


@pytest.mark.parametrize("waiting", ["thread", "process"])
def test_a_waiting_worker_gets_the_lock_once_it_is_free(here: Database, there: Database, waiting: str) -> None:
    with here.exclusive("topology", 1):
        worker = Worker(here if waiting == "thread" else there, 1)
        assert not worker.inside.wait(0.1)
    assert worker.inside.wait(10)
    assert not is_free(here, 1)
    worker.leave()
    assert is_free(here, 1)


def test_of_many_who_want_a_lock_one_has_it_at_a_time(here: Database, there: Database) -> None:
    inside: list[int] = []
    together: list[int] = []

    def work(n: int) -> None:
        for _ in range(5):
            with (here, there)[n % 2].exclusive("topology", 1, wait=20):
                inside.append(n)
                here.organizations.list()
                together.append(len(inside))
                inside.remove(n)

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(work, range(8), timeout=30))
    assert together == [1] * 40


def test_a_block_that_raises_gives_its_lock_back(here: Database, there: Database) -> None:
    with pytest.raises(ZeroDivisionError) as raised, here.exclusive("topology", 1):
        raise ZeroDivisionError
    assert not hasattr(raised.value, "__notes__")
    assert is_free(there, 1)
    assert is_free(here, 1)


# What it costs the others.


def test_threads_share_one_session_and_do_not_wait_for_each_other(
    here: Database, there: Database, watcher: psycopg.Connection
) -> None:
    start = threading.Barrier(25)

    def work(n: int) -> None:
        start.wait(10)
        with ExitStack() as held:
            for id in range(10):
                held.enter_context(here.exclusive("element", 100 * n + id))
        for id in range(10):
            with here.exclusive("element", 100 * n + id) as lock:
                lock.check()

    with ExitStack() as taken, ThreadPoolExecutor(25) as threads:
        for id in range(5):
            taken.enter_context(there.exclusive("topology", id))
        slow = [Worker(here, id) for id in range(5)]
        list(threads.map(work, range(25), timeout=15))
        assert not any(worker.inside.is_set() for worker in slow)
        assert watcher.execute("select count(*) " + BACKENDS, ["here locks"]).fetchone() == (1,)
        taken.close()
        for worker in slow:
            worker.leave()
    assert watcher.execute(ADVISORY).fetchone() == (0,)


def test_a_lock_keeps_nobody_from_rows_or_maintenance(tomato_url: str, world: World, server: psycopg.Connection) -> None:
    with connect(tomato_url, application_name="here") as here, connect(tomato_url, application_name="there") as there:
        topology = here.topologies.create("lab", owner_id=world.user.id)
        server.execute("set statement_timeout = '10s'")
        with here.exclusive("topology", topology.id):
            worker = Worker(there, topology.id)
            until(server, "exists (select " + BACKENDS + ")", "there locks")
            there.topologies.update(topology.id, {"name": "changed"})
            server.execute("create index concurrently on topologies (name)")
            server.execute("vacuum topologies")
            there.topologies.delete(topology.id)
            sessions = server.execute("select state, backend_xid, backend_xmin " + BACKENDS, ["here locks"]).fetchall()
            assert sessions == [("idle in transaction", None, None)]
        worker.leave()
        until(server, "(select array_agg(state) " + BACKENDS + ") = '{idle}'", "here locks")


def test_time_limits_do_not_end_a_lock(tomato_url: str, server: psycopg.Connection) -> None:
    limits = ["idle_session_timeout", "idle_in_transaction_session_timeout"]
    if server.info.server_version >= 170000:
        limits.append("transaction_timeout")
    for limit in limits:
        server.execute(f"alter database {server.info.dbname} set {limit} = '100ms'")
    with (
        connect(tomato_url) as db,
        db.exclusive("topology", 1) as lock,
        closing(psycopg.connect(tomato_url, application_name="limited")) as limited,
    ):
        limited.execute("select 1")
        until(server, "not exists (select " + BACKENDS + ")", "limited")
        lock.check()


def test_locks_are_safe_behind_a_pooler_in_transaction_mode(url: str, watcher: psycopg.Connection) -> None:
    with (
        pgbouncer(url) as pooled,
        connect(pooled, prepare=False, application_name="one") as one,
        connect(pooled, prepare=False, application_name="two") as two,
    ):
        for id in range(3):
            with one.exclusive("topology", id) as lock, two.exclusive("element", id):
                assert [is_free(two, id), is_free(one, id, "element")] == [False, False]
                assert one.organizations.list() == two.organizations.list() == []
                lock.check()
            assert watcher.execute(ADVISORY).fetchone() == (0,)


# How it ends otherwise.

HOLDER = """
import os, signal, sys, tomato_dao
db = tomato_dao.connect(sys.argv[1])
with db.exclusive("topology", 1):
    child = os.fork() if sys.argv[2] == "outlived" else 0
    if child or sys.argv[2] == "alone":
        print(child, flush=True)
    signal.pause()
"""


@pytest.mark.parametrize("how", ["alone", "outlived"])
def test_a_killed_holder_frees_its_topology_within_a_second(here: Database, url: str, how: str) -> None:
    with process(HOLDER, url, how) as holder:
        child = int(line(holder))
        try:
            assert not is_free(here, 1)
            holder.kill()
            with here.exclusive("topology", 1, wait=1) as lock:
                lock.check()
        finally:
            if child:
                os.kill(child, signal.SIGKILL)


def test_who_lost_the_lock_learns_it_at_the_latest_when_leaving(
    here: Database, there: Database, watcher: psycopg.Connection
) -> None:
    def lose_it() -> None:
        with here.exclusive("topology", 1):
            assert kill(watcher, "here locks") == 1
            assert is_free(there, 1)

    with pytest.raises(LockLost, match="topology 1: the lock is lost, as its session ended") as lost:
        lose_it()
    assert (lost.value.entity, lost.value.key) == ("topology", 1)
    assert "\n" not in str(lost.value)
    assert is_free(here, 1)


def test_who_asks_learns_at_once_that_the_lock_is_lost(here: Database, watcher: psycopg.Connection) -> None:
    with suppress(LockLost), here.exclusive("topology", 1) as lock:
        lock.check()
        kill(watcher, "here locks")
        for _ in range(2):
            with pytest.raises(LockLost, match="topology 1"):
                lock.check()
    with pytest.raises(LockLost), here.exclusive("topology", 1):
        lock.check()


def test_a_loss_is_told_once_for_each_lock(here: Database, watcher: psycopg.Connection) -> None:
    def fail() -> None:
        with here.exclusive("element", 2), here.exclusive("topology", 1) as lock:
            kill(watcher, "here locks")
            lock.check()

    with pytest.raises(LockLost, match=r"^topology 1: ") as raised:
        fail()
    assert [note.partition(":")[0] for note in raised.value.__notes__] == ["element 2"]


def test_what_a_block_raises_is_not_hidden_by_the_loss_of_its_lock(here: Database, watcher: psycopg.Connection) -> None:
    def fail() -> None:
        with here.exclusive("topology", 1):
            kill(watcher, "here locks")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError) as raised:
        fail()
    assert raised.value.__notes__ == [
        "topology 1: the lock is lost, as its session ended; another worker may have had it since"
    ]


def test_a_lost_session_costs_its_locks_and_nobody_elses(here: Database, there: Database, watcher: psycopg.Connection) -> None:
    workers = [Worker(here, 1), Worker(here, 2)]
    with there.exclusive("topology", 3) as theirs:
        waiting = Worker(here, 3)
        for worker in workers:
            assert worker.inside.wait(10)
        watcher.execute("select pg_terminate_backend(pid, 5000) " + BACKENDS, ["here locks"])  # the waiter opens another
        with here.exclusive("topology", 4) as fresh:
            assert not is_free(here, 1)  # in this process nobody goes to work beside who doesn't know yet
            assert is_free(there, 1)
            for worker in workers:
                with pytest.raises(LockLost):
                    worker.leave()
            assert is_free(here, 1)
            fresh.check()
        theirs.check()
    assert waiting.inside.wait(10)
    waiting.leave()


def test_a_lock_is_unavailable_where_there_is_no_server(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", url)
    monkeypatch.setenv("DIRECT_DATABASE_URL", "postgresql://127.0.0.1:1/tomato")
    with connect() as db:
        for _ in range(2):
            with pytest.raises(Unavailable, match=r"can't connect to 127\.0\.0\.1:1"):
                db.exclusive("topology", 1, wait=5).__enter__()


@pytest.mark.parametrize(("given", "session"), [(True, "unnamed locks"), (False, "direct")])
def test_the_direct_url_goes_with_database_url(
    url: str, monkeypatch: pytest.MonkeyPatch, watcher: psycopg.Connection, given: bool, session: str
) -> None:
    monkeypatch.setenv("DATABASE_URL", url)
    monkeypatch.setenv("DIRECT_DATABASE_URL", make_conninfo(url, application_name="direct"))
    with connect(url if given else None, application_name="unnamed") as db, db.exclusive("topology", 1):
        assert watcher.execute("select count(*) " + BACKENDS, [session]).fetchone() == (1,)


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_child_has_none_of_its_parents_locks_and_takes_none(here: Database, there: Database) -> None:
    with here.exclusive("topology", 1) as lock:
        child = os.fork()
        if child == 0:
            done = False
            with suppress(BaseException):
                assert not is_free(here, 1)
                assert is_free(here, 2)
                with pytest.raises(LockLost):
                    lock.check()
                done = True
            os._exit(0 if done else 1)
        assert os.waitpid(child, 0)[1] == 0
        lock.check()
        assert not is_free(there, 1)
    assert is_free(there, 1)


def test_closing_frees_locks_and_tells_who_waits_or_has_one(url: str, there: Database) -> None:
    with connect(url) as db:
        holder = Worker(db, 1)
        assert holder.inside.wait(10)
        with there.exclusive("topology", 2):
            waiting = [Worker(db, 1), Worker(db, 2)]
            db.close()
            for worker in waiting:
                with pytest.raises(Unavailable, match="the database is closed"):
                    worker.leave()
        with there.exclusive("topology", 1, wait=10):  # the server sees the end of a session a moment later
            pass
        with pytest.raises(LockLost):
            holder.leave()
        with pytest.raises(Unavailable, match="the database is closed"):
            is_free(db, 1)


INTERRUPTED = """
import signal, sys, tomato_dao
signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored, where a shell runs the tests in the background
db = tomato_dao.connect(sys.argv[1], application_name="interrupted")
with db.exclusive("topology", 2) as other:
    try:
        with db.exclusive("topology", 1, wait=60):
            pass
    except KeyboardInterrupt:
        print("interrupted", flush=True)
    with db.exclusive("topology", 1, wait=15):
        other.check()
        print("went on", flush=True)
"""


def test_an_interrupt_ends_a_wait_and_nothing_else(here: Database, url: str, watcher: psycopg.Connection) -> None:
    with process(INTERRUPTED, url) as waiting:
        with here.exclusive("topology", 1):
            until(watcher, f"exists (select {BACKENDS} and query like '%%({2**60 + 1})')", "interrupted locks")
            waiting.send_signal(signal.SIGINT)
            assert line(waiting) == "interrupted"
        assert line(waiting) == "went on"
        assert waiting.wait(10) == 0


def test_a_lock_that_is_granted_as_an_interrupt_comes_is_given_back(
    here: Database, there: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    def ask_and_be_interrupted(connection: psycopg.Connection, statements: bytes) -> bytes | None:
        monkeypatch.undo()
        assert ask(connection, statements) == b"t"
        raise KeyboardInterrupt

    with here.exclusive("topology", 2) as other:
        monkeypatch.setattr(locks, "ask", ask_and_be_interrupted)
        with pytest.raises(KeyboardInterrupt):
            here.exclusive("topology", 1).__enter__()
        assert is_free(there, 1)
        assert is_free(here, 1)
        other.check()

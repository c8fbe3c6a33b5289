"""Locks that end otherwise than by leaving the block: with the holder, its session, the database or an interrupt."""

import os
import signal
from contextlib import suppress
from time import monotonic

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from tests.helpers.dao_cases import until
from tests.helpers.lock_cases import Worker, is_free, line, process
from tests.helpers.session_cases import BACKENDS, kill, refusing_connections
from tomato_dao import Database, LockLost, Unavailable, connect, locks
from tomato_dao.server.session import answer

pytestmark = pytest.mark.slow

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
def test_a_killed_holder_frees_its_topology_within_a_second(here: Database, lasting_url: str, how: str) -> None:
    with process(HOLDER, lasting_url, how) as holder:
        child = int(line(holder))
        try:
            assert not is_free(here, 1)
            holder.kill()
            with here.exclusive("topology", 1, wait=1) as lock:
                lock.check()
        finally:
            if child:
                os.kill(child, signal.SIGKILL)


def test_a_lost_lock_is_reported_at_the_latest_when_leaving(
    here: Database, there: Database, watcher: psycopg.Connection
) -> None:
    def lose_it() -> None:
        with here.exclusive("topology", 1):
            assert kill(watcher, "here locks") == 1
            assert is_free(there, 1)

    with pytest.raises(LockLost, match="topology 1: the lock was lost because its session ended") as lost:
        lose_it()
    assert (lost.value.entity, lost.value.key) == ("topology", 1)
    assert "\n" not in str(lost.value)
    assert is_free(here, 1)


def test_a_check_reports_a_lost_lock_at_once(here: Database, watcher: psycopg.Connection) -> None:
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


def test_a_blocks_error_is_not_hidden_by_the_loss_of_its_lock(here: Database, watcher: psycopg.Connection) -> None:
    def fail() -> None:
        with here.exclusive("topology", 1):
            kill(watcher, "here locks")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError) as raised:
        fail()
    assert raised.value.__notes__ == [
        "topology 1: the lock was lost because its session ended; another worker may have held it since"
    ]


def test_a_lost_session_costs_its_locks_and_nobody_elses(here: Database, there: Database, watcher: psycopg.Connection) -> None:
    workers = [Worker(here, 1), Worker(here, 2)]
    with there.exclusive("topology", 3) as theirs:
        waiting = Worker(here, 3)
        for worker in workers:
            assert worker.inside.wait(60)
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
    assert waiting.inside.wait(60)
    waiting.leave()


def test_a_lock_is_unavailable_where_there_is_no_server(lasting_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", lasting_url)
    monkeypatch.setenv("DIRECT_DATABASE_URL", "postgresql://127.0.0.1:1/tomato")
    with connect() as db:
        for _ in range(2):
            with pytest.raises(Unavailable, match=r"can't connect to 127\.0\.0\.1:1"):
                db.exclusive("topology", 1, wait=0.1).__enter__()


def test_a_lock_that_was_never_granted_is_not_called_lost(
    here: Database, lasting_url: str, watcher: psycopg.Connection
) -> None:
    assert is_free(here, 1)  # so that there is a session
    with refusing_connections(lasting_url):
        assert kill(watcher, "here locks") == 1
        with pytest.raises(Unavailable, match="not currently accepting connections") as refused:
            here.exclusive("topology", 1).__enter__()
    assert not hasattr(refused.value, "__notes__")
    assert is_free(here, 1)


@pytest.mark.parametrize(("given", "session"), [(True, "unnamed locks"), (False, "direct")])
def test_the_direct_url_goes_with_database_url(
    lasting_url: str, monkeypatch: pytest.MonkeyPatch, watcher: psycopg.Connection, given: bool, session: str
) -> None:
    monkeypatch.setenv("DATABASE_URL", lasting_url)
    monkeypatch.setenv("DIRECT_DATABASE_URL", make_conninfo(lasting_url, application_name="direct"))
    with connect(lasting_url if given else None, application_name="unnamed") as db, db.exclusive("topology", 1):
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


def test_closing_frees_locks_and_tells_who_waits_or_has_one(lasting_url: str, there: Database) -> None:
    with connect(lasting_url) as db:
        holder = Worker(db, 1)
        assert holder.inside.wait(60)
        with there.exclusive("topology", 2):
            waiting = [Worker(db, 1), Worker(db, 2)]
            db.close()
            for worker in waiting:
                with pytest.raises(Unavailable, match="the database is closed"):
                    worker.leave()
        with there.exclusive("topology", 1, wait=60):  # the server sees the end of a session a moment later
            pass
        with pytest.raises(LockLost):
            holder.leave()
        with pytest.raises(Unavailable, match="the database is closed"):
            is_free(db, 1)


def test_closing_tells_a_thread_that_waits_for_another_at_once(lasting_url: str) -> None:
    with connect(lasting_url) as db:
        holder = Worker(db, 1)
        assert holder.inside.wait(60)
        waiting = Worker(db, 1)
        assert not waiting.inside.wait(0.1)
        db.close()
        closed = monotonic()
        with pytest.raises(Unavailable, match="the database is closed"):
            waiting.leave()
        assert monotonic() - closed < 30  # the holder leaves by itself after 60 seconds, which would tell it too
        with pytest.raises(LockLost):
            holder.leave()


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
    with db.exclusive("topology", 1, wait=60):
        other.check()
        print("went on", flush=True)
"""


def test_an_interrupt_ends_a_wait_and_nothing_else(here: Database, lasting_url: str, watcher: psycopg.Connection) -> None:
    with process(INTERRUPTED, lasting_url) as waiting:
        with here.exclusive("topology", 1):
            until(watcher, f"exists (select {BACKENDS} and query like '%%({2**60 + 1})')", "interrupted locks")
            waiting.send_signal(signal.SIGINT)
            assert line(waiting) == "interrupted"
        assert line(waiting) == "went on"
        assert waiting.wait(60) == 0


def test_a_lock_that_is_granted_as_an_interrupt_comes_is_given_back(
    here: Database, there: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    def answered_and_interrupted(connection: psycopg.Connection, seconds: float) -> bytes | None:
        monkeypatch.undo()
        assert answer(connection, seconds) == b"t"
        raise KeyboardInterrupt

    with here.exclusive("topology", 2) as other:
        monkeypatch.setattr(locks, "answer", answered_and_interrupted)
        with pytest.raises(KeyboardInterrupt):
            here.exclusive("topology", 1).__enter__()
        assert is_free(there, 1)
        assert is_free(here, 1)
        other.check()

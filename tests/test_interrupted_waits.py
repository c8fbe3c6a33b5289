"""An interrupt ends each wait, also one that it does not wake.

A signal that arrives just before a blocking call does not end that call. A signal that another thread receives does not either,
so the tests send it to the thread that watches.
"""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import monotonic

import pytest

from tomato_dao import Database, connect

pytestmark = pytest.mark.slow


@contextmanager
def interrupted(waits: Callable[[], bool]) -> Iterator[None]:
    """Interrupt the block, which must be waiting by then, without waking the main thread."""

    def send() -> None:
        while not waits():
            if over.wait(0.005):
                return
        signal.pthread_kill(threading.get_ident(), signal.SIGINT)

    over = threading.Event()
    sender = threading.Thread(target=send)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored, where a shell runs the tests in the background
    began = monotonic()
    try:
        sender.start()
        with pytest.raises(KeyboardInterrupt):
            yield
        assert monotonic() - began < 15
    finally:
        over.set()
        sender.join()
        signal.signal(signal.SIGINT, before)


@contextmanager
def in_another_thread(enter: Callable[[], object]) -> Iterator[None]:
    """Let another thread be in a context while in the block."""

    def hold() -> None:
        with enter():  # type: ignore[attr-defined]
            held.set()
            over.wait(60)

    held, over = threading.Event(), threading.Event()
    holder = threading.Thread(target=hold)
    holder.start()
    try:
        assert held.wait(30)
        yield
    finally:
        over.set()
        holder.join()


def test_in_the_queue_for_a_connection(tomato_url: str) -> None:
    with connect(tomato_url, pool_size=1, timeout=30) as db:
        with in_another_thread(db.connection), interrupted(lambda: db.stats().pool.waiting == 1):
            db.hosts.list()
        assert db.hosts.list() == []


def test_for_a_lock_that_another_thread_holds(db: Database) -> None:
    def waits() -> bool:
        return bool(db._locks._guard._waiters)  # type: ignore[attr-defined]

    with in_another_thread(lambda: db.exclusive("topology", 1)), interrupted(waits), db.exclusive("topology", 1, wait=30):
        pass
    with db.exclusive("topology", 1):
        pass


def test_for_an_event(db: Database) -> None:
    def waits() -> bool:
        return bool(db._events._guard._waiters)  # type: ignore[attr-defined]

    with db.listen("topologies", timeout=30) as listener, interrupted(waits):
        for _ in listener:
            pass

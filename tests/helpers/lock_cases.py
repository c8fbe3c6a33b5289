"""Helpers that the tests of locks share: workers that hold them, in threads and processes."""

import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

from tomato_dao import Busy, Database
from tomato_dao.locks import Kind


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
        self._work.result(60)

    def _run(self) -> None:
        with self._db.exclusive("topology", self._id, wait=90):
            self.inside.set()
            self._told.wait(60)


@contextmanager
def process(script: str, *arguments: str) -> Iterator["subprocess.Popen[str]"]:
    """Provide a Python process, whose input and output are pipes; it is killed at the end, and after a minute."""
    command = [sys.executable, "-c", script, *arguments]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as started:
        guard = threading.Timer(60, started.kill)
        guard.start()
        try:
            yield started
        finally:
            guard.cancel()
            started.kill()


def line(started: "subprocess.Popen[str]") -> str:
    assert started.stdout
    return started.stdout.readline().rstrip("\n")

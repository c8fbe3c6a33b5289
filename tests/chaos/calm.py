"""After the storm: the pool is whole, its sessions are as new, none is left over at the server, and standbys serve again."""

import threading
from collections.abc import Callable
from contextlib import ExitStack, suppress
from time import monotonic
from typing import Any

import psycopg

from tests.chaos.worker import Worker
from tomato_dao import TomatoError

_LOOK = (
    "select current_setting('statement_timeout'), coalesce(current_setting('chaos.who', true), ''), pg_backend_pid(),"
    " current_setting('application_name')"
)
_SESSIONS = "select count(*) from pg_stat_activity where datname = current_database() and application_name = %s"
_PATIENCE = 30  # seconds within which all is well again


def calm(worker: Worker, size: int, wait: float) -> None:
    """Note what is not as it should be. size: of the pool. wait: seconds for which its connections are waited for."""
    faults = worker.result.faults
    _within(_PATIENCE, lambda: worker.db.key_values.get("echo1") == 1)
    held: list[tuple[Any, ...]] = []
    together = threading.Barrier(size)
    threads = [threading.Thread(target=_hold, args=(worker, together, held, wait), daemon=True) for _ in range(size)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    if len({row[2] for row in held}) != size:
        faults.append(f"the pool is not whole after the storm: {held}")
    if changed := [row for row in held if row[:2] != ("1min", "")]:
        faults.append(f"left in sessions: {changed}")
    if (stats := worker.db.stats().pool).connections > size or stats.waiting:
        faults.append(f"after the storm: {stats}")
    if held and not _within(_PATIENCE, lambda: _sessions(worker, held[0][3]) <= size):
        faults.append(f"left over: {_sessions(worker, held[0][3])} sessions of a pool of {size}")


def standbys_serve(worker: Worker) -> None:
    """Note where standbys don't come to serve reads, before a storm or after it."""

    def is_served() -> bool:
        before = worker.db.reads_served()[0]
        with worker.db.reads(wait=1):
            worker.db.key_values.get("echo1")
        return worker.db.reads_served()[0] > before

    if not _within(_PATIENCE, is_served):
        worker.result.faults.append(f"standbys have served nothing for {_PATIENCE} s without faults")


def _within(seconds: float, is_so: Callable[[], bool]) -> bool:
    """Return whether something comes about in time; an error means that it has not yet."""
    deadline = monotonic() + seconds
    while monotonic() < deadline:
        with suppress(TomatoError, psycopg.Error):
            if is_so():
                return True
        threading.Event().wait(0.01)
    return False


def _sessions(worker: Worker, name: str) -> int:
    with worker.db.connection() as connection:
        row = connection.execute(_SESSIONS, [name]).fetchone()
    assert row
    return int(row[0])


def _hold(worker: Worker, together: threading.Barrier, held: list[tuple[Any, ...]], wait: float) -> None:
    for _ in range(together.parties * 3):  # dead sessions are found out one after the other
        try:
            with ExitStack() as stack:
                connection = stack.enter_context(worker.db.connection())
                row = connection.execute(_LOOK).fetchone()
                together.wait(wait)
                held.append(row or ())
                return
        except (TomatoError, psycopg.Error):
            continue
        except threading.BrokenBarrierError:
            return

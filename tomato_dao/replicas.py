"""Reads on standbys, never stale: one serves a call once it has replayed what the caller must see, else the primary does."""

import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from itertools import count
from time import monotonic, sleep

import psycopg

from .errors import TomatoError, Unavailable
from .pool import Pool
from .printable import one_line
from .server import fork
from .server.backoff import pauses
from .server.positions import Position, of_standby
from .sql.query import Query

logger = logging.getLogger(__name__)

_FIRST_PAUSE, _LONGEST_PAUSE = 0.2, 5.0  # seconds before a standby that was left out is tried again
_ASK = 0.001  # seconds between two looks at how far a standby is
UNSERVED = object()


class Reading:
    """A block of reads: what they must see (None: not known yet, as something was written), and how long is waited for it."""

    def __init__(self, after: Position | None, wait: float) -> None:
        self.after = after
        self.wait = wait


class _Replica:
    """A standby: its pool while it is of use, and how far it is known to be."""

    def __init__(self, open_: Callable[[], Pool]) -> None:
        self.open = open_
        self.pool: Pool | None = None
        self.position: Position | None = None


class Replicas:
    """The standbys of a Database; safe to share between threads."""

    def __init__(self, pools: Sequence[Callable[[], Pool]]) -> None:
        """Open a pool on each; one that is not of use now is tried again in the background."""
        self.served = self.unserved = 0  # about: threads count without a lock
        self._replicas = [_Replica(open_) for open_ in pools]
        self._reading: ContextVar[Reading | None] = ContextVar("reading", default=None)
        self._turns = count()
        self._closed = threading.Event()
        self._start()
        for replica in self._replicas:
            if not self._open(replica):
                self._leave_out(replica)
        fork.watch(self)

    def _start(self) -> None:
        self._guard = threading.Lock()
        self._out: set[_Replica] = set()  # those that a thread opens anew

    def after_fork_in_child(self) -> None:
        """Go on with the standbys that are of use: the thread that opens the others did not come along."""
        out = self._out
        self._start()
        for replica in out:
            self._leave_out(replica)

    def close(self, grace: float) -> None:
        """Close all pools."""
        self._closed.set()
        for replica in self._replicas:
            if replica.pool is not None:
                replica.pool.close(grace)

    @contextmanager
    def reading(self, after: Position | None, wait: float) -> Iterator[None]:
        """Let this thread's, or task's, reads be served by standbys while in the block."""
        before = self._reading.set(Reading(after, wait))
        try:
            yield
        finally:
            self._reading.reset(before)

    def current(self) -> Reading | None:
        """Return the block that the caller is in."""
        return self._reading.get()

    def run(self, reading: Reading, after: Position, query: Query, values: Sequence[object]) -> object:
        """Return a query's rows from a standby that is so far; UNSERVED where none is in time."""
        deadline = monotonic() + reading.wait
        turn = next(self._turns)
        for n in range(len(self._replicas)):
            replica = self._replicas[(turn + n) % len(self._replicas)]
            if (pool := replica.pool) is not None:
                found = self._run_on(replica, pool, after, deadline, query, values)
                if found is not UNSERVED:
                    self.served += 1
                    return found
        self.unserved += 1
        return UNSERVED

    def _run_on(
        self, replica: _Replica, pool: Pool, after: Position, deadline: float, query: Query, values: Sequence[object]
    ) -> object:
        try:
            connection = pool.lease(max(deadline - monotonic(), 0))
        except Unavailable:
            return UNSERVED
        try:
            if self._is_so_far(replica, connection, after, deadline):
                return connection.run(query, values)
        except (
            psycopg.Error
        ) as error:  # a conflict with what is replayed, or its end: the primary tells what is wrong with the call
            if connection.ended(error) or connection.closed:
                self._leave_out(replica, error)
        finally:
            pool.give_back(connection)
        return UNSERVED

    def _is_so_far(self, replica: _Replica, connection: psycopg.Connection, after: Position, deadline: float) -> bool:
        """Wait until the standby has replayed a position, or the deadline."""
        while (known := replica.position) is None or not known.covers(after):
            found = of_standby(connection)
            if found is None:
                self._leave_out(replica, "it was promoted")
                return False
            replica.position = found
            if found.timeline != after.timeline or (not found.covers(after) and monotonic() >= deadline):
                return False
            if not found.covers(after):
                sleep(_ASK)
        return True

    def _leave_out(self, replica: _Replica, why: object = None) -> None:
        """Close a standby's pool, and open it again in the background."""
        with self._guard:
            if replica in self._out or self._closed.is_set():
                return
            self._out.add(replica)
            pool, replica.pool, replica.position = replica.pool, None, None
        if why is not None:
            logger.warning("a standby is left out, and tried again: %s", one_line(why))
        threading.Thread(target=self._come_back, args=(replica, pool), name="tomato-dao replicas", daemon=True).start()

    def _come_back(self, replica: _Replica, old: Pool | None) -> None:
        if old is not None:
            old.close(5)
        for pause in pauses(_FIRST_PAUSE, _LONGEST_PAUSE):
            if self._closed.wait(pause) or self._open(replica):
                break
        with self._guard:
            self._out.discard(replica)
        if self._closed.is_set() and replica.pool is not None:
            replica.pool.close(0)

    def _open(self, replica: _Replica) -> bool:
        """Open a standby's pool; False where it can't be used now."""
        pool = None
        try:
            pool = replica.open()
            connection = pool.lease()
            try:
                position = of_standby(connection)
            finally:
                pool.give_back(connection)
            if position is not None:
                replica.position, replica.pool = position, pool
                return True
            logger.warning("a standby is left out: it is none, or was promoted")
        except (TomatoError, psycopg.Error) as error:
            logger.warning("a standby is left out: %s", one_line(error))
        if pool is not None:
            with suppress(TomatoError):
                pool.close(0)
        return False

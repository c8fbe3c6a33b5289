"""Reads on standbys that are never stale: a standby serves a call once it has replayed all that the caller must see.

Otherwise the primary serves it."""

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
from .sql.timing import DeadlinePassed

logger = logging.getLogger(__name__)

_FIRST_PAUSE, _LONGEST_PAUSE = 0.2, 5.0  # seconds before a dropped standby is tried again
_ASK = 0.001  # seconds between two checks of a standby's position
UNSERVED = object()


class Reading:
    """A block of reads: the position that they must see, and the seconds to wait for a standby that lags behind it.

    Tasks and threads that are started in the block share it. So a requested position is only valid if no write has ended since
    the request, except writes that returned their own position. A write in a block also counts for the enclosing blocks.
    """

    def __init__(self, after: Position | None, wait: float, outer: "Reading | None") -> None:
        self.wait = wait
        self.writes = 0  # ended writes that are not yet covered by a known position
        self._asked = (0, after)  # the number of ended writes at the request, and the position
        self._outer = outer
        self._guard = threading.Lock()

    @property
    def after(self) -> Position | None:
        """The position that reads must see, or None if it has to be requested."""
        writes, after = self._asked
        return after if writes == self.writes else None

    def see(self, after: Position, writes: int) -> None:
        """Record a position that was requested when *writes* writes had ended."""
        with self._guard:
            known = self.after
            if writes == self.writes:
                self._asked = (writes, max(after, known or after))

    def written(self, position: Position | None) -> None:
        """Record an ended write, which later reads must see, with the position after it if that is known."""
        with self._guard:
            known = self.after
            if known is None or position is None:
                self.writes += 1
            else:
                self._asked = (self.writes, max(position, known))
        if self._outer is not None:
            self._outer.written(position)


class Readings:
    """The blocks of reads of a Database's threads or tasks, and the number of calls served by standbys.

    own: the outermost block, with the writes of the whole Database.
    """

    def __init__(self) -> None:
        self.served = self.unserved = 0  # approximate: threads count without a lock
        self.own = Reading(None, 0, None)
        self._reading: ContextVar[Reading | None] = ContextVar("reading", default=None)
        fork.watch(self)

    def after_fork_in_child(self) -> None:
        """Reset the state: a thread of the parent may have held the lock."""
        self.own = Reading(None, 0, None)

    @contextmanager
    def reading(self, after: Position | None, wait: float) -> Iterator[None]:
        """Serve the reads of this thread or task by standbys while in the block."""
        before = self._reading.set(Reading(after, wait, self._reading.get() or self.own))
        try:
            yield
        finally:
            self._reading.reset(before)

    def current(self) -> Reading | None:
        """Return the caller's current block."""
        return self._reading.get()

    def written(self, position: Position | None) -> None:
        """Record a write of the caller, with the position after it if that is known."""
        (self._reading.get() or self.own).written(position)


class _Replica:
    """A standby: its pool while it is in use, and its last known position."""

    def __init__(self, open_: Callable[[], Pool]) -> None:
        self.open = open_
        self.pool: Pool | None = None
        self.position: Position | None = None


class Replicas(Readings):
    """The standbys of a Database. Thread-safe."""

    def __init__(self, pools: Sequence[Callable[[], Pool]]) -> None:
        """Open a pool on each standby. A standby that cannot be used now is tried again in the background."""
        self._replicas = [_Replica(open_) for open_ in pools]
        self._turns = count()
        self._closed = threading.Event()
        self._start()
        super().__init__()
        for replica in self._replicas:
            if not self._open(replica):
                self._leave_out(replica)

    def _start(self) -> None:
        self._guard = threading.Lock()
        self._out: set[_Replica] = set()  # standbys that a thread is opening again

    def after_fork_in_child(self) -> None:
        """Continue with the standbys in use. The thread that was opening the others does not exist in the child."""
        super().after_fork_in_child()
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

    def run(self, wait: float, after: Position, query: Query, values: Sequence[object]) -> object:
        """Return a query's rows from a standby that reaches the position in time, or UNSERVED if none does."""
        deadline = monotonic() + wait
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
            connection = pool.checkout(max(deadline - monotonic(), 0))
        except Unavailable:
            return UNSERVED
        try:
            if self._is_so_far(replica, connection, after, deadline):
                return connection.run(query, values)
        except psycopg.Error as error:  # a conflict with replay, or the standby's end; a faulty call fails on the primary
            if (connection.ended(error) or connection.closed) and not isinstance(error, DeadlinePassed):
                self._leave_out(replica, error)
        finally:
            pool.release(connection)
        return UNSERVED

    def _is_so_far(self, replica: _Replica, connection: psycopg.Connection, after: Position, deadline: float) -> bool:
        """Wait until the standby has replayed a position, at most until the deadline. Return whether it has."""
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
        """Drop a standby: close its pool, and open it again in the background."""
        with self._guard:
            if replica in self._out or self._closed.is_set():
                return
            self._out.add(replica)
            pool, replica.pool, replica.position = replica.pool, None, None
        if why is not None:
            logger.warning("a standby is not used until it works again: %s", one_line(why))
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
        """Open a standby's pool. Return False if the standby cannot be used now."""
        pool = None
        try:
            pool = replica.open()
            connection = pool.checkout()
            try:
                position = of_standby(connection)
            finally:
                pool.release(connection)
            if position is not None:
                replica.position, replica.pool = position, pool
                return True
            logger.warning("a standby is not used: it is not a standby, or was promoted")
        except (TomatoError, psycopg.Error) as error:
            logger.warning("a standby is not used: %s", one_line(error))
        if pool is not None:
            with suppress(TomatoError):
                pool.close(0)
        return False

"""The connection pool for asyncio: psycopg_pool behind our own queue, like tomato_dao/pool.py for threads."""

import asyncio
import logging
from asyncio import get_running_loop
from collections import deque
from collections.abc import Coroutine, Sequence
from contextlib import AbstractContextManager, suppress
from contextvars import Context, ContextVar
from functools import partial
from math import inf
from time import monotonic
from typing import Any
from weakref import WeakSet, ref

import psycopg
from psycopg import pq
from psycopg_pool import AsyncConnectionPool, PoolClosed, PoolTimeout

from ..errors import Unavailable
from ..pool import IDLE_AFTER, LIFETIME
from ..server import fork
from ..server.metrics import PoolStats, rejected
from ..server.notices import PoolName, log_notice
from ..server.opening import Opening
from ..sql.adapters import adapt
from ..sql.counters import AllCounts
from ..sql.observing import Observer
from ..sql.prepared import Shape
from ..sql.query import Query
from ..sql.timing import at_most, left
from .commits import server_of
from .connection import AsyncQueryConnection, settle_pins
from .home import Home

logger = logging.getLogger(__name__)

_BACKOFF, _ASK, _ASK_WRITABLE, _PAUSE = 8, 2, 1, 0.5  # seconds, as in tomato_dao/pool.py
_RECOVERING = 5  # seconds allowed for recovering a connection after its task was cancelled
_GRACE = 0.5  # seconds beyond the caller's timeout, for a slow server
_SETTING_UP = 5  # seconds allowed for setting up a new session
_IDLE, _ACTIVE, _UNKNOWN = pq.TransactionStatus.IDLE, pq.TransactionStatus.ACTIVE, pq.TransactionStatus.UNKNOWN


class _Inside:
    """A task's transaction: its connection, or None after its end. The task's children share this object."""

    __slots__ = ("connection", "task")

    def __init__(self, connection: AsyncQueryConnection) -> None:
        self.connection: AsyncQueryConnection | None = connection
        self.task: object = None


class _Local:
    """Task-local state: the connection of the current transaction, and the task that began it."""

    def __init__(self) -> None:
        self._inside: ContextVar[_Inside | None] = ContextVar("tomato_dao_transaction", default=None)

    @property
    def connection(self) -> AsyncQueryConnection | None:
        inside = self._inside.get()
        return None if inside is None else inside.connection

    @connection.setter
    def connection(self, connection: AsyncQueryConnection | None) -> None:
        if connection is not None:
            self._inside.set(_Inside(connection))
        elif (inside := self._inside.get()) is not None:
            inside.connection = inside.task = None
            self._inside.set(None)

    @property
    def task(self) -> object:
        inside = self._inside.get()
        return None if inside is None else inside.task

    @task.setter
    def task(self, task: object) -> None:
        if (inside := self._inside.get()) is not None:
            inside.task = task


class _Waiter:
    """A place in the queue: the future that gets a connection, and its deadline."""

    __slots__ = ("deadline", "given")

    def __init__(self, given: "asyncio.Future[AsyncQueryConnection]", deadline: float) -> None:
        self.given = given
        self.deadline = deadline


class AsyncPool:
    """A pool of at most `size` connections, shared by all tasks of an event loop. Waiting tasks are served in order.

    psycopg_pool opens the connections and replaces broken and expired ones. A released connection stays idle here, or is handed
    to the first task in the queue. After a task was cancelled, its connection is recovered or closed before its next use; until
    then it counts as taken.
    """

    def __init__(self, opening: Opening) -> None:
        """Create a pool for the running event loop. `open` opens it."""
        self.size = opening.size
        self.timeout = opening.timeout
        self._opening = opening
        self.url = opening.url
        self._kwargs: dict[str, Any] = {}
        self._seeks_writable = ""
        self.local = _Local()
        self.over = False  # the pool was closed and the grace period has passed: transactions must end
        self.counts = AllCounts()
        self._home = Home()
        self._loop = self._home.loop
        self._shapes: dict[Query, Shape] | None = None if opening.prepare else {}
        self._all: WeakSet[AsyncQueryConnection] = WeakSet()
        self._idle: deque[AsyncQueryConnection] = deque()
        self._waiters: deque[_Waiter] = deque()
        self._expiry: asyncio.TimerHandle | None = None  # for the earliest deadline in the queue
        self._taken = 0  # checked out of psycopg_pool, including those being opened
        self._coming = 0
        self._closing = False
        self._tasks: set[asyncio.Task[None]] = set()
        self._name = PoolName(opening.application_name)
        self._pool: AsyncConnectionPool[AsyncQueryConnection] | None = None
        fork.watch(self)

    async def open(self) -> None:
        """Open the pool. `Opening.examine` must have checked the server."""
        self._kwargs = self._opening.kwargs()
        self._seeks_writable = self._opening.seeks_writable
        self._pool = AsyncConnectionPool(
            connection_class=AsyncQueryConnection,
            kwargs=self._kwargs,
            name=self._name,
            configure=self._configure,
            min_size=1,
            max_size=self.size,
            max_lifetime=LIFETIME,
            timeout=_ASK_WRITABLE if self._seeks_writable else _ASK,
            reconnect_timeout=_ASK_WRITABLE if self._seeks_writable else _BACKOFF,
            open=False,
        )
        await self._pool.open()
        self._tidying = self._loop.create_task(_tidy(ref(self)), name=f"{self._name}-tidy")

    def after_fork_in_child(self) -> None:
        """Leave the connections to the parent. A child has to open its own database."""
        for connection in self._all:
            connection.inherited = True
        fork.leave_to_parent(self._all)

    async def checkout(self, timeout: float | None = None) -> AsyncQueryConnection:
        """Check out a connection for the caller alone, until `release`.

        timeout: seconds to wait for one (default: the pool's). Raises Unavailable if none becomes free in time, WrongState in
        another event loop.
        """
        try:
            if get_running_loop() is not self._loop:
                self._home.check()
        except RuntimeError:  # no loop runs in a child
            self._home.check()
        if self._idle:
            return self._idle.pop()
        return await self._wait(left(self.timeout if timeout is None else timeout))

    async def checkout_live(self, timeout: float | None = None) -> AsyncQueryConnection:
        """Check out a connection like `checkout`, but skip ended sessions: for statements that cannot be repeated."""
        connection = await self.checkout(timeout)
        if not connection.has_ended():
            return connection
        deadline = monotonic() + (self.timeout if timeout is None else timeout)
        while connection.has_ended():
            self.release(connection)
            connection = await self.checkout(max(deadline - monotonic(), 0))
        return connection

    def release(self, connection: AsyncQueryConnection) -> None:
        """Release a connection: hand it to the next task, keep it idle, or let psycopg_pool replace it."""
        status = connection.pgconn.transaction_status
        if connection.is_settling or (status != _UNKNOWN and (connection.is_dirty or status != _IDLE)):
            self._spawn(self._recover(connection))
            return
        if status == _IDLE and connection.used_at <= connection.expires_at:
            while self._waiters:
                given = self._waiters.popleft().given
                if not given.done():
                    given.set_result(connection)
                    return
            if not self._closing:
                self._idle.append(connection)
                return
        if connection.moved:
            self._look_for_writable()
        self._return([connection])

    async def close(self, grace: float) -> None:
        """Close all connections. Running calls may finish within `grace` seconds, then they are cancelled."""
        self._home.check()
        await asyncio.shield(self._loop.create_task(self._close(grace)))

    async def _close(self, grace: float) -> None:
        self._closing = True
        while self._waiters:
            self._refuse(self._waiters.popleft(), Unavailable("the database is closed"))
        if self._expiry is not None:
            self._expiry.cancel()
        self._tidying.cancel()
        self.return_idle()
        deadline = monotonic() + grace
        while self._at_work() and monotonic() < deadline:
            await asyncio.sleep(0.01)
        self.over = True
        await self._cancel_all()
        if self._pool is not None:
            await self._pool.close()
        while self._tasks:  # connections being returned
            await asyncio.wait([*self._tasks])

    async def _cancel_all(self) -> None:
        """Cancel all running statements at once, and end the sessions that do not answer in time."""
        running = [c for c in self._at_work() if c.pgconn.transaction_status == _ACTIVE and not c.is_settling]
        deadline = monotonic() + _GRACE
        await asyncio.gather(*(c.cancel_safe(timeout=_GRACE) for c in running), return_exceptions=True)
        while monotonic() < deadline and any(c.pgconn.transaction_status == _ACTIVE for c in running):
            await asyncio.sleep(0.01)
        for connection in running:
            if connection.pgconn.transaction_status == _ACTIVE:
                connection.end()

    async def _wait(self, timeout: float) -> AsyncQueryConnection:
        """Wait in the queue for a connection. The wait is added to the connection's counters."""
        if self._closing:
            raise Unavailable("the database is closed")
        waiting = len(self._waiters)
        if waiting >= self._opening.max_waiting:
            raise self._reject(self._opening.full(waiting))
        began = monotonic()
        waiter = _Waiter(self._loop.create_future(), began + timeout)
        self._waiters.append(waiter)
        if self._taken < self.size:
            self._grow()
        if self._expiry is None or waiter.deadline < self._expires:
            self._expire_at(waiter.deadline)
        try:
            connection = await waiter.given
        except asyncio.CancelledError:
            if not waiter.given.done() or waiter.given.cancelled():
                with suppress(ValueError):
                    self._waiters.remove(waiter)
            elif waiter.given.exception() is None:
                self.release(waiter.given.result())
            raise
        connection.counts.waits += 1
        connection.counts.waited += (waited := monotonic() - began)
        self._opening.waited(waited)
        return connection

    def _expire_at(self, deadline: float) -> None:
        """Schedule `_expire` for a deadline: one timer serves all waiting tasks."""
        if self._expiry is not None:
            self._expiry.cancel()
        self._expires = deadline
        self._expiry = self._loop.call_later(max(deadline - monotonic(), 0), self._expire)

    def _expire(self) -> None:
        """Reject the tasks whose deadline has passed."""
        self._expiry = None
        now = monotonic()
        for waiter in [waiter for waiter in self._waiters if waiter.deadline <= now]:
            self._waiters.remove(waiter)
            self._refuse(waiter, self._reject("no connection free in time"))
        if self._waiters:
            self._expire_at(min(waiter.deadline for waiter in self._waiters))

    def _refuse(self, waiter: _Waiter, refusal: Unavailable) -> None:
        if not waiter.given.done():
            waiter.given.set_exception(refusal)

    def _reject(self, how: str) -> Unavailable:
        """Count a rejected task and return its error."""
        self.counts.rejected += 1
        idle = list(self._idle)
        busy = [c for c in self._open_now() if c not in idle]
        return rejected(how, self.size, busy, len(self._open_now()), len(self._waiters), self._name.refusal)

    def _grow(self) -> None:
        """Request a connection for each waiting task, up to the pool's size.

        This runs in separate tasks, since a task that is cancelled while it waits inside psycopg_pool may lose a connection.
        """
        while self._coming < len(self._waiters) and self._taken < self.size and not self._closing:
            self._taken += 1
            self._coming += 1
            self._spawn(self._fetch())

    async def _fetch(self) -> None:
        """Check out one more connection from psycopg_pool, trying as long as a task waits."""
        assert self._pool is not None  # noqa: S101
        connection = None
        try:
            while connection is None and self._waiters and not self._closing:
                try:
                    connection = await self._pool.getconn()
                except PoolTimeout:
                    pass
                except PoolClosed:
                    return
                except Exception:
                    logger.warning("the pool of %s requests a connection again", self._name, exc_info=True)
                    await asyncio.sleep(_PAUSE)
        finally:
            self._coming -= 1
            if connection is None:
                self._taken -= 1
        if connection is not None:
            self.release(connection)

    async def _recover(self, connection: AsyncQueryConnection) -> None:
        """Recover a connection after its task was cancelled, and release it. If that fails, close it."""
        try:
            async with asyncio.timeout(_RECOVERING):
                await connection.settled()
                if connection.is_in_block:
                    connection.end()  # the end of its transaction() was interrupted
                elif connection.is_dirty:
                    await connection.clean()
                elif connection.pgconn.transaction_status not in (_IDLE, _ACTIVE, _UNKNOWN):
                    await connection.rollback()
                    connection.isolation_level = connection.read_only = None
                    connection.failure = ""
        except (psycopg.Error, TimeoutError) as error:
            logger.info("a connection is closed, as it could not be used again: %s", error)
            connection.end()
        except BaseException:  # the loop is being closed
            connection.end()
            raise
        if connection.pgconn.transaction_status != _IDLE or connection.is_dirty:
            connection.end()
        self.release(connection)

    def _open_now(self) -> list[AsyncQueryConnection]:
        return [connection for connection in self._all if not connection.closed]

    def observe(self, observer: Observer | None) -> None:
        """Report all further calls, waits and transactions to an observer; None ends that."""
        self._opening.observer = observer
        for connection in self._open_now():
            self._opening.watch(connection)

    def observed(self) -> AbstractContextManager[None]:
        """Return the observer's context manager for a transaction."""
        return self._opening.observed()

    def stats(self) -> PoolStats:
        """Return the pool's current statistics."""
        connections = len(self._open_now())
        waits, waited = self.counts.waits()
        kept = self._pool.get_stats()["pool_available"] if self._pool is not None else 0
        idle = min(len(self._idle) + kept, connections)
        return PoolStats(self.size, connections, idle, len(self._waiters), waits, waited, self.counts.rejected)

    def _return(self, connections: Sequence[AsyncQueryConnection]) -> None:
        """Return connections to psycopg_pool, which replaces broken and expired ones."""
        for connection in connections:
            self._spawn(self._put(connection))

    async def _put(self, connection: AsyncQueryConnection) -> None:
        try:
            if self._pool is not None:
                await self._pool.putconn(connection)
        finally:
            self._taken -= 1
            self._grow()

    def _look_for_writable(self) -> None:
        """Leave a server that turned read-only: close idle sessions, so that new ones search for a writable server."""
        logger.warning("the pool of %s leaves a server that has become read-only, and looks for a writable one", self._name)
        self._kwargs["target_session_attrs"] = self._seeks_writable
        idle = [*self._idle]
        self._idle.clear()
        for connection in idle:
            connection.end()
        self._return(idle)

    def return_idle(self, *, unused_since: float = inf) -> None:
        """Return idle connections to psycopg_pool: those unused since a time of the monotonic clock (default: all)."""
        unused = []
        while self._idle and self._idle[0].used_at < unused_since:
            unused.append(self._idle.popleft())
        self._return(unused)

    def replace(self, connection: AsyncQueryConnection) -> None:
        """Let psycopg_pool replace a connection if it is idle."""
        with suppress(ValueError):
            self._idle.remove(connection)
            self._return([connection])

    def _at_work(self) -> list[AsyncQueryConnection]:
        """Return the connections that run a statement or are in a transaction."""
        return [c for c in self._open_now() if c.pgconn.transaction_status not in (_IDLE, _UNKNOWN)]

    async def _configure(self, connection: AsyncQueryConnection) -> None:
        try:
            with at_most(_SETTING_UP):
                await self._set_up(connection)
        except BaseException:
            connection.end()  # psycopg_pool drops it, but the loop would keep it alive
            raise

    async def _set_up(self, connection: AsyncQueryConnection) -> None:
        self._name.refusal = ""
        adapt(connection)
        connection.add_notice_handler(log_notice)
        connection.shapes = self._shapes
        connection.keeps_statements = self._shapes is None
        connection.position_query = self._opening.position_query
        connection.asks_id = bool(self._seeks_writable)
        connection.expires_at = monotonic() + LIFETIME
        connection.seeks_writable = bool(self._seeks_writable) and not await connection.wait(connection.role_reads_only())
        self.counts.assign(connection)
        connection.when_lost = partial(_forget, ref(self))
        await settle_pins(connection)
        connection.server = await server_of(connection)
        self._all.add(connection)
        self._opening.watch(connection)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Run a coroutine in a background task, which is not cancelled before the loop is closed."""
        task = self._loop.create_task(work, context=Context())  # without the caller's deadline and transaction
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _forget(pool: "ref[AsyncPool]", connection: AsyncQueryConnection) -> None:
    """Replace a connection that was lost while idle."""
    if (found := pool()) is not None:
        found.replace(connection)


async def _tidy(pool: "ref[AsyncPool]") -> None:
    """Return unused connections to psycopg_pool, which closes surplus ones, as long as the pool exists."""
    while True:
        await asyncio.sleep(IDLE_AFTER / 2)
        if (found := pool()) is None:
            return
        found.return_idle(unused_since=monotonic() - IDLE_AFTER)
        del found

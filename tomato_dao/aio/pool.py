"""The pool for asyncio: psycopg_pool's, with our queue in front of it, as tomato_dao/pool.py has one for threads."""

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
from ..server.metrics import PoolStats, turned_away
from ..server.notices import PoolName, log_notice
from ..server.opening import Opening
from ..sql.adapters import adapt
from ..sql.counters import AllCounts
from ..sql.observing import Observer
from ..sql.query import Query
from ..sql.statements import Shape
from ..sql.timing import at_most, left
from .commits import server_of
from .connection import AsyncQueryConnection, settle_pins
from .home import Home

logger = logging.getLogger(__name__)

_BACKOFF, _ASK, _ASK_WRITABLE, _PAUSE = 8, 2, 1, 0.5  # seconds, as in tomato_dao/pool.py
_RECOVERING = 5  # seconds that a connection may take to be usable again after its task was cancelled
_GRACE = 0.5  # seconds beyond the caller's, for a server that is there and slow
_SETTING_UP = 5  # seconds that a new session may take until it can be used
_IDLE, _ACTIVE, _UNKNOWN = pq.TransactionStatus.IDLE, pq.TransactionStatus.ACTIVE, pq.TransactionStatus.UNKNOWN


class _Inside:
    """A transaction that a task is in: its connection, and None once it is over; children of the task have a copy of this."""

    __slots__ = ("connection", "task")

    def __init__(self, connection: AsyncQueryConnection) -> None:
        self.connection: AsyncQueryConnection | None = connection
        self.task: object = None


class _Local:
    """Each task's own: the connection of the transaction that it is in, and the task that began it."""

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
    """A place in the queue: what is given a connection, and until when it is waited for."""

    __slots__ = ("deadline", "given")

    def __init__(self, given: "asyncio.Future[AsyncQueryConnection]", deadline: float) -> None:
        self.given = given
        self.deadline = deadline


class AsyncPool:
    """At most `size` connections for all tasks of an event loop; tasks are served in the order in which they came.

    Between two calls a connection stays here, or is handed over to the next task in our queue; psycopg_pool makes them and
    replaces those that broke or are old. Where a task was cancelled, its connection is brought to a known state, or closed,
    before it is anybody's again; until then it counts as taken.
    """

    def __init__(self, opening: Opening) -> None:
        """Make a pool that `open` opens, in the loop that runs now."""
        self.size = opening.size
        self.timeout = opening.timeout
        self._opening = opening
        self.url = opening.url
        self._kwargs: dict[str, Any] = {}
        self._seeks_writable = ""
        self.local = _Local()
        self.over = False  # closed, and the grace has passed: transactions must end
        self.counts = AllCounts()
        self._home = Home()
        self._loop = self._home.loop
        self._shapes: dict[Query, Shape] | None = None if opening.prepare else {}
        self._all: WeakSet[AsyncQueryConnection] = WeakSet()
        self._idle: deque[AsyncQueryConnection] = deque()
        self._waiters: deque[_Waiter] = deque()
        self._expiry: asyncio.TimerHandle | None = None  # of the first who waits too long
        self._taken = 0  # from psycopg_pool, those that are coming included
        self._coming = 0
        self._closing = False
        self._tasks: set[asyncio.Task[None]] = set()
        self._name = PoolName(opening.application_name)
        self._pool: AsyncConnectionPool[AsyncQueryConnection] | None = None
        fork.watch(self)

    async def open(self) -> None:
        """Open the pool to a server that `Opening.examine` has found fit."""
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
        """Leave the connections to the parent; a child opens a database of its own."""
        for connection in self._all:
            connection.inherited = True
        fork.leave_to_parent(self._all)

    async def lease(self, timeout: float | None = None) -> AsyncQueryConnection:
        """Return a connection for the caller alone, until `give_back`.

        timeout: seconds to wait for one (default: the pool's). Raises Unavailable where none is free in time, WrongState in
        another event loop.
        """
        try:
            if get_running_loop() is not self._loop:
                self._home.check()
        except RuntimeError:  # none runs, in a child
            self._home.check()
        if self._idle:
            return self._idle.pop()
        return await self._wait(left(self.timeout if timeout is None else timeout))

    async def lease_live(self, timeout: float | None = None) -> AsyncQueryConnection:
        """Return a connection as `lease` does, and none whose session's end has arrived: for what can't be run again."""
        connection = await self.lease(timeout)
        if not connection.has_ended():
            return connection
        deadline = monotonic() + (self.timeout if timeout is None else timeout)
        while connection.has_ended():
            self.give_back(connection)
            connection = await self.lease(max(deadline - monotonic(), 0))
        return connection

    def give_back(self, connection: AsyncQueryConnection) -> None:
        """End a lease: hand the connection to the next task, keep it, or let psycopg_pool replace it."""
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
        """Let what runs go on for `grace` seconds, cancel the rest, close all connections."""
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
        while self._tasks:  # connections that come back
            await asyncio.wait([*self._tasks])

    async def _cancel_all(self) -> None:
        """Cancel what runs, all at once, and end the sessions that don't answer to it in time."""
        running = [c for c in self._at_work() if c.pgconn.transaction_status == _ACTIVE and not c.is_settling]
        deadline = monotonic() + _GRACE
        await asyncio.gather(*(c.cancel_safe(timeout=_GRACE) for c in running), return_exceptions=True)
        while monotonic() < deadline and any(c.pgconn.transaction_status == _ACTIVE for c in running):
            await asyncio.sleep(0.01)
        for connection in running:
            if connection.pgconn.transaction_status == _ACTIVE:
                connection.end()

    async def _wait(self, timeout: float) -> AsyncQueryConnection:
        """Join the queue; the counts of those who waited are the connection's own, which nobody else uses meanwhile."""
        if self._closing:
            raise Unavailable("the database is closed")
        waiting = len(self._waiters)
        if waiting >= self._opening.max_waiting:
            raise self._turn_away(self._opening.full(waiting))
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
                self.give_back(waiter.given.result())
            raise
        connection.counts.waits += 1
        connection.counts.waited += (waited := monotonic() - began)
        self._opening.waited(waited)
        return connection

    def _expire_at(self, deadline: float) -> None:
        """Have the queue looked through then, instead of having a timer for each task that waits."""
        if self._expiry is not None:
            self._expiry.cancel()
        self._expires = deadline
        self._expiry = self._loop.call_later(max(deadline - monotonic(), 0), self._expire)

    def _expire(self) -> None:
        """Turn those away who have waited for too long."""
        self._expiry = None
        now = monotonic()
        for waiter in [waiter for waiter in self._waiters if waiter.deadline <= now]:
            self._waiters.remove(waiter)
            self._refuse(waiter, self._turn_away("no connection free in time"))
        if self._waiters:
            self._expire_at(min(waiter.deadline for waiter in self._waiters))

    def _refuse(self, waiter: _Waiter, refusal: Unavailable) -> None:
        if not waiter.given.done():
            waiter.given.set_exception(refusal)

    def _turn_away(self, how: str) -> Unavailable:
        """Count a task that gets no connection, and return its error."""
        self.counts.turned_away += 1
        idle = list(self._idle)
        busy = [c for c in self._open_now() if c not in idle]
        return turned_away(how, self.size, busy, len(self._open_now()), len(self._waiters), self._name.refusal)

    def _grow(self) -> None:
        """Ask for as many connections as there are tasks that wait, and room.

        In tasks of their own: one that is cancelled while it waits inside psycopg_pool may lose a connection.
        """
        while self._coming < len(self._waiters) and self._taken < self.size and not self._closing:
            self._taken += 1
            self._coming += 1
            self._spawn(self._fetch())

    async def _fetch(self) -> None:
        """Bring one more connection from psycopg_pool, for as long as somebody waits."""
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
            self.give_back(connection)

    async def _recover(self, connection: AsyncQueryConnection) -> None:
        """Bring a connection to a known state after its task was cancelled, and give it back; else close it."""
        try:
            async with asyncio.timeout(_RECOVERING):
                await connection.settled()
                if connection.is_in_block:
                    connection.end()  # the end of its transaction() was cut short
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
        self.give_back(connection)

    def _open_now(self) -> list[AsyncQueryConnection]:
        return [connection for connection in self._all if not connection.closed]

    def observe(self, observer: Observer | None) -> None:
        """Tell an observer of all calls, waits and transactions from now on, or nobody."""
        self._opening.observer = observer
        for connection in self._open_now():
            self._opening.watch(connection)

    def observed(self) -> AbstractContextManager[None]:
        """Return what the observer looks on at a transaction with."""
        return self._opening.observed()

    def stats(self) -> PoolStats:
        """Return the pool's figures now."""
        connections = len(self._open_now())
        waits, waited = self.counts.waits()
        kept = self._pool.get_stats()["pool_available"] if self._pool is not None else 0
        idle = min(len(self._idle) + kept, connections)
        return PoolStats(self.size, connections, idle, len(self._waiters), waits, waited, self.counts.turned_away)

    def _return(self, connections: Sequence[AsyncQueryConnection]) -> None:
        """Give connections to psycopg_pool, which replaces the broken and old."""
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
        """Leave the server that turned read-only: close the idle sessions, and have new ones looked for elsewhere."""
        logger.warning("the pool of %s leaves a server that has become read-only, and looks for a writable one", self._name)
        self._kwargs["target_session_attrs"] = self._seeks_writable
        idle = [*self._idle]
        self._idle.clear()
        for connection in idle:
            connection.end()
        self._return(idle)

    def return_idle(self, *, unused_since: float = inf) -> None:
        """Give idle connections to psycopg_pool: those unused since a time of the monotonic clock (default: all)."""
        unused = []
        while self._idle and self._idle[0].used_at < unused_since:
            unused.append(self._idle.popleft())
        self._return(unused)

    def replace(self, connection: AsyncQueryConnection) -> None:
        """Have psycopg_pool replace a connection, where it is idle."""
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
            connection.end()  # psycopg_pool forgets it, and the loop would keep it
            raise

    async def _set_up(self, connection: AsyncQueryConnection) -> None:
        self._name.refusal = ""
        adapt(connection)
        connection.add_notice_handler(log_notice)
        connection.shapes = self._shapes
        connection.keeps_statements = self._shapes is None
        connection.ask_behind = self._opening.ask_behind
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
        """Do something in a task of its own, which nobody cancels before the loop is closed."""
        task = self._loop.create_task(work, context=Context())  # without the caller's deadline and transaction
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _forget(pool: "ref[AsyncPool]", connection: AsyncQueryConnection) -> None:
    """Have a connection replaced that is lost while it is idle."""
    if (found := pool()) is not None:
        found.replace(connection)


async def _tidy(pool: "ref[AsyncPool]") -> None:
    """Let psycopg_pool have what is unused, which closes what is too many; ends with the pool."""
    while True:
        await asyncio.sleep(IDLE_AFTER / 2)
        if (found := pool()) is None:
            return
        found.return_idle(unused_since=monotonic() - IDLE_AFTER)
        del found

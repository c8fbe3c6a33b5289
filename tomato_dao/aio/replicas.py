"""Reads on standbys for asyncio, like tomato_dao/replicas.py, with tasks instead of threads."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextlib import suppress
from contextvars import Context
from itertools import count
from time import monotonic
from typing import Any, Self

import psycopg

from ..errors import TomatoError, Unavailable
from ..printable import one_line
from ..replicas import UNSERVED, Readings
from ..server.backoff import pauses
from ..server.positions import OF_STANDBY, Position
from ..sql.query import Query
from ..sql.timing import DeadlinePassed
from .connection import AsyncQueryConnection
from .pool import AsyncPool

logger = logging.getLogger(__name__)

_FIRST_PAUSE, _LONGEST_PAUSE, _ASK = 0.2, 5.0, 0.001  # seconds, as in tomato_dao/replicas.py
_ANSWER = 5  # seconds allowed for a standby's answer about its position


class _Replica:
    """A standby: its pool while it is in use, and its last known position."""

    def __init__(self, open_: Callable[[], Awaitable[AsyncPool]]) -> None:
        self.open = open_
        self.pool: AsyncPool | None = None
        self.position: Position | None = None


class AsyncReplicas(Readings):
    """The standbys of an AsyncDatabase, shared by the tasks of its event loop."""

    def __init__(self, pools: Sequence[Callable[[], Awaitable[AsyncPool]]]) -> None:
        super().__init__()
        self._replicas = [_Replica(open_) for open_ in pools]
        self._turns = count()
        self._out: dict[_Replica, asyncio.Task[None]] = {}  # standbys that a task is opening again
        self._leaving: set[asyncio.Task[None]] = set()  # pools that are being closed
        self._closed = False

    @classmethod
    async def opened(cls, pools: Sequence[Callable[[], Awaitable[AsyncPool]]]) -> Self:
        """Open a pool on each standby, concurrently. A standby that cannot be used now is tried again in the background."""
        made = cls(pools)
        try:
            for replica, is_open in zip(
                made._replicas, await asyncio.gather(*(_open(replica) for replica in made._replicas)), strict=True
            ):
                if not is_open:
                    made._leave_out(replica)
        except BaseException:
            await made.close(0)
            raise
        return made

    async def close(self, grace: float) -> None:
        """Close all pools."""
        self._closed = True
        out = [*self._out.values()]
        for task in out:
            task.cancel()
        pools = [replica.pool for replica in self._replicas if replica.pool is not None]
        await asyncio.gather(*out, *self._leaving, *(pool.close(grace) for pool in pools), return_exceptions=True)

    async def run(self, wait: float, after: Position, query: Query, values: Sequence[object]) -> object:
        """Return a query's rows from a standby that reaches the position in time, or UNSERVED if none does."""
        deadline = monotonic() + wait
        turn = next(self._turns)
        for n in range(len(self._replicas)):
            replica = self._replicas[(turn + n) % len(self._replicas)]
            if (pool := replica.pool) is not None:
                found = await self._run_on(replica, pool, after, deadline, query, values)
                if found is not UNSERVED:
                    self.served += 1
                    return found
        self.unserved += 1
        return UNSERVED

    async def _run_on(
        self, replica: _Replica, pool: AsyncPool, after: Position, deadline: float, query: Query, values: Sequence[object]
    ) -> object:
        try:
            connection = await pool.checkout(max(deadline - monotonic(), 0))
        except Unavailable:
            return UNSERVED
        try:
            if await self._is_so_far(replica, connection, after, deadline):
                return await connection.run(query, values)
        except psycopg.Error as error:  # a conflict with replay, or the standby's end; a faulty call fails on the primary
            if (connection.ended(error) or connection.closed) and not isinstance(error, DeadlinePassed):
                self._leave_out(replica, error)
        finally:
            pool.release(connection)
        return UNSERVED

    async def _is_so_far(self, replica: _Replica, connection: AsyncQueryConnection, after: Position, deadline: float) -> bool:
        """Wait until the standby has replayed a position, at most until the deadline. Return whether it has."""
        while (known := replica.position) is None or not known.covers(after):
            try:
                found = await _position(connection)
            except TimeoutError:
                self._leave_out(replica, "it does not answer")
                return False
            if found is None:
                self._leave_out(replica, "it was promoted")
                return False
            replica.position = found
            if found.timeline != after.timeline or (not found.covers(after) and monotonic() >= deadline):
                return False
            if not found.covers(after):
                await asyncio.sleep(_ASK)
        return True

    def _leave_out(self, replica: _Replica, why: object = None) -> None:
        """Drop a standby: close its pool, and open it again in the background."""
        if replica in self._out or self._closed:
            return
        if why is not None:
            logger.warning("a standby is not used until it works again: %s", one_line(why))
        old, replica.pool, replica.position = replica.pool, None, None
        if old is not None:
            leaving = _spawned(old.close(5))
            self._leaving.add(leaving)
            leaving.add_done_callback(self._leaving.discard)
        self._out[replica] = _spawned(self._come_back(replica))

    async def _come_back(self, replica: _Replica) -> None:
        try:
            for pause in pauses(_FIRST_PAUSE, _LONGEST_PAUSE):
                await asyncio.sleep(pause)
                if await _open(replica):
                    break
        finally:
            del self._out[replica]


async def _open(replica: _Replica) -> bool:
    """Open a standby's pool. Return False if the standby cannot be used now."""
    pool = None
    try:
        pool = await replica.open()
        connection = await pool.checkout()
        try:
            position = await _position(connection)
        finally:
            pool.release(connection)
        if position is not None:
            replica.position, replica.pool, pool = position, pool, None
            return True
        logger.warning("a standby is not used: it is not a standby, or was promoted")
    except (TomatoError, psycopg.Error, TimeoutError) as error:
        logger.warning("a standby is not used: %s", one_line(error))
    finally:
        if pool is not None:
            with suppress(TomatoError):
                await pool.close(0)
    return False


async def _position(connection: AsyncQueryConnection) -> Position | None:
    """Return the position that a standby has replayed, or None if it was promoted. Raises TimeoutError without an answer."""
    async with asyncio.timeout(_ANSWER):
        rows = await connection.run(OF_STANDBY, ())
    return Position.parse(rows[0]) if rows[0] else None


def _spawned(work: Coroutine[Any, Any, None]) -> "asyncio.Task[None]":
    """Run a coroutine in a background task, without the caller's deadline, transaction and block of reads."""
    return asyncio.get_running_loop().create_task(work, context=Context())

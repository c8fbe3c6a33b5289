"""Opening of an AsyncDatabase. The server is checked in a thread, with retries until it is available."""

import asyncio
from collections.abc import Awaitable, Callable, Generator
from functools import partial
from time import monotonic
from types import TracebackType
from typing import Any

from ..errors import TomatoError
from ..events import Events
from ..locks import Locks
from ..replicas import Readings
from ..server.backoff import pauses
from ..server.opening import Opening
from ..server.probe import passes
from .database import AsyncDatabase
from .events import AsyncEvents
from .locks import AsyncLocks
from .pool import AsyncPool
from .replicas import AsyncReplicas


class Connecting:
    """The result of `connect_async()`: use `async with connect_async() as db` or `db = await connect_async()`."""

    def __init__(
        self, prepared: Callable[[], Awaitable[tuple[Opening, str, list[Opening]]]], opened: Callable[[AsyncDatabase], None]
    ) -> None:
        self._prepared = prepared
        self._opened = opened
        self._db: AsyncDatabase | None = None

    def __await__(self) -> Generator[Any, None, AsyncDatabase]:
        return self._open().__await__()

    async def __aenter__(self) -> AsyncDatabase:
        self._db = await self._open()
        return self._db

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._db is not None:
            await self._db.close()

    async def _open(self) -> AsyncDatabase:
        opening, direct_url, standbys = await self._prepared()
        pool = await _opened(opening)
        try:
            replicas = await AsyncReplicas.opened([partial(_opened, standby) for standby in standbys]) if standbys else None
        except BaseException:
            await pool.close(0)
            raise
        name = opening.application_name
        events = AsyncEvents(Events(direct_url, name, opening.timeout))
        readings = Readings() if opening.position_query else None
        db = AsyncDatabase(pool, AsyncLocks(Locks(direct_url, name)), events, replicas, readings)
        self._opened(db)
        return db


async def _opened(opening: Opening) -> AsyncPool:
    """Check the server and open a pool."""
    await _examine(opening)
    pool = AsyncPool(opening)
    await pool.open()
    return pool


async def _examine(opening: Opening) -> None:
    """Check the server, retrying until the timeout, without occupying a thread during the pauses."""
    deadline = monotonic() + opening.timeout
    for pause in pauses(0.1, 2):
        try:
            return await asyncio.to_thread(opening.examine, 0, max(deadline - monotonic(), 0))
        except TomatoError as refusal:
            if monotonic() + pause > deadline or not passes(refusal):
                raise
        await asyncio.sleep(pause)
    raise AssertionError("asks until it returns or raises")

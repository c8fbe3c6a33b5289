"""Locks for asyncio: those of tomato_dao/locks.py, acquired in a thread on behalf of a task."""

import asyncio
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from contextvars import copy_context
from time import monotonic
from typing import TypeVar

from ..errors import Busy, Unavailable
from ..locks import FIRST_PAUSE, LONGEST_PAUSE, Kind, Lock, Locks
from ..server import arguments
from ..server.backoff import pauses
from ..server.caller import act_for
from ..server.probe import passes
from ..sql.timing import left
from .home import Home

Result = TypeVar("Result")


class AsyncLock:
    """A held lock, returned by `async with db.exclusive(…) as lock`."""

    def __init__(self, locks: "AsyncLocks", lock: Lock) -> None:
        self.kind = lock.kind
        self.id = lock.id
        self._locks = locks
        self._lock = lock

    def __str__(self) -> str:
        return str(self._lock)

    async def check(self) -> None:
        """Raise LockLost unless the server confirms that the lock is still held. Use it before a step that cannot be undone."""
        _, cancelled = await self._locks.do(self._lock.check)
        if cancelled is not None:
            raise cancelled


class AsyncLocks:
    """The locks of a process that are held by tasks of one event loop."""

    def __init__(self, locks: Locks) -> None:
        self._locks = locks
        self._home = Home()
        self._thread = ThreadPoolExecutor(1, "tomato-dao-locks")  # requests are sequential; starts with the first lock

    async def close(self) -> None:
        """Release all locks. Tasks that wait for one get Unavailable, holders get LockLost."""
        await self.do(self._locks.close)
        self._thread.shutdown(wait=False)

    @asynccontextmanager
    async def hold(self, kind: Kind, id: int, wait: float, reentrant: bool) -> AsyncIterator[AsyncLock]:
        """See `AsyncDatabase.exclusive`."""
        self._home.check()
        deadline = monotonic() + left(arguments.seconds(f"{kind} {id}: wait", wait))
        for pause in pauses(FIRST_PAUSE, LONGEST_PAUSE):
            held = self._locks.hold(kind, id, 0, reentrant)
            try:
                lock, cancelled = await self.do(held.__enter__)
                break
            except Busy as error:
                remaining = deadline - monotonic()
                if remaining <= 0:
                    waited = f" (waited {wait:g} s)" if wait else ""
                    raise Busy(f"{error}{waited}", entity=error.entity, key=error.key) from None
            except Unavailable as error:  # retry while the server is full or unavailable
                remaining = deadline - monotonic()
                if remaining <= 0 or not passes(error):
                    raise
            await asyncio.sleep(min(pause, remaining))
        if cancelled is not None:
            await self.do(lambda: held.__exit__(None, None, None))
            raise cancelled
        try:
            yield AsyncLock(self, lock)
        except BaseException as error:
            await self.do(lambda error=error: held.__exit__(type(error), error, error.__traceback__))  # type: ignore[misc]
            raise
        _, cancelled = await self.do(lambda: held.__exit__(None, None, None))
        if cancelled is not None:
            raise cancelled

    async def do(self, function: Callable[[], Result]) -> tuple[Result, asyncio.CancelledError | None]:
        """Call a function in the thread on behalf of this task. Return its result, and a cancellation that came meanwhile.

        The function always runs to its end, so that no request is left half done. It takes one round trip.
        """
        context = copy_context()
        context.run(act_for, asyncio.current_task())
        work = self._home.loop.run_in_executor(self._thread, context.run, function)
        cancelled = None
        while not work.done():
            try:
                await asyncio.wait([work])
            except asyncio.CancelledError as error:
                cancelled = error
        try:
            return work.result(), cancelled
        except Exception:
            if cancelled is not None:
                raise cancelled from None
            raise

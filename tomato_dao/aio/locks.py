"""Exclusive work for asyncio: the locks of tomato_dao/locks.py, each held for a task, and asked for in a thread."""

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
    """A lock that is held: what `async with db.exclusive(…) as lock` gives."""

    def __init__(self, locks: "AsyncLocks", lock: Lock) -> None:
        self.kind = lock.kind
        self.id = lock.id
        self._locks = locks
        self._lock = lock

    def __str__(self) -> str:
        return str(self._lock)

    async def check(self) -> None:
        """Ask the server whether the lock is still held, before a step that can't be undone; LockLost where it isn't."""
        _, cancelled = await self._locks.do(self._lock.check)
        if cancelled is not None:
            raise cancelled


class AsyncLocks:
    """The locks of a process, held for tasks of one event loop."""

    def __init__(self, locks: Locks) -> None:
        self._locks = locks
        self._home = Home()
        self._thread = ThreadPoolExecutor(1, "tomato-dao-locks")  # one at a time asks anyway; it starts with the first lock

    async def close(self) -> None:
        """Free all locks: who waits for one gets Unavailable, who has one LockLost."""
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
            except Unavailable as error:  # a server that is full or not there is waited for
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
        """Call a function for this task in the thread; its result, and a cancellation that came before it had ended.

        What was asked of the server is not left half done: the time that it takes is a round trip's.
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

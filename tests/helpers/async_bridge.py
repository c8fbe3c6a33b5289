"""An AsyncDatabase that tests of threads can use as a Database: its calls run in a loop of a thread of its own.

Each thread of a test is one task of the loop, so that transactions and locks are the thread's, as tests expect.
"""

import asyncio
import inspect
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import Future
from contextlib import AbstractAsyncContextManager, AbstractContextManager, contextmanager
from functools import partial, update_wrapper
from types import TracebackType
from typing import Any, cast

import psycopg

from tomato_dao import AsyncDatabase, Database, connect_async

_DAOS = "tomato_dao.aio.dao"
_Work = tuple[Callable[[], Any], "Future[Any]"]


class _Thread(threading.local):
    """A thread's task: what it is to do."""

    work: "asyncio.Queue[_Work | None] | None" = None


class _Loop:
    """A loop in a thread of its own, in which each thread of a test has a task."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self._own = threading.Thread(target=self.loop.run_forever, name="bridge")
        self._own.start()
        self._mine = _Thread()
        self._tasks: list[tuple[asyncio.Queue[_Work | None], Future[None]]] = []

    def do(self, function: Callable[[], Any]) -> Any:
        """Call a function in this thread's task, and await what it returns, if that is to be awaited."""
        if self._mine.work is None:
            self._mine.work = asyncio.Queue()
            served = asyncio.run_coroutine_threadsafe(_serve(self._mine.work), self.loop)
            self._tasks.append((self._mine.work, served))
        done: Future[Any] = Future()
        self.loop.call_soon_threadsafe(self._mine.work.put_nowait, (function, done))
        return done.result(120)

    def close(self) -> None:
        for queue, served in self._tasks:
            self.loop.call_soon_threadsafe(queue.put_nowait, None)
            served.result(60)
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._own.join()
        self.loop.close()


async def _serve(queue: "asyncio.Queue[_Work | None]") -> None:
    while (work := await queue.get()) is not None:
        function, done = work
        try:
            result = function()
            done.set_result(await result if inspect.isawaitable(result) else result)
        except BaseException as error:  # noqa: BLE001 (it is the thread's)
            done.set_exception(error)


class _Bridged:
    """Something of the loop, whose methods are called there."""

    def __init__(self, loop: _Loop, real: Any) -> None:
        self._loop = loop
        self._real = real
        daos = {n: dao for n, dao in getattr(real, "__dict__", {}).items() if type(dao).__module__.startswith(_DAOS)}
        self.__dict__.update({name: _Bridged(loop, dao) for name, dao in daos.items()})

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._real, name)
        return update_wrapper(partial(self._call, found), found) if callable(found) else found

    def _call(self, method: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        return self._wrap(self._loop.do(lambda: method(*args, **kwargs)))

    def _wrap(self, result: Any) -> Any:
        if isinstance(result, psycopg.AsyncCursor | psycopg.AsyncConnection):
            return _Bridged(self._loop, result)
        if isinstance(result, AbstractAsyncContextManager):
            return _managed(self._loop, result)
        if isinstance(result, AbstractContextManager):
            return _entered(self._loop, result)
        return _each(self._loop, result) if isinstance(result, AsyncIterator) else result

    def __iter__(self) -> Iterator[Any]:
        return _each(self._loop, aiter(self._real))


def _each(loop: _Loop, rows: AsyncIterator[Any]) -> Iterator[Any]:
    end = object()
    while (row := loop.do(lambda: anext(rows, end))) is not end:
        yield row


@contextmanager
def _managed(loop: _Loop, manager: AbstractAsyncContextManager[Any]) -> Iterator[Any]:
    bridge = _Bridged(loop, None)
    inside = loop.do(manager.__aenter__)
    try:
        yield bridge._wrap(inside) if inside is not None else None
    except BaseException as error:
        exit_with: tuple[type[BaseException], BaseException, TracebackType | None] = (type(error), error, error.__traceback__)
        if not loop.do(lambda: manager.__aexit__(*exit_with)):
            raise
        return
    loop.do(lambda: manager.__aexit__(None, None, None))


@contextmanager
def _entered(loop: _Loop, manager: AbstractContextManager[Any]) -> Iterator[Any]:
    """Enter and leave what does not wait, where the loop's task is."""
    inside = loop.do(manager.__enter__)
    try:
        yield inside
    finally:
        loop.do(lambda: manager.__exit__(None, None, None))


@contextmanager
def bridged(url: str, **settings: Any) -> Iterator[Database]:
    """Provide an AsyncDatabase as a Database."""
    loop = _Loop()
    try:
        db: AsyncDatabase = loop.do(lambda: connect_async(url, **settings))
        try:
            yield cast("Database", _Bridged(loop, db))
        finally:
            loop.do(db.close)
    finally:
        loop.close()

"""Listeners for asyncio. The process's listening thread of tomato_dao/events.py wakes the event loop."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from typing import Self

from ..events import Event, Events, Listener
from .home import Home


class AsyncListener:
    """A listener, returned by `db.listen(…)`: an asynchronous iterator over the events that arrive while it is open.

    It receives events from the start of its loop or `async with`. A loop over it ends after `timeout` seconds without an event
    and may be started again without losing events. The end of `async with`, `close()`, or dropping the last reference closes
    it. Iterating over a closed listener raises Unavailable.
    """

    def __init__(self, events: Events, home: Home, entities: Sequence[str], timeout: float | None) -> None:
        self._events = events
        self._home = home
        self._entities = entities
        self._timeout = timeout
        self._heard = asyncio.Event()
        self._listener: Listener | None = None

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Event:
        listener = await self._opened()
        try:
            async with asyncio.timeout(self._timeout):
                while (event := listener.next_now()) is None:
                    self._heard.clear()
                    if (event := listener.next_now()) is not None:  # it arrived in the meantime
                        break
                    await self._heard.wait()
                return event
        except TimeoutError:
            raise StopAsyncIteration from None

    async def __aenter__(self) -> Self:
        await self._opened()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the listener. A task that waits on it gets Unavailable."""
        listener = await self._opened()
        listener.close()

    async def _opened(self) -> Listener:
        self._home.check()
        if self._listener is None:
            wake = partial(_wake, self._home.loop, self._heard)  # does not keep the listener alive
            opening = partial(self._events.listen, self._entities, self._timeout, wake)
            self._listener = await asyncio.to_thread(opening)
        return self._listener


class AsyncEvents:
    """The listeners of one event loop in this process."""

    def __init__(self, events: Events) -> None:
        self._events = events
        self._home = Home()

    def listen(self, entities: Sequence[str], timeout: float | None) -> AsyncListener:
        """See `AsyncDatabase.listen`."""
        return AsyncListener(self._events, self._home, entities, timeout)

    async def close(self) -> None:
        """Close all listeners."""
        await asyncio.to_thread(self._events.close)


def _wake(loop: asyncio.AbstractEventLoop, heard: asyncio.Event) -> None:
    with suppress(RuntimeError):  # the loop is closed
        loop.call_soon_threadsafe(heard.set)

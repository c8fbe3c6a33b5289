"""A way to a server that may cut, delay and hold back what goes through it, as a network does.

What is under way when a connection breaks arrives, or does not.
"""

import asyncio
import threading
from contextlib import suppress
from itertools import cycle

from psycopg.conninfo import conninfo_to_dict, make_conninfo


class Proxy:
    """Passes bytes on in a thread of its own. `url` leads through it."""

    def __init__(self, url: str) -> None:
        given = conninfo_to_dict(url)
        self._host, self._port = str(given["host"]), int(given.get("port") or 5432)
        self.delay = 0.0  # seconds that each piece takes
        self._loop = asyncio.new_event_loop()
        self._open = asyncio.Event()
        self._open.set()
        self._ways: set[tuple[asyncio.StreamWriter, asyncio.StreamWriter]] = set()  # to clients, and to the server
        self._arrives = cycle([True, False])  # what is under way in the connections that break next
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._server = asyncio.run_coroutine_threadsafe(asyncio.start_server(self._serve, "127.0.0.1"), self._loop).result(10)
        port = self._server.sockets[0].getsockname()[1]
        self.url = make_conninfo(url, host="127.0.0.1", port=port, sslmode="disable", gssencmode="disable")

    def hold(self, is_dark: bool) -> None:
        """Pass nothing on while it is dark: a black hole, from which all comes out in the end."""
        self._loop.call_soon_threadsafe(self._open.clear if is_dark else self._open.set)

    def cut(self) -> None:
        """Break all connections at once."""
        self._loop.call_soon_threadsafe(self._abort_all)

    def _abort_all(self) -> None:
        arrives = next(self._arrives)
        for client, there in list(self._ways):
            client.transport.abort()
            if not arrives:
                there.transport.abort()

    def close(self) -> None:
        """End it, with all that goes through it."""
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    async def _end(self) -> None:
        self._server.close()
        self._abort_all()
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            with suppress(OSError, asyncio.CancelledError):  # a stream's task that is cancelled is logged as an error
                there_reader, there = await self._connect()
                self._ways.add((writer, there))
                try:
                    one, other = (
                        asyncio.create_task(self._pass(reader, there)),
                        asyncio.create_task(self._pass(there_reader, writer)),
                    )
                    await asyncio.wait([one, other], return_when=asyncio.FIRST_COMPLETED)
                    one.cancel()
                    other.cancel()
                finally:
                    self._ways.discard((writer, there))
                    there.transport.abort()
        finally:
            writer.transport.abort()

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if self._host.startswith("/"):
            return await asyncio.open_unix_connection(f"{self._host}/.s.PGSQL.{self._port}")
        return await asyncio.open_connection(self._host, self._port)

    async def _pass(self, source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await source.read(1 << 16):
                await self._open.wait()
                if self.delay:
                    await asyncio.sleep(self.delay)
                target.write(data)
                await target.drain()

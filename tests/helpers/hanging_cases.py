"""Servers that do not answer: sessions that are stopped, and a proxy behind which all goes dark."""

import os
import selectors
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from time import monotonic
from typing import cast

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

PIDS = b"""
select pid from pg_stat_activity where datname = current_database() and split_part(application_name, '/', 1) = $1
"""


@contextmanager
def stopped(server: psycopg.Connection, application_name: str) -> Iterator[list[int]]:
    """Stop the server's processes for the sessions of that name while in the block: they hold all, and answer nothing."""
    with psycopg.RawCursor(server) as cursor:
        pids = [int(pid) for (pid,) in cursor.execute(PIDS, [application_name]).fetchall()]
    assert pids
    try:
        for pid in pids:
            try:
                os.kill(pid, signal.SIGSTOP)
            except (PermissionError, ProcessLookupError):
                pytest.skip("the server's processes are out of reach")
        yield pids
    finally:
        for pid in pids:
            with suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGCONT)


@contextmanager
def within(seconds: float) -> Iterator[None]:
    """Fail where the block takes longer than a call may that was given so many seconds: one more, and a busy machine's."""
    began = monotonic()
    yield
    assert monotonic() - began < seconds + 1.5


class Proxy:
    """A way to a server that can go dark: then it takes connections and bytes, and passes nothing on."""

    def __init__(self, url: str) -> None:
        given = conninfo_to_dict(url)
        host = str(given.get("host") or "/var/run/postgresql")
        self._server = f"{host}/.s.PGSQL.{given.get('port', 5432)}" if host.startswith("/") else (host, given.get("port", 5432))
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.url = make_conninfo(
            url, host="127.0.0.1", port=self._listening.getsockname()[1], sslmode="disable", gssencmode="disable"
        )
        self.dark = threading.Event()
        self._over, self._end = socket.socketpair()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End it, with all that goes through it."""
        self._end.close()
        self._thread.join(10)

    def _run(self) -> None:
        ways: dict[socket.socket, socket.socket] = {}
        with selectors.DefaultSelector() as ready, self._over, self._listening:
            for file in (self._over, self._listening):
                ready.register(file, selectors.EVENT_READ)
            while True:
                for key, _ in ready.select():
                    file = cast("socket.socket", key.fileobj)
                    if file is self._over:
                        for side in ways:
                            side.close()
                        return
                    if file is self._listening:
                        client, _ = self._listening.accept()
                        server = self._connected()
                        ways.update({client: server, server: client})
                        for side in (client, server):
                            ready.register(side, selectors.EVENT_READ)
                    elif file in ways:
                        self._pass_on(file, ways, ready)

    def _pass_on(self, side: socket.socket, ways: dict[socket.socket, socket.socket], ready: selectors.BaseSelector) -> None:
        other = ways[side]
        try:
            data = side.recv(1 << 16)
            if data and not self.dark.is_set():
                other.sendall(data)
            ended = not data
        except OSError:
            ended = True
        if ended:
            for each in (side, other):
                ready.unregister(each)
                del ways[each]
                if each is side or not self.dark.is_set():
                    each.close()

    def _connected(self) -> socket.socket:
        if isinstance(self._server, tuple):
            return socket.create_connection(self._server)
        server = socket.socket(socket.AF_UNIX)
        server.connect(self._server)
        return server


@contextmanager
def proxy(url: str) -> Iterator[Proxy]:
    """Provide a way to a URL's server that can go dark."""
    way = Proxy(url)
    try:
        yield way
    finally:
        way.close()

"""The embedded PostgreSQL: one server per data directory, shared by all processes that use it.

The first process that needs the server starts it, and it keeps running; `stop` ends it.
"""

import fcntl
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from . import programs
from .embedded_server import EmbeddedServer, tests_dir
from .programs import COPY, ROOT_HOME


def start(data_dir: Path | None = None) -> str:
    """Return the URL of the server of a data directory; create and start it if needed.

    data_dir: the data directory (default: `default_data_dir()`). Data in `tests_dir()` are created anew at each start and never
    wait for the disk. Raises WrongSchema if the data are of another major version, and Unavailable if the server does not
    start.
    """
    server = EmbeddedServer.of(data_dir)
    if server.running():
        return server.url()
    with server.lock():
        server.start()
    return server.url()


@contextmanager
def started_for_tests() -> Iterator[str]:
    """Provide the URL of the server in `tests_dir()`, shared by processes. The last one removes the server and its data.

    Leftovers of killed processes are used or replaced by the next one.
    """
    server = EmbeddedServer.of(tests_dir())
    with ExitStack() as stack:
        with server.lock():
            users = stack.enter_context((server.home / "users").open("w"))
            fcntl.flock(users, fcntl.LOCK_SH)
            server.start()
        try:
            yield server.url()
        finally:
            with server.lock(), suppress(BlockingIOError):  # other processes use it
                fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
                server.discard()


def stop(data_dir: Path | None = None) -> bool:
    """Stop the server of a data directory. Return False if none was running. Raises Unavailable if it does not stop."""
    server = EmbeddedServer.of(data_dir)
    if not server.data.exists():
        return False
    with server.lock():
        return server.stop()


def remove(data_dir: Path | None = None) -> None:
    """Stop the server and remove its data."""
    server = EmbeddedServer.of(data_dir)
    if not server.home.exists():
        return
    with server.lock():
        server.stop()
        server.forget(server.data)
        shutil.rmtree(server.home)
    if server.user:
        with programs.copies_locked():
            left = list(ROOT_HOME.glob("*"))
            if all(path.name.startswith(COPY) for path in left):  # no remaining server needs them
                for copy in left:
                    shutil.rmtree(copy)
                with suppress(OSError):  # of another process that is creating its own server
                    ROOT_HOME.rmdir()


@dataclass(frozen=True, slots=True)
class Status:
    """State of an embedded server. version: the major version of its data, or None without data."""

    running: bool
    version: str | None
    data: Path
    log: Path
    url: str


def status(data_dir: Path | None = None) -> Status:
    """Return the state of the server of a data directory, without changing it."""
    server = EmbeddedServer.of(data_dir)
    version = None
    with suppress(OSError):
        version = (server.data / "PG_VERSION").read_text().strip()
    return Status(server.running(), version, server.data, server.home / "run" / "log", server.url())

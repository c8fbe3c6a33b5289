"""Servers of a test's own, which are made in memory where there is room: disks keep tests waiting."""

from dataclasses import replace
from pathlib import Path

from tomato_dao.ops import embedded
from tomato_dao.ops.embedded_server import EmbeddedServer


def start_anew(directory: Path) -> str:
    """Make a server in a data directory as that of the tests is made, start it as any other, and return its URL."""
    server = replace(EmbeddedServer.of(directory), is_for_tests=True)
    with server.lock():
        server.create()
    return embedded.start(directory)

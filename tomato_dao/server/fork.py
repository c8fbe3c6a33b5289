"""Forked processes: inherited connections belong to the parent. A child does not use them and opens its own."""

import os
from collections.abc import Iterable
from typing import Protocol
from weakref import WeakSet

import psycopg


class _Inherited(Protocol):
    def after_fork_in_child(self) -> None: ...


_known: WeakSet[_Inherited] = WeakSet()


def watch(thing: _Inherited) -> None:
    """Call the object's `after_fork_in_child` in every forked process while the object exists."""
    _known.add(thing)


def leave_to_parent(connections: Iterable[psycopg.Connection | psycopg.AsyncConnection]) -> None:
    """Turn a child's copies of the connections' sockets into /dev/null.

    So libpq's termination message never reaches the server when the child closes them, and the parent's sessions end when the
    parent ends.
    """
    nowhere = os.open(os.devnull, os.O_RDWR)
    for connection in connections:
        if not connection.closed:
            os.dup2(nowhere, connection.pgconn.socket)
    os.close(nowhere)


def _after_fork_in_child() -> None:
    for thing in list(_known):
        thing.after_fork_in_child()


os.register_at_fork(after_in_child=_after_fork_in_child)

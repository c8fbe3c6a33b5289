"""Forked children and what they inherit: its connections are the parent's, so it leaves them and starts anew."""

import os
from collections.abc import Iterable
from typing import Protocol
from weakref import WeakSet

import psycopg


class _Inherited(Protocol):
    def after_fork_in_child(self) -> None: ...


_known: WeakSet[_Inherited] = WeakSet()


def watch(thing: _Inherited) -> None:
    """Have its `after_fork_in_child` called in every child, for as long as it is used."""
    _known.add(thing)


def leave_to_parent(connections: Iterable[psycopg.Connection | psycopg.AsyncConnection]) -> None:
    """Turn a child's copies of the connections' sockets into /dev/null.

    So what libpq says when it ends them never reaches the server, and the parent's sessions end when the parent does.
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

"""Change events: one session of a process, outside the pool, receives notifications and passes them to all listeners."""

import logging
import re
import select
import socket
import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from time import monotonic
from typing import Literal, TypeAlias
from weakref import finalize

import psycopg

from .errors import InvalidValue, TomatoError, Unavailable, from_driver
from .printable import one_line, quoted
from .server import arguments, fork
from .server.backoff import pauses
from .server.poolers import check_session
from .server.probe import probe
from .server.session import ask
from .server.waiting import wait_for
from .sql.timing import at_most, left

Entities: TypeAlias = Literal["topologies", "elements", "connections"]

logger = logging.getLogger(__name__)

_ENTITIES = {"topologies": "topology", "elements": "element", "connections": "connection"}
_LISTEN = b"set idle_session_timeout = 0; listen tomato_changes"
_PAYLOAD = re.compile(rb"(topology|element|connection) (\d+) (state|deleted)")  # the format that the triggers write
_MOST_PENDING = 10_000  # maximum number of unread events of a listener
_GRACE = 0.5  # seconds beyond the caller's timeout, for a slow server
_ANSWER = 5.0  # seconds within which the server must confirm LISTEN in a new session
_FIRST_PAUSE, _LONGEST_PAUSE = 0.2, 5.0  # maximum seconds before a lost connection is opened again


@dataclass(frozen=True, slots=True)
class Event:
    """A change of a topology, or of elements or connections in it.

    entity: "topology", "element" or "connection". id: the topology's id, also if elements or connections of it changed.
    change: "state" (of a topology: its timeout_step) or "deleted" (topologies only).

    If events may have been lost, because the connection was lost or the listener was too slow, change is "missed", and
    entity and id are None: read the rows that you watch again.
    """

    entity: str | None
    id: int | None
    change: str


MISSED = Event(None, None, "missed")


@dataclass(eq=False)
class _Queue:
    """The unread events of a listener, and the entities that it listens for."""

    entities: frozenset[str]
    pending: deque[Event]
    wake: Callable[[], None]  # called when there is an event to read


class Listener:
    """The events since `db.listen(…)` was called, to loop over.

    A loop ends after `timeout` seconds without an event and may be started again; events in between are kept. `with` or
    `close()` closes the listener, and so does garbage collection. A closed listener raises Unavailable, and so does one
    inherited by a forked process.
    """

    def __init__(self, events: "Events", queue: _Queue, timeout: float | None) -> None:
        self._events = events
        self._queue = queue
        self._timeout = timeout
        self._forget = finalize(self, events.forget, queue)

    def __iter__(self) -> "Listener":
        return self

    def __next__(self) -> Event:
        event = self._events.wait(self._queue, self._timeout)
        if event is None:
            raise StopIteration
        return event

    def next_now(self) -> Event | None:
        """Return the next event if there is one already, else None."""
        return self._events.wait(self._queue, 0)

    def __enter__(self) -> "Listener":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the listener; a thread that waits for its events gets Unavailable."""
        self._forget()


class Events:
    """The listeners of a process, and the thread that reads for them while there are any. Thread-safe."""

    def __init__(self, url: str, application_name: str, timeout: float = 30) -> None:
        self._url = url
        self._application_name = f"{application_name} events"
        self._timeout = timeout
        self._closed = False
        self._start()
        fork.watch(self)

    def _start(self) -> None:
        """Initialize the object without listeners: at first, and in a child after a fork."""
        self._guard = threading.Condition()
        self._queues: set[_Queue] = set()
        self._reader: _ListeningThread | None = None
        self._opening = False  # a thread is opening its session, without holding the guard

    def after_fork_in_child(self) -> None:
        """Leave the listeners to the parent."""
        if self._reader is not None:
            fork.leave_to_parent([self._reader.connection])
        self._start()

    def close(self) -> None:
        """Close all listeners."""
        with self._guard:
            self._closed = True
            for queue in list(self._queues):
                self.forget(queue)

    def listen(self, entities: Sequence[str], timeout: float | None, wake: Callable[[], None] = lambda: None) -> Listener:
        """See `Database.listen`. wake: a function that is called, in another thread, whenever there is an event to read."""
        if not entities or not all(isinstance(name, str) and name in _ENTITIES for name in entities):
            raise InvalidValue(f"listen() takes one or more of {', '.join(_ENTITIES)}, not {quoted(entities)}")
        if timeout is not None:
            arguments.seconds("timeout", timeout)
        queue = _Queue(frozenset(_ENTITIES[name] for name in entities), deque(), wake)
        listener = Listener(self, queue, timeout)
        self._begin(queue, left(self._timeout if timeout is None else min(timeout, self._timeout)))
        return listener

    def _begin(self, queue: _Queue, timeout: float) -> None:
        """Add a queue, and start the thread if it is not running. Retries while the server is full."""
        deadline = monotonic() + timeout
        with self._guard:
            if not wait_for(self._guard, lambda: self._closed or not self._opening, timeout + _GRACE):
                raise Unavailable("the server did not answer to the session for listeners")
            if self._closed:
                raise Unavailable("the database is closed")
            if self._reader is not None:
                self._queues.add(queue)
                return
            self._opening = True
        reader = None
        try:
            reader = self._opened(max(deadline - monotonic(), 0))
        finally:
            with self._guard:
                self._opening = False
                if reader is not None and not self._closed:
                    self._reader = reader
                    self._queues.add(queue)
                self._guard.notify_all()
        if self._reader is not reader:
            reader.end()
            raise Unavailable("the database is closed")

    def _opened(self, timeout: float) -> "_ListeningThread":
        with at_most(timeout + _GRACE):
            reader = _ListeningThread(self._url, self._application_name, self.tell, timeout)
        try:
            reader.start()
        except BaseException as error:
            reader.abandon()
            if isinstance(error, RuntimeError):
                raise Unavailable(f"cannot start a thread for listeners, as this process is at its limit: {error}") from error
            raise
        return reader

    def wait(self, queue: _Queue, timeout: float | None) -> Event | None:
        """Return the next event of a listener, or None if none arrives in time."""
        with self._guard:
            wait_for(self._guard, lambda: queue.pending or queue not in self._queues, timeout)
            if queue not in self._queues:
                raise Unavailable("the database is closed" if self._closed else "the listener is closed")
            return queue.pending.popleft() if queue.pending else None

    def tell(self, event: Event) -> None:
        """Add an event to the queues of all listeners for its entity. A full queue gets MISSED instead."""
        with self._guard:
            for queue in list(self._queues):
                if event is MISSED or event.entity in queue.entities:
                    full = len(queue.pending) >= _MOST_PENDING
                    if full:
                        queue.pending.clear()
                    queue.pending.append(MISSED if full else event)
                    queue.wake()
            self._guard.notify_all()

    def forget(self, queue: _Queue) -> None:
        """Close a listener, and the session with the last one."""
        with self._guard:
            self._queues.discard(queue)
            self._guard.notify_all()
            queue.wake()
            if self._reader is not None and not self._queues:
                self._reader.end()
                self._reader = None


class _ListeningThread(threading.Thread):
    """A thread that forwards its session's notifications and replaces a lost session, until `end`."""

    def __init__(self, url: str, application_name: str, tell: Callable[[Event], None], timeout: float) -> None:
        super().__init__(name=application_name, daemon=True)
        self._url = url
        self._tell = tell
        self.connection = self._open(timeout)
        self._end, self._ended = socket.socketpair()  # can be waited for together with the connection

    def end(self) -> None:
        """Stop the thread and close its session."""
        self._end.shutdown(socket.SHUT_RDWR)  # a child's copy would survive a mere close
        self._end.close()

    def abandon(self) -> None:
        """Close the session if the thread could not be started; otherwise `run` does so."""
        self.end()
        if not self.is_alive():
            self._ended.close()
            self.connection.close()

    def run(self) -> None:
        with self._ended:
            while True:
                try:
                    self._read()
                    return
                except psycopg.Error as error:
                    logger.warning("listeners: the connection was lost and will be reopened: %s", one_line(error))
                finally:
                    self.connection.close()
                if not self._reopen():
                    return
                self._tell(MISSED)

    def _read(self) -> None:
        """Forward notifications until `end`. Raises psycopg.Error if the connection is lost."""
        pgconn = self.connection.pgconn
        while True:
            while heard := pgconn.notifies():
                if said := _PAYLOAD.fullmatch(heard.extra):  # any role may send any payload
                    entity, id, change = said.groups()
                    self._tell(Event(entity.decode(), int(id), change.decode()))
            if self._ended.fileno() in _readable(self._ended, self.connection):
                return
            pgconn.consume_input()

    def _reopen(self) -> bool:
        """Open a new session, retrying until that works. Return False if `end` comes first."""
        for pause in pauses(_FIRST_PAUSE, _LONGEST_PAUSE):
            if _readable(self._ended, seconds=pause):
                return False
            try:
                self.connection = self._open()
                return True
            except TomatoError as error:
                logger.warning("listeners: not connected yet: %s", error)
        raise AssertionError("tries until it works or the end comes")

    def _open(self, timeout: float = 0) -> psycopg.Connection:
        connection = probe(self._url, timeout, application_name=self.name, primary_for="listeners")
        try:
            check_session(connection, partial(probe, self._url), "listeners")
            ask(connection, _LISTEN, max(left(_ANSWER), _GRACE))
        except psycopg.Error as error:
            raise from_driver(error) from error
        return connection


def _readable(*files: socket.socket | psycopg.Connection, seconds: float | None = None) -> list[int]:
    """Wait until descriptors are readable or the timeout has passed, and return those that are."""
    poll = select.poll()
    for file in files:
        poll.register(file, select.POLLIN)
    return [descriptor for descriptor, _ in poll.poll(seconds and seconds * 1000)]

"""Exclusive work across processes: advisory locks, all those of a process in one session outside the pool."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from time import monotonic
from typing import Literal, TypeAlias, get_args

import psycopg
from psycopg.pq import TransactionStatus

from .errors import Busy, InvalidValue, LockLost, Unavailable, WrongState, from_driver
from .printable import quoted
from .server import arguments, fork
from .server.backoff import pauses
from .server.caller import current_task, current_thread
from .server.probe import probe
from .server.session import ask

Kind: TypeAlias = Literal["topology", "element", "connection"]

# A lock's key is its kind, counted from 1, in front of an id of 60 bits. So no two locks share a key, and none has that of
# migrations, or one of the small numbers and 32-bit hashes that other programs use in the same database.
_KINDS: tuple[Kind, ...] = get_args(Kind)
_ID_BITS = 60

FIRST_PAUSE, LONGEST_PAUSE = 0.05, 0.25  # seconds between two tries

# The locks of a transaction can't be freed one by one, so these are the session's; yet they are taken in a transaction, which
# stays open until the last is freed: for so long even a pooler in transaction mode leaves us the session. Being read
# committed and asking for locks only, it has no snapshot: vacuum and create index concurrently don't wait for it. No time
# limit may end it. Where our machine goes without a word, the server notices in half a minute.
_BEGIN = (
    b"begin isolation level read committed; set local idle_in_transaction_session_timeout = 0;"
    b" set local tcp_keepalives_idle = 15; set local tcp_keepalives_interval = 5; set local tcp_keepalives_count = 3; "
)
_BEGIN_17 = _BEGIN + b"set local transaction_timeout = 0; "  # which PostgreSQL 17 brought


class Lock:
    """A lock that is held: what `with db.exclusive(…) as lock` gives."""

    def __init__(self, locks: "Locks", kind: Kind, id: int) -> None:
        self.kind = kind
        self.id = id
        self.key = (_KINDS.index(kind) + 1) << _ID_BITS | id
        self.thread = current_thread()
        self.task = current_task()
        self.connection: psycopg.Connection | None = None  # whose session has the lock, or may have it
        self._locks = locks

    def __str__(self) -> str:
        return f"{self.kind} {self.id}"

    def check(self) -> None:
        """Ask the server whether the lock is still held, before a step that can't be undone; LockLost where it isn't."""
        self._locks.ask(self, b"select 1")


class Locks:
    """The locks of a process; safe to share between threads.

    In a session locks are re-entrant, so threads take turns first: for each lock one has it, or asks the server for it. The
    server is asked again and again and never waits, since others need the connection meanwhile.
    """

    def __init__(self, url: str, application_name: str) -> None:
        self._url = url
        self._application_name = f"{application_name} locks"
        self._closed = False
        self._start()
        fork.watch(self)

    def _start(self) -> None:
        """Start without locks: at first, and in a child after a fork."""
        self._guard = threading.Condition()  # of what follows, the connection included
        self._turns: dict[int, Lock] = {}
        self._connection: psycopg.Connection | None = None

    def after_fork_in_child(self) -> None:
        """Leave the locks to the parent."""
        if self._connection is not None:
            fork.leave_to_parent([self._connection])
        self._start()

    def close(self) -> None:
        """Free all locks: who waits for one gets Unavailable, who has one LockLost."""
        with self._guard:
            self._closed = True
            if self._connection is not None:
                self._connection.close()
            self._guard.notify_all()

    @contextmanager
    def hold(self, kind: Kind, id: int, wait: float, reentrant: bool) -> Iterator[Lock]:
        """See `Database.exclusive`."""
        if not isinstance(kind, str) or kind not in _KINDS:
            raise InvalidValue(f"a lock is on a {', '.join(_KINDS[:-1])} or {_KINDS[-1]}, not on {quoted(kind)}")
        if not isinstance(id, int) or not 0 <= id < 1 << _ID_BITS:
            raise InvalidValue(f"{kind}: {quoted(id)} is no id", entity=kind, key=id)
        arguments.seconds(f"{kind} {id}: wait", wait)
        lock = Lock(self, kind, id)
        if reentrant and (outer := self._own(lock)):
            outer.check()
            yield outer
            return
        try:
            self._take(lock, wait)
            yield lock
        except BaseException as error:
            try:
                self._free(lock)
            except LockLost as lost:
                if str(lost) != str(error):  # the block may have learnt it by itself
                    error.add_note(str(lost))
            raise
        self._free(lock)

    def _own(self, lock: Lock) -> Lock | None:
        """Return the lock of that key that the caller has; WrongState where another task of this thread has it."""
        with self._guard:
            outer = self._turns.get(lock.key)
        if outer is None or outer.thread != lock.thread:
            return None
        if outer.task is not lock.task:
            text = f"{lock}: another asyncio task of this thread has the lock: run each task in a thread of its own"
            raise WrongState(text, entity=lock.kind, key=lock.id)
        return outer

    def ask(self, lock: Lock, statement: bytes) -> bytes | None:
        """Return a value from the lock's session; LockLost where it is over."""
        with self._guard:
            if lock.connection is None:
                raise _lost(lock)
            try:
                return ask(lock.connection, statement)
            except psycopg.Error as error:
                raise _lost(lock) from error

    def _take(self, lock: Lock, wait: float) -> None:
        deadline = monotonic() + wait
        with self._guard:
            other = self._turns.get(lock.key)
            if other is not None and other.thread == lock.thread:
                raise WrongState(
                    f"{lock}: this thread has the lock already (reentrant=True lets it in)", entity=lock.kind, key=lock.id
                )
            if not self._guard.wait_for(lambda: self._closed or lock.key not in self._turns, wait):
                raise _busy(lock, wait)
            self._turns[lock.key] = lock
            for pause in pauses(FIRST_PAUSE, LONGEST_PAUSE):
                if self._try(lock):
                    return
                left = deadline - monotonic()
                if left <= 0:
                    raise _busy(lock, wait)
                self._guard.wait_for(lambda: self._closed, min(pause, left))

    def _try(self, lock: Lock) -> bool:
        """Ask for the lock once; in a new session where the last one is over."""
        if self._closed:
            raise Unavailable("the database is closed")
        if self._connection is not None and not self._connection.closed:
            with suppress(psycopg.Error):
                return self._try_in(self._connection, lock)
        self._connection = probe(self._url, application_name=self._application_name)
        try:
            return self._try_in(self._connection, lock)
        except psycopg.Error as error:
            raise from_driver(error) from error

    def _try_in(self, connection: psycopg.Connection, lock: Lock) -> bool:
        begin = b""
        if connection.pgconn.transaction_status == TransactionStatus.IDLE:
            begin = _BEGIN_17 if connection.info.server_version >= 170000 else _BEGIN
        lock.connection = connection  # beforehand, so that it is freed where an interrupt comes between
        try:
            taken = ask(connection, begin + b"select pg_try_advisory_lock(%d)" % lock.key) == b"t"
        except psycopg.Error:
            lock.connection = None
            raise
        if not taken:
            lock.connection = None
        return taken

    def _free(self, lock: Lock) -> None:
        """Give a lock back, and with the last one end the transaction; LockLost where it was gone."""
        with self._guard:
            try:
                if lock.connection is not None and self.ask(lock, b"select pg_advisory_unlock(%d)" % lock.key) != b"t":
                    raise _lost(lock)
            finally:
                lock.connection = None
                if self._turns.get(lock.key) is lock:
                    del self._turns[lock.key]
                    self._guard.notify_all()
                if not self._turns and self._connection is not None and not self._connection.closed:
                    with suppress(psycopg.Error):
                        ask(self._connection, b"commit")


def _busy(lock: Lock, wait: float) -> Busy:
    waited = f", after {wait:g} s of waiting too" if wait else ""
    return Busy(f"{lock}: another worker has the lock{waited}", entity=lock.kind, key=lock.id)


def _lost(lock: Lock) -> LockLost:
    text = f"{lock}: the lock is lost, as its session ended; another worker may have had it since"
    return LockLost(text, entity=lock.kind, key=lock.id)

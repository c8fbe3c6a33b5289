"""Exclusive work across processes: advisory locks. All locks of a process share one session outside the pool."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from time import monotonic, sleep
from typing import Literal, TypeAlias, get_args

import psycopg
from psycopg.pq import TransactionStatus

from .errors import Busy, InvalidValue, LockLost, Unavailable, WrongState, from_driver
from .printable import quoted
from .server import arguments, fork
from .server.backoff import pauses
from .server.caller import current_task, current_thread
from .server.probe import probe
from .server.session import NoAnswer, answer
from .server.waiting import wait_for
from .sql.timing import at_most, ending, left

Kind: TypeAlias = Literal["topology", "element", "connection"]

# A lock's key is the number of its kind, from 1, followed by an id of 60 bits. So no two locks share a key, and no key collides
# with that of migrations, or with the small numbers and 32-bit hashes of other programs in the same database.
_KINDS: tuple[Kind, ...] = get_args(Kind)
_ID_BITS = 60

FIRST_PAUSE, LONGEST_PAUSE = 0.05, 0.25  # seconds between two attempts
_STEP = 0.2  # seconds to wait for an answer before other threads get a turn; so many threads share it
_YIELD = 0.001  # seconds in which another thread takes its turn, which a thread that goes on at once would take again
_GRACE = 0.5  # seconds beyond the caller's timeout, for a slow server
_PATIENCE = 5.0  # seconds without an answer after which the session counts as lost

# Transaction-level locks cannot be released one by one, so these are session-level locks. They are acquired in a transaction
# that stays open until the last one is released, so that even a pooler in transaction mode keeps the session for us. The
# transaction is read committed and only requests locks, so it holds no snapshot: vacuum and create index concurrently do not
# wait for it. No timeout may end it. If this machine vanishes, the server notices within half a minute.
_BEGIN = (
    b"begin isolation level read committed; set local idle_in_transaction_session_timeout = 0;"
    b" set local tcp_keepalives_idle = 15; set local tcp_keepalives_interval = 5; set local tcp_keepalives_count = 3; "
)
_BEGIN_17 = _BEGIN + b"set local transaction_timeout = 0; "  # new in PostgreSQL 17


class Lock:
    """A held lock, returned by `with db.exclusive(…) as lock`."""

    def __init__(self, locks: "Locks", kind: Kind, id: int) -> None:
        self.kind = kind
        self.id = id
        self.key = (_KINDS.index(kind) + 1) << _ID_BITS | id
        self.thread = current_thread()
        self.task = current_task()
        self.connection: psycopg.Connection | None = None  # their session has the lock, or may have it
        self._locks = locks

    def __str__(self) -> str:
        return f"{self.kind} {self.id}"

    def check(self) -> None:
        """Ask the server whether the lock is still held. Raises LockLost if it is not.

        Call it before a step that cannot be undone.
        """
        self._locks.ask(self, b"select 1")


class _Question:
    """A statement for the session of all locks, and its result.

    begins: whether it needs the transaction. undo: the statement that releases what it acquired, if no caller waits any more.
    """

    __slots__ = ("answered", "at", "begins", "given_up", "statement", "undo", "value")
    at: float  # when it was sent, by the monotonic clock

    def __init__(self, statement: bytes, *, begins: bool = False, undo: bytes = b"") -> None:
        self.statement = statement
        self.begins = begins
        self.undo = undo
        self.value: bytes | None = None
        self.answered = self.given_up = False


class Locks:
    """The locks of a process. Thread-safe.

    Advisory locks are re-entrant within a session, so threads take turns first: one thread at a time holds a lock or requests
    it from the server. Requests never wait on the server but are repeated, since other threads need the connection meanwhile.
    """

    def __init__(self, url: str, application_name: str) -> None:
        self._url = url
        self._application_name = f"{application_name} locks"
        self._closed = False
        self._start()
        fork.watch(self)

    def _start(self) -> None:
        """Initialize the object without locks: at first, and in a child after a fork."""
        self._asking: set[_Question] = set()  # of threads that wait for an answer; changed without the guard, in one step
        self._guard = threading.Condition()  # guards the following attributes and the connection
        self._turns: dict[int, Lock] = {}
        self._connection: psycopg.Connection | None = None
        self._opening = False  # a thread is opening it, without holding the guard
        self._asked: _Question | None = None  # not answered yet

    def after_fork_in_child(self) -> None:
        """Leave the locks to the parent."""
        if self._connection is not None:
            fork.leave_to_parent([self._connection])
        self._start()

    def close(self) -> None:
        """Release all locks. Threads that wait for one get Unavailable, holders get LockLost."""
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
            raise InvalidValue(f"{kind}: {quoted(id)} is not an id", entity=kind, key=id)
        arguments.seconds(f"{kind} {id}: wait", wait)
        lock = Lock(self, kind, id)
        wait = left(wait)
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
                if str(lost) != str(error):  # the block may have noticed it already
                    error.add_note(str(lost))
            raise
        self._free(lock)

    def _own(self, lock: Lock) -> Lock | None:
        """Return the lock with this key that the caller holds. Raises WrongState if another task of this thread holds it."""
        with self._guard:
            outer = self._turns.get(lock.key)
        if outer is None or outer.thread != lock.thread:
            return None
        if outer.task is not lock.task:
            text = f"{lock}: another asyncio task of this thread holds the lock: run each task in a thread of its own"
            raise WrongState(text, entity=lock.kind, key=lock.id)
        return outer

    def ask(self, lock: Lock, statement: bytes) -> bytes | None:
        """Return a value from the lock's session. Raises LockLost if it has ended, or did not answer for _PATIENCE seconds.

        Raises Unavailable if the caller's own deadline comes first.
        """
        if lock.connection is None:
            raise _lost(lock)
        try:
            return self._ask(lock.connection, _Question(statement), left(_PATIENCE))
        except psycopg.Error as error:
            if isinstance(error, NoAnswer) and not lock.connection.closed:
                raise Unavailable(f"{lock}: {error}", entity=lock.kind, key=lock.id) from error
            raise _lost(lock) from error

    def _take(self, lock: Lock, wait: float) -> None:
        deadline = monotonic() + wait
        with self._guard:
            other = self._turns.get(lock.key)
            if other is not None and other.thread == lock.thread:
                raise WrongState(
                    f"{lock}: this thread holds the lock already (use reentrant=True to enter again)",
                    entity=lock.kind,
                    key=lock.id,
                )
            if not wait_for(self._guard, lambda: self._closed or lock.key not in self._turns, wait):
                raise _busy(lock, wait)
            self._turns[lock.key] = lock
        for pause in pauses(FIRST_PAUSE, LONGEST_PAUSE):
            if self._try(lock, deadline):
                return
            remaining = deadline - monotonic()
            if remaining <= 0:
                raise _busy(lock, wait)
            with self._guard:
                self._guard.wait_for(lambda: self._closed, min(pause, remaining))

    def _try(self, lock: Lock, deadline: float) -> bool:
        """Request the lock once, in a new session if the last one has ended."""
        while True:
            connection, is_new = self._session(deadline)
            try:
                return self._try_in(connection, lock, max(deadline - monotonic(), 0) + _GRACE)
            except NoAnswer as error:
                if not connection.closed or monotonic() >= deadline:
                    raise Unavailable(f"{lock}: {error}", entity=lock.kind, key=lock.id) from error
            except psycopg.Error as error:
                if is_new:
                    raise from_driver(error) from error

    def _session(self, deadline: float) -> tuple[psycopg.Connection, bool]:
        """Return the session of all locks, and whether it is new. One thread opens it without blocking the others."""
        with self._guard:
            opening_time = max(deadline - monotonic(), 0) + _GRACE
            waited = wait_for(self._guard, lambda: self._closed or not self._opening, opening_time)
            if self._closed:
                raise Unavailable("the database is closed")
            if not waited:
                raise Unavailable("the server did not answer to the session for locks")
            if self._connection is not None and not self._connection.closed:
                return self._connection, False
            self._opening = True
        opened = None
        try:
            remaining = max(deadline - monotonic(), 0)
            with at_most(remaining + _GRACE):
                opened = probe(self._url, remaining, application_name=self._application_name, primary_for="locks")
        finally:
            with self._guard:
                self._opening, self._connection, self._asked = False, opened, None
                self._guard.notify_all()
        if self._closed:
            opened.close()
            raise Unavailable("the database is closed")
        return opened, True

    def _try_in(self, connection: psycopg.Connection, lock: Lock, seconds: float) -> bool:
        lock.connection = connection  # set in advance, so that an interrupt in between still releases it
        question = _Question(
            b"select pg_try_advisory_lock(%d)" % lock.key, begins=True, undo=b"select pg_advisory_unlock(%d)" % lock.key
        )
        try:
            taken = self._ask(connection, question, seconds) == b"t"
        except BaseException:
            if not question.answered:  # what it still acquires is released
                lock.connection = None
            raise
        if not taken:
            lock.connection = None
        return taken

    def _ask(self, connection: psycopg.Connection, question: "_Question", seconds: float) -> bytes | None:
        """Return the answer to a question. Meanwhile other threads continue, and may read the answer for this one.

        Raises NoAnswer, and psycopg.Error if the session has ended or did not answer for _PATIENCE seconds.
        """
        deadline = monotonic() + seconds
        try:
            self._asking.add(question)
            while True:
                with self._guard:
                    step = _STEP / len(self._asking)  # all get a turn in that time
                    self._go_on(connection, question, max(min(deadline - monotonic(), step), 0))
                    if question.answered:
                        return question.value
                    if self._asked is not None and monotonic() - self._asked.at >= _PATIENCE:
                        connection.close()
                if connection.closed or monotonic() >= deadline:
                    raise NoAnswer("the server did not answer in time")
                sleep(_YIELD)
        finally:
            self._asking.discard(question)
            question.given_up = not question.answered

    def _go_on(self, connection: psycopg.Connection, question: "_Question", seconds: float) -> None:
        """Read the outstanding answer, if any, then send the question and read its answer, within the time limit."""
        with suppress(NoAnswer):
            if self._asked is not None:
                self._read(connection, self._asked, seconds)
            if not question.answered and not connection.closed:
                self._send(connection, question)
                self._read(connection, question, seconds)

    def _send(self, connection: psycopg.Connection, question: "_Question") -> None:
        begin = b""
        if question.begins and connection.pgconn.transaction_status == TransactionStatus.IDLE:
            begin = _BEGIN_17 if connection.info.server_version >= 170000 else _BEGIN
        connection.pgconn.send_query(begin + question.statement)
        question.at, self._asked = monotonic(), question

    def _read(self, connection: psycopg.Connection, question: "_Question", seconds: float) -> None:
        """Read the outstanding answer. A lock that was acquired for a thread that no longer waits is released."""
        try:
            try:
                question.value = answer(connection, seconds)
            except KeyboardInterrupt:
                with suppress(NoAnswer):
                    if connection.pgconn.transaction_status == TransactionStatus.ACTIVE:
                        question.value = answer(connection, _GRACE)  # the outcome must be known
                    question.answered, self._asked = True, None
                raise
        except NoAnswer:
            raise
        except psycopg.Error:
            self._asked = None
            connection.close()
            raise
        question.answered, self._asked = True, None
        if question.given_up and question.undo and question.value == b"t":
            undo = _Question(question.undo)
            self._send(connection, undo)
            self._read(connection, undo, seconds)

    def _free(self, lock: Lock) -> None:
        """Release a lock, and end the transaction with the last one. Raises LockLost if it was lost."""
        try:
            if lock.connection is not None:
                with ending(_PATIENCE):
                    freed = self.ask(lock, b"select pg_advisory_unlock(%d)" % lock.key)
                if freed != b"t":
                    raise _lost(lock)
        finally:
            with self._guard:
                lock.connection = None
                if self._turns.get(lock.key) is lock:
                    del self._turns[lock.key]
                    self._guard.notify_all()
                if not self._turns and self._connection is not None and not self._connection.closed:
                    with suppress(psycopg.Error):
                        self._go_on(self._connection, _Question(b"commit"), _STEP)


def _busy(lock: Lock, wait: float) -> Busy:
    waited = f" (waited {wait:g} s)" if wait else ""
    return Busy(f"{lock}: another worker holds the lock{waited}", entity=lock.kind, key=lock.id)


def _lost(lock: Lock) -> LockLost:
    text = f"{lock}: the lock was lost because its session ended; another worker may have held it since"
    return LockLost(text, entity=lock.kind, key=lock.id)

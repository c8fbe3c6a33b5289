"""Deadlines: client-side time limits for a server's answer, which hold even if the server hangs.

A statement_timeout is enforced by the server, and has no effect if the server is stopped or unreachable. All waiting goes
through one method of psycopg's connections, which TimedConnection limits by the deadline of the current context.
"""

import os
import socket
from collections.abc import Generator, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass
from time import monotonic
from typing import Any, TypeVar

import psycopg
from psycopg import capabilities
from psycopg.abc import PQGen
from psycopg.pq import ExecStatus, TransactionStatus
from psycopg.rows import TupleRow

Result = TypeVar("Result")

ENDING = 0.4  # seconds for cancelling a statement, and again for its answer; also for ending work that a deadline interrupts
_STEP = 0.1  # seconds between two checks of the clock and of signals, as in psycopg
_QUERY_CANCELED = "57014"


class DeadlinePassed(psycopg.errors.QueryCanceled):
    """The caller's deadline has passed. The SQLSTATE is that of a cancelled statement."""


class _LateError(Exception):
    """Raised inside a wait whose deadline has passed."""


@dataclass(frozen=True, slots=True)
class Deadline:
    """A time of the monotonic clock, and the caller's timeout in seconds, for messages."""

    at: float
    seconds: float

    def check(self) -> None:
        """Raise DeadlinePassed if the deadline has passed."""
        if monotonic() >= self.at:
            raise self.passed("the call was not started")

    def passed(self, consequence: str) -> DeadlinePassed:
        """Return the error of a call that exceeded the deadline."""
        return DeadlinePassed(f"no answer within {self.seconds:.3g} s; {consequence}")


_current: ContextVar[Deadline | None] = ContextVar("tomato_dao_deadline", default=None)
deadline = _current.get  # the current deadline, or None


@contextmanager
def at_most(seconds: float) -> Iterator[None]:
    """Limit all waiting in the block to *seconds* from now. Of nested blocks, the earliest deadline applies."""
    outer = _current.get()
    own = Deadline(monotonic() + seconds, seconds)
    token = _current.set(own if outer is None or own.at < outer.at else outer)
    try:
        yield
    finally:
        _current.reset(token)


@contextmanager
def ending(otherwise: float | None = None) -> Iterator[None]:
    """Allow some extra seconds for a final step, such as a rollback, if the deadline has passed.

    otherwise: the seconds for it if there is no deadline (default: unlimited).
    """
    outer = _current.get()
    seconds = otherwise if outer is None else ENDING
    if seconds is None:
        yield
        return
    own = Deadline(monotonic() + seconds, seconds)
    token = _current.set(outer if outer and outer.at > own.at else own)
    try:
        yield
    finally:
        _current.reset(token)


def left(seconds: float) -> float:
    """Return the seconds that may be waited: *seconds*, or less if the deadline is earlier."""
    current = _current.get()
    return seconds if current is None else max(min(seconds, current.at - monotonic()), 0)


def cut(connection: psycopg.Connection) -> None:
    """End a session that another thread waits on, even if the server hangs. That thread's wait fails immediately."""
    with suppress(OSError, psycopg.Error), socket.socket(fileno=os.dup(connection.pgconn.socket)) as copy:
        if not connection.closed:  # so the copied file descriptor was still this session's
            copy.shutdown(socket.SHUT_RDWR)


_wait = psycopg.Connection.wait


class TimedConnection(psycopg.Connection[TupleRow]):
    """A psycopg connection that waits until the deadline and then cancels the statement.

    If the server does not answer the cancellation either, the connection is closed.
    """

    def wait(self, gen: PQGen[Result], interval: float = _STEP, timeout: float | None = None) -> Result:
        """Run one of psycopg's generators to its end. Raises DeadlinePassed."""
        current = _current.get()
        if current is None:
            return _wait(self, gen, interval) if timeout is None else _wait(self, gen, interval, timeout)
        if timeout is not None:
            return _wait(self, gen, interval, left(timeout))
        now = monotonic()
        if now >= current.at and self.pgconn.transaction_status != TransactionStatus.ACTIVE:
            current.check()
        try:
            return _wait(self, _until(gen, current.at), max(min(interval, current.at - now), 0))
        except _LateError:
            return self._cancel_statement(gen, current)

    def _cancel_statement(self, gen: PQGen[Result], passed: Deadline) -> Result:
        """Cancel the statement. Return its result if it arrives nevertheless. Raises DeadlinePassed."""
        try:
            if not capabilities.has_cancel_safe():  # libpq before 17 has no timeout for this
                raise _LateError
            self.cancel_safe(timeout=ENDING)
            result = _wait(self, _until(gen, monotonic() + ENDING), _STEP / 2)
        except psycopg.errors.QueryCanceled:
            raise passed.passed("the call was cancelled") from None
        except (_LateError, psycopg.errors.CancellationTimeout):
            self.pgconn.finish()
            raise passed.passed("the server did not answer to the cancellation, so the session was closed") from None
        except BaseException:
            if self.pgconn.transaction_status == TransactionStatus.ACTIVE:
                self.pgconn.finish()
            raise
        if isinstance(result, list) and any(map(_is_cancelled, result)):
            raise passed.passed("the call was cancelled")
        return result

    @classmethod
    def _connect_gen(cls, *args: Any, **kwargs: Any) -> Any:
        """Open a connection within the deadline. connect_timeout is at least 2 s; psycopg 3.2 and 3.3 have no public hook."""
        gen = super()._connect_gen(*args, **kwargs)
        current = _current.get()
        return gen if current is None else _opened(gen, current)


def _is_cancelled(result: object) -> bool:
    if getattr(result, "status", None) != ExecStatus.FATAL_ERROR:
        return False
    state = result.error_field(psycopg.pq.DiagnosticField.SQLSTATE)  # type: ignore[attr-defined]
    return bool(state == _QUERY_CANCELED.encode())


def _until(gen: Generator[Any, Any, Result], at: float) -> Generator[Any, Any, Result]:
    """Forward psycopg's waits, and raise _LateError inside the generator after a time of the monotonic clock."""
    try:
        state = next(gen)
        while True:
            ready = yield state
            state = gen.send(ready)
            if monotonic() >= at:
                raise _LateError
    except StopIteration as end:
        return end.value  # type: ignore[no-any-return]


def _opened(gen: Generator[Any, Any, Result], until: Deadline) -> Generator[Any, Any, Result]:
    until.check()
    try:
        return (yield from _until(gen, until.at))
    except _LateError:
        gen.close()
        raise until.passed("the server did not accept the connection") from None

"""Deadlines: how long this process waits for a server's answer, whatever the server does.

A statement_timeout is the server's, and ends nothing where the server is stopped, or out of reach. All waiting of ours goes
through one method of psycopg's connections, which TimedConnection bounds by the deadline of the context that it runs in.
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

ENDING = 0.4  # seconds to call a statement off, and as many for its answer; and to end what a deadline cuts short
_STEP = 0.1  # seconds between two looks at the clock, and for signals, as psycopg has it
_QUERY_CANCELED = "57014"


class DeadlinePassed(psycopg.errors.QueryCanceled):
    """The time that a caller gave is over. It has the SQLSTATE of a statement that was cancelled, which it is like."""


class _LateError(Exception):
    """Raised inside a wait whose deadline has passed."""


@dataclass(frozen=True, slots=True)
class Deadline:
    """A point of the monotonic clock; and the time that was given, in seconds, for messages."""

    at: float
    seconds: float

    def check(self) -> None:
        """Raise DeadlinePassed where it is over."""
        if monotonic() >= self.at:
            raise self.passed("the call was not started")

    def passed(self, consequence: str) -> DeadlinePassed:
        """Return the error of a call for which the time did not suffice."""
        return DeadlinePassed(f"no answer within {self.seconds:.3g} s; {consequence}")


_current: ContextVar[Deadline | None] = ContextVar("tomato_dao_deadline", default=None)
deadline = _current.get  # that which calls have now, None where there is none


@contextmanager
def at_most(seconds: float) -> Iterator[None]:
    """Bound all waiting in the block by so many seconds from now; of several such blocks the earliest end counts."""
    outer = _current.get()
    own = Deadline(monotonic() + seconds, seconds)
    token = _current.set(own if outer is None or own.at < outer.at else outer)
    try:
        yield
    finally:
        _current.reset(token)


@contextmanager
def ending(otherwise: float | None = None) -> Iterator[None]:
    """Give what must be done at the end, as a rollback, a moment of its own where the deadline is over.

    otherwise: the seconds for it where there is no deadline (default: any number).
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
    """Return how long may be waited: *seconds*, or what the deadline leaves of them."""
    current = _current.get()
    return seconds if current is None else max(min(seconds, current.at - monotonic()), 0)


def cut(connection: psycopg.Connection) -> None:
    """End a session for a thread that waits for its answer, which fails at once: a server that hangs would not let it go."""
    with suppress(OSError, psycopg.Error), socket.socket(fileno=os.dup(connection.pgconn.socket)) as copy:
        if not connection.closed:  # so the number was still its own when it was copied
            copy.shutdown(socket.SHUT_RDWR)


_wait = psycopg.Connection.wait


class TimedConnection(psycopg.Connection[TupleRow]):
    """A psycopg connection that waits until the deadline, and then calls off what it waits for.

    Where the server does not answer to that either, the connection is closed.
    """

    def wait(self, gen: PQGen[Result], interval: float = _STEP, timeout: float | None = None) -> Result:
        """Wait for what psycopg does in steps. Raises DeadlinePassed."""
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
            return self._call_off(gen, current)

    def _call_off(self, gen: PQGen[Result], passed: Deadline) -> Result:
        """Cancel the statement, and return its result where it came all the same. Raises DeadlinePassed."""
        try:
            if not capabilities.has_cancel_safe():  # libpq before 17 waits for this without a limit
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
        """Open a connection until the deadline; psycopg 3.2 and 3.3 have no public place, connect_timeout is 2 s at least."""
        gen = super()._connect_gen(*args, **kwargs)
        current = _current.get()
        return gen if current is None else _opened(gen, current)


def _is_cancelled(result: object) -> bool:
    if getattr(result, "status", None) != ExecStatus.FATAL_ERROR:
        return False
    state = result.error_field(psycopg.pq.DiagnosticField.SQLSTATE)  # type: ignore[attr-defined]
    return bool(state == _QUERY_CANCELED.encode())


def _until(gen: Generator[Any, Any, Result], at: float) -> Generator[Any, Any, Result]:
    """Pass on what psycopg waits for, and raise _LateError after a point of the monotonic clock."""
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

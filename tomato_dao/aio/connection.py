"""Psycopg connections for asyncio that run named queries: their waiting, and the handling of cancelled statements."""

import asyncio
import logging
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from contextvars import Context
from time import monotonic
from typing import Any, TypeVar, cast

import psycopg
from psycopg import IsolationLevel, pq
from psycopg.abc import PQGen
from psycopg.rows import TupleRow, tuple_row
from psycopg.waiting import Ready, Wait

from ..printable import one_line
from ..sql import pins
from ..sql.query import Query
from ..sql.statements import CLEAN, CLEANING, QueryRunner
from ..sql.timing import Deadline, deadline, ending

Result = TypeVar("Result")
logger = logging.getLogger(__name__)

_READ, _WRITE = Wait.R, Wait.W
_CAN_READ, _CAN_WRITE = Ready.R, Ready.W
_BAD = pq.ConnStatus.BAD
_LONGEST_TURN = 0.002  # seconds for which tasks with immediate results may keep the loop from all other tasks
_SETTLING = 5  # seconds within which a cancelled statement must end; after that its connection is closed
_AGAIN = 0.3  # seconds after which it is cancelled again: the server ignores a cancellation that comes before its statement

_turn_began = 0.0  # the last time each loop ran other tasks


class AsyncQueryConnection(QueryRunner, psycopg.AsyncConnection[TupleRow]):
    """A connection that is used by one task at a time.

    The loop watches its socket while it is open. So waiting only costs a future and no change of the loop's selector, and the
    end of an idle session is noticed immediately. A task that is cancelled while its statement runs returns at once: the
    statement is cancelled on the server in the background, and the next user of the connection waits for its end.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._loop = asyncio.get_running_loop()
        self._watched = -1  # the socket that the loop watches
        self._writes = False  # whether the loop also watches for writability
        self._steps: PQGen[Any] | None = None  # the generator of the running statement
        self._ended: asyncio.Future[Any] | None = None  # its result
        self._settling: asyncio.Task[None] | None = None
        self.when_lost: Callable[[AsyncQueryConnection], None] = lambda _: None  # called if it is lost while idle
        self.is_dirty = False  # whether a user of connection() may have changed session state
        self.inherited = False  # by a child process, whose copy of the loop belongs to the parent

    def run(self, query: Query, values: Sequence[object]) -> Coroutine[Any, Any, Any]:
        """Return the rows of a query, or the number of affected rows. Raises the errors of `running`."""
        return self.wait(self.running(query, values))

    async def wait(self, gen: PQGen[Result], interval: float = 0.1, timeout: float | None = None) -> Result:
        """Run a generator of this connection to its end. psycopg's cursors and transactions wait here as well.

        timeout: seconds, for notifications only; then psycopg's own wait is used. Raises the generator's errors.
        """
        global _turn_began
        until = deadline()
        cancelled = await self.settled(until) if self._settling is not None else None
        if until is not None and cancelled is None and not self.closed:
            until.check()  # the end of a transaction has its own deadline
        if self._steps is not None:
            raise psycopg.ProgrammingError("another task's statement runs on this connection: one task at a time may use it")
        if timeout is not None:
            self._look_away()
            return cast("Result", await super().wait(gen, interval, timeout))
        if self._watched < 0 and self.pgconn.status != _BAD:  # if it is closed, the generator raises the error
            self._look()
        try:
            wants = next(gen)  # sends the statement
            if wants == _READ:
                wants = gen.send(_CAN_READ)
        except StopIteration as done:  # its result is available immediately
            if self.pgconn.status == _BAD:  # the generator has recorded an error
                self._look_away()
            if cancelled is not None:
                raise cancelled from None
            if (now := monotonic()) - _turn_began > _LONGEST_TURN:
                _turn_began = now
                await asyncio.sleep(0)
            return cast("Result", done.value)
        except BaseException:
            if self.pgconn.status == _BAD:
                self._look_away()
            if cancelled is not None:
                raise cancelled from None
            raise
        self._steps = gen
        ended: asyncio.Future[Result] = self._loop.create_future()
        self._ended = ended
        if wants != _READ:
            self._look_for_room(wants)
        if cancelled is not None:  # the generator is started nevertheless, since the end of a transaction must be sent
            self._leave()
            raise cancelled
        late = None if until is None else self._loop.call_later(until.at - monotonic(), self._cancel_statement, ended, until)
        try:
            return await ended
        except BaseException:
            if self._steps is gen:
                self._leave()
            raise
        finally:
            if late is not None:
                late.cancel()

    def _on_readable(self) -> None:
        if self._steps is None:
            self._process_message()
        else:
            self._go_on(_CAN_READ)

    def _on_writable(self) -> None:
        if self._steps is None:
            self._look_for_room(_READ)
        else:
            self._go_on(_CAN_WRITE)

    def _go_on(self, ready: Ready) -> None:
        """Advance the running generator. Set the result of its future at its end."""
        global _turn_began
        assert self._steps is not None  # noqa: S101
        assert self._ended is not None  # noqa: S101
        try:
            wants = self._steps.send(ready)
        except StopIteration as done:
            self._steps = None
            if self.pgconn.status == _BAD:
                self._look_away()
            if not self._ended.done():
                self._ended.set_result(done.value)
        except Exception as error:  # noqa: BLE001 (passed to the waiting task)
            self._steps = None
            if self.pgconn.status == _BAD:
                self._look_away()
            if not self._ended.done():
                self._ended.set_exception(error)
        else:
            if self._writes or wants != _READ:
                self._look_for_room(wants)
        _turn_began = monotonic()

    def _process_message(self) -> None:
        """Process an unsolicited message of the server: a notice, a notification, or the end of the session."""
        with suppress(psycopg.Error):
            self.pgconn.consume_input()
            self.pgconn.is_busy()
            while heard := self.pgconn.notifies():
                if self.pgconn.notify_handler:
                    self.pgconn.notify_handler(heard)
        if self.pgconn.status == _BAD:
            self._look_away()
            self.when_lost(self)

    def _leave(self) -> None:
        """Cancel a statement without a waiting task, and let it end in the background."""
        if self._loop.is_closed():
            self.end()
            return
        self._ended = self._loop.create_future()
        self._on_readable()  # the result may have arrived already
        if self._steps is not None:
            self._settling = self._loop.create_task(self._settle(self._ended), context=Context())
        elif not self._ended.cancelled():
            self._ended.exception()  # retrieved, so that asyncio does not log it

    def _cancel_statement(self, ended: "asyncio.Future[Any]", until: Deadline) -> None:
        """Cancel a statement whose deadline has passed, like one of a cancelled task."""
        if self._steps is not None and self._ended is ended and not ended.done():
            self._leave()
            ended.set_exception(until.passed("the call was cancelled"))

    async def _settle(self, ended: "asyncio.Future[Any]") -> None:
        """Cancel the running statement on the server and wait for its end. If it does not end in time, close the connection."""
        try:
            async with asyncio.timeout(_SETTLING):
                while not ended.done():
                    await self.cancel_safe(timeout=_SETTLING)
                    await asyncio.wait([ended], timeout=_AGAIN)
                await ended
        except Exception as error:  # noqa: BLE001
            # Usually the statement's error, since it was cancelled; otherwise the cancellation did not reach the server.
            if self._steps is not None:
                logger.warning("a cancelled statement does not end, so its connection is closed: %s", one_line(error))
        finally:
            if self._steps is not None:
                self.end()
            self._settling = None

    async def settled(self, until: Deadline | None = None) -> asyncio.CancelledError | None:
        """Wait until an abandoned statement has ended. Return a cancellation of this task that came meanwhile.

        until: the deadline, after which the connection is closed.
        """
        cancelled = None
        while self._settling is not None:
            try:
                await asyncio.wait([self._settling], timeout=None if until is None else max(until.at - monotonic(), 0))
                if until is not None and monotonic() >= until.at and self._settling is not None:
                    self.end()
                    break
            except asyncio.CancelledError as error:
                cancelled = error
        return cancelled

    async def wait_until_settled(self, until: Deadline | None = None) -> None:
        """Wait until an abandoned statement has ended, so that the state of the transaction is known.

        until: the deadline, after which the connection is closed.
        """
        if (cancelled := await self.settled(until)) is not None:
            raise cancelled

    @property
    def is_settling(self) -> bool:
        """True while a cancelled statement has not ended."""
        return self._settling is not None

    def end(self) -> None:
        """Close the connection without waiting. A task that waits for a statement gets an error."""
        self._look_away()
        steps, self._steps = self._steps, None
        super().end()
        if steps is not None and self._ended is not None and not self._ended.done():
            self._ended.set_exception(psycopg.OperationalError("the connection is closed"))
            self._ended.exception()

    async def close(self) -> None:
        """Close the connection."""
        self.end()

    @property
    def is_in_block(self) -> bool:
        """True while a block of `transaction()` is open. psycopg counts them, but has no public name for that."""
        return self._num_transactions > 0

    def abandon(self) -> None:
        """Mark the connection for cleaning before its next use, since the end of its transaction was interrupted."""
        self.is_dirty = True

    async def clean(self) -> None:
        """Reset all session state that a user of `connection()` may have left. If that fails, close the connection."""
        if self.closed:
            return
        self.is_dirty = True
        with ending(CLEANING):
            try:
                await self.rollback()
                await self.set_autocommit(True)
                self.isolation_level = self.read_only = self.deferrable = None
                self.row_factory = tuple_row
                await self.execute(CLEAN)
                await settle_pins(self)
                self.is_dirty = False
            except psycopg.Error:
                self.end()

    def _look(self) -> None:
        self._watched = self.pgconn.socket
        self._loop.add_reader(self._watched, self._on_readable)

    def _look_for_room(self, wants: Wait) -> None:
        """Make the loop watch for writability, or end that."""
        self._writes = bool(wants & _WRITE)
        if self._writes:
            self._loop.add_writer(self._watched, self._on_writable)
        else:
            self._loop.remove_writer(self._watched)

    def _look_away(self) -> None:
        """Stop watching the socket before its number is reused. A child process does not touch the parent's loop."""
        if self._watched >= 0 and not self._loop.is_closed() and not self.inherited:
            self._loop.remove_reader(self._watched)
            self._loop.remove_writer(self._watched)
        self._watched = -1
        self._writes = False

    # psycopg's setters raise an error, since they might wait in pipeline mode. This connection never does.

    def _set_isolation_level(self, value: IsolationLevel | None) -> None:
        self._at_once(self._set_isolation_level_gen(value))

    def _set_read_only(self, value: bool | None) -> None:
        self._at_once(self._set_read_only_gen(value))

    def _set_deferrable(self, value: bool | None) -> None:
        self._at_once(self._set_deferrable_gen(value))

    def _at_once(self, gen: PQGen[None]) -> None:
        if self.pgconn.status != _BAD:  # if it is closed, the next statement raises the error
            for _ in gen:
                raise AssertionError("there is nothing to wait for")


async def settle_pins(connection: AsyncQueryConnection) -> None:
    """Correct this session's reported settings, like `pins.settle`."""
    if statements := pins.corrections(connection.info):
        await connection.execute(statements)

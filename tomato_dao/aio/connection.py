"""Connections of psycopg for asyncio that run named queries: how they wait, and what a cancelled statement leaves behind."""

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
_LONGEST_TURN = 0.002  # seconds for which tasks whose results are there at once may keep the loop from all others
_SETTLING = 5  # seconds within which a cancelled statement has to end; then its connection is closed

_turn_began = 0.0  # when a loop last had a turn


class AsyncQueryConnection(QueryRunner, psycopg.AsyncConnection[TupleRow]):
    """A connection that one task at a time uses.

    Its socket is watched for as long as it is open, so that waiting costs a future and no change of what the loop looks at,
    and the end of an idle session is seen when it comes. Where a task is cancelled while its statement runs, it is let go
    at once; the server is told to cancel, and who uses the connection next waits until the statement has ended.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._loop = asyncio.get_running_loop()
        self._watched = -1  # the socket that the loop looks at
        self._writes = False  # whether it looks for room to write, too
        self._steps: PQGen[Any] | None = None  # of what runs
        self._ended: asyncio.Future[Any] | None = None  # its result
        self._settling: asyncio.Task[None] | None = None
        self.when_lost: Callable[[AsyncQueryConnection], None] = lambda _: None  # called where it is lost while nothing runs
        self.is_dirty = False  # whether the escape hatch may have left something in the session
        self.inherited = False  # by a child process, whose copy of the loop is the parent's too

    def run(self, query: Query, values: Sequence[object]) -> Coroutine[Any, Any, Any]:
        """Return the rows of a query, or the number of rows that it changed, and raise as `running` does."""
        return self.wait(self.running(query, values))

    async def wait(self, gen: PQGen[Result], interval: float = 0.1, timeout: float | None = None) -> Result:
        """Wait for steps of this connection, psycopg's own too: its cursors and transactions wait here as well.

        timeout: seconds, for notifications only; psycopg then waits itself. Raises what the steps raise.
        """
        global _turn_began
        until = deadline()
        cancelled = await self.settled(until) if self._settling is not None else None
        if until is not None and cancelled is None and not self.closed:
            until.check()  # what ends a transaction has a deadline of its own
        if self._steps is not None:
            raise psycopg.ProgrammingError("another task's statement runs on this connection: one task at a time may use it")
        if timeout is not None:
            self._look_away()
            return cast("Result", await super().wait(gen, interval, timeout))
        if self._watched < 0 and self.pgconn.status != _BAD:  # where it is closed, the steps say so
            self._look()
        try:
            wants = next(gen)  # sends the statement
            if wants == _READ:
                wants = gen.send(_CAN_READ)
        except StopIteration as done:  # its result is there at once
            if self.pgconn.status == _BAD:  # the steps have taken note of an error
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
        if cancelled is not None:  # the steps are begun all the same, as the end of a transaction has to be
            self._leave()
            raise cancelled
        late = None if until is None else self._loop.call_later(until.at - monotonic(), self._call_off, ended, until)
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
            self._hear()
        else:
            self._go_on(_CAN_READ)

    def _on_writable(self) -> None:
        if self._steps is None:
            self._look_for_room(_READ)
        else:
            self._go_on(_CAN_WRITE)

    def _go_on(self, ready: Ready) -> None:
        """Take the next step of what runs; who waits for the end is told of it."""
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
        except Exception as error:  # noqa: BLE001 (whose it is gets it)
            self._steps = None
            if self.pgconn.status == _BAD:
                self._look_away()
            if not self._ended.done():
                self._ended.set_exception(error)
        else:
            if self._writes or wants != _READ:
                self._look_for_room(wants)
        _turn_began = monotonic()

    def _hear(self) -> None:
        """Take what the server says by itself: a notice, a notification, its last words."""
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
        """Let a statement that nobody waits for any more come to its end, cancelled."""
        if self._loop.is_closed():
            self.end()
            return
        self._ended = self._loop.create_future()
        self._on_readable()  # the result may be there already
        if self._steps is not None:
            self._settling = self._loop.create_task(self._settle(self._ended), context=Context())
        elif not self._ended.cancelled():
            self._ended.exception()  # which nobody asks for

    def _call_off(self, ended: "asyncio.Future[Any]", until: Deadline) -> None:
        """Let a statement go whose time is over, as one of a cancelled task."""
        if self._steps is not None and self._ended is ended and not ended.done():
            self._leave()
            ended.set_exception(until.passed("the call was cancelled"))

    async def _settle(self, ended: "asyncio.Future[Any]") -> None:
        """Have the server cancel what runs, and wait for its end; where that does not come, close the connection."""
        try:
            async with asyncio.timeout(_SETTLING):
                await self.cancel_safe(timeout=_SETTLING)
                await ended
        except Exception as error:  # noqa: BLE001
            # Of the statement as a rule, which was cancelled; or the cancellation did not reach the server.
            if self._steps is not None:
                logger.warning("a cancelled statement does not end, so its connection is closed: %s", one_line(error))
        finally:
            if self._steps is not None:
                self.end()
            self._settling = None

    async def settled(self, until: Deadline | None = None) -> asyncio.CancelledError | None:
        """Wait until a statement that was left has ended, and return the cancellation that came meanwhile.

        until: when the connection is closed otherwise.
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
        """Wait until a statement that was left has ended, so that the state of the transaction is known.

        until: when the connection is closed otherwise.
        """
        if (cancelled := await self.settled(until)) is not None:
            raise cancelled

    @property
    def is_settling(self) -> bool:
        """True while a cancelled statement has not ended."""
        return self._settling is not None

    def end(self) -> None:
        """Close the connection, without waiting for anything; who waits for a statement learns that it is closed."""
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
        """True while psycopg counts an open block of `transaction()`, for which it has no public name."""
        return self._num_transactions > 0

    def abandon(self) -> None:
        """Have the connection cleaned before it is anybody's again: the end of its transaction was interrupted."""
        self.is_dirty = True

    async def clean(self) -> None:
        """Undo what the escape hatch may have set or left in the session; where that fails, the connection is closed."""
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
        """Have the loop look for room to write, or no longer."""
        self._writes = bool(wants & _WRITE)
        if self._writes:
            self._loop.add_writer(self._watched, self._on_writable)
        else:
            self._loop.remove_writer(self._watched)

    def _look_away(self) -> None:
        """Have the loop forget the socket, before its number is another's; a child's copy of the loop is the parent's."""
        if self._watched >= 0 and not self._loop.is_closed() and not self.inherited:
            self._loop.remove_reader(self._watched)
            self._loop.remove_writer(self._watched)
        self._watched = -1
        self._writes = False

    # psycopg refuses to set these as attributes, since it would have to wait in a pipeline, of which there is none here.

    def _set_isolation_level(self, value: IsolationLevel | None) -> None:
        self._at_once(self._set_isolation_level_gen(value))

    def _set_read_only(self, value: bool | None) -> None:
        self._at_once(self._set_read_only_gen(value))

    def _set_deferrable(self, value: bool | None) -> None:
        self._at_once(self._set_deferrable_gen(value))

    def _at_once(self, gen: PQGen[None]) -> None:
        if self.pgconn.status != _BAD:  # where it is closed, the next statement says so
            for _ in gen:
                raise AssertionError("there is nothing to wait for")


async def settle_pins(connection: AsyncQueryConnection) -> None:
    """Do for this connection what `pins.settle` does for others."""
    if statements := pins.corrections(connection.info):
        await connection.execute(statements)

# Generated from tomato_dao/transactions.py by “make schema”; not to be edited.
"""Connections and transactions over one pool that all tasks of an event loop share: the part of a Database that is not DAOs."""

from asyncio import sleep
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from itertools import islice
from types import TracebackType
from typing import Self, TypeVar

import psycopg
from psycopg import IsolationLevel
from psycopg.pq import TransactionStatus
from psycopg.rows import TupleRow

from ..errors import Conflict, InvalidValue, Unavailable, WrongState, from_driver
from ..server import arguments
from ..server.backoff import pauses
from ..server.caller import current_task
from ..server.metrics import Stats
from ..sql.observing import Observer
from ..sql.timing import DeadlinePassed, ending, left
from .committing import AsyncCommitting, ended_in_time
from .connection import AsyncQueryConnection
from .pool import AsyncPool

Result = TypeVar("Result")


class AsyncTransactions(AsyncCommitting):
    """Single calls and transactions on a pool's connections; safe to share between tasks; `async with` closes it."""

    def __init__(self, pool: AsyncPool) -> None:
        self._pool = pool

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    def stats(self) -> Stats:
        """Return the pool's current state, and calls, errors and seconds so far by query name."""
        return Stats(self._pool.stats(), self._pool.counts.queries())

    def observe(self, observer: Observer | None) -> None:
        """Report all calls, waits for connections and transactions to an observer from now on (None: to nobody)."""
        self._pool.observe(observer)

    async def close(self, grace: float = 5) -> None:
        """Close all connections. Running calls may go on for `grace` seconds; then they are cancelled and raise Unavailable."""
        await self._pool.close(arguments.seconds("grace", grace))

    @asynccontextmanager
    async def transaction(self, *, isolation: IsolationLevel | None = None, read_only: bool = False) -> AsyncIterator[None]:
        """Run this task's calls in the block as one transaction; an inner block is a savepoint.

        An exception that leaves the block rolls it back. It belongs to this task alone: tasks that are started
        in the block get WrongState from their calls. See docs/guides/transactions.md.

        Args:
            isolation: A `psycopg.IsolationLevel`, for the outermost block only (default: read committed).
            read_only: Refuse writes, for the outermost block only (default: as set for the role).

        Raises:
            InvalidValue: A parameter is invalid, or was given to an inner block.
            WrongState: A call in the block failed and its error was caught inside, so everything was rolled back.
            Conflict: Another transaction came first; `run()` repeats the work.
            OutcomeUnknown: The answer to the COMMIT was lost, and the outcome cannot be found out.
            Unavailable: No connection was free, or the session ended.
        """
        if isolation is not None and not isinstance(isolation, IsolationLevel):
            raise InvalidValue(f"isolation must be a psycopg.IsolationLevel, not a {type(isolation).__name__}")
        outer = self._inside()
        if outer is None:
            async with self._outermost(isolation, read_only):
                yield
        elif isolation is not None or read_only:
            raise InvalidValue("isolation and read_only can only be given to the outermost transaction")
        else:
            local = self._pool.local
            outer_task, local.task = local.task, current_task()
            try:
                with _our_errors(outer):
                    async with ended_in_time(outer.transaction()):
                        yield
                        await _check_not_failed(outer)
            finally:
                local.task = outer_task
                if outer.pgconn.transaction_status == TransactionStatus.INTRANS:
                    outer.failure = ""

    async def run(
        self, work: Callable[[], Awaitable[Result]], *, attempts: int = 10, isolation: IsolationLevel | None = None
    ) -> Result:
        """Run *work* in a transaction, retrying on Conflict (serialization failure or deadlock), and return its result.

        Pauses between attempts are random and grow. Inside a transaction *work* runs once, in a savepoint: repeat the whole
        instead.

        Args:
            work: A function without parameters; only its database calls are rolled back before an attempt.
            attempts: The most attempts.
            isolation: A `psycopg.IsolationLevel` (default: read committed).

        Raises:
            Conflict: The last attempt failed, too. Other errors are never retried.
            InvalidValue: A parameter is invalid.

        Example::

            await db.run(lambda: db.topologies.update(lab.id, {"name": "new"}), isolation=IsolationLevel.SERIALIZABLE)
        """
        arguments.count("attempts", attempts, 0)
        if not callable(work):
            raise InvalidValue(f"work must be a function without parameters that can be awaited, not a {type(work).__name__}")
        if self._inside() is not None:
            attempts = 1
        for pause in islice(pauses(0.02, 1), max(attempts - 1, 0)):
            try:
                async with self.transaction(isolation=isolation):
                    return await work()
            except Conflict:
                if left(pause) < pause:
                    raise
            await sleep(pause)
        async with self.transaction(isolation=isolation):
            return await work()

    @asynccontextmanager
    async def _outermost(self, isolation: IsolationLevel | None, read_only: bool) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            stack.enter_context(self._pool.observed())
            connection = await self._begin(stack, isolation, read_only)
            try:
                self._pool.local.connection, self._pool.local.task = connection, current_task()
                yield
                await _check_not_failed(connection)
                if self._pool.over:
                    raise Unavailable("the database is closed")
            finally:
                self._pool.local.connection = self._pool.local.task = None

    def _note_writes(self, connection: AsyncQueryConnection | None) -> None:
        """Record the writes on a connection (None: they are unknown). A Database with tokens overrides this method."""

    def _inside(self) -> AsyncQueryConnection | None:
        """Return the connection of the caller's transaction, or None outside of one.

        Raises WrongState if another task of this thread began it: its calls would be committed or rolled back with that
        task's.
        """
        local = self._pool.local
        if local.task is not None and local.task is not current_task():
            raise WrongState(
                "this task was started inside transaction() of another, whose calls it can't share: start it after the "
                "block, or await the calls one after the other in the block (asyncio.timeout(), not wait_for())"
            )
        return local.connection

    async def _begin(self, stack: AsyncExitStack, isolation: IsolationLevel | None, read_only: bool) -> AsyncQueryConnection:
        """Return a checked-out connection in a transaction; the stack ends both. A dead connection is replaced by another."""
        for attempts_left in range(self._pool.size + 1, -1, -1):
            connection = await self._pool.checkout()
            async with AsyncExitStack() as attempt:
                attempt.callback(self._end, connection)
                attempt.enter_context(_our_errors(connection))
                connection.isolation_level, connection.read_only = isolation, read_only or None
                try:
                    await attempt.enter_async_context(self.committing(connection))
                except psycopg.Error as error:
                    if not connection.ended(error) or isinstance(error, DeadlinePassed) or not attempts_left:
                        raise
                    continue
                stack.push_async_exit(attempt.pop_all())
                return connection
        raise AssertionError("the last attempt returns or raises")

    def _end(self, connection: AsyncQueryConnection) -> None:
        self._note_writes(connection)
        with ending():
            self._settle(connection)

    def _settle(self, connection: AsyncQueryConnection) -> None:
        if connection.pgconn.transaction_status == TransactionStatus.IDLE:
            connection.isolation_level = connection.read_only = None
            connection.failure = ""
        else:  # the end of the transaction was interrupted
            connection.abandon()
        self._pool.release(connection)

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[psycopg.AsyncConnection[TupleRow]]:
        """Lease a psycopg connection, to run SQL that no DAO has, in autocommit mode (inside `transaction()`: its connection).

        Example::

            async with db.connection() as connection:
                await connection.execute("analyze hosts")
        """
        inside = self._inside()
        if inside is not None:
            yield inside
            return
        connection = await self._pool.checkout_live()
        try:
            yield connection
        finally:
            self._note_writes(None)
            try:
                await connection.clean()
            finally:
                self._pool.release(connection)


@contextmanager
def _our_errors(connection: AsyncQueryConnection) -> Iterator[None]:
    try:
        yield
    except psycopg.errors.InFailedSqlTransaction as error:
        raise failed(connection) from error
    except psycopg.Error as error:
        is_over = connection.ended(error)
        told = from_driver(error, moved=connection.moved)
        if is_over:
            connection.failure = connection.failure or str(told)
        raise told from error


async def _check_not_failed(connection: AsyncQueryConnection) -> None:
    """Raise if a call in the transaction failed and its error was caught: everything would be rolled back silently.

    Raises WrongState, and Unavailable if the session ended.
    """
    await connection.wait_until_settled()
    if connection.pgconn.transaction_status == TransactionStatus.INERROR:
        raise failed(connection)
    if connection.closed:
        why = f" ({connection.failure})" if connection.failure else ""
        raise Unavailable(f"the session of the transaction ended{why}, so all of it is rolled back")


def failed(connection: AsyncQueryConnection) -> WrongState:
    """Return the error for a call in a transaction in which an earlier call failed."""
    why = f" ({connection.failure})" if connection.failure else ""
    return WrongState(
        f"a call in the transaction failed{why}, so all of it is rolled back: let its error leave the block, or let such "
        "a call have a nested transaction()"
    )

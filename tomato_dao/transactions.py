"""Connections and transactions over one pool that all threads share: the part of a Database that is not DAOs."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from itertools import islice
from time import sleep
from types import TracebackType
from typing import Self, TypeVar

import psycopg
from psycopg import IsolationLevel
from psycopg.pq import TransactionStatus
from psycopg.rows import TupleRow

from .committing import Committing, ended_in_time
from .errors import Conflict, InvalidValue, Unavailable, WrongState, from_driver
from .pool import Pool
from .server import arguments
from .server.backoff import pauses
from .server.caller import current_task
from .server.metrics import Stats
from .sql.observing import Observer
from .sql.statements import QueryConnection
from .sql.timing import DeadlinePassed, ending, left

Result = TypeVar("Result")


class Transactions(Committing):
    """Single calls and transactions on a pool's connections; safe to share between threads; `with` closes it."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self.close()

    def stats(self) -> Stats:
        """Return the pool's current state, and calls, errors and seconds so far by query name."""
        return Stats(self._pool.stats(), self._pool.counts.queries())

    def observe(self, observer: Observer | None) -> None:
        """Report all calls, waits for connections and transactions to an observer from now on (None: to nobody)."""
        self._pool.observe(observer)

    def close(self, grace: float = 5) -> None:
        """Close all connections. Running calls may go on for `grace` seconds; then they are cancelled and raise Unavailable."""
        self._pool.close(arguments.seconds("grace", grace))

    @contextmanager
    def transaction(self, *, isolation: IsolationLevel | None = None, read_only: bool = False) -> Iterator[None]:
        """Run this thread's calls in the block as one transaction; an inner block is a savepoint.

        An exception that leaves the block rolls it back. A transaction belongs to the asyncio task that began it: other
        tasks of the thread get WrongState. See docs/guides/transactions.md.

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
            with self._outermost(isolation, read_only):
                yield
        elif isolation is not None or read_only:
            raise InvalidValue("isolation and read_only can only be given to the outermost transaction")
        else:
            local = self._pool.local
            outer_task, local.task = local.task, current_task()
            try:
                with _our_errors(outer), ended_in_time(outer.transaction()):
                    yield
                    _check_not_failed(outer)
            finally:
                local.task = outer_task
                if outer.pgconn.transaction_status == TransactionStatus.INTRANS:
                    outer.failure = ""

    def run(self, work: Callable[[], Result], *, attempts: int = 10, isolation: IsolationLevel | None = None) -> Result:
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

            db.run(lambda: db.topologies.update(lab.id, {"name": "new"}), isolation=IsolationLevel.SERIALIZABLE)
        """
        arguments.count("attempts", attempts, 0)
        if not callable(work):
            raise InvalidValue(f"work must be a function without parameters, not a {type(work).__name__}")
        if self._inside() is not None:
            attempts = 1
        for pause in islice(pauses(0.02, 1), max(attempts - 1, 0)):
            try:
                with self.transaction(isolation=isolation):
                    return work()
            except Conflict:
                if left(pause) < pause:
                    raise
            sleep(pause)
        with self.transaction(isolation=isolation):
            return work()

    @contextmanager
    def _outermost(self, isolation: IsolationLevel | None, read_only: bool) -> Iterator[None]:
        with ExitStack() as stack:
            stack.enter_context(self._pool.observed())
            connection = self._begin(stack, isolation, read_only)
            try:
                self._pool.local.connection, self._pool.local.task = connection, current_task()
                yield
                _check_not_failed(connection)
                if self._pool.over:
                    raise Unavailable("the database is closed")
            finally:
                self._pool.local.connection = self._pool.local.task = None

    def _note_writes(self, connection: QueryConnection | None) -> None:
        """Record the writes on a connection (None: they are unknown). A Database with tokens overrides this method."""

    def _inside(self) -> QueryConnection | None:
        """Return the connection of the caller's transaction, or None outside of one.

        Raises WrongState if another task of this thread began it: its calls would be committed or rolled back with that
        task's.
        """
        local = self._pool.local
        if local.task is not None and local.task is not current_task():
            raise WrongState(
                "another asyncio task of this thread is inside transaction(), which belongs to the thread: run each "
                "task in a thread of its own, as asyncio.to_thread() does, or do not await inside the block"
            )
        return local.connection

    def _begin(self, stack: ExitStack, isolation: IsolationLevel | None, read_only: bool) -> QueryConnection:
        """Return a checked-out connection in a transaction; the stack ends both. A dead connection is replaced by another."""
        for attempts_left in range(self._pool.size + 1, -1, -1):
            connection = self._pool.checkout()
            with ExitStack() as attempt:
                attempt.callback(self._end, connection)
                attempt.enter_context(_our_errors(connection))
                connection.isolation_level, connection.read_only = isolation, read_only or None
                try:
                    attempt.enter_context(self.committing(connection))
                except psycopg.Error as error:
                    if not connection.ended(error) or isinstance(error, DeadlinePassed) or not attempts_left:
                        raise
                    continue
                stack.push(attempt.pop_all())
                return connection
        raise AssertionError("the last attempt returns or raises")

    def _end(self, connection: QueryConnection) -> None:
        self._note_writes(connection)
        with ending():
            self._settle(connection)

    def _settle(self, connection: QueryConnection) -> None:
        if connection.pgconn.transaction_status == TransactionStatus.IDLE:
            connection.isolation_level = connection.read_only = None
            connection.failure = ""
        else:  # the end of the transaction was interrupted
            connection.close()
        self._pool.release(connection)

    @contextmanager
    def connection(self) -> Iterator[psycopg.Connection[TupleRow]]:
        """Lease a psycopg connection, to run SQL that no DAO has, in autocommit mode (inside `transaction()`: its connection).

        Example::

            with db.connection() as connection:
                connection.execute("analyze hosts")
        """
        inside = self._inside()
        if inside is not None:
            yield inside
            return
        connection = self._pool.checkout_live()
        try:
            yield connection
        finally:
            self._note_writes(None)
            try:
                connection.clean()
            finally:
                self._pool.release(connection)


@contextmanager
def _our_errors(connection: QueryConnection) -> Iterator[None]:
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


def _check_not_failed(connection: QueryConnection) -> None:
    """Raise if a call in the transaction failed and its error was caught: everything would be rolled back silently.

    Raises WrongState, and Unavailable if the session ended.
    """
    if connection.pgconn.transaction_status == TransactionStatus.INERROR:
        raise failed(connection)
    if connection.closed:
        why = f" ({connection.failure})" if connection.failure else ""
        raise Unavailable(f"the session of the transaction ended{why}, so all of it is rolled back")


def failed(connection: QueryConnection) -> WrongState:
    """Return the error for a call in a transaction in which an earlier call failed."""
    why = f" ({connection.failure})" if connection.failure else ""
    return WrongState(
        f"a call in the transaction failed{why}, so all of it is rolled back: let its error leave the block, or let such "
        "a call have a nested transaction()"
    )

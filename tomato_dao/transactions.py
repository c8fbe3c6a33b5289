"""Connections and transactions over one pool that all threads share: what a Database is beside its DAOs."""

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
    """A pool's connections, alone or for a transaction; safe to share between threads; `with` closes it."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self.close()

    def stats(self) -> Stats:
        """Return what the pool does now, and what the queries have cost so far: calls, errors and seconds by name."""
        return Stats(self._pool.stats(), self._pool.counts.queries())

    def observe(self, observer: Observer | None) -> None:
        """Tell an observer of all calls, waits for connections and transactions from now on; None: nobody."""
        self._pool.observe(observer)

    def close(self, grace: float = 5) -> None:
        """Close all connections. What runs may go on for `grace` seconds, then it is cancelled and raises Unavailable."""
        self._pool.close(arguments.seconds("grace", grace))

    @contextmanager
    def transaction(self, *, isolation: IsolationLevel | None = None, read_only: bool = False) -> Iterator[None]:
        """Join this thread's calls into one transaction; nested: savepoints.

        isolation, read_only: of the outermost transaction (default: read committed, and what the role has). Whatever leaves
        the block as an exception rolls it back. A transaction that a task of asyncio began is that task's alone: WrongState
        for others of its thread.
        """
        if isolation is not None and not isinstance(isolation, IsolationLevel):
            raise InvalidValue(f"isolation is one of psycopg.IsolationLevel, not a {type(isolation).__name__}")
        outer = self._inside()
        if outer is None:
            with self._outermost(isolation, read_only):
                yield
        elif isolation is not None or read_only:
            raise InvalidValue("isolation and read_only are for the outermost transaction")
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
        """Run *work* in a transaction, retrying on serialization failure or deadlock (Conflict), and return its result.

        attempts: how often it is done at most, with growing pauses of random length in between. isolation: the
        transaction's. Nothing but a Conflict is repeated; the last one is raised. Inside a transaction the work is done
        once, in a nested one: what is to be repeated is the whole.
        """
        arguments.count("attempts", attempts, 0)
        if not callable(work):
            raise InvalidValue(f"work is a function without parameters, not a {type(work).__name__}")
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
            stack.callback(self._after_transaction)
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

    def _after_transaction(self) -> None:
        """Note that a transaction has ended: overridden where that matters."""

    def _inside(self) -> QueryConnection | None:
        """Return the connection of the transaction that the caller is in; None where it is in none.

        Raises WrongState where another task of this thread is in it: it would be committed or rolled back with the other's.
        """
        local = self._pool.local
        if local.task is not None and local.task is not current_task():
            raise WrongState(
                "another asyncio task of this thread is inside transaction(), which belongs to the thread: run each "
                "task in a thread of its own, as asyncio.to_thread() does, or do not await inside the block"
            )
        return local.connection

    def _begin(self, stack: ExitStack, isolation: IsolationLevel | None, read_only: bool) -> QueryConnection:
        """Return a leased connection in a transaction, both ended by the stack; another one where one turns out to be dead."""
        for attempts_left in range(self._pool.size + 1, -1, -1):
            connection = self._pool.lease()
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
        with ending():
            self._settle(connection)

    def _settle(self, connection: QueryConnection) -> None:
        if connection.pgconn.transaction_status == TransactionStatus.IDLE:
            connection.isolation_level = connection.read_only = None
            connection.failure = ""
        else:  # the end of the transaction was interrupted
            connection.close()
        self._pool.give_back(connection)

    @contextmanager
    def connection(self) -> Iterator[psycopg.Connection[TupleRow]]:
        """Lease a psycopg connection, the escape hatch, in autocommit mode (inside `transaction()`: its connection)."""
        inside = self._inside()
        if inside is not None:
            yield inside
            return
        connection = self._pool.lease_live()
        try:
            yield connection
        finally:
            try:
                connection.clean()
            finally:
                self._pool.give_back(connection)


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
    """Raise where a call failed and its error was swallowed: all would be rolled back without a word.

    Raises WrongState, and Unavailable where the session ended.
    """
    if connection.pgconn.transaction_status == TransactionStatus.INERROR:
        raise failed(connection)
    if connection.closed:
        why = f" ({connection.failure})" if connection.failure else ""
        raise Unavailable(f"the session of the transaction ended{why}, so all of it is rolled back")


def failed(connection: QueryConnection) -> WrongState:
    """Return the error of a transaction in which a call failed before."""
    why = f" ({connection.failure})" if connection.failure else ""
    return WrongState(
        f"a call in the transaction failed{why}, so all of it is rolled back: let its error leave the block, or let such "
        "a call have a nested transaction()"
    )

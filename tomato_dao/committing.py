"""The end of threads' transactions: deadlines, and the outcome of a COMMIT whose answer was lost."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

import psycopg

from .errors import OutcomeUnknown
from .pool import Pool
from .server import arguments
from .server.commits import unknown, was_committed
from .sql.statements import QueryConnection
from .sql.timing import at_most, deadline, ending


class Committing:
    """Deadlines, and the outcome of a COMMIT."""

    _pool: Pool

    @contextmanager
    def timeout(self, seconds: float) -> Iterator[None]:
        """Limit the time of all calls in the block together.

        At the deadline, the current call is cancelled and raises Unavailable, as do all further calls; a transaction is
        rolled back. If the server does not react, its session is closed, so that a call returns at most a second late even
        if the server has stopped or is out of reach.

        seconds: the time from the start of the block, in this thread (or task of asyncio). It includes waiting for
        connections and locks and the pauses of `run`. The earliest deadline of nested blocks counts.
        """
        with at_most(arguments.seconds("timeout", seconds)):
            yield

    @contextmanager
    def committing(self, connection: psycopg.Connection) -> Iterator[None]:
        """Run a transaction on a connection of the pool; if the answer to its COMMIT is lost, find out the outcome.

        Raises the error that ends the transaction, and OutcomeUnknown if the outcome cannot be found out. An interrupt gets
        a note with the outcome.
        """
        transaction = connection.transaction()
        transaction.__enter__()
        try:
            yield
            if (until := deadline()) is not None:
                until.check()
        except BaseException as error:
            with ending():
                transaction.__exit__(type(error), error, error.__traceback__)
            raise
        try:
            transaction.__exit__(None, None, None)
        except Exception:
            if not self._was_committed(connection):
                raise
        except KeyboardInterrupt as interrupt:
            try:
                done = self._was_committed(connection)
                interrupt.add_note("but all was committed before" if done else "and all was rolled back")
            except OutcomeUnknown as error:
                interrupt.add_note(str(error))
            raise

    def _was_committed(self, connection: psycopg.Connection) -> bool:
        """Find out whether a transaction was committed after its COMMIT raised an error. Raises OutcomeUnknown."""
        if not isinstance(connection, QueryConnection):
            return False  # not a connection of the pool
        if connection.commit_state != "sent":
            return connection.commit_state == "done"
        connection.close()
        if connection.transaction_id == 0:
            return False  # the transaction has written nothing
        if connection.transaction_id is None:
            raise unknown("the session was lost before the server told the transaction's id")
        return was_committed(self._pool.url, connection.server, connection.transaction_id, self._pool.timeout)


@contextmanager
def ended_in_time(transaction: AbstractContextManager[psycopg.Transaction]) -> Iterator[None]:
    """Run a transaction's block. The rollback after an error has some extra time beyond the caller's deadline."""
    transaction.__enter__()
    try:
        yield
    except BaseException as error:
        with ending():
            transaction.__exit__(type(error), error, error.__traceback__)
        raise
    transaction.__exit__(None, None, None)

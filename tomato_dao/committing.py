"""The end of transactions of threads: in time, and with the truth about a COMMIT whose answer was lost."""

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
    """Deadlines, and what became of a COMMIT."""

    _pool: Pool

    @contextmanager
    def timeout(self, seconds: float) -> Iterator[None]:
        """Bound the time of all calls in the block together, counted from its beginning.

        seconds: how long connections, answers, locks and the pauses of `run` are waited for at most, in this thread (or task
        of asyncio); of nested blocks the earliest end counts. What is under way then is cancelled and raises Unavailable,
        as does each further call; a transaction is rolled back. Where the server doesn't answer to that, its session is
        closed: a call returns a second later at most, also where the server is stopped or out of reach.
        """
        with at_most(arguments.seconds("timeout", seconds)):
            yield

    @contextmanager
    def committing(self, connection: psycopg.Connection) -> Iterator[None]:
        """Run a transaction of a pool's connection; where the answer to its COMMIT is lost, find out what became of it.

        Raises what ends it, also where the COMMIT has failed; OutcomeUnknown where that can't be found out. An interrupt gets
        a note that says it.
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
        """Return whether the transaction was committed whose COMMIT has raised an error. Raises OutcomeUnknown."""
        if not isinstance(connection, QueryConnection):
            return False  # it is no connection of the pool
        if connection.commit_state != "sent":
            return connection.commit_state == "done"
        connection.close()
        if connection.transaction_id == 0:
            return False  # it has written nothing
        if connection.transaction_id is None:
            raise unknown("the session was lost before the server told the transaction's id")
        return was_committed(self._pool.url, connection.server, connection.transaction_id, self._pool.timeout)


@contextmanager
def ended_in_time(transaction: AbstractContextManager[psycopg.Transaction]) -> Iterator[None]:
    """Run a transaction's block; what is left to do after an error has a moment, whatever the caller's deadline."""
    transaction.__enter__()
    try:
        yield
    except BaseException as error:
        with ending():
            transaction.__exit__(type(error), error, error.__traceback__)
        raise
    transaction.__exit__(None, None, None)

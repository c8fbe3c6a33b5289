# Generated from tomato_dao/committing.py by “make schema”; not to be edited.
"""The end of tasks' transactions: deadlines, and the outcome of a COMMIT whose answer was lost."""

from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager

import psycopg

from ..server import arguments
from ..server.commits import unknown
from ..sql.timing import at_most, deadline, ending
from .commits import was_committed
from .connection import AsyncQueryConnection
from .pool import AsyncPool


class AsyncCommitting:
    """Deadlines, and the outcome of a COMMIT."""

    _pool: AsyncPool

    @contextmanager
    def timeout(self, seconds: float) -> Iterator[None]:
        """Limit the time of all calls in the block together.

        At the deadline, the current call is cancelled and raises Unavailable, as do all further calls; a transaction is
        rolled back. If the server does not react, its session is closed, so that a call returns at most a second late even
        if the server has stopped or is out of reach.

        seconds: the time from the start of the block, in this task. It includes waiting for
        connections and locks and the pauses of `run`. The earliest deadline of nested blocks counts.
        """
        with at_most(arguments.seconds("timeout", seconds)):
            yield

    @asynccontextmanager
    async def committing(self, connection: psycopg.AsyncConnection) -> AsyncIterator[None]:
        """Run a transaction on a connection of the pool; if the answer to its COMMIT is lost, find out the outcome.

        Raises the error that ends the transaction, and OutcomeUnknown if the outcome cannot be found out.
        """
        transaction = connection.transaction()
        await transaction.__aenter__()
        try:
            yield
            if (until := deadline()) is not None:
                until.check()
        except BaseException as error:
            with ending():
                await transaction.__aexit__(type(error), error, error.__traceback__)
            raise
        try:
            await transaction.__aexit__(None, None, None)
        except Exception:
            if not await self._was_committed(connection):
                raise

    async def _was_committed(self, connection: psycopg.AsyncConnection) -> bool:
        """Find out whether a transaction was committed after its COMMIT raised an error. Raises OutcomeUnknown."""
        if not isinstance(connection, AsyncQueryConnection):
            return False  # not a connection of the pool
        with ending():  # its answer may be on its way
            await connection.wait_until_settled(deadline())
        if connection.commit_state != "sent":
            return connection.commit_state == "done"
        connection.end()
        if connection.transaction_id == 0:
            return False  # the transaction has written nothing
        if connection.transaction_id is None:
            raise unknown("the session was lost before the server told the transaction's id")
        return await was_committed(self._pool.url, connection.server, connection.transaction_id, self._pool.timeout)


@asynccontextmanager
async def ended_in_time(transaction: AbstractAsyncContextManager[psycopg.AsyncTransaction]) -> AsyncIterator[None]:
    """Run a transaction's block. The rollback after an error has some extra time beyond the caller's deadline."""
    await transaction.__aenter__()
    try:
        yield
    except BaseException as error:
        with ending():
            await transaction.__aexit__(type(error), error, error.__traceback__)
        raise
    await transaction.__aexit__(None, None, None)

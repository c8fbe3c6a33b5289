# Generated from tomato_dao/committing.py by “make schema”; not to be edited.
"""The end of transactions of tasks: in time, and with the truth about a COMMIT whose answer was lost."""

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
    """Deadlines, and what became of a COMMIT."""

    _pool: AsyncPool

    @contextmanager
    def timeout(self, seconds: float) -> Iterator[None]:
        """Bound the time of all calls in the block together, counted from its beginning.

        seconds: how long connections, answers, locks and the pauses of `run` are waited for at most, in this
        task; of nested blocks the earliest end counts. What is under way then is cancelled and raises Unavailable,
        as does each further call; a transaction is rolled back. Where the server doesn't answer to that, its session is
        closed: a call returns a second later at most, also where the server is stopped or out of reach.
        """
        with at_most(arguments.seconds("timeout", seconds)):
            yield

    @asynccontextmanager
    async def committing(self, connection: psycopg.AsyncConnection) -> AsyncIterator[None]:
        """Run a transaction of a pool's connection; where the answer to its COMMIT is lost, find out what became of it.

        Raises what ends it, also where the COMMIT has failed; OutcomeUnknown where that can't be found out.
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
        """Return whether the transaction was committed whose COMMIT has raised an error. Raises OutcomeUnknown."""
        if not isinstance(connection, AsyncQueryConnection):
            return False  # it is no connection of the pool
        if connection.commit_state != "sent":
            return connection.commit_state == "done"
        connection.end()
        if connection.transaction_id == 0:
            return False  # it has written nothing
        if connection.transaction_id is None:
            raise unknown("the session was lost before the server told the transaction's id")
        return await was_committed(self._pool.url, connection.server, connection.transaction_id, self._pool.timeout)


@asynccontextmanager
async def ended_in_time(transaction: AbstractAsyncContextManager[psycopg.AsyncTransaction]) -> AsyncIterator[None]:
    """Run a transaction's block; what is left to do after an error has a moment, whatever the caller's deadline."""
    await transaction.__aenter__()
    try:
        yield
    except BaseException as error:
        with ending():
            await transaction.__aexit__(type(error), error, error.__traceback__)
        raise
    await transaction.__aexit__(None, None, None)

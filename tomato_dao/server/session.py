"""Sessions outside the pool, for locks and LISTEN: their search_path, and statements with a time limit."""

import logging
import select
from time import monotonic

import psycopg
from psycopg.errors import error_from_result
from psycopg.pq import ExecStatus

from ..sql import pins
from ..sql.pins import SCHEMA as SCHEMA
from ..sql.timing import TimedConnection

# Only our schema, without a schema named like the user. Temporary objects, which could shadow those of the schema, come last.
# PostgreSQL's own schema implicitly comes first.
SCHEMA_PATH = pins.PINNED["search_path"]
# Only PostgreSQL's own schema: for sessions of owners and superusers that inspect objects of others. With our schema in the
# path, a function there with exactly a call's argument types would be preferred to PostgreSQL's more general one.
CATALOG_PATH = "pg_catalog,pg_temp"

_STEP = 0.1  # seconds between two checks of the clock


class Session(TimedConnection):
    """A connection outside the pool."""


def _is_no_echo(record: logging.LogRecord) -> bool:
    """Drop psycopg's “error ignored …” records of our connections (a logging filter).

    psycopg logs it if a session is lost while another error is already leaving the block, which reports the same problem.
    """
    if not isinstance(record.msg, str) or not record.msg.startswith("error ignored") or not isinstance(record.args, tuple):
        return True
    connection = getattr(record.args[0], "connection", record.args[0])  # of a transaction or a COPY, or itself
    return not type(connection).__module__.startswith(__name__.partition(".")[0])


for _name in ("psycopg", "psycopg.transaction"):  # a logger's filters do not see the records of its children
    logging.getLogger(_name).addFilter(_is_no_echo)


def look_up_in(connection: psycopg.Connection, path: str) -> None:
    """Set a session's search_path to SCHEMA_PATH or CATALOG_PATH, regardless of user, database and URL.

    It is not set by the connection's options, which a pooler refuses. Behind a pooler in transaction mode, the roles set the
    path.
    """
    connection.execute(f"set search_path = {path}".encode())


class NoAnswer(psycopg.OperationalError):
    """The server has not answered yet. The session is unchanged, and the answer may still arrive."""


def ask(connection: psycopg.Connection, statements: bytes, seconds: float = 5) -> bytes | None:
    """Run fast statements in one round trip and return the last one's value. Any error ends the session.

    They use the simple query protocol, since the extended one keeps a snapshot until the next statement of a transaction.
    seconds: time limit, after which the session is closed and NoAnswer is raised.
    """
    try:
        connection.pgconn.send_query(statements)
        return answer(connection, seconds)
    except BaseException:
        connection.close()
        raise


def answer(connection: psycopg.Connection, seconds: float) -> bytes | None:
    """Return the value of the last of the statements that were sent.

    Raises NoAnswer after *seconds*. After that, or after an interrupt, the rest can be read later. psycopg's own wait would
    cancel the statements and leave their effect unknown.
    """
    deadline = monotonic() + seconds
    pgconn = connection.pgconn
    poll = select.poll()
    poll.register(pgconn.socket, select.POLLIN)
    last = None
    while True:
        while pgconn.flush() or pgconn.is_busy():
            remaining = deadline - monotonic()
            if remaining <= 0:
                raise NoAnswer(f"the server has not answered within {seconds:.3g} s")
            poll.poll(min(remaining, _STEP) * 1000)
            pgconn.consume_input()
        result = pgconn.get_result()
        if result is None:
            break
        last = result
    if last is None or last.status not in (ExecStatus.TUPLES_OK, ExecStatus.COMMAND_OK):
        connection.close()
        raise error_from_result(last) if last else psycopg.OperationalError("the connection is lost")
    return last.get_value(0, 0) if last.ntuples else None

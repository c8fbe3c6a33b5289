"""A session's own settings: where its names are looked up; and how one outside the pool is asked, for locks and LISTEN."""

import logging
import select
from time import monotonic

import psycopg
from psycopg.errors import error_from_result
from psycopg.pq import ExecStatus

from ..sql import pins
from ..sql.pins import SCHEMA as SCHEMA
from ..sql.timing import TimedConnection

# The schema alone, whatever schema is named like the user; temporary objects, which could stand for those of the schema, last.
# PostgreSQL's own come before all others by themselves.
SCHEMA_PATH = pins.PINNED["search_path"]
# Nothing but PostgreSQL's own: for sessions of owners and superusers that look at what others may have made. In a path with the
# schema, a function made there with the very types of a call would be taken before a more general one of PostgreSQL's.
CATALOG_PATH = "pg_catalog,pg_temp"

_STEP = 0.1  # seconds between two looks at the clock


class Session(TimedConnection):
    """A connection of ours outside the pool."""


def _is_no_echo(record: logging.LogRecord) -> bool:
    """Drop psycopg's “error ignored …” of a connection of ours (a logging filter).

    psycopg writes it where a session is lost in a block that another error leaves already, which tells the same.
    """
    if not isinstance(record.msg, str) or not record.msg.startswith("error ignored") or not isinstance(record.args, tuple):
        return True
    connection = getattr(record.args[0], "connection", record.args[0])  # of a transaction, a COPY, or itself
    return not type(connection).__module__.startswith(__name__.partition(".")[0])


for _name in ("psycopg", "psycopg.transaction"):  # a logger's filters don't see what its children log
    logging.getLogger(_name).addFilter(_is_no_echo)


def look_up_in(connection: psycopg.Connection, path: str) -> None:
    """Have a session look names up in SCHEMA_PATH or CATALOG_PATH, whatever user, database or URL say.

    Not by the connection's options, which a pooler refuses: behind one in transaction mode the roles have a path, too.
    """
    connection.execute(f"set search_path = {path}".encode())


class NoAnswer(psycopg.OperationalError):
    """The server has not answered yet: the session is as it was, and the answer may come."""


def ask(connection: psycopg.Connection, statements: bytes, seconds: float = 5) -> bytes | None:
    """Run statements that don't wait, in one round trip; the last one's value. Any error ends the session.

    By libpq's simple protocol, since the other keeps a snapshot until the next statement of a transaction. seconds: how long
    the answer is waited for; then the session is closed, and NoAnswer raised.
    """
    try:
        connection.pgconn.send_query(statements)
        return answer(connection, seconds)
    except BaseException:
        connection.close()
        raise


def answer(connection: psycopg.Connection, seconds: float) -> bytes | None:
    """Return the value that the last of the statements has given which were sent.

    Raises NoAnswer after so many seconds, and what interrupts it: then the rest can be read later. psycopg's own wait would
    cancel the statements, so that nobody knew what they have done.
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
        raise error_from_result(last, encoding="utf-8") if last else psycopg.OperationalError("the connection is lost")
    return last.get_value(0, 0) if last.ntuples else None

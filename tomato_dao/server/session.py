"""A session's own settings: where its names are looked up; and how one outside the pool is asked, for locks and LISTEN."""

import logging

import psycopg
from psycopg.errors import error_from_result
from psycopg.pq import ExecStatus
from psycopg.rows import TupleRow

from ..sql import pins
from ..sql.pins import SCHEMA as SCHEMA

# The schema alone, whatever schema is named like the user; temporary objects, which could stand for those of the schema, last.
# PostgreSQL's own come before all others by themselves.
SCHEMA_PATH = pins.PINNED["search_path"]
# Nothing but PostgreSQL's own: for sessions of owners and superusers that look at what others may have made. In a path with the
# schema, a function made there with the very types of a call would be taken before a more general one of PostgreSQL's.
CATALOG_PATH = "pg_catalog,pg_temp"


class Session(psycopg.Connection[TupleRow]):
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


def ask(connection: psycopg.Connection, statements: bytes) -> bytes | None:
    """Run statements that don't wait, in one round trip; the last one's value.

    By libpq's simple protocol, since the other keeps a snapshot until the next statement of a transaction, and in one blocking
    call, so that Ctrl-C comes after it: cancelled, it would leave open what it did. Any error ends the session.
    """
    try:
        result = connection.pgconn.exec_(statements)
        if result.status not in (ExecStatus.TUPLES_OK, ExecStatus.COMMAND_OK):
            raise error_from_result(result, encoding="utf-8")
    except psycopg.Error:
        connection.close()
        raise
    return result.get_value(0, 0) if result.ntuples else None

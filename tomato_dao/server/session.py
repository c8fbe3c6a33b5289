"""How a session of its own, outside the pool, is asked: for locks and LISTEN, which live as long as their session."""

import psycopg
from psycopg.errors import error_from_result
from psycopg.pq import ExecStatus


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

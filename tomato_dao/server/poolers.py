"""Detection of poolers between this process and the server, and of the session state that they do not keep."""

import logging
import select
from collections.abc import Callable, Mapping
from contextlib import ExitStack, closing

import psycopg
from psycopg import pq

from ..errors import Unavailable
from ..printable import one_line

logger = logging.getLogger(__name__)

_PATIENCE = 1000  # milliseconds to wait for a server session: a pooler in session mode may have none left
_TRIES = 5  # another client may get the session
_NAME = b"tomato_dao_probe"
_ADVICE = "set DIRECT_DATABASE_URL, beside DATABASE_URL, to the server itself"


class KeepsNoStatements(Unavailable):
    """A pooler keeps no prepared statements, or accepts no session settings."""


def is_between(connection: psycopg.Connection) -> bool:
    """Return whether a pooler answers. A pooler reports process ids other than the server's."""
    row = connection.execute("select pg_backend_pid()").fetchone()
    return row != (connection.info.backend_pid,)


def check_statements(settings: Mapping[str, object]) -> None:
    """Raise KeepsNoStatements if clients share sessions in which their prepared statements collide.

    settings: the connection settings that will be used. Logs a warning about settings that the pooler drops.
    """
    with ExitStack() as stack:
        first, other = (stack.enter_context(closing(_opened(settings))) for _ in range(2))
        _tell_of_dropped(first, settings)
        prepared = first.pgconn.prepare(_NAME, b"select 1")
        if prepared.status == pq.ExecStatus.COMMAND_OK and _meets(first, other):
            _ask(other, b"savepoint tomato_dao")
            if other.pgconn.prepare(_NAME, b"select 2").status == pq.ExecStatus.COMMAND_OK:
                return
            _ask(other, b"rollback to tomato_dao; deallocate " + _NAME + b"; commit")
            raise KeepsNoStatements(
                "the pooler shares sessions between clients without keeping their prepared statements: connect with "
                "prepare=False, or make it keep them (PgBouncer 1.21 or later: max_prepared_statements)"
            )


def check_session(connection: psycopg.Connection, another: Callable[[], psycopg.Connection], what: str) -> None:
    """Raise Unavailable if a connection shares its session with other clients.

    another: a function that opens a connection. what: the feature that needs a session, for the message: “listeners”.
    """
    if not is_between(connection):
        return
    with closing(another()) as other:
        if _meets(connection, other):
            raise Unavailable(f"the pooler gives clients no session of their own, which {what} need: {_ADVICE}")


def warn_owner(connection: psycopg.Connection) -> None:
    """Log a warning if a change of the schema goes through a pooler."""
    if is_between(connection):
        logger.warning(
            "the connection goes through a pooler, whose time limits and session settings apply: set OWNER_DATABASE_URL to the "
            "server itself"
        )


def _opened(settings: Mapping[str, object]) -> psycopg.Connection:
    try:
        return psycopg.connect(**{**settings, "autocommit": True})  # type: ignore[arg-type]
    except psycopg.OperationalError as error:
        raise KeepsNoStatements(
            f"the pooler refuses a session with settings: {one_line(error)}: connect with prepare=False"
        ) from error


def _meets(first: psycopg.Connection, other: psycopg.Connection) -> bool:
    """Return whether another connection gets this one's session. That connection is left in a transaction."""
    for _ in range(_TRIES):
        mine = _ask(first, b"select pg_backend_pid()")
        theirs = _ask(other, b"begin; select pg_backend_pid()")
        if theirs is None:
            return False
        if mine == theirs:
            return True
        _ask(other, b"rollback")
    return False


def _ask(connection: psycopg.Connection, statements: bytes) -> bytes | None:
    """Run statements and return the last one's value, or None if it has none or no session is available in time."""
    pgconn = connection.pgconn
    pgconn.send_query(statements)
    poll = select.poll()
    poll.register(pgconn.socket, select.POLLIN)
    value = None
    while True:
        while pgconn.is_busy():
            if not poll.poll(_PATIENCE):
                return None
            pgconn.consume_input()
        result = pgconn.get_result()
        if result is None:
            return value
        value = result.get_value(0, 0) if result.ntuples else None


def _tell_of_dropped(connection: psycopg.Connection, settings: Mapping[str, object]) -> None:
    """Log a warning if the pooler has dropped the options of a session."""
    if "options" in settings and _ask(connection, b"show jit") != b"off":
        logger.warning("the pooler drops session settings: those of the role apply, including its time limits")

"""Outcomes of transactions whose COMMIT was sent, and whose answer never came."""

import logging
from dataclasses import dataclass
from time import monotonic, sleep
from typing import Any

import psycopg
from psycopg import RawCursor

from ..errors import OutcomeUnknown, TomatoError
from ..sql.timing import ending, left
from .backoff import pauses
from .probe import probe
from .session import CATALOG_PATH

logger = logging.getLogger(__name__)

_PATIENCE = 10.0  # seconds for which the server is asked
# Two servers, or one before and after a failover or a restore, may give the same id to two transactions: these differ in the
# system's identifier or the timeline. After a crash a server may give an id once more, which nothing durable has: its
# statistics begin anew then. A standby has no timeline of its own, and decides nothing.
SERVER = b"""
select
  s.system_identifier,
  case when not pg_is_in_recovery() then left(pg_walfile_name(pg_current_wal_lsn()), 8) end,
  clock_timestamp()::text,
  (select b.stats_reset > $1::timestamptz from pg_stat_bgwriter b)
from pg_control_system() s
"""


@dataclass(frozen=True, slots=True)
class Server:
    """A server as it was at a moment of its own clock."""

    system: int
    timeline: str
    at: str


def server_of(connection: psycopg.Connection) -> Server | None:
    """Return which server a session is of; None where it does not tell, or is a standby."""
    try:
        found = _look(connection, "infinity")
    except psycopg.Error:
        return None
    return found[0] if found else None


def was_committed(url: str, server: Server | None, transaction: int, timeout: float) -> bool:
    """Return whether a transaction was committed, from a new session of the same server.

    transaction: its id. timeout: seconds for which a server is waited for that is not there, or still at work on it (10 at
    most, and a moment where the caller's deadline is over). Raises OutcomeUnknown where it can't be found out.
    """
    why = "the server cannot be identified"
    with ending(min(timeout, _PATIENCE)):
        deadline = monotonic() + left(_PATIENCE)
        for pause in pauses(0.02, 0.5):
            if server is None:
                break
            try:
                with probe(url, application_name="tomato-dao outcome", path=CATALOG_PATH) as connection:
                    status = _status(connection, server, transaction)
                if status is not None:
                    return status
                why = "it is still in progress"
            except (TomatoError, psycopg.Error) as error:
                if isinstance(error, OutcomeUnknown):
                    raise
                why = str(error)
            if monotonic() + pause > deadline:
                break
            sleep(pause)
    raise unknown(why, transaction)


def unknown(why: str, transaction: int | None = None) -> OutcomeUnknown:
    """Return the error for a transaction of which is not known whether it was committed."""
    ask = f"select pg_xact_status('{transaction}') shows it, on the same server; or " if transaction else ""
    return OutcomeUnknown(
        f"the answer to the commit was lost, so the transaction may or may not have been carried out ({why}): {ask}check "
        "whether its changes are there before you repeat it"
    )


def _look(connection: psycopg.Connection, since: str) -> tuple[Server, bool] | None:
    with RawCursor(connection) as cursor:
        return server_in(cursor.execute(SERVER, [since]).fetchone())


def server_in(row: tuple[Any, ...] | None) -> tuple[Server, bool] | None:
    """Return the server that a row of SERVER tells of, and whether its statistics began anew; None for a standby."""
    if row is None or row[1] is None:
        return None
    return Server(row[0], row[1], row[2]), bool(row[3])


def _status(connection: psycopg.Connection, server: Server, transaction: int) -> bool | None:
    """Return whether it was committed; None where it is not over, or another server is to take over first."""
    found = _look(connection, server.at)
    if found is None:
        return None
    here, has_crashed = found
    if (here.system, here.timeline) != (server.system, server.timeline):
        raise unknown("another server, or another timeline, has replaced it", transaction)
    try:
        row = connection.execute("select pg_xact_status(%s::text::xid8)", [str(transaction)]).fetchone()
    except psycopg.errors.InvalidParameterValue:  # the id was never given to anything that a crash has left
        return False
    status = row[0] if row else None
    if status == "in progress":
        return None
    if status == "aborted":
        return False
    if status is None or has_crashed:
        raise unknown("the server has crashed since" if has_crashed else "it is too long ago", transaction)
    logger.info("transaction %s was committed, although the answer was lost", transaction)
    return True

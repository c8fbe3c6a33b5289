"""Outcomes of transactions whose COMMIT was sent but never answered."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from time import monotonic, sleep
from typing import Any

import psycopg
from psycopg import RawCursor
from psycopg.conninfo import make_conninfo

from ..errors import OutcomeUnknown, TomatoError
from ..sql.timing import at_most, ending, left
from .backoff import pauses
from .probe import probe
from .session import CATALOG_PATH

logger = logging.getLogger(__name__)

_PATIENCE = 10.0  # seconds for which the server is asked again
# Two servers, or one server before and after a failover or a restore, may use the same transaction id twice. They differ in the
# system identifier or the timeline. After a crash a server may reuse an id that nothing durable has; its statistics are reset
# then. A standby has no timeline of its own and cannot decide about a commit.
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
    """A server's identity at a time of its own clock, and the host and port at which the session reached it."""

    system: int
    timeline: str
    at: str
    place: Mapping[str, str]

    def is_same(self, other: "Server") -> bool:
        """Return whether it is the same server, still on the same timeline, whatever the host."""
        return (self.system, self.timeline) == (other.system, other.timeline)


def server_of(connection: psycopg.Connection) -> Server | None:
    """Return the identity of a session's server, or None if it is a standby or does not allow the query."""
    try:
        found = _look(connection, "infinity")
    except psycopg.Error:
        return None
    return found[0] if found else None


def was_committed(url: str, server: Server | None, transaction: int, timeout: float) -> bool:
    """Find out, in a new session of the same server, whether a transaction was committed.

    transaction: its id. timeout: seconds to wait for a server that is unavailable or still executing the transaction (at most
    10, and only a moment if the caller's deadline has passed). Raises OutcomeUnknown if the outcome cannot be determined.
    """
    why = "the server cannot be identified"
    with ending(min(timeout, _PATIENCE)):
        deadline = monotonic() + left(_PATIENCE)
        for pause in pauses(0.02, 0.5):
            if server is None:
                break
            try:
                status = _ask(url, server, transaction)
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
    """Return the error for a transaction with an unknown outcome."""
    ask = f"select pg_xact_status('{transaction}') shows it, on the same server; or " if transaction else ""
    return OutcomeUnknown(
        f"the answer to the commit was lost, so the transaction may or may not have been carried out ({why}): {ask}check "
        "whether its changes are there before you repeat it"
    )


def _ask(url: str, server: Server, transaction: int) -> bool | None:
    """Ask the server where the session reached it, which may have turned read-only since, or else where the URL leads.

    Returns whether the transaction was committed, or None while it is in progress or the server is a standby.
    """
    there = make_conninfo(url, **server.place, target_session_attrs="any")
    replaced, failed = False, None
    for place, primary_for in ((there, ""), (url, "outcomes of commits")):
        try:
            with (
                at_most(left(_PATIENCE) / 2),  # one that does not answer must not use up all the time
                probe(place, application_name="tomato-dao outcome", path=CATALOG_PATH, primary_for=primary_for) as connection,
                connection.transaction(),  # a pooler sends all of it to one server
            ):
                found = _look(connection, server.at)
                if found and found[0].is_same(server):
                    return _status(connection, transaction, has_crashed=found[1])
                replaced = replaced or found is not None
        except (TomatoError, psycopg.Error) as error:
            if isinstance(error, OutcomeUnknown):
                raise
            failed = failed or error
    if replaced:
        raise unknown("another server, or another timeline, has replaced it", transaction)
    if failed:
        raise failed
    return None


def _look(connection: psycopg.Connection, since: str) -> tuple[Server, bool] | None:
    with RawCursor(connection) as cursor:
        return server_in(cursor.execute(SERVER, [since]).fetchone(), connection.info)


def server_in(row: tuple[Any, ...] | None, info: psycopg.ConnectionInfo) -> tuple[Server, bool] | None:
    """Return the server described by a row of SERVER, and whether its statistics were reset; None for a standby."""
    if row is None or row[1] is None:
        return None
    place = {"host": info.host, "hostaddr": info.hostaddr, "port": str(info.port)}
    return Server(row[0], row[1], row[2], place), bool(row[3])


def _status(connection: psycopg.Connection, transaction: int, *, has_crashed: bool) -> bool | None:
    """Return whether it was committed, or None while it is in progress."""
    try:
        row = connection.execute("select pg_xact_status(%s::text::xid8)", [str(transaction)]).fetchone()
    except psycopg.errors.InvalidParameterValue:  # no transaction that survived the crash has this id
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

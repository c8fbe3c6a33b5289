"""Sessions: open transactions and waits for locks."""

import psycopg

from ...sql.wording import counted
from ..cli import duration
from .findings import BAD, OK, Finding, rows

LONG_TRANSACTION, LONG_IDLE, LONG_WAIT = 300, 60, 10  # seconds


def transactions(connection: psycopg.Connection) -> Finding:
    """Examine the open transactions: long ones keep dead rows and locks."""
    found = rows(connection, "transactions")
    idle = [row for row in found if row["state"].startswith("idle in transaction")]
    bad = [row for row in found if row["seconds"] > LONG_TRANSACTION or (row in idle and row["state_seconds"] > LONG_IDLE)]
    longest = f", the longest for {duration(found[0]['seconds'])}" if found else ""
    return Finding(
        "transactions",
        BAD if bad else OK,
        f"{len(found)} open{longest}; {len(idle)} idle in transaction",
        [f"{row['application']} (pid {row['pid']}), {row['state']}, {duration(row['seconds'])}, {row['query']}" for row in bad],
        [f"select pg_terminate_backend({row['pid']});  -- if nobody needs it: it keeps dead rows and locks" for row in bad],
        {"transactions": found},
    )


def locks(connection: psycopg.Connection) -> Finding:
    """Examine who waits for a lock, and for whom."""
    found = rows(connection, "locks_waited_for")
    bad = [row for row in found if row["seconds"] > LONG_WAIT]
    return Finding(
        "locks",
        BAD if bad else OK,
        f"{counted(len(found), 'session')} waiting for a lock",
        [
            f"{r['application']} (pid {r['pid']}) waits {duration(r['seconds'])} in {r['query']} for pid {r['blocked_by']}"
            for r in found
        ],
        ["see what these pids do under transactions above, or in pg_stat_activity"] if bad else [],
        {"waiting": found},
    )

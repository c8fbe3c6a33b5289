"""Sessions: open transactions and waits for locks."""

import psycopg
from psycopg import sql

from ...sql.wording import counted
from ..cli import duration
from .findings import BAD, NOTE, OK, Finding, rows

LONG_TRANSACTION, LONG_IDLE, LONG_WAIT = 300, 60, 10  # seconds


def transactions(connection: psycopg.Connection) -> Finding:
    """Examine open transactions: long ones keep dead rows and locks."""
    found = rows(connection, "transactions")
    idle = [row for row in found if row["state"].startswith("idle in transaction")]
    bad = [row for row in found if row["seconds"] > LONG_TRANSACTION or (row in idle and row["state_seconds"] > LONG_IDLE)]
    prepared = rows(connection, "health.prepared_transactions")
    old = any(row["seconds"] > LONG_TRANSACTION for row in prepared)
    longest = f", the longest for {duration(found[0]['seconds'])}" if found else ""
    return Finding(
        "transactions",
        BAD if bad or old else NOTE if prepared else OK,
        f"{len(found)} open{longest}; {len(idle)} idle in transaction{f'; {len(prepared)} prepared' if prepared else ''}",
        [f"{row['application']} (pid {row['pid']}), {row['state']}, {duration(row['seconds'])}, {row['query']}" for row in bad]
        + [f"{row['name']!r}, prepared by {row['owner']} {duration(row['seconds'])} ago, is still open" for row in prepared],
        [
            f"select pg_terminate_backend({row['pid']});  -- if nobody needs it: it holds locks and keeps dead rows"
            for row in bad
        ]
        + [
            f"rollback prepared {sql.Literal(row['name']).as_string()};  -- or commit, as its transaction manager says"
            for row in prepared
        ],
        {"transactions": found, "prepared": prepared},
    )


def locks(connection: psycopg.Connection) -> Finding:
    """Examine sessions that wait for a lock, and the sessions that block them."""
    found = rows(connection, "locks_waited_for")
    bad = [row for row in found if row["seconds"] > LONG_WAIT]
    return Finding(
        "locks",
        BAD if bad else OK,
        f"{counted(len(found), 'session')} waiting for a lock",
        [
            f"{r['application']} (pid {r['pid']}) waits {duration(r['seconds'])} in {r['query']} "
            f"for {' and '.join(r['blockers']) or r['blocked_by']}"
            for r in found
        ],
        [
            f"select pg_terminate_backend({pid});  -- if nobody needs it: others wait for it"
            for pid in sorted({pid for row in bad for pid in row["blocked_by"] if pid} - {row["pid"] for row in found})
        ],
        {"waiting": found},
    )

"""The workers' own work: expired leases."""

import psycopg

from ..cli import duration
from .findings import NOTE, OK, Finding, rows

GRACE, MANY = 3600, 10  # seconds after a lease's end; number of expired leases of a kind that is reported
COUNTED = 1000  # maximum number of leases counted per kind


def leases(connection: psycopg.Connection) -> Finding:
    """Examine whether work is claimed again after its lease has expired, since a worker died or did not finish it."""
    found = rows(connection, "work.leases", GRACE, COUNTED)
    piled = [row for row in found if row["expired"] >= MANY]
    return Finding(
        "leases",
        NOTE if piled else OK,
        f"{sum(row['expired'] for row in found):,} ran out more than an hour ago",
        [f"{row['work']}: {row['expired']:,}, the oldest {duration(row['seconds'])} ago" for row in piled],
        ["start workers that claim this work, and check in their logs why it is not finished"] if piled else [],
        {"expired": found},
    )

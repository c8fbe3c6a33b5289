"""Helpers that the tests of accounting share: runs as workers do them, without an outage."""

from datetime import datetime, timedelta

import psycopg

from tomato_dao import Database
from tomato_dao.rows import AggregatedUsage

WINDOW = timedelta(minutes=5)


def settle(db: Database, end: datetime) -> AggregatedUsage:
    """Let the window that ends then settle, with runs a window apart; what the last one did."""
    for n in (1, 2):
        db.usage.aggregate(now=end + n * WINDOW)
    return db.usage.aggregate(now=end + 3 * WINDOW)


def in_small_parts(server: psycopg.Connection, size: int) -> None:
    """Let each statement of a run do one part of so many objects, as if its time was over at once."""
    (found,) = server.execute("select pg_get_functiondef('aggregate_usage'::regproc)").fetchone() or ("",)
    changed = found.replace("integer := 50000;", f"integer := {size};").replace("interval '10 seconds'", "interval '0 seconds'")
    assert changed.count(f"integer := {size};") == changed.count("interval '0 seconds'") == 1
    server.execute(changed.encode())

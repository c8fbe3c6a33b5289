"""Helpers that the tests of accounting share: runs as workers do them, without an outage."""

from datetime import datetime, timedelta

from tomato_dao import Database
from tomato_dao.rows import AggregatedUsage

WINDOW = timedelta(minutes=5)


def settle(db: Database, end: datetime) -> AggregatedUsage:
    """Let the window that ends then settle, with runs a window apart; what the last one did."""
    for n in (1, 2):
        db.usage.aggregate(now=end + n * WINDOW)
    return db.usage.aggregate(now=end + 3 * WINDOW)

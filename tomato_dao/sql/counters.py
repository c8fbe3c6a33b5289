"""Call counts by query.

Each connection has its own counters, which need no lock, since one thread at a time uses a connection. The counters of all
connections are added up when statistics are requested.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING
from weakref import finalize

from ..printable import printable
from .query import Query

if TYPE_CHECKING:
    from .statements import QueryRunner

logger = logging.getLogger(__name__)
# Bucket bounds in seconds, as OpenTelemetry recommends for the duration of database operations.
BOUNDS = (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0)
LEAST = BOUNDS[0]


@dataclass(frozen=True, slots=True)
class QueryStats:
    """Calls of one query: their number, the failures, and the total seconds, without waits for a connection.

    A call that is repeated, on another connection or after a change of the schema, counts each time. buckets: the number of
    calls that took no longer than each of BOUNDS but longer than the one before; the last bucket counts those beyond all
    bounds.
    """

    calls: int
    errors: int
    seconds: float
    buckets: tuple[int, ...] = ()


class Tally:
    """The calls of one query on one connection."""

    __slots__ = ("buckets", "calls", "errors", "seconds")

    def __init__(self) -> None:
        self.calls = self.errors = 0
        self.buckets = [0] * (len(BOUNDS) + 1)  # without the first bucket, which has most calls: it is computed from the total
        self.seconds = 0.0


class ConnectionCounts:
    """Counters of one connection, reused by the next connection when this one is closed."""

    __slots__ = ("tallies", "waited", "waits")

    def __init__(self) -> None:
        self.tallies: dict[Query, Tally] = {}
        self.waits = 0
        self.waited = 0.0

    def begin(self, query: Query) -> Tally:
        """Return a new tally for a query that was not called on this connection before."""
        tally = self.tallies[query] = Tally()
        return tally


class AllCounts:
    """The counters of all connections that a pool has had."""

    def __init__(self) -> None:
        self.rejected = 0
        self._all: list[ConnectionCounts] = []
        self._free: list[ConnectionCounts] = []

    def assign(self, connection: "QueryRunner") -> None:
        """Assign counters to a connection."""
        try:
            counts = self._free.pop()
        except IndexError:
            counts = ConnectionCounts()
            self._all.append(counts)
        connection.counts = counts
        finalize(connection, self._free.append, counts).atexit = False

    def waits(self) -> tuple[int, float]:
        """Return the number of tasks that have waited, and their total seconds."""
        counts = list(self._all)
        return sum(c.waits for c in counts), sum(c.waited for c in counts)

    def queries(self) -> dict[str, QueryStats]:
        """Return the statistics of the queries that were called, by query name."""
        found: dict[str, list[Tally]] = {}
        for counts in list(self._all):
            for query, tally in list(counts.tallies.items()):
                found.setdefault(query.name, []).append(tally)
        return {
            name: QueryStats(
                calls := sum(t.calls for t in tallies),
                sum(t.errors for t in tallies),
                sum(t.seconds for t in tallies),
                _all_buckets(calls, [sum(counts) for counts in zip(*(t.buckets for t in tallies), strict=True)]),
            )
            for name, tallies in sorted(found.items())
        }


def _all_buckets(calls: int, others: Sequence[int]) -> tuple[int, ...]:
    """Return all buckets of *calls* calls, given those beyond the first."""
    return (calls - sum(others), *others[1:])


def log_plan(query: Query, seconds: float, plan: Sequence[str]) -> None:
    """Log the plan of a slow read, line by line as the server returns it, without values."""
    lines = "\n".join(printable(line, 500) for line in plan)
    logger.warning("slow call: %s took %.3f s; the server's plan for any values:\n%s", query.name, seconds, lines)


def log_slow(query: Query, seconds: float) -> None:
    """Log a slow call, without its values."""
    logger.warning("slow call: %s took %.3f s", query.name, seconds)

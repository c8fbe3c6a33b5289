"""Calls counted by query. Each connection counts for itself, since one thread at a time uses it: so nothing is lost and
nothing is locked; the counts of all connections are added up when somebody asks."""

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
# Seconds: the bounds that OpenTelemetry recommends for the duration of database operations.
BOUNDS = (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0)
LEAST = BOUNDS[0]


@dataclass(frozen=True, slots=True)
class QueryStats:
    """Calls of one query: how many, how many of them failed, and the seconds that all took, waits for a connection aside.

    A call that is repeated, on another connection or since the schema has changed, counts each time. buckets: how many took
    no longer than each of BOUNDS but longer than the one before, and at last how many took longer.
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
        self.buckets = [0] * (len(BOUNDS) + 1)  # without those of the first, which are most calls: it has the rest
        self.seconds = 0.0


class ConnectionCounts:
    """Counters of one connection; the next one counts on when it is gone."""

    __slots__ = ("tallies", "waited", "waits")

    def __init__(self) -> None:
        self.tallies: dict[Query, Tally] = {}
        self.waits = 0
        self.waited = 0.0

    def begin(self, query: Query) -> Tally:
        """Return the tally of a query that was not called here before."""
        tally = self.tallies[query] = Tally()
        return tally


class AllCounts:
    """The counts of all connections that a pool has had."""

    def __init__(self) -> None:
        self.turned_away = 0
        self._all: list[ConnectionCounts] = []
        self._free: list[ConnectionCounts] = []

    def assign(self, connection: "QueryRunner") -> None:
        """Let a connection count from now on."""
        try:
            counts = self._free.pop()
        except IndexError:
            counts = ConnectionCounts()
            self._all.append(counts)
        connection.counts = counts
        finalize(connection, self._free.append, counts).atexit = False

    def waits(self) -> tuple[int, float]:
        """Return how many tasks have waited, and how many seconds in all."""
        counts = list(self._all)
        return sum(c.waits for c in counts), sum(c.waited for c in counts)

    def queries(self) -> dict[str, QueryStats]:
        """Return the figures by the names of the queries that were called."""
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
    """Return the buckets of so many calls, from those beyond the first."""
    return (calls - sum(others), *others[1:])


def log_plan(query: Query, seconds: float, plan: Sequence[str]) -> None:
    """Log the plan of a read that took too long: a line of the server's for each line, without values."""
    lines = "\n".join(printable(line, 500) for line in plan)
    logger.warning("slow call: %s took %.3f s; the server's plan for any values:\n%s", query.name, seconds, lines)


def log_slow(query: Query, seconds: float) -> None:
    """Log a call that took too long, without its values."""
    logger.warning("slow call: %s took %.3f s", query.name, seconds)

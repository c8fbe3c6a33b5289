"""Calls counted by query. Each connection counts for itself, since one thread at a time uses it: so nothing is lost and
nothing is locked; the counts of all connections are added up when somebody asks."""

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING
from weakref import finalize

from .query import Query

if TYPE_CHECKING:
    from .statements import QueryRunner

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class QueryStats:
    """Calls of one query: how many, how many of them failed, and the seconds that all took, waits for a connection aside.

    A call that is repeated, on another connection or since the schema has changed, counts each time.
    """

    calls: int
    errors: int
    seconds: float


class Tally:
    """The calls of one query on one connection."""

    __slots__ = ("calls", "errors", "seconds")

    def __init__(self) -> None:
        self.calls = self.errors = 0
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
            name: QueryStats(sum(t.calls for t in tallies), sum(t.errors for t in tallies), sum(t.seconds for t in tallies))
            for name, tallies in sorted(found.items())
        }


def log_slow(query: Query, seconds: float) -> None:
    """Log a call that took too long, without its values."""
    logger.warning("slow call: %s took %.3f s", query.name, seconds)

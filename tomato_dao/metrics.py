"""What a process's calls did and do. Each connection counts for itself, since one thread at a time uses it: so nothing is
lost and nothing is locked; `Database.stats()` adds up."""

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from time import monotonic
from typing import TYPE_CHECKING
from weakref import finalize

from psycopg.pq import TransactionStatus

from .query import Query

if TYPE_CHECKING:
    from .statements import Connection

logger = logging.getLogger("tomato_dao")


@dataclass(frozen=True, slots=True)
class QueryStats:
    """Calls of one query: how many, how many of them failed, and the seconds that all took, waits for a connection aside.

    A call that is repeated, on another connection or since the layout has changed, counts each time.
    """

    calls: int
    errors: int
    seconds: float


@dataclass(frozen=True, slots=True)
class PoolStats:
    """A pool: how many connections it may hold, holds, and has idle; how many tasks wait now; how many tasks have had to
    wait until they were served, for how many seconds in all, and how many went away without (time or waiting limit)."""

    size: int
    connections: int
    idle: int
    waiting: int
    waits: int
    waited: float
    turned_away: int


@dataclass(frozen=True, slots=True)
class Stats:
    """What a Database has done since it was opened (in a child process: since the fork)."""

    pool: PoolStats
    queries: dict[str, QueryStats]


class Tally:
    """The calls of one query on one connection."""

    __slots__ = ("calls", "errors", "seconds")

    def __init__(self) -> None:
        self.calls = self.errors = 0
        self.seconds = 0.0


class Counts:
    """What one connection counts; the next one counts on when it is gone."""

    __slots__ = ("tallies", "waited", "waits")

    def __init__(self) -> None:
        self.tallies: dict[Query, Tally] = {}
        self.waits = 0
        self.waited = 0.0

    def begin(self, query: Query) -> Tally:
        """The tally of a query that was not called here before."""
        tally = self.tallies[query] = Tally()
        return tally


class AllCounts:
    """The counts of all connections that a pool has had."""

    def __init__(self) -> None:
        self.turned_away = 0
        self._all: list[Counts] = []
        self._free: list[Counts] = []

    def assign(self, connection: "Connection") -> None:
        """Let a connection count from now on."""
        try:
            counts = self._free.pop()
        except IndexError:
            counts = Counts()
            self._all.append(counts)
        connection.counts = counts
        finalize(connection, self._free.append, counts).atexit = False

    def waits(self) -> tuple[int, float]:
        """How many tasks have waited, and how many seconds in all."""
        counts = list(self._all)
        return sum(c.waits for c in counts), sum(c.waited for c in counts)

    def queries(self) -> dict[str, QueryStats]:
        """By the names of the queries that were called."""
        found: dict[str, list[Tally]] = {}
        for counts in list(self._all):
            for query, tally in list(counts.tallies.items()):
                found.setdefault(query.name, []).append(tally)
        return {
            name: QueryStats(sum(t.calls for t in tallies), sum(t.errors for t in tallies), sum(t.seconds for t in tallies))
            for name, tallies in sorted(found.items())
        }


def log_slow(query: Query, seconds: float) -> None:
    """A line for a call that took too long; without its values."""
    logger.warning("slow call: %s took %.3f s", query.name, seconds)


def holders(connections: Iterable["Connection"]) -> str:
    """What holds connections, longest first: " (hosts.update: 2, for up to 3.1 s; a transaction after hosts.get: 1, …)"."""
    now = monotonic()
    found: dict[str, list[float]] = {}
    for connection in connections:
        found.setdefault(_holder(connection), []).append(now - connection.began)
    order = sorted(found.items(), key=lambda item: -max(item[1]))
    told = "; ".join(f"{name}: {len(ages)}, for up to {max(ages):.1f} s" for name, ages in order)
    return f" ({told})" if told else ""


def _holder(connection: "Connection") -> str:
    last = connection.query.name if connection.query else None
    status = connection.pgconn.transaction_status
    if status == TransactionStatus.ACTIVE:
        return last or "SQL of connection()"
    if status in (TransactionStatus.INTRANS, TransactionStatus.INERROR):
        return f"a transaction after {last}" if last else "a transaction"
    return f"connection() after {last}" if last else "connection()"

"""Export of `Database.stats()` to Prometheus, with the extra “prometheus”: `REGISTRY.register(StatsCollector(db))`."""

from collections.abc import Iterator
from itertools import accumulate
from typing import Protocol

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from ..sql.counters import BOUNDS
from .metrics import Stats


class _HasStats(Protocol):
    def stats(self) -> Stats: ...


class StatsCollector(Collector):
    """A Prometheus collector that reads a Database's `stats()`. The metrics' names begin with `tomato_dao`."""

    def __init__(self, db: _HasStats) -> None:
        self._db = db

    def collect(self) -> Iterator[Metric]:
        """Yield the current metrics."""
        stats = self._db.stats()
        pool = stats.pool
        yield GaugeMetricFamily("tomato_dao_pool_size", "Connections that the pool may hold", pool.size)
        yield GaugeMetricFamily("tomato_dao_pool_connections", "Connections that the pool holds", pool.connections)
        yield GaugeMetricFamily("tomato_dao_pool_idle", "Connections that nobody uses", pool.idle)
        yield GaugeMetricFamily("tomato_dao_pool_waiting", "Tasks that wait for a connection", pool.waiting)
        yield CounterMetricFamily("tomato_dao_pool_waits", "Tasks that had to wait for a connection", pool.waits)
        yield CounterMetricFamily("tomato_dao_pool_wait_seconds", "Seconds that tasks waited", pool.waited)
        yield CounterMetricFamily("tomato_dao_pool_turned_away", "Tasks that got no connection", pool.turned_away)
        calls = CounterMetricFamily("tomato_dao_calls", "Calls of a query", labels=["query"])
        errors = CounterMetricFamily("tomato_dao_errors", "Calls of a query that failed", labels=["query"])
        seconds = CounterMetricFamily("tomato_dao_call_seconds", "Seconds that calls of a query took", labels=["query"])
        durations = HistogramMetricFamily("tomato_dao_call_duration_seconds", "Duration of calls of a query", labels=["query"])
        for name, query in stats.queries.items():
            calls.add_metric([name], query.calls)
            errors.add_metric([name], query.errors)
            seconds.add_metric([name], query.seconds)
            bounds = zip([*map(str, BOUNDS), "+Inf"], accumulate(query.buckets), strict=True)
            durations.add_metric([name], list(bounds), query.seconds)
        yield from (calls, errors, seconds, durations)

"""OpenTelemetry, with the extra “otel”: `connect(tracer_provider=…)` or `tomato_dao.otel.instrument(db)`.

Spans and metrics follow the semantic conventions for PostgreSQL clients. They never contain values, and statements only on
request.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from time import monotonic, time_ns
from typing import Any, Protocol
from weakref import ref

import psycopg
from opentelemetry import context, metrics, trace
from opentelemetry.metrics import CallbackOptions, Observation
from opentelemetry.trace import SpanKind, Status, StatusCode
from psycopg.pq import TransactionStatus

from .server.metrics import PoolStats, Stats
from .sql.counters import BOUNDS
from .sql.observing import Observer
from .sql.pins import SCHEMA
from .sql.query import Query
from .sql.statements import QueryRunner

Attributes = dict[str, str | int]

LONG_WAIT = 0.01  # minimum seconds of a wait for a connection that gets a span
_SYSTEM: Attributes = {"db.system.name": "postgresql"}
_FAILED = Status(StatusCode.ERROR)  # without a description, since a message may contain values
_TABLES = re.compile(r"\b(?:from|join|into|update|using)\s+(?:only\s+)?([a-z_]\w*)\b(?!\s*\()", re.IGNORECASE)
_NAMED = re.compile(r"\b([a-z_]\w*)\s+as\s+(?:not\s+)?(?:materialized\s+)?\(", re.IGNORECASE)
_NO_TABLES = {"lateral", "select", "unnest", "skip", "set", "of", "nowait"}  # words that may follow those


class _Instrumented(Protocol):
    def stats(self) -> Stats: ...

    def observe(self, observer: Observer | None) -> None: ...


def instrument(
    db: _Instrumented,
    *,
    tracer_provider: trace.TracerProvider | None = None,
    meter_provider: metrics.MeterProvider | None = None,
    statements: bool = False,
) -> None:
    """Report spans and metrics of a Database or AsyncDatabase from now on.

    tracer_provider, meter_provider: the providers that receive them (default, if neither is given: OpenTelemetry's global
    ones). With only one of them there are only spans, or only metrics. statements: whether spans have the statement's text,
    which never contains values.
    """
    if tracer_provider is None and meter_provider is None:
        tracer_provider, meter_provider = trace.get_tracer_provider(), metrics.get_meter_provider()
    db.observe(
        _Telemetry(
            trace.get_tracer(__name__, tracer_provider=tracer_provider) if tracer_provider else None,
            _Instruments(db, metrics.get_meter(__name__, meter_provider=meter_provider)) if meter_provider else None,
            statements,
        )
    )


def uninstrument(db: _Instrumented) -> None:
    """Stop the spans and metrics of a Database. Values already read from a meter stay."""
    db.observe(None)


class _Telemetry:
    """Observer that creates a span and measurements for each call, longer wait for a connection, and transaction."""

    def __init__(self, tracer: trace.Tracer | None, instruments: "_Instruments | None", statements: bool) -> None:
        self._tracer = tracer
        self._instruments = instruments
        self._statements = statements

    def inside(self) -> context.Context:
        return context.get_current()

    def called(
        self, runner: QueryRunner, query: Query, parent: context.Context, seconds: float, failed: BaseException | None
    ) -> None:
        labels: Attributes = runner.labels.get(query) or self._labels(runner, query)
        if failed is not None:
            labels = labels | _failure(failed)
        if (instruments := self._instruments) is not None:
            instruments.duration.record(seconds, labels, parent)
            if runner.pgconn.transaction_status == TransactionStatus.IDLE:  # otherwise the transaction's time is measured
                instruments.use.record(seconds, instruments.pool, parent)
        if self._tracer is not None:
            if self._statements:
                labels = labels | {"db.query.text": query.sql}
            now = time_ns()
            span = self._tracer.start_span(query.name, parent, SpanKind.CLIENT, labels, start_time=now - int(seconds * 1e9))
            if failed is not None:
                span.set_status(_FAILED)
            span.end(now)

    def waited(self, seconds: float) -> None:
        if self._instruments is not None:
            self._instruments.wait.record(seconds, self._instruments.pool)
        if self._tracer is not None and seconds > LONG_WAIT:
            now = time_ns()
            self._tracer.start_span("wait for a connection", attributes=_SYSTEM, start_time=now - int(seconds * 1e9)).end(now)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        began = monotonic()
        try:
            with self._span("transaction"):
                yield
        finally:
            if self._instruments is not None:
                self._instruments.use.record(monotonic() - began, self._instruments.pool)

    @contextmanager
    def _span(self, name: str) -> Iterator[None]:
        """Make all calls in the block children of a span."""
        if self._tracer is None:
            yield
            return
        with self._tracer.start_as_current_span(
            name,
            attributes=_SYSTEM,
            record_exception=False,  # either would record the error's message with its values
            set_status_on_exception=False,
        ) as span:
            try:
                yield
            except BaseException as error:
                span.set_status(_FAILED)
                span.set_attributes(_failure(error))
                raise

    def _labels(self, runner: QueryRunner, query: Query) -> Attributes:
        info = runner.info
        labels: Attributes = {
            **_SYSTEM,
            "db.namespace": f"{info.dbname}|{SCHEMA}",
            "db.operation.name": query.verb.upper(),
            "db.query.summary": query.base,
            "server.address": info.host,
        }
        if not info.host.startswith("/"):
            labels["server.port"] = info.port
        if table := collection(query.sql):
            labels["db.collection.name"] = table
        runner.labels[query] = labels
        return labels


class _Instruments:
    """A meter's instruments: two histograms filled by calls, and observable figures of the pool."""

    def __init__(self, db: _Instrumented, meter: metrics.Meter) -> None:
        self.pool: Attributes = {"db.client.connection.pool.name": "tomato-dao"}
        seconds: dict[str, Any] = {"unit": "s", "explicit_bucket_boundaries_advisory": BOUNDS}
        name = "db.client.connection"
        self.duration = meter.create_histogram("db.client.operation.duration", description="Duration of calls", **seconds)
        self.wait = meter.create_histogram(f"{name}.wait_time", description="Time that tasks waited", **seconds)
        self.use = meter.create_histogram(f"{name}.use_time", description="Time between a lease and its end", **seconds)
        found = ref(db)  # the meter must not keep the Database alive

        def asked(
            observe: Callable[[PoolStats], Iterable[tuple[int, Mapping[str, str | int]]]],
        ) -> list[Callable[[CallbackOptions], Iterable[Observation]]]:
            def callback(_: CallbackOptions) -> Iterable[Observation]:
                here = found()
                if here is not None:
                    for number, attributes in observe(here.stats().pool):
                        yield Observation(number, {**self.pool, **attributes})

            return [callback]

        states = asked(
            lambda stats: (
                (stats.idle, {"db.client.connection.state": "idle"}),
                (stats.connections - stats.idle, {"db.client.connection.state": "used"}),
            )
        )
        meter.create_observable_up_down_counter(f"{name}.count", states, "{connection}", "Connections by their state")
        meter.create_observable_up_down_counter(
            f"{name}.max", asked(lambda stats: [(stats.size, {})]), "{connection}", "Connections that the pool may hold"
        )
        meter.create_observable_up_down_counter(
            f"{name}.pending_requests", asked(lambda stats: [(stats.waiting, {})]), "{request}", "Tasks that wait now"
        )
        meter.create_observable_counter(
            f"{name}.timeouts", asked(lambda stats: [(stats.turned_away, {})]), "{timeout}", "Tasks that got no connection"
        )


def collection(sql: str) -> str | None:
    """Return the table of a statement that uses exactly one, or None. Names of CTEs do not count."""
    without = re.sub(r"/\*.*?\*/|--[^\n]*", " ", sql, flags=re.DOTALL)
    own = {name.lower() for name in _NAMED.findall(without)} | _NO_TABLES
    tables = {name.lower() for name in _TABLES.findall(without)} - own
    return tables.pop() if len(tables) == 1 else None


def _failure(error: BaseException) -> Attributes:
    """Return the reported type of an error: its SQLSTATE, else its class, without its message."""
    state = next((e.sqlstate for e in (error, error.__cause__) if isinstance(e, psycopg.Error) and e.sqlstate), None)
    if state is None:
        return {"error.type": type(error).__qualname__}
    return {"error.type": state, "db.response.status_code": state}

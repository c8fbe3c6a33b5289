"""Spans and metrics of OpenTelemetry: what a call, a wait and a transaction tell, from threads and from asyncio."""

import asyncio
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from tomato_dao import AlreadyExists, Database, connect, connect_async, otel
from tomato_dao.database import QUERIES
from tomato_dao.sql.counters import BOUNDS


@pytest.fixture
def spans() -> InMemorySpanExporter:
    """Provide what keeps the spans."""
    return InMemorySpanExporter()


@pytest.fixture
def provider(spans: InMemorySpanExporter) -> TracerProvider:
    """Provide what gives the spans to it."""
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(spans))
    return provider


@pytest.fixture
def reader() -> InMemoryMetricReader:
    """Provide what reads metrics."""
    return InMemoryMetricReader()


@pytest.fixture
def traced(tomato_url: str, provider: TracerProvider, reader: InMemoryMetricReader) -> Iterator[Database]:
    """Provide a Database of one connection with both."""
    metered = MeterProvider(metric_readers=[reader])
    with connect(tomato_url, pool_size=1) as db:
        db.organizations.list()  # which waits for the first connection
        otel.instrument(db, tracer_provider=provider, meter_provider=metered)
        yield db


def attributes(span: ReadableSpan) -> dict[str, Any]:
    return dict(span.attributes or {})


def metrics(reader: InMemoryMetricReader) -> dict[str, list[Any]]:
    """Return the data points by the metrics' names."""
    data = reader.get_metrics_data()
    assert data is not None
    return {m.name: list(m.data.data_points) for r in data.resource_metrics for s in r.scope_metrics for m in s.metrics}


def test_a_call_has_a_span_with_what_the_conventions_require(traced: Database, spans: InMemorySpanExporter) -> None:
    traced.organizations.create("uni", description="a secret")
    (span,) = spans.get_finished_spans()
    told = attributes(span)
    host = told.pop("server.address")
    assert (span.name, span.kind, span.status.status_code) == ("organizations.create", SpanKind.CLIENT, StatusCode.UNSET)
    assert told == {
        "db.system.name": "postgresql",
        "db.namespace": f"{traced_name(traced)}|public",
        "db.operation.name": "INSERT",
        "db.query.summary": "organizations.create",
        "db.collection.name": "organizations",
    } | ({} if host.startswith("/") else {"server.port": told["server.port"]})
    assert span.start_time is not None
    assert span.end_time is not None
    assert 0 < span.end_time - span.start_time < 60e9


def traced_name(db: Database) -> str:
    with db.connection() as connection:
        return connection.info.dbname


def test_a_failed_call_reports_its_sqlstate_and_no_values(
    traced: Database, spans: InMemorySpanExporter, reader: InMemoryMetricReader
) -> None:
    traced.organizations.create("uni")
    with pytest.raises(AlreadyExists):
        traced.organizations.create("uni")
    span = spans.get_finished_spans()[1]
    told = attributes(span)
    assert (told["error.type"], told["db.response.status_code"]) == ("23505", "23505")
    assert (span.status.status_code, span.status.description, span.events) == (StatusCode.ERROR, None, ())
    assert "uni" not in span.to_json()
    points = metrics(reader)["db.client.operation.duration"]
    assert [(p.count, p.attributes.get("error.type")) for p in points] == [(1, None), (1, "23505")]
    assert all(p.explicit_bounds == BOUNDS for p in points)


def test_calls_are_part_of_the_transaction_and_that_of_what_is_around_it(
    traced: Database, provider: TracerProvider, spans: InMemorySpanExporter
) -> None:
    with provider.get_tracer("request").start_as_current_span("request"):
        with traced.transaction():
            traced.organizations.list()
        traced.sites.list()
    with pytest.raises(ZeroDivisionError), traced.transaction():
        raise ZeroDivisionError("a secret")
    inner, transaction, outer, request, failed = spans.get_finished_spans()
    assert [inner.name, transaction.name, outer.name, request.name] == [
        "organizations.list", "transaction", "sites.list", "request"
    ]  # fmt: skip
    for child, parent in ((inner, transaction), (transaction, request), (outer, request)):
        assert child.parent is not None
        assert parent.context is not None
        assert child.parent.span_id == parent.context.span_id
    assert attributes(failed)["error.type"] == "ZeroDivisionError"
    assert "secret" not in failed.to_json()


def test_a_long_wait_for_a_connection_has_a_span_and_all_are_measured(
    traced: Database, spans: InMemorySpanExporter, reader: InMemoryMetricReader
) -> None:
    waiting = threading.Thread(target=traced.organizations.list)
    with traced.connection() as connection:
        waiting.start()
        while traced.stats().pool.waiting != 1:
            pass
        found = metrics(reader)
        state = {p.attributes["db.client.connection.state"]: p.value for p in found["db.client.connection.count"]}
        assert state == {"idle": 0, "used": 1}
        assert [p.value for p in found["db.client.connection.pending_requests"]] == [1]
        assert [p.value for p in found["db.client.connection.max"]] == [1]
        assert [p.value for p in found["db.client.connection.timeouts"]] == [0]
        connection.execute("select pg_sleep(0.02)")
    waiting.join(60)
    wait, call = spans.get_finished_spans()
    assert (wait.name, call.name) == ("wait for a connection", "organizations.list")
    found = metrics(reader)
    assert [p.count for p in found["db.client.connection.wait_time"]] == [1]
    assert found["db.client.connection.wait_time"][0].sum > otel.LONG_WAIT
    assert [p.count for p in found["db.client.connection.use_time"]] == [1]


def test_calls_of_asyncio_are_part_of_what_their_task_does(
    tomato_url: str, provider: TracerProvider, spans: InMemorySpanExporter
) -> None:
    tracer = provider.get_tracer("request")

    async def request(number: int, db: Any) -> None:
        with tracer.start_as_current_span(f"request {number}"):
            async with db.transaction():
                await db.organizations.list()

    async def work() -> None:
        async with connect_async(tomato_url, pool_size=2, tracer_provider=provider) as db:
            await asyncio.gather(*(request(number, db) for number in range(4)))

    asyncio.run(work())
    found = {span.context.span_id: span for span in spans.get_finished_spans() if span.context is not None}
    calls = [span for span in found.values() if span.name == "organizations.list"]
    roots = set()
    for call in calls:
        assert call.parent is not None
        transaction = found[call.parent.span_id]
        assert transaction.name == "transaction"
        assert transaction.parent is not None
        roots.add(found[transaction.parent.span_id].name)
    assert roots == {f"request {number}" for number in range(4)}


def test_an_open_database_is_instrumented_and_left_alone_again(tomato_url: str, provider: TracerProvider) -> None:
    exporter = InMemorySpanExporter()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    with connect(tomato_url, pool_size=1, tracer_provider=provider) as db:
        db.organizations.list()
        assert [span.name for span in exporter.get_finished_spans()][-1] == "organizations.list"
        exporter.clear()
        otel.instrument(db, tracer_provider=provider, statements=True)
        db.organizations.list()
        otel.uninstrument(db)
        db.organizations.list()
    (span,) = exporter.get_finished_spans()
    assert attributes(span)["db.query.text"] == QUERIES["organizations.list"].sql


def test_a_statement_about_one_table_reports_it() -> None:
    assert otel.collection("select o.id from organizations o where o.id = $1 for update skip locked") == "organizations"
    assert otel.collection("select 1 from a inner join b on true") is None
    assert otel.collection("with x as (select 1 from sites) select id from x") == "sites"
    assert otel.collection("select * from unnest($1) u") is None
    assert otel.collection("update hosts set name = $1 -- from nowhere") == "hosts"
    told = [query for query in QUERIES.values() if otel.collection(query.sql)]
    assert len(told) > len(QUERIES) / 2

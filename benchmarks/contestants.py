"""The contestants of benchmarks/calls.py: the same work with libpq alone, psycopg by hand, libraries, and this layer.

Each has a function per workload that it supports naturally. Rows become typed objects, as in users' programs.
"""

import asyncio
import itertools
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import aiosql
import asyncpg
import msgspec
import psycopg
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from psycopg import pq
from psycopg.conninfo import conninfo_to_dict
from psycopg.rows import class_row
from psycopg_pool import ConnectionPool

import tomato_dao
from tomato_dao import rows
from tomato_dao.database import QUERIES
from tomato_dao.rows import Organization
from tomato_dao.server import schema

COLUMNS = "id, name, description, homepage_url, image_url, description_text, usage_id, attrs"
NAME = "org5"
_numbers = itertools.count(1)
_moments = itertools.count(1)


@dataclass
class Contestant:
    """A contestant: its name and a function per workload (point, list, full, page, insert, batch, large batch)."""

    name: str
    calls: dict[str, Callable[[], Any]]
    close: Callable[[], None]
    many_threads: bool = False  # whether it takes part in the run of 25 threads
    many: Callable[[int], None] | None = field(default=None)  # runs n point reads concurrently (asyncio)


def fresh_name() -> str:
    """Return an unused name of an organization."""
    return f"new{next(_numbers)}"


def batch_rows(usage_id: int, rows: int) -> list[tuple[int, datetime, datetime, float, float, float, float, int, str]]:
    """Return usage records that do not exist yet."""
    start = datetime(2001, 1, 1, tzinfo=UTC) + timedelta(days=7 * next(_moments))
    step = timedelta(minutes=1)
    return [
        (usage_id, start + n * step, start + n * step, 1e9 + n, 1e10 + n, 5e6 + n, 100.5 + n, 1, "5minutes")
        for n in range(rows)
    ]


BATCH_SQL = """
insert into usage_records (usage_id, end_at, begin_at, memory, diskspace, traffic, cputime, measurements, type)
select * from unnest(
  {0}::bigint[], {1}::timestamptz[], {2}::timestamptz[], {3}::float8[], {4}::float8[], {5}::float8[], {6}::float8[],
  {7}::bigint[], {8}::text[]
)
"""


def libpq(url: str, topology: int) -> Contestant:
    """Return the lower bound: prepared statements through libpq's blocking call, without decoding."""
    connection = psycopg.connect(url, autocommit=True)
    pgconn = connection.pgconn
    for name in ("organizations.get_by_name", "organizations.list", "topologies.list_full[id]", "organizations.create"):
        (query,) = (v for v in QUERIES[name.partition("[")[0]].variants() if v.name == name)
        pgconn.prepare(name.encode(), query.sql.encode())

    def call(name: str, values: Sequence[Any]) -> None:
        result = pgconn.exec_prepared(name.encode(), values, [1] * len(values), 1)
        assert result.status == pq.ExecStatus.TUPLES_OK, result.get_error_message()

    page = [struct.pack("!q", 0), struct.pack("!q", 50)]
    one = [None, *(struct.pack("!q", n) for n in (2**63 - 1, 1, topology))]
    return Contestant(
        "libpq (floor)",
        {
            "point": lambda: call("organizations.get_by_name", [NAME.encode()]),
            "list": lambda: call("organizations.list", page),
            "full": lambda: call("topologies.list_full[id]", one),
            "insert": lambda: call("organizations.create", [fresh_name().encode(), b"", b"", b"", b"", b'\x01{"a":1}']),
        },
        connection.close,
    )


def by_hand(url: str, topology: int, usage_id: int, *, autocommit: bool) -> Contestant:
    """Return psycopg used as in its manual: a pool, a cursor, class_row."""
    pool = ConnectionPool(url, kwargs={"autocommit": autocommit}, min_size=1, max_size=8, open=True)
    insert = f"insert into organizations (name, attrs) values (%s, %s) returning {COLUMNS}"

    def fetch(sql: str, values: Sequence[object]) -> list[Organization]:
        with pool.connection() as connection, connection.cursor(row_factory=class_row(Organization)) as cursor:
            return cursor.execute(sql.encode(), values).fetchall()

    def full() -> object:
        """Load a topology with one query per table, as written by hand."""
        with pool.connection() as connection:
            parts: list[object] = []
            for sql, cls in (
                (
                    "select id, name, site_id, timeout_at, timeout_step, usage_id, attrs from topologies where id = %s",
                    rows.Topology,
                ),
                ("select topology_id, user_id, role from topology_permissions where topology_id = %s", rows.TopologyPermission),
                (ELEMENTS_BY_HAND, ElementByHand),
                (CONNECTIONS_BY_HAND, rows.Connection),
            ):
                with connection.cursor(row_factory=class_row(cls)) as cursor:
                    parts.append(cursor.execute(sql.encode(), [topology]).fetchall())
            return parts

    def batch(rows: int) -> None:
        columns = [list(column) for column in zip(*batch_rows(usage_id, rows), strict=True)]
        with pool.connection() as connection:
            connection.execute(BATCH_SQL.format(*["%s"] * 9).encode(), columns)

    return Contestant(
        f"psycopg by hand, {'autocommit' if autocommit else 'default'} pool",
        {
            "point": lambda: fetch(f"select {COLUMNS} from organizations where name = %s", [NAME])[0],
            "list": lambda: fetch(f"select {COLUMNS} from organizations where id > %s order by id limit %s", [0, 50]),
            "full": full,
            "insert": lambda: fetch(insert, [fresh_name(), psycopg.types.json.Jsonb({"a": 1})])[0],
            "batch": lambda: batch(1000),
            "large batch": lambda: batch(10000),
        },
        pool.close,
        many_threads=True,
    )


class ElementByHand(rows.Element, frozen=True):
    """An element with the columns that a hand-written query joins."""

    host_element_attrs: rows.JsonObject | None
    host_name: str | None
    host_site_name: str | None
    run_template_id: int | None
    run_template_name: str | None
    run_profile_id: int | None
    run_profile_name: str | None
    ram: float | None
    cpus: float | None
    diskspace: float | None


ELEMENTS_BY_HAND = """
select e.id, e.topology_id, e.type, e.state, e.parent_id, e.connection_id, e.host_element_id, e.site_id, e.template_id,
  e.profile_id, e.network_id, e.network_instance_id, e.rextfv_started_at, e.next_sync_at, e.usage_id, e.attrs,
  he.attrs as host_element_attrs, h.name as host_name, s.name as host_site_name, t.id as run_template_id,
  t.name as run_template_name, p.id as run_profile_id, p.name as run_profile_name, p.ram, p.cpus, p.diskspace
from elements e
left join host_elements he on he.id = e.host_element_id
left join hosts h on h.id = he.host_id
left join sites s on s.id = h.site_id
left join templates t on t.id = e.template_id
left join profiles p on p.id = e.profile_id
where e.topology_id = %s
order by e.id
"""
CONNECTIONS_BY_HAND = """
select c.id, c.topology_id, c.type, c.state, c.host_connection1_id, c.host_connection2_id, c.host_element1_id,
  c.host_element2_id, c.usage_id, c.attrs, min(e.id) as from_element_id, max(e.id) as to_element_id
from connections c
inner join elements e on e.connection_id = c.id
where c.topology_id = %s
group by c.id
order by c.id
"""


def with_aiosql(url: str) -> Contestant:
    """Return aiosql with this layer's query files."""
    pool = ConnectionPool(url, kwargs={"autocommit": True}, min_size=1, max_size=8, open=True)
    path = schema.DB_DIR / "queries" / "organizations.sql"
    queries = aiosql.from_path(path, "psycopg", record_classes={"Organization": Organization})

    def run(call: Callable[[Any], Any]) -> Any:
        with pool.connection() as connection:
            return call(connection)

    return Contestant(
        "aiosql + pool",
        {
            "point": lambda: run(lambda connection: queries.get_by_name(connection, name=NAME)),
            "list": lambda: run(lambda connection: list(queries.list(connection, after=0, limit=50))),
        },
        pool.close,
        many_threads=True,
    )


def traced(url: str) -> Contestant:
    """Return this layer with OpenTelemetry: a span and a measurement of each call, kept in memory."""
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    metered = MeterProvider(metric_readers=[InMemoryMetricReader()])
    db = tomato_dao.connect(url, pool_size=1, tracer_provider=provider, meter_provider=metered)

    def point() -> object:
        if next(_numbers) % 1000 == 0:
            exporter.clear()
        return db.organizations.get_by_name(NAME)

    return Contestant("tomato_dao, spans and metrics", {"point": point}, db.close)


def ours(url: str, topology: int, usage_id: int) -> Contestant:
    """Return this layer."""
    db = tomato_dao.connect(url, pool_size=8)
    insert = _adhoc(BATCH_SQL.format(*(f":a{n}" for n in range(9))))

    def batch(rows: int) -> None:
        db._run(insert, [list(column) for column in zip(*batch_rows(usage_id, rows), strict=True)])

    return Contestant(
        "tomato_dao",
        {
            "point": lambda: db.organizations.get_by_name(NAME),
            "list": lambda: db.organizations.list(limit=50),
            "full": lambda: db.topologies.full(topology),
            "page": lambda: db.topologies.list(limit=100),
            "insert": lambda: db.organizations.create(fresh_name(), attrs={"a": 1}),
            "batch": lambda: batch(1000),
            "large batch": lambda: batch(10000),
        },
        db.close,
        many_threads=True,
    )


def _adhoc(sql: str) -> Any:
    """Return a query that is not part of a DAO."""
    import tempfile
    from pathlib import Path

    from tomato_dao.sql import query_files

    with tempfile.TemporaryDirectory() as directory:
        Path(directory, "adhoc.sql").write_text(f"-- name: batch({', '.join(f'a{n}' for n in range(9))})!\n{sql.strip()};\n")
        return query_files.load(Path(directory))["adhoc.batch"]


def copy(url: str, usage_id: int) -> Contestant:
    """Return COPY, for batches only: the standard for their comparison."""
    connection = psycopg.connect(url, autocommit=True)
    columns = "usage_id, end_at, begin_at, memory, diskspace, traffic, cputime, measurements, type"

    def batch(rows: int) -> None:
        types = ["int8", "timestamptz", "timestamptz", "float8", "float8", "float8", "float8", "int8", "text"]
        with connection.cursor() as cursor, cursor.copy(f"copy usage_records ({columns}) from stdin (format binary)") as into:
            into.set_types(types)
            for row in batch_rows(usage_id, rows):
                into.write_row(row)

    return Contestant("psycopg COPY", {"batch": lambda: batch(1000), "large batch": lambda: batch(10000)}, connection.close)


async def connected_to_asyncpg(url: str, *, pooled: bool) -> Any:
    """Return a connection of asyncpg, or a pool of at most 8, that decodes JSON like this layer."""
    settings = conninfo_to_dict(url)
    arguments: dict[str, Any] = {
        "host": settings.get("host"),
        "port": settings.get("port"),
        "user": settings.get("user"),
        "password": settings.get("password"),
        "database": settings["dbname"],
    }

    async def prepare(connection: Any) -> None:
        await connection.set_type_codec(
            "jsonb", schema="pg_catalog", format="binary",
            encoder=lambda v: b"\x01" + msgspec.json.encode(v), decoder=lambda b: msgspec.json.decode(b[1:]),
        )  # fmt: skip

    if pooled:
        return await asyncpg.create_pool(**arguments, min_size=1, max_size=8, init=prepare)
    connection = await asyncpg.connect(**arguments)
    await prepare(connection)
    return connection


def with_asyncpg(url: str, *, pooled: bool) -> Contestant:
    """Return asyncpg on its own event loop: a bare connection, or its pool."""
    loop = asyncio.new_event_loop()
    source = loop.run_until_complete(connected_to_asyncpg(url, pooled=pooled))

    def run(method: str, sql: str, *values: object) -> Any:
        return loop.run_until_complete(getattr(source, method)(sql, *values))

    point_sql = f"select {COLUMNS} from organizations where name = $1"
    list_sql = f"select {COLUMNS} from organizations where id > $1 order by id limit $2"
    insert_sql = f"insert into organizations (name, attrs) values ($1, $2) returning {COLUMNS}"

    async def points(calls: int) -> None:
        async def one() -> None:
            for _ in range(calls // 25):
                Organization(*await source.fetchrow(point_sql, NAME))

        await asyncio.gather(*(one() for _ in range(25)))

    return Contestant(
        f"asyncpg, {'pool' if pooled else 'bare connection'}",
        {
            "point": lambda: Organization(*run("fetchrow", point_sql, NAME)),
            "list": lambda: [Organization(*row) for row in run("fetch", list_sql, 0, 50)],
            "insert": lambda: Organization(*run("fetchrow", insert_sql, fresh_name(), {"a": 1})),
        },
        lambda: (loop.run_until_complete(source.close()), loop.close())[1],
        many=(lambda calls: loop.run_until_complete(points(calls))) if pooled else None,
    )


def all_of(url: str, topology: int, usage_id: int) -> list[Contestant]:
    """Return all contestants, connected to one database."""
    from benchmarks import orms

    return [
        libpq(url, topology),
        ours(url, topology, usage_id),
        traced(url),
        by_hand(url, topology, usage_id, autocommit=True),
        by_hand(url, topology, usage_id, autocommit=False),
        with_aiosql(url),
        with_asyncpg(url, pooled=False),
        with_asyncpg(url, pooled=True),
        orms.sqlalchemy_core(url),
        orms.sqlalchemy_orm(url, topology),
        *orms.django_orm(url, topology),
        copy(url, usage_id),
    ]

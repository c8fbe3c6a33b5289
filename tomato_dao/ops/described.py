"""What the server says of each named query: the types of its parameters, and its columns with whether they can be null."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import psycopg
from psycopg import pq

from ..query import Query
from . import embedded, node_tree
from .node_tree import Node
from .one_row import returns_at_most_one_row
from .query_tree import Catalog, QueryTree
from .scratch import scratch_database


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a query, or a part of a JSON row in one.

    type: the server's name for it, "int8", "text[]", of a domain its base type's. can_be_null: None where the server
    can't know. parts: those of the JSON row, or of each of the JSON rows, that it is; None where it is none.
    """

    name: str
    type: str
    can_be_null: bool | None
    parts: list["Column"] | None


@dataclass(frozen=True, slots=True)
class Described:
    """A query as the server sees it; parameters: their types."""

    query: Query
    parameters: list[str]
    columns: list[Column]
    at_most_one_row: bool


@dataclass(frozen=True, slots=True)
class Refused:
    """A query that the server refuses: the line of its file, and why."""

    query: Query
    line: int
    message: str


@contextmanager
def layout_connection() -> Iterator[psycopg.Connection]:
    """A connection to a scratch database of the embedded server: what describes queries is in PostgreSQL 16 and later."""
    with scratch_database(embedded.start()) as url, psycopg.connect(url, autocommit=True) as connection:
        yield connection


def describe(connection: psycopg.Connection, queries: Iterable[Query]) -> list[Described | Refused]:
    """All queries, in order."""
    types = _names(connection, _TYPE_NAMES)
    catalog = _catalog(connection)
    return [_describe(connection, catalog, types, query) for query in queries]


def _describe(connection: psycopg.Connection, catalog: Catalog, types: dict[int, str], query: Query) -> Described | Refused:
    prepared = connection.pgconn.prepare(b"", query.sql.encode())
    if prepared.status != pq.ExecStatus.COMMAND_OK:
        position = prepared.error_field(pq.DiagnosticField.STATEMENT_POSITION)
        said = prepared.error_field(pq.DiagnosticField.MESSAGE_PRIMARY) or b"?"
        return Refused(query, query.line_at(int(position or 1)), said.decode())
    described = connection.pgconn.describe_prepared(b"")
    parameters = [described.param_type(n) for n in range(described.nparams)]
    parameter_types = [types[oid] for oid in parameters]
    if not described.nfields:
        return Described(query, parameter_types, [], at_most_one_row=False)
    nullable = {n for n, name in enumerate(query.parameters, 1) if name in query.nullable}
    try:
        tree = QueryTree(node_tree.parse(_analysed(connection, query, parameters)), catalog, nullable)
    except psycopg.Error as error:
        return Refused(query, query.sql_line, f"the server can't analyse it: {error.diag.message_primary}")
    columns = [
        Column(
            (described.fname(n) or b"").decode(),
            types[described.ftype(n)],
            tree.column_can_be_null(n),
            _parts(tree, expr, types),
        )
        for n, expr in enumerate(tree.columns())
    ]
    return Described(query, parameter_types, columns, returns_at_most_one_row(tree))


def _parts(tree: QueryTree, expr: Node, types: dict[int, str]) -> list[Column] | None:
    found = tree.parts(expr)
    if found is None:
        return None
    inner, arguments = found
    return [
        Column("", types.get(inner.type_of(argument), ""), inner.can_be_null(argument), _parts(inner, argument, types))
        for argument in arguments
    ]


def _analysed(connection: psycopg.Connection, query: Query, parameters: list[int]) -> str:
    """The server's analysis of a query, which it keeps for the body of a function."""
    names = connection.execute("select format_type(type, null) from unnest(%s::oid[]) type", [parameters]).fetchall()
    arguments = ", ".join(str(name) for (name,) in names)
    head = f"create function pg_temp.analysed({arguments}) returns setof record language sql"
    with connection.transaction(force_rollback=True):
        connection.execute(f"{head} begin atomic {query.sql};\nend".encode())
        row = connection.execute(
            "select prosqlbody from pg_proc where proname = 'analysed' and pronamespace = pg_my_temp_schema()"
        ).fetchone()
    return str(row[0]) if row else ""


_TYPE_NAMES = """
select t.oid::int8, coalesce(b.typname || '[]', d.typname, t.typname)
from pg_type t
left join pg_type b on b.oid = t.typelem and t.typcategory = 'A'
left join pg_type d on d.oid = t.typbasetype
"""
_NOT_NULL = """
select a.attrelid::int8, array_agg(a.attnum::int8)
from pg_attribute a
inner join pg_type t on t.oid = a.atttypid
where a.attnum > 0 and (a.attnotnull or t.typnotnull)
group by a.attrelid
"""
_UNIQUE = """
select i.indrelid::int8, array(select unnest((i.indkey::int8[])[0:i.indnkeyatts - 1]))
from pg_index i
where i.indisunique and i.indpred is null and i.indexprs is null
"""
_VIEWS = """
select r.ev_class::int8, r.ev_action::text
from pg_rewrite r
inner join pg_class c on c.oid = r.ev_class
where c.relkind = 'v' and c.relnamespace = 'public'::regnamespace
"""
_BODIES = """
select p.oid::int8, p.prosqlbody::text
from pg_proc p
where p.prosqlbody is not null and p.proretset and p.pronamespace = 'public'::regnamespace
"""


def _names(connection: psycopg.Connection, sql: str) -> dict[int, str]:
    return {oid: str(name) for oid, name in connection.execute(sql.encode())}


def _catalog(connection: psycopg.Connection) -> Catalog:
    unique: dict[int, list[set[int]]] = {}
    for table, key in connection.execute(_UNIQUE):
        unique.setdefault(table, []).append(set(key))
    return Catalog(
        not_null={table: set(columns) for table, columns in connection.execute(_NOT_NULL)},
        unique=unique,
        functions=_names(connection, "select oid::int8, proname from pg_proc where pronamespace = 'pg_catalog'::regnamespace"),
        operators=_names(
            connection, "select oid::int8, oprname from pg_operator where oprnamespace = 'pg_catalog'::regnamespace"
        ),
        views={view: node_tree.parse(text) for view, text in connection.execute(_VIEWS)},
        bodies={function: node_tree.parse(text) for function, text in connection.execute(_BODIES)},
    )

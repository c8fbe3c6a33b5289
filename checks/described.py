"""Named queries as the server describes them: types of parameters and columns, and which columns can be null."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import psycopg
from psycopg import pq

from tomato_dao.ops import embedded
from tomato_dao.ops.scratch import scratch_database
from tomato_dao.sql.query import Query

from . import node_tree
from .catalog import Catalog, analyse, read_catalog
from .json_rows import json_rows
from .node_tree import Node
from .nullability import can_be_null, column_can_be_null, column_elements, elements_can_be_null
from .one_row import has_a_row, returns_at_most_one_row
from .query_tree import Parameters, QueryTree
from .read_only import changes

_SOURCE = ("varno", "varattno", "varlevelsup", "varreturningtype")


@dataclass(frozen=True, slots=True)
class ResultColumn:
    """A column of a query, or a part of a JSON row in one.

    type: the server's name for it, "int8", "text[]", of a domain its base type's. can_be_null: None where the server
    can't know. can_hold_null: the same of what an array, or JSON rows, hold. parts: those of the JSON row that it is, or of
    each of its JSON rows where is_many; None where it is none. source: the same for columns that are one and the same.
    """

    name: str
    type: str
    can_be_null: bool | None
    can_hold_null: bool | None
    parts: list["ResultColumn"] | None
    is_many: bool
    source: str


@dataclass(frozen=True, slots=True)
class Described:
    """A query as the server sees it. parameters: their types. changes: what it may do beside reading; empty: it only reads."""

    query: Query
    parameters: list[str]
    columns: list[ResultColumn]
    at_most_one_row: bool
    has_a_row: bool
    changes: list[str]


@dataclass(frozen=True, slots=True)
class Refused:
    """A query that the server refuses: the line of its file, and why."""

    query: Query
    line: int
    message: str


@dataclass(frozen=True, slots=True)
class _Types:
    """The names of types, by oid: as they are told, and as SQL takes them."""

    names: Mapping[int, str]
    in_sql: Mapping[int, str]


@contextmanager
def layout_connection() -> Iterator[psycopg.Connection]:
    """A connection to a scratch database of the tests' embedded server: queries are described by PostgreSQL 16 and later."""
    with (
        embedded.started_for_tests() as server_url,
        scratch_database(server_url) as url,
        psycopg.connect(url, autocommit=True) as connection,
    ):
        yield connection


def describe(connection: psycopg.Connection, queries: Iterable[Query]) -> list[Described | Refused]:
    """All queries, in order."""
    found = connection.execute(_TYPE_NAMES).fetchall()
    types = _Types({oid: str(name) for oid, name, _ in found}, {oid: str(name) for oid, _, name in found})
    catalog = read_catalog(connection)
    return [_describe(connection, catalog, types, query) for query in queries]


def _describe(connection: psycopg.Connection, catalog: Catalog, types: _Types, query: Query) -> Described | Refused:
    prepared = connection.pgconn.prepare(b"", query.sql.encode())
    if prepared.status != pq.ExecStatus.COMMAND_OK:
        position = prepared.error_field(pq.DiagnosticField.STATEMENT_POSITION)
        said = prepared.error_field(pq.DiagnosticField.MESSAGE_PRIMARY) or b"?"
        return Refused(query, query.line_at(int(position or 1)), said.decode())
    described = connection.pgconn.describe_prepared(b"")
    parameters = [described.param_type(n) for n in range(described.nparams)]
    parameter_types = [types.names[oid] for oid in parameters]
    if not described.nfields:
        return Described(query, parameter_types, [], at_most_one_row=False, has_a_row=False, changes=["returns no rows"])
    nullable = {n for n, name in enumerate(query.parameters, 1) if name in query.nullable}
    try:
        arguments = ", ".join(types.in_sql[oid] for oid in parameters)
        node = node_tree.parse(analyse(connection, arguments, "setof record", query.sql))
    except psycopg.Error as error:
        return Refused(query, query.sql_line, f"the server can't analyse it: {error.diag.message_primary}")
    tree = QueryTree(node, catalog, Parameters(nullable, nullable))
    columns = [
        _column(tree, n, expr, (described.fname(n) or b"").decode(), types.names[described.ftype(n)], types.names)
        for n, expr in enumerate(tree.columns())
    ]
    at_most_one_row = returns_at_most_one_row(tree)
    return Described(query, parameter_types, columns, at_most_one_row, has_a_row(tree), changes(catalog, node))


def _column(tree: QueryTree, n: int, expr: Node, name: str, type_: str, types: Mapping[int, str]) -> ResultColumn:
    """Column n of a query."""
    if not tree.node.has("setOperations"):
        return _part(tree, expr, name, type_, types)
    return ResultColumn(name, type_, column_can_be_null(tree, n), column_elements(tree, n), None, False, "")


def _part(tree: QueryTree, expr: Node, name: str, type_: str, types: Mapping[int, str]) -> ResultColumn:
    source = " ".join(expr.text(key) for key in _SOURCE) if expr.label == "VAR" else ""
    can_be = can_be_null(tree, expr)
    rows = json_rows(tree, expr)
    if rows is None:
        return ResultColumn(name, type_, can_be, elements_can_be_null(tree, expr), None, False, source)
    inner = rows.tree
    parts = [_part(inner, part, "", types.get(inner.type_of(part), ""), types) for part in rows.parts]
    return ResultColumn(name, type_, can_be, rows.can_hold_null, parts, rows.is_many, source)


_TYPE_NAMES = """
select t.oid::int8, coalesce(b.typname || '[]', d.typname, t.typname), format_type(t.oid, null)
from pg_type t
left join pg_type b on b.oid = t.typelem and t.typcategory = 'A'
left join pg_type d on d.oid = t.typbasetype
"""

"""The server's description of named queries: types of parameters and columns, and nullability."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import chain

import psycopg
from psycopg import pq

from tomato_dao.ops import embedded
from tomato_dao.ops.scratch import scratch_database
from tomato_dao.server.probe import probe
from tomato_dao.sql.query import Query

from . import node_tree
from .catalog import Catalog, analyse, read_catalog
from .json_rows import json_rows
from .node_tree import Node
from .nullability import can_be_null, column_can_be_null, column_elements, elements_can_be_null
from .one_row import has_a_row, returns_at_most_one_row
from .query_tree import Parameters, QueryTree, any_null
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
    """The server's description of a query; for a query with variants, the properties common to all.

    parameters: their types. changes: what it may do beside reading; empty: it only reads. orders: what is wrong with the
    orders that its callers may continue after a row.
    """

    query: Query
    parameters: list[str]
    columns: list[ResultColumn]
    at_most_one_row: bool
    has_a_row: bool
    changes: list[str]
    orders: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Refused:
    """A query that the server refuses: the line in its file, and the reason."""

    query: Query
    line: int
    message: str


@dataclass(frozen=True, slots=True)
class _Types:
    """The names of types, by oid: as they are told, and as SQL takes them."""

    names: Mapping[int, str]
    in_sql: Mapping[int, str]


@contextmanager
def schema_connection() -> Iterator[psycopg.Connection]:
    """Connect to a scratch database of the tests' embedded server: PostgreSQL 16 and later describe queries."""
    with (
        embedded.started_for_tests() as server_url,
        scratch_database(server_url) as url,
        probe(url) as connection,
    ):
        yield connection


def describe(connection: psycopg.Connection, queries: Iterable[Query]) -> list[Described | Refused]:
    """All queries, in order."""
    found = connection.execute(_TYPE_NAMES).fetchall()
    types = _Types({oid: str(name) for oid, name, _ in found}, {oid: str(name) for oid, _, name in found})
    catalog = read_catalog(connection)
    described: list[Described | Refused] = []
    for query in queries:
        with _undone(connection):
            variants = [_describe(connection, catalog, types, variant) for variant in query.variants()]
        refused = next((variant for variant in variants if isinstance(variant, Refused)), None)
        whole = refused or _together(query, [variant for variant in variants if isinstance(variant, Described)])
        if isinstance(whole, Described) and whole.columns:
            whole.orders.extend(_unfit_orders(connection, catalog, types, query))
        described.append(whole)
    return described


@contextmanager
def _undone(connection: psycopg.Connection) -> Iterator[None]:
    """In a transaction: let what the server refuses of one query not end the transaction."""
    if connection.info.transaction_status == pq.TransactionStatus.IDLE:
        yield
    else:
        with connection.transaction(force_rollback=True):
            yield


def _unfit_orders(connection: psycopg.Connection, catalog: Catalog, types: _Types, query: Query) -> Iterator[str]:
    """Return the faults of orders that are continued after a row: nulls, and equal rows.

    Pages would omit such rows, or the rest of them.
    """
    if not query.choices:
        return
    for order in query.choices.orders.values():
        if not order.after:
            continue
        tree = _tree(connection, catalog, types, query.choices.variant(order.name, ()))
        refs = [clause.number("tleSortGroupRef") for clause in tree.node.nodes("sortClause")]
        entries = {e.number("ressortgroupref"): e.node("expr") for e in tree.node.nodes("targetList")}
        sorted_by = [expr for ref in refs if (expr := entries.get(ref))]
        for column, expr in zip(order.columns.split(","), sorted_by, strict=False):
            if can_be_null(tree, expr) is not False:
                yield f"order {order.name}: {column.split()[0]} can be null, so that no page after the first would have the row"
        same = [
            replace(line, text=re.sub("[<>]", "=", line.text, count=1)) if line.order else line for line in query.choices.lines
        ]
        at_one_place = replace(query.choices, lines=tuple(same)).variant(order.name, order.after)
        if not returns_at_most_one_row(_tree(connection, catalog, types, at_one_place)):
            yield f"order {order.name}: rows may share a place in it, and a page might end between them: add a unique key"


def _together(query: Query, variants: Sequence[Described]) -> Described | Refused:
    """Combine the descriptions of a query's variants, which must have the same parameters and columns."""
    first = variants[0]
    parameters: dict[str, str] = {}
    for variant in variants:
        for name, type_ in zip(variant.query.parameters, variant.parameters, strict=True):
            if parameters.setdefault(name, type_) != type_:
                return Refused(query, query.line, f"{name} is {parameters[name]} or {type_}, as {variant.query.name} has it")
        if [(c.name, c.type) for c in variant.columns] != [(c.name, c.type) for c in first.columns]:
            said = f"{first.query.name} returns {_listed(first.columns)}, but {variant.query.name} {_listed(variant.columns)}"
            return Refused(query, query.line, said)
    return Described(
        query,
        [parameters[name] for name in query.parameters],
        [_any(columns) for columns in zip(*(variant.columns for variant in variants), strict=True)],
        at_most_one_row=all(variant.at_most_one_row for variant in variants),
        has_a_row=all(variant.has_a_row for variant in variants),
        changes=list(dict.fromkeys(chain.from_iterable(variant.changes for variant in variants))),
    )


def _listed(columns: Sequence[ResultColumn]) -> str:
    return ", ".join(f"{column.name} {column.type}" for column in columns) or "nothing"


def _any(columns: Sequence[ResultColumn]) -> ResultColumn:
    """Combine a column's properties in all variants: it can be null if it can be null in one."""
    first = columns[0]
    parts = [column.parts for column in columns]
    has_parts = all(part is not None and len(part) == len(parts[0] or ()) for part in parts)
    return replace(
        first,
        can_be_null=any_null(column.can_be_null for column in columns),
        can_hold_null=any_null(column.can_hold_null for column in columns),
        parts=[_any(same) for same in zip(*(part or () for part in parts), strict=True)] if has_parts else None,
    )


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
    try:
        tree = _tree(connection, catalog, types, query, parameters)
    except psycopg.Error as error:
        return Refused(query, query.sql_line, f"the server can't analyse it: {error.diag.message_primary}")
    columns = [
        _column(tree, n, expr, (described.fname(n) or b"").decode(), types.names[described.ftype(n)], types.names)
        for n, expr in enumerate(tree.columns())
    ]
    at_most_one_row = returns_at_most_one_row(tree)
    return Described(query, parameter_types, columns, at_most_one_row, has_a_row(tree), changes(catalog, tree.node))


def _tree(
    connection: psycopg.Connection, catalog: Catalog, types: _Types, query: Query, parameters: Sequence[int] | None = None
) -> QueryTree:
    """Return a query as the server has analysed it. parameters: their types, where they are known."""
    if parameters is None:
        connection.pgconn.prepare(b"", query.sql.encode())
        described = connection.pgconn.describe_prepared(b"")
        parameters = [described.param_type(n) for n in range(described.nparams)]
    nullable = {n for n, name in enumerate(query.parameters, 1) if name in query.nullable}
    arguments = ", ".join(types.in_sql[oid] for oid in parameters)
    node = node_tree.parse(analyse(connection, arguments, "setof record", query.sql))
    return QueryTree(node, catalog, Parameters(nullable, nullable))


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

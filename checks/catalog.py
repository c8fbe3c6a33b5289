"""The server's catalog, as far as the analysis of queries asks for it: not-null columns, unique keys, functions, views."""

from collections.abc import Callable, Mapping, Sequence, Set
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cache

import psycopg

from .node_tree import Node, parse, parse_all


@dataclass(frozen=True, slots=True)
class KeyColumn:
    """A column of a unique key: its number, and the operator family and collation that say which values are equal."""

    number: int
    family: int
    collation: int


@dataclass(frozen=True, slots=True)
class Function:
    """A function. volatility: "i", "s" or "v". is_servers: whether it is the server's own.

    arguments: how many it takes. body: its queries, where the server has analysed them. defaults: those of its last arguments.
    """

    name: str
    volatility: str
    is_servers: bool
    is_strict: bool
    arguments: int
    body: str | None
    defaults: str | None


@dataclass(frozen=True, slots=True)
class Catalog:
    """The catalog of one database; tables, columns, functions, operators are named by oid or number.

    not_null: columns that are never null. unique: keys that hold at any moment and for all rows of a table. generated: the
    expressions of generated columns. whole: array columns without null elements. equalities: the operator families in which
    an operator is the equality. loose: collations by which different texts can be equal. signatures: of the server's own
    functions and operators, "lower(text)". unproved: tables that do not only read when they are read, and why. triggers:
    tables whose rows a trigger may change before they are stored. views, bodies: queries of views and set-returning functions.
    """

    not_null: Mapping[int, Set[int]]
    unique: Mapping[int, Sequence[Sequence[KeyColumn]]]
    generated: Mapping[tuple[int, int], Node]
    whole: Set[tuple[int, int]]
    equalities: Mapping[int, Set[int]]
    loose: Set[int]
    signatures: Mapping[int, str]
    operators: Mapping[int, str]
    operator_functions: Mapping[int, int]
    functions: Mapping[int, Function]
    aligned: Set[int]
    arrays: Set[int]
    composites: Set[int]
    unproved: Mapping[int, str]
    triggers: Set[int]
    domains: Mapping[int, Sequence[str]]
    views: Mapping[int, str]
    parse: Callable[[str], Node]

    def signature(self, expr: Node) -> str:
        """Return the signature of the server's own function that an expression calls; empty where it calls none."""
        oid = expr.number("funcid") or expr.number("aggfnoid") or expr.number("winfnoid")
        return self.signatures.get(oid, "")

    def operator(self, expr: Node) -> str:
        """Return the signature of the server's own operator of an expression; empty where it has none."""
        return self.operators.get(expr.number("opno"), "")

    def function_of(self, expr: Node) -> int:
        """Return the oid of the function that an expression calls by its name or as an operator; 0 where it calls none."""
        return expr.number("funcid") or self.operator_functions.get(expr.number("opno"), 0)

    def argument(self, call: Node, number: object) -> Node | None:
        """Return what a call gives for an argument, by number, or the argument's default where that is a constant."""
        for n, argument in enumerate(call.nodes("args"), 1):
            if number == (argument.number("argnumber") + 1 if argument.label == "NAMEDARGEXPR" else n):
                return argument
        function = self.functions[call.number("funcid")]
        defaults = parse_all(function.defaults or "()")
        found = [default for n, default in enumerate(defaults, function.arguments - len(defaults) + 1) if n == number]
        return found[0] if found and found[0].label == "CONST" else None

    def view(self, table: int) -> Node | None:
        """Return the query of a view; None for a table."""
        text = self.views.get(table)
        return self.parse(text) if text else None

    def body(self, function: int) -> Node | None:
        """Return the query whose rows a function returns; None where the server does not keep it analysed."""
        found = self.functions.get(function)
        return self.parse(found.body) if found and found.body and function in self.aligned else None


_NOT_NULL = """
select a.attrelid::int8, array_agg(a.attnum::int8)
from pg_attribute a
where a.attnum > 0 and a.attnotnull and not exists (
    select from pg_constraint n
    where
      n.conrelid = a.attrelid and n.contype = 'n' and n.conkey = array[a.attnum]
      and (not n.convalidated or (n.connoinherit and exists (select from pg_inherits i where i.inhparent = n.conrelid)))
  )
group by a.attrelid
"""
# Not of tables with children: a key holds in each by itself. A partitioned table's holds in all.
_UNIQUE = """
select i.indrelid::int8, i.indexrelid::int8, k.attnum::int8, o.opcfamily::int8, k.coll::int8
from pg_index i
inner join pg_class c on c.oid = i.indexrelid
inner join pg_am m on m.oid = c.relam
cross join lateral rows from (
    unnest((i.indkey::int2 [])[0:i.indnkeyatts - 1]), unnest(i.indclass::oid []), unnest(i.indcollation::oid [])
  ) k (attnum, opclass, coll)
inner join pg_opclass o on o.oid = k.opclass
where
  i.indisunique and i.indimmediate and i.indisvalid and i.indpred is null and i.indexprs is null and m.amname = 'btree'
  and k.attnum is not null
  and not exists (
    select from pg_inherits h
    inner join pg_class p on p.oid = h.inhparent
    where h.inhparent = i.indrelid and p.relkind <> 'p'
  )
"""
_GENERATED = """
select d.adrelid::int8, d.adnum::int8, d.adbin::text
from pg_attrdef d
inner join pg_attribute a on a.attrelid = d.adrelid and a.attnum = d.adnum
where a.attgenerated <> ''
"""
_WHOLE = """
select c.conrelid::int8, k.attnum::int8
from pg_constraint c
cross join unnest(c.conkey) k (attnum)
inner join pg_attribute a on a.attrelid = c.conrelid and a.attnum = k.attnum
where
  c.contype = 'c' and c.convalidated and not c.connoinherit
  and pg_get_expr(c.conbin, c.conrelid) ~ ('^\\(array_position\\(' || quote_ident(a.attname) || ', NULL::\\w+\\) IS NULL\\)$')
"""
_EQUALITIES = """
select o.amopopr::int8, array_agg(o.amopfamily::int8)
from pg_amop o
inner join pg_am m on m.oid = o.amopmethod
where (m.amname = 'btree' and o.amopstrategy = 3) or (m.amname = 'hash' and o.amopstrategy = 1)
group by o.amopopr
"""
_FUNCTIONS = """
select
  p.oid::int8, p.proname, p.provolatile::text, p.pronamespace = 'pg_catalog'::regnamespace, p.proisstrict, p.pronargs::int8,
  p.prosqlbody::text, p.proargdefaults::text
from pg_proc p
"""
_OPERATORS = "select oid::int8, oid::regoperator::text from pg_operator where oprnamespace = 'pg_catalog'::regnamespace"
# Functions whose bodies are texts: the server analyses them anew at each use.
_TEXTS = """
select p.oid::int8, pg_get_function_arguments(p.oid), pg_get_function_result(p.oid), p.prosrc
from pg_proc p
inner join pg_language l on l.oid = p.prolang
where
  l.lanname = 'sql' and p.prosqlbody is null and p.prokind = 'f'
  and p.pronamespace not in ('pg_catalog'::regnamespace, 'information_schema'::regnamespace)
"""
# The columns of what these return are in the order of their queries' columns.
_ALIGNED = """
select p.oid::int8
from pg_proc p
inner join pg_type t on t.oid = p.prorettype
where p.proretset and not exists (
    select from pg_attribute a
    where a.attrelid = t.typrelid and a.attisdropped
  )
"""
_UNPROVED = """
select
  c.oid::int8, case when c.relkind = 'f' then 'reads the foreign table ' else 'reads by the policies of ' end || c.relname
from pg_class c
where c.relkind = 'f' or c.relrowsecurity
"""
# Triggers before or instead of an insert or update; rules; and what stands for other tables, which may have triggers.
_TRIGGERS = """
select t.tgrelid::int8 from pg_trigger t where t.tgtype & 66 <> 0 and t.tgtype & 20 <> 0
union
select r.ev_class::int8 from pg_rewrite r where r.ev_type <> '1'
union
select i.inhparent::int8 from pg_inherits i
union
select c.oid::int8 from pg_class c where c.relkind = 'f'
"""
_DOMAINS = """
select t.oid::int8, array(select c.conbin::text from pg_constraint c where c.contypid = t.oid), t.typbasetype::int8
from pg_type t
where t.typtype = 'd'
"""
_VIEWS = """
select r.ev_class::int8, r.ev_action::text
from pg_rewrite r
inner join pg_class c on c.oid = r.ev_class
where c.relkind = 'v' and r.ev_type = '1'
"""


def read_catalog(connection: psycopg.Connection) -> Catalog:
    """Return the catalog of a connection's database."""

    def names(sql: str) -> dict[int, str]:
        return {oid: str(name) for oid, name in connection.execute(sql.encode())}

    def numbers(sql: str) -> set[int]:
        return {oid for (oid,) in connection.execute(sql.encode())}

    keys: dict[int, dict[int, list[KeyColumn]]] = {}
    for table, index, *column in connection.execute(_UNIQUE):
        keys.setdefault(table, {}).setdefault(index, []).append(KeyColumn(*column))
    functions = {oid: Function(*rest) for oid, *rest in connection.execute(_FUNCTIONS)}
    texts = {oid: _analysed(connection, *rest) for oid, *rest in connection.execute(_TEXTS).fetchall()}
    return Catalog(
        not_null={table: set(columns) for table, columns in connection.execute(_NOT_NULL)},
        unique={table: list(found.values()) for table, found in keys.items()},
        generated={(table, n): parse(text) for table, n, text in connection.execute(_GENERATED)},
        whole=set(connection.execute(_WHOLE)),
        equalities={operator: set(families) for operator, families in connection.execute(_EQUALITIES)},
        loose=numbers("select oid::int8 from pg_collation where not collisdeterministic"),
        signatures=names(
            "select oid::int8, oid::regprocedure::text from pg_proc where pronamespace = 'pg_catalog'::regnamespace"
        ),
        operators=names(_OPERATORS),
        operator_functions=dict(connection.execute("select oid::int8, oprcode::int8 from pg_operator").fetchall()),
        functions={oid: replace(function, body=function.body or texts.get(oid)) for oid, function in functions.items()},
        aligned=numbers(_ALIGNED),
        arrays=numbers("select oid::int8 from pg_type where typcategory = 'A'"),
        composites=numbers("select oid::int8 from pg_type where typtype = 'c' or typname = 'record'"),
        unproved=names(_UNPROVED),
        triggers=numbers(_TRIGGERS),
        domains={oid: checks for oid, checks, _ in connection.execute(_DOMAINS)},
        views=names(_VIEWS),
        parse=cache(parse),
    )


def analyse(connection: psycopg.Connection, arguments: str, result: str, text: str) -> str:
    """Return the server's analysis of a query with such parameters, which it keeps for the body of a function."""
    head = f"create function pg_temp.analysed({arguments}) returns {result} language sql"
    with connection.transaction(force_rollback=True):
        connection.execute(f"{head} begin atomic {text};\nend".encode())
        row = connection.execute(
            "select prosqlbody from pg_proc where proname = 'analysed' and pronamespace = pg_my_temp_schema()"
        ).fetchone()
    return str(row[0]) if row else ""


def _analysed(connection: psycopg.Connection, *function: str) -> str | None:
    """Return the same of a function's text; None where the server refuses it."""
    with suppress(psycopg.Error):
        return analyse(connection, *function)
    return None

"""The tables in the server's catalog: columns, keys, references, and the order in which they are dumped."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import LiteralString

import psycopg
from psycopg import sql

from ..errors import WrongSchema, entity_of


@dataclass(frozen=True, slots=True)
class Column:
    """A stored column. kind: integer, number, boolean, instant, json, array, or text for all others.

    wire: its encoding in COPY's binary format, if that is supported: a code of struct, “instant” or “word”; else empty.
    """

    name: str
    kind: str
    nullable: bool
    wire: str = ""


@dataclass(frozen=True, slots=True)
class Table:
    """A table, the model of its records, and its columns, those of the key first.

    has_defaults: all columns have defaults, so the schema creates a row of them, which does not count as content (settings).
    members: a partitioned table's partitions of all levels. leaves: the partitions that store rows, in order. Both are quoted.
    distributed: whether Citus stores its rows on other servers.
    """

    name: str
    model: str
    key: tuple[Column, ...]
    fields: tuple[Column, ...]
    has_defaults: bool = False
    members: tuple[str, ...] = ()
    leaves: tuple[str, ...] = ()
    distributed: bool = False

    @property
    def columns(self) -> tuple[Column, ...]:
        """All columns, in a record's order."""
        return self.key + self.fields

    @property
    def name_quoted(self) -> str:
        """The table's name, quoted for SQL."""
        return sql.Identifier(self.name).as_string()

    @property
    def relations(self) -> list[str]:
        """The table and its partitions, quoted."""
        return [self.name_quoted, *self.members]


@dataclass(frozen=True, slots=True)
class Reference:
    """A foreign key: columns of a table, and the columns of another table that they refer to."""

    name: str
    table: str
    columns: tuple[str, ...]
    to_table: str
    to_columns: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule that a constraint trigger enforces. A view of the same name returns the rows that violate it."""

    table: str
    view: str
    message: str


# All tables of the schema except those of extensions; partitions belong to their table. Migrations are part of the header
# instead.
_IN_SCHEMA: LiteralString = """
  c.relnamespace = 'public'::regnamespace and c.relpersistence <> 't'
  and c.relname not in ('schema_migrations', 'migration_lock', 'usage_removed')
  and not exists (
    select from pg_depend d where d.classid = 'pg_class'::regclass and d.objid = c.oid and d.deptype = 'e'
  )
"""
_OURS: LiteralString = f"c.relkind in ('r', 'p') and not c.relispartition and {_IN_SCHEMA}"

# Tables with rows that a dump could not read or would silently omit, and the reason. Chunks of a hypertable inherit from it.
_UNREADABLE: LiteralString = f"""
with ours as materialized (
  select c.oid from pg_class c where {_OURS}
),
members as (
  select o.oid from ours o
  union
  select p.relid from ours o cross join pg_partition_tree(o.oid) p
),
found as (
  select c.oid, case
      when c.relkind = 'f' then 'is a foreign table: its rows are another server''s'
      when c.relpersistence = 'u' and pg_is_in_recovery() then 'is unlogged, and a standby has no rows of it'
      when c.relkind = 'r' and m.amname <> 'heap' then 'is stored by ' || m.amname || ', which has no pages to be read'
    end as reason
  from members o
  join pg_class c on c.oid = o.oid
  left join pg_am m on m.oid = c.relam
  union all
  select c.oid, 'is a foreign table: its rows are another server''s'
  from pg_class c
  where c.relkind = 'f' and not c.relispartition and {_IN_SCHEMA}
  union all
  select c.oid, 'is a partition of ' || r.root::text || ', which is in another schema'
  from pg_class c
  cross join lateral (select pg_partition_root(c.oid) as root) r
  where c.relispartition and c.relkind in ('r', 'p', 'f') and {_IN_SCHEMA} and r.root not in (select o.oid from ours o)
  union all
  select i.inhrelid, 'inherits from ' || p.relname || ', and is in another schema'
  from pg_inherits i
  join ours o on o.oid = i.inhparent
  join pg_class p on p.oid = i.inhparent and p.relkind = 'r'
  join pg_class c on c.oid = i.inhrelid and c.relkind <> 'f'
  where i.inhrelid not in (select o.oid from ours o)
)
select case c.relnamespace when 'public'::regnamespace then quote_ident(c.relname) else c.oid::regclass::text end, f.reason
from found f
join pg_class c on c.oid = f.oid
where f.reason is not null
order by 1
"""  # noqa: S608 (all are constants)
_DISTRIBUTED = """
select c.relname, quote_ident(c.relname), c.relnamespace = 'public'::regnamespace and c.relname = any(%s)
from pg_catalog.pg_dist_partition d
join pg_class c on c.oid = d.logicalrelid
order by 1
"""
_FAR = ["usage_records", "usage_due", "usage_arrivals"]  # read last and in this order: see distributed.py

_LEAVES: LiteralString = f"""
select
  c.relname,
  case c.relkind when 'r' then array[c.oid::regclass::text] else array(
    select p.relid::regclass::text from pg_partition_tree(c.oid) p where p.isleaf order by p.relid::regclass::text collate "C"
  ) end,
  array(
    select p.relid::regclass::text from pg_partition_tree(c.oid) p where p.level > 0
    order by p.level, p.relid::regclass::text collate "C"
  )
from pg_class c
where {_OURS}
"""  # noqa: S608 (both are constants)

_COLUMNS: LiteralString = f"""
with recursive bases as (
  select oid, oid as base from pg_type where typtype <> 'd'
  union all
  select d.oid, bases.base from bases join pg_type d on d.typtype = 'd' and d.typbasetype = bases.oid
)
select
  c.relname,
  a.attname,
  case
    when b.oid in ('int2'::regtype, 'int4'::regtype, 'int8'::regtype) then 'integer'
    when b.oid in ('float4'::regtype, 'float8'::regtype, 'numeric'::regtype) then 'number'
    when b.oid = 'bool'::regtype then 'boolean'
    when b.oid = 'timestamptz'::regtype then 'instant'
    when b.oid in ('json'::regtype, 'jsonb'::regtype) then 'json'
    when b.typcategory = 'A' then 'array'
    else 'text'
  end,
  not (a.attnotnull or t.typnotnull),
  array_position((i.indkey::int2[])[0:i.indnkeyatts - 1], a.attnum),
  a.atthasdef,
  case b.oid
    when 'int2'::regtype then 'h' when 'int4'::regtype then 'i' when 'int8'::regtype then 'q' when 'float8'::regtype then 'd'
    when 'timestamptz'::regtype then 'instant' when 'text'::regtype then 'word' else ''
  end
from pg_class c
join pg_attribute a on a.attrelid = c.oid
join pg_type t on t.oid = a.atttypid
join bases on bases.oid = t.oid
join pg_type b on b.oid = bases.base
left join pg_index i on i.indrelid = c.oid and i.indisprimary
where a.attnum > 0 and not a.attisdropped and a.attgenerated = '' and {_OURS}
order by c.relname collate "C", a.attnum
"""  # noqa: S608 (both are constants)

_REFERENCES: LiteralString = f"""
select f.conname, c.relname, r.relname,
  array(
    select a.attname::text from unnest(f.conkey) with ordinality k (attnum, n)
    join pg_attribute a on a.attrelid = f.conrelid and a.attnum = k.attnum order by k.n
  ),
  array(
    select a.attname::text from unnest(f.confkey) with ordinality k (attnum, n)
    join pg_attribute a on a.attrelid = f.confrelid and a.attnum = k.attnum order by k.n
  )
from pg_constraint f
join pg_class c on c.oid = f.conrelid
join pg_class r on r.oid = f.confrelid
where f.contype = 'f' and f.conparentid = 0 and {_OURS}
order by c.relname collate "C", f.conname collate "C"
"""  # noqa: S608 (both are constants)


_RULES: LiteralString = f"""
select c.relname, v.relname, coalesce(obj_description(v.oid, 'pg_class'), v.relname)
from pg_trigger t
join pg_class c on c.oid = t.tgrelid
join pg_class v on v.relkind = 'v' and v.relname = t.tgname and v.relnamespace = c.relnamespace
where t.tgconstraint <> 0 and not t.tgisinternal and {_OURS}
order by v.relname collate "C"
"""  # noqa: S608 (both are constants)


def tables(connection: psycopg.Connection) -> list[Table]:
    """Return all tables, ordered so that references point backwards where possible.

    Raises WrongSchema for a table without a primary key, two tables of one model, or a table whose rows cannot be read exactly.
    """
    if found_unreadable := unreadable(connection):
        raise WrongSchema(
            f"{'; '.join(found_unreadable)}: a dump would not hold its rows, and a load would not replace them; move it into "
            "another schema"
        )
    columns: dict[str, list[tuple[Column, int | None]]] = {}
    with_default: dict[str, list[bool]] = {}
    for name, column, kind, nullable, place, has_default, wire in connection.execute(_COLUMNS):
        columns.setdefault(name, []).append((Column(column, kind, nullable, wire), place))
        with_default.setdefault(name, []).append(has_default)
    stored = {name: (tuple(members), tuple(leaves)) for name, leaves, members in connection.execute(_LEAVES)}
    far = {name for name, _, is_known in _distributed(connection) if is_known}
    found = {}
    for name, rows in columns.items():
        key = sorted(((place, column) for column, place in rows if place is not None), key=lambda pair: pair[0])
        if not key:
            raise WrongSchema(f"the table {name} has no primary key, so its rows can't be told apart in a dump")
        fields = tuple(column for column, place in rows if place is None)
        own = tuple(column for _, column in key)
        found[name] = Table(
            name, entity_of(name).replace(" ", "_"), own, fields, all(with_default[name]), *stored[name], name in far
        )
    of_model: dict[str, str] = {}
    for name, table in found.items():
        if (other := of_model.setdefault(table.model, name)) != name:
            raise WrongSchema(f"the tables {other} and {name} would both be of the model {table.model} in a dump: rename one")
    order = _in_order(found, references(connection))
    return [found[name] for name in sorted(order, key=lambda name: 1 + _FAR.index(name) if name in far else 0)]


def unreadable(connection: psycopg.Connection) -> list[str]:
    """Return the tables whose rows a dump cannot read exactly, such as foreign tables, each with the reason."""
    found = connection.execute(_UNREADABLE).fetchall()
    reason = "is distributed: its rows are on other servers"
    found += [(quoted, reason) for _, quoted, is_known in _distributed(connection) if not is_known]
    return [f"the table {name} {reason}" for name, reason in found]


def _distributed(connection: psycopg.Connection) -> list[tuple[str, str, bool]]:
    """Return Citus's tables by name, also quoted, and whether they are distributed; none without Citus."""
    if connection.execute("select to_regclass('pg_catalog.pg_dist_partition') is null").fetchone() == (True,):
        return []
    return connection.execute(_DISTRIBUTED, [_FAR]).fetchall()


def references(connection: psycopg.Connection) -> list[Reference]:
    """Return all foreign keys."""
    rows = connection.execute(_REFERENCES)
    return [Reference(name, table, tuple(own), to, tuple(others)) for name, table, to, own, others in rows]


def rules(connection: psycopg.Connection) -> list[Rule]:
    """Return the rules of constraint triggers that have a view of violations."""
    return [Rule(*row) for row in connection.execute(_RULES)]


def _in_order(names: Iterable[str], found: Iterable[Reference]) -> list[str]:
    """Order tables, referenced ones first. Within a cycle, the table with the fewest open references comes next."""
    waits = {name: {r.to_table for r in found if r.table == name} - {name} for name in names}
    order: list[str] = []
    while waits:
        chosen = min(waits, key=lambda name: (len(waits[name] & waits.keys()), name))
        del waits[chosen]
        order.append(chosen)
    return order

"""A schema as the catalog tells it: what older code depends on, for comparing two of them."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

import psycopg

_WORD = re.compile(r"[a-z_][a-z0-9_]*")


@dataclass(frozen=True, slots=True)
class Column:
    """A column; default: its expression, “generated” of one that has a value by itself always, else empty."""

    type: str
    not_null: bool
    default: str
    generated: bool


@dataclass(frozen=True, slots=True)
class Constraint:
    """A constraint or unique index; kind: c, f, u (also of a primary key or unique index), x. target: of a foreign key.

    on_delete: the action of a foreign key, as pg_constraint has it.
    """

    kind: str
    columns: tuple[str, ...]
    text: str
    target: str = ""
    on_delete: str = ""


@dataclass(slots=True)
class Table:
    """A table with all that hangs on it. triggers: name to definition and the function's source."""

    columns: dict[str, Column] = field(default_factory=dict)
    constraints: dict[str, Constraint] = field(default_factory=dict)
    indexes: dict[str, str] = field(default_factory=dict)
    triggers: dict[str, tuple[str, str]] = field(default_factory=dict)
    has_policies: bool = False


@dataclass(slots=True)
class State:
    """A schema: tables by name; views and functions by name with their text."""

    tables: dict[str, Table]
    texts: dict[str, str]

    def changed(self, other: "State") -> set[str]:
        """Return the names of what differs in another state, and of views and functions that lead to it."""
        names = {name for name in self.tables.keys() | other.tables.keys() if self.tables.get(name) != other.tables.get(name)}
        names |= {name for name in self.texts.keys() | other.texts.keys() if self.texts.get(name) != other.texts.get(name)}
        words = {name: words_of([self.texts.get(name, ""), other.texts.get(name, "")]) for name in self.texts | other.texts}
        while more := {name for name, used in words.items() if name not in names and used & names}:
            names |= more
        return names


def words_of(texts: Iterable[str]) -> set[str]:
    """Return the lower-case words of SQL, among which are all names that it uses."""
    return {word for text in texts for word in _WORD.findall(text.lower())}


def state(connection: psycopg.Connection) -> State:
    """Read the schema of a database."""
    tables: dict[str, Table] = {}
    for name, policies in connection.execute(_TABLES):
        tables[name] = Table(has_policies=policies)
    for table, name, *values in connection.execute(_COLUMNS):
        tables[table].columns[name] = Column(*values)
    for table, name, kind, columns, text, target, on_delete in connection.execute(_CONSTRAINTS):
        tables[table].constraints[name] = Constraint(kind, tuple(columns), text, target, on_delete)
    for table, name, text in connection.execute(_INDEXES):
        tables[table].indexes[name] = text
    for table, name, text, source in connection.execute(_TRIGGERS):
        tables[table].triggers[name] = (text, source)
    return State(tables, _texts(connection))


def _texts(connection: psycopg.Connection) -> dict[str, str]:
    texts: dict[str, str] = {}
    for name, text in connection.execute(_TEXTS):
        texts[name] = texts.get(name, "") + text
    return texts


_OURS = "c.relnamespace = 'public'::regnamespace and c.relname not in ('schema_migrations', 'migration_lock')"
_TABLES = f"select c.relname::text, c.relrowsecurity from pg_class c where c.relkind in ('r', 'p') and {_OURS}"  # noqa: S608 (a constant)
_COLUMNS = f"""
select c.relname::text, a.attname::text,
  format_type(a.atttypid, a.atttypmod) || coalesce(
    (
      select string_agg(' ' || pg_get_constraintdef(k.oid), ' ' order by k.conname) from pg_constraint k
      where k.contypid = a.atttypid
    ),
    ''
  ),
  a.attnotnull, coalesce(pg_get_expr(d.adbin, d.adrelid), ''), a.attgenerated <> '' or a.attidentity <> ''
from pg_class c
join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
left join pg_attrdef d on d.adrelid = c.oid and d.adnum = a.attnum
where c.relkind in ('r', 'p') and {_OURS}
order by c.relname, a.attnum
"""  # noqa: S608 (a constant)
_CONSTRAINTS = f"""
select c.relname::text, k.conname::text, case k.contype when 'p' then 'u' else k.contype::text end,
  array(
    select a.attname::text from unnest(k.conkey) with ordinality n (num, place)
    join pg_attribute a on a.attrelid = k.conrelid and a.attnum = n.num order by n.place
  ),
  pg_get_constraintdef(k.oid), coalesce(t.relname::text, ''), k.confdeltype::text
from pg_constraint k
join pg_class c on c.oid = k.conrelid
left join pg_class t on t.oid = k.confrelid
where k.contype in ('c', 'f', 'p', 'u', 'x') and {_OURS}
union all
select c.relname::text, x.relname::text, 'u',
  array(
    select a.attname::text from unnest(i.indkey::int2[]) with ordinality n (num, place)
    join pg_attribute a on a.attrelid = i.indrelid and a.attnum = n.num order by n.place
  ),
  pg_get_indexdef(i.indexrelid), '', ' '
from pg_index i
join pg_class c on c.oid = i.indrelid
join pg_class x on x.oid = i.indexrelid
where i.indisunique and i.indisvalid and not exists (select from pg_constraint k where k.conindid = i.indexrelid and k.contype in ('p', 'u', 'x'))
  and {_OURS}
"""  # noqa: E501, S608
_INDEXES = f"""
select c.relname::text, x.relname::text, pg_get_indexdef(i.indexrelid)
from pg_index i
join pg_class c on c.oid = i.indrelid
join pg_class x on x.oid = i.indexrelid
where {_OURS}
"""  # noqa: S608
_TRIGGERS = f"""
select c.relname::text, t.tgname::text, pg_get_triggerdef(t.oid), p.prosrc
from pg_trigger t
join pg_class c on c.oid = t.tgrelid
join pg_proc p on p.oid = t.tgfoid
where not t.tgisinternal and t.tgenabled <> 'D' and {_OURS}
"""  # noqa: S608
_TEXTS = """
select c.relname::text, pg_get_viewdef(c.oid)
from pg_class c
where c.relkind in ('v', 'm') and c.relnamespace = 'public'::regnamespace
union all
select p.proname::text, pg_get_functiondef(p.oid)
from pg_proc p
where p.pronamespace = 'public'::regnamespace and p.prokind in ('f', 'p')
order by 1, 2
"""

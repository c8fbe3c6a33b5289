"""Removal of triggers, foreign keys and (if all rows are replaced) indexes and their constraints during a load."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import LiteralString

import psycopg

from .catalog import Table


@dataclass(frozen=True, slots=True)
class Part:
    """A part of the schema that is dropped and recreated."""

    table: str
    name: str
    kind: str  # f, p, u, x: a constraint (foreign, primary, unique, exclusion); i: an index
    columns: tuple[str, ...]
    drop: str
    create: str


_TRIGGERS: LiteralString = """
select format('alter table only %%s disable trigger %%I', tgrelid::regclass, tgname),
  format(
    'alter table only %%s enable %%s trigger %%I',
    tgrelid::regclass, case tgenabled when 'A' then 'always' when 'R' then 'replica' else '' end, tgname
  )
from pg_trigger
where tgrelid = any(%s::regclass[]) and not tgisinternal and tgenabled <> 'D'
order by tgrelid::regclass::text, tgname
"""

_CONSTRAINTS: LiteralString = """
select
  (select r.relname from pg_class r where r.oid = c.conrelid), c.conname, c.contype::text,
  array(
    select a.attname::text from unnest(c.conkey) with ordinality k (attnum, n)
    join pg_attribute a on a.attrelid = c.conrelid and a.attnum = k.attnum order by k.n
  ),
  format('alter table %%s drop constraint %%I', c.conrelid::regclass, c.conname),
  format('alter table %%s add constraint %%I %%s', c.conrelid::regclass, c.conname, pg_get_constraintdef(c.oid))
from pg_constraint c
where c.conrelid = any(%s::regclass[]) and c.contype = any(%s) and c.conparentid = 0
order by c.contype = 'f', c.contype, c.conrelid::regclass::text, c.conname
"""

_INDEXES: LiteralString = """
select
  (select r.relname from pg_class r where r.oid = i.indrelid), i.indexrelid::regclass::text, 'i', '{}'::text[],
  format('drop index %%s', i.indexrelid::regclass),
  -- A partitioned table's is made for the partitions too, and not “on only” it.
  case x.relkind when 'I' then overlay(
    pg_get_indexdef(x.oid) placing ' ON '
    from length(concat('CREATE ', case when i.indisunique then 'UNIQUE ' end, 'INDEX ', quote_ident(x.relname))) + 1
    for length(' ON ONLY ')
  ) else pg_get_indexdef(x.oid) end
from pg_index i
join pg_class x on x.oid = i.indexrelid
where i.indrelid = any(%s::regclass[]) and not x.relispartition
  and not exists (select from pg_constraint c where c.conindid = i.indexrelid and c.contype <> 'f')
order by i.indrelid::regclass::text, i.indexrelid::regclass::text
"""


class Rebuild:
    """Drops parts of the schema that would slow down a load, and recreates them, inside the caller's transaction."""

    def __init__(self, connection: psycopg.Connection, tables: Sequence[Table], *, keep_indexes: bool) -> None:
        self._connection = connection
        names = [name for table in tables for name in table.relations]
        self._triggers = connection.execute(_TRIGGERS, [names]).fetchall()
        self.constraints = [Part(*row) for row in connection.execute(_CONSTRAINTS, [names, list("pux")])]
        self._references = [Part(*row) for row in connection.execute(_CONSTRAINTS, [names, ["f"]])]
        self._indexes = [Part(*row) for row in connection.execute(_INDEXES, [names])]
        self.parts = [*([] if keep_indexes else [*self.constraints, *self._indexes]), *self._references]

    def take_apart(self) -> None:
        """Disable triggers, and drop foreign keys and indexes."""
        for part in reversed(self.parts):
            self._run(part.drop)
        for off, _ in self._triggers:
            self._run(off)

    def put_together(self, part: Part) -> None:
        """Recreate one part. Raises the driver's error if the rows violate it."""
        self._run(part.create)

    def triggers_on(self) -> None:
        """Restore the state of the triggers."""
        for _, on in self._triggers:
            self._run(on)

    def _run(self, statement: str) -> None:
        self._connection.execute(statement.encode())

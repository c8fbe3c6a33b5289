"""Load rows into tables, all or nothing, from any source that yields blocks of rows.

A load is one transaction that locks the tables. Our triggers are disabled; foreign keys (and indexes, if all rows are replaced)
are dropped and built again from the rows, which checks them.
"""

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import groupby
from math import inf
from operator import attrgetter
from time import monotonic, sleep
from typing import LiteralString

import psycopg
from psycopg import sql
from psycopg.pq import TransactionStatus

from ..errors import NotAllowed, NotEmpty, TomatoError, Unavailable, WrongState, from_driver
from ..printable import one_line
from ..server import schema
from ..server.backoff import pauses
from ..server.planted import refuse_planted
from ..transactions import Transactions
from . import catalog, distributed, limits
from .binary import BEGIN, END, BinaryRows
from .blame import RowLines, Search, row_refused, staging
from .catalog import Table
from .rebuild import Part, Rebuild
from .report import Progress, Report

logger = logging.getLogger(__name__)

_PATIENCE = 2  # seconds after which the sessions that hold the tables are logged
_PIECE = 8 << 20  # bytes of one COPY; its rows are kept until it ends, to find the row that the server refuses

# SQLSTATE classes that are not caused by a row: resources, conflicts, operators, the system.
_NO_ROWS_FAULT = ("40", "53", "57", "58")

_SETTINGS = """
set local maintenance_work_mem = '256MB';
set local array_nulls = on
"""

_IDENTITIES: LiteralString = """
select n.nspname, s.relname, array_agg(c.relname order by c.relname), array_agg(a.attname order by c.relname)
from pg_class c
join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
left join pg_attrdef d on d.adrelid = c.oid and d.adnum = a.attnum
join pg_depend p on p.refclassid = 'pg_class'::regclass and (
  (p.classid = 'pg_attrdef'::regclass and p.objid = d.oid)
  or (p.classid = 'pg_class'::regclass and p.refobjid = c.oid and p.refobjsubid = a.attnum and p.deptype = 'i')
)
join pg_class s on s.relkind = 'S' and s.oid = case when p.deptype = 'i' then p.objid else p.refobjid end
join pg_namespace n on n.oid = s.relnamespace
where c.oid = any(%s::regclass[])
group by n.nspname, s.relname
order by 1, 2
"""


# The sessions that hold locks on tables.
_HOLDERS: LiteralString = """
select string_agg(distinct format('%%s (pid %%s)', coalesce(nullif(a.application_name, ''), a.usename), a.pid), ', ')
from pg_locks l
join pg_stat_activity a on a.pid = l.pid
where l.relation = any(%s::regclass[]) and l.granted and l.pid <> pg_backend_pid()
"""


@dataclass(slots=True)
class Block:
    """Some rows of a table, with values for `table.columns` in their order.

    text: the rows in COPY's text format, in their final order, separated by newlines. rows: their number. line: the line of the
    file with the first row; the others follow it. binary: if given, `text` has the rows in COPY's binary format, built from
    these `lines`.
    """

    table: Table
    text: bytes
    rows: int
    line: int
    binary: BinaryRows | None = None
    lines: bytes = b""

    def as_text(self) -> list[bytes]:
        """Return each row in COPY's text format."""
        return self.binary.as_text(self.lines) if self.binary else self.text.split(b"\n")


def load_blocks(
    db: Transactions,
    blocks: Callable[[list[Table]], Iterable[Block]],
    *,
    replace: bool = False,
    merge: bool = False,
    progress: Report | None = None,
    migrations: Sequence[str] | None = None,
) -> dict[str, int]:
    """Load blocks of rows and return the number of rows of each model.

    blocks: a function that takes the database's tables and yields the blocks. If it raises, the database is unchanged. The
    database must be empty, unless all its rows are removed (replace) or rows with the same key are replaced (merge).
    migrations: the versions of the database's migrations (default: this code's).

    Raises NotEmpty, NotAllowed if the user does not own the tables, WrongSchema, and for invalid rows, with line and record:
    InvalidValue, AlreadyExists for a duplicate key, NotFound for a reference to a missing row.
    """
    with db.connection() as connection:
        if connection.pgconn.transaction_status != TransactionStatus.IDLE:
            raise WrongState("a load needs a transaction of its own: call it outside of transaction()")
        try:
            with db.committing(connection):
                load = _Load(connection, merge=merge, progress=progress, migrations=migrations)
                if not replace and not merge:
                    refuse_rows(connection, load.tables)
                load.prepare()
                load.copy(iter(blocks(load.tables)))
                load.finish()
                return {table.model: load.lines.counts.get(table.name, 0) for table in load.tables}
        except psycopg.errors.InsufficientPrivilege as error:
            raise owner_needed(error) from error
        except psycopg.Error as error:
            raise failure(error, connection) from error


def refuse_rows(connection: psycopg.Connection, tables: Iterable[Table]) -> None:
    """Raise NotEmpty if a table has rows other than the defaults that the schema creates."""
    for table in tables:
        if table.has_defaults:
            continue
        if connection.execute(sql.SQL("select from {} limit 1").format(sql.Identifier(table.name))).rowcount:
            raise NotEmpty(
                f"the database {connection.info.dbname} is not empty (there are {table.name}): load into another, "
                "or with replace, which first deletes everything in it",
                entity=table.model,
            )


def failure(error: psycopg.Error, connection: psycopg.Connection) -> TomatoError:
    """Return the error of a load that failed for a reason other than its rows."""
    if not isinstance(error, psycopg.errors.DiskFull):
        return from_driver(error)
    where = "" if connection.closed else f" {connection.info.dbname} on {connection.info.host}:{connection.info.port}"
    said = one_line(error.diag.message_primary)
    return Unavailable(f"the server's disk is full ({said}): the database{where} is unchanged; free space there and load again")


def owner_needed(error: psycopg.Error) -> NotAllowed:
    """Return the error of a load by a user without the owner's privileges."""
    return NotAllowed(f"{error.diag.message_primary}: a load must run as the owner of the tables; set OWNER_DATABASE_URL")


class _Load:
    def __init__(
        self, connection: psycopg.Connection, *, merge: bool, progress: Report | None, migrations: Sequence[str] | None
    ) -> None:
        self.lines = RowLines()
        self._connection = connection
        self._merge = merge
        self._progress = progress
        self._size = 0
        limits.lift(connection)
        connection.execute(_SETTINGS)
        refuse_planted(connection)
        schema.check(connection, migrations)
        self.tables = catalog.tables(connection)
        self._by_name = {table.name: table for table in self.tables}
        self._search = Search(connection, self.lines, staged=merge)
        self._quoted = [name for table in self.tables for name in table.relations]
        self._lock()
        self._rebuild = Rebuild(connection, self.tables, keep_indexes=merge)
        self._references = catalog.references(connection)

    def _lock(self) -> None:
        """Lock all tables exclusively, without deadlocks: while it holds locks, it waits only briefly for another.

        After a failure it releases all locks and begins with the table that was in use, since a session that works on several
        tables usually locks that one first.
        """
        order = list(self.tables)
        patience = monotonic() + _PATIENCE
        for pause in pauses(0.1, 0.2):
            with suppress(psycopg.errors.LockNotAvailable, psycopg.errors.DeadlockDetected), self._connection.transaction():
                self._connection.execute("set local lock_timeout = '300ms'")
                for table in order:
                    name = sql.Identifier(table.name)
                    self._connection.execute(sql.SQL("lock table {} in access exclusive mode").format(name))
                    self._connection.execute("set local lock_timeout = '100ms'")
                self._connection.execute("set local lock_timeout = 0")
                return
            order.remove(table)
            order.insert(0, table)
            self._tell("waiting for other sessions' transactions")
            if monotonic() > patience:
                patience = inf
                ((holders,),) = self._connection.execute(_HOLDERS, [self._quoted]).fetchall()
                logger.warning("the load waits for other sessions' transactions: %s", one_line(holders))
            sleep(pause)  # so that other sessions can proceed

    def prepare(self) -> None:
        """Truncate the tables, so that rows are appended in the file's order, and drop foreign keys and indexes."""
        if not self._merge:
            names = sql.SQL(", ").join(sql.Identifier(table.name) for table in self.tables if not table.has_defaults)
            self._connection.execute(sql.SQL("truncate {}").format(names))
            distributed.forget_notes(self._connection)
        self._rebuild.take_apart()

    def copy(self, blocks: Iterator[Block]) -> None:
        for (table, binary), own in groupby(blocks, attrgetter("table", "binary")):
            if table.has_defaults and not self._merge and table.name not in self.lines.counts:
                self._connection.execute(sql.SQL("truncate {}").format(sql.Identifier(table.name)))
            if self._merge and table.name not in self.lines.counts:
                self._connection.execute(
                    sql.SQL("create temp table {} (like {} including constraints including generated) on commit drop").format(
                        staging(table), sql.Identifier(table.name)
                    )
                )
            while self._copy_piece(table, own, binary):
                pass

    def _copy_piece(self, table: Table, blocks: Iterator[Block], binary: BinaryRows | None) -> bool:
        """Run one COPY with blocks of one table in one format. Return whether there may be more of them."""
        sent: list[Block] = []
        size = 0
        columns = sql.SQL(", ").join(sql.Identifier(column.name) for column in (binary or table).columns)
        # No other session sees the rows before the load ends, so those of a truncated table are written frozen (PostgreSQL
        # refuses that for partitions, and distributed tables do not support it).
        options = sql.SQL("format {}, freeze {}").format(
            sql.SQL("binary" if binary else "text"),
            sql.SQL("false" if self._merge or table.members or table.distributed else "true"),
        )
        begin, between, end = (BEGIN, b"", END) if binary else (b"", b"\n", b"")
        query = sql.SQL("copy {} ({}) from stdin ({})").format(self._search.relation(table), columns, options)
        try:
            with self._connection.cursor() as cursor, cursor.copy(query) as copy:
                copy.write(begin)
                for block in blocks:
                    sent.append(block)
                    copy.write(block.text)
                    copy.write(between)
                    self.lines.add(table.name, block.rows, block.line)
                    size += len(block.text) + len(block.lines)
                    self._size += len(block.text)
                    self._tell("loading")
                    if size >= _PIECE:
                        break
                copy.write(end)
            return size >= _PIECE
        except psycopg.Error as error:
            if (error.sqlstate or "").startswith(_NO_ROWS_FAULT):
                raise
            rows = [row for block in sent for row in block.as_text()]
            lines = [block.line + n for block in sent for n in range(block.rows)]
            raise row_refused(error, table, rows, lines) from error

    def finish(self) -> None:
        if self._merge:
            for table in self.tables:
                if table.name in self.lines.counts:
                    self._merge_table(table)
        try:
            with self._connection.transaction():
                for part in self._rebuild.parts:
                    self._tell("checking references" if part.kind == "f" else "building indexes")
                    self._rebuild.put_together(part)
        except psycopg.errors.UniqueViolation as error:
            raise self._duplicate(part) or from_driver(error) from error
        except psycopg.errors.ForeignKeyViolation as error:
            raise self._search.dangling(self._references, self._by_name) or from_driver(error) from error
        if dangling := self._search.dangling(distributed.references(self.tables), self._by_name):
            raise dangling
        for rule in catalog.rules(self._connection):
            if broken := self._search.broken(self._by_name[rule.table], rule):
                raise broken
        self._restart_identities()
        self._rebuild.triggers_on()

    def _duplicate(self, part: Part) -> Exception | None:
        table = self._by_name.get(part.table)  # not a partition's own constraint
        return self._search.duplicate(table, part.columns) if table and part.columns else None

    def _merge_table(self, table: Table) -> None:
        """Delete rows with the same key, then insert all of the file's, so that unique values can be exchanged between rows."""
        own, stage = sql.Identifier(table.name), staging(table)
        keys = [column.name for column in table.key]
        if twice := self._search.duplicate(table, keys):
            raise twice
        same = sql.SQL(" and ").join(sql.SQL("t.{0} = s.{0}").format(sql.Identifier(key)) for key in keys)
        columns = sql.SQL(", ").join(sql.Identifier(column.name) for column in table.columns)
        self._connection.execute(sql.SQL("analyze {}").format(stage))
        only = sql.SQL("" if table.members or table.distributed else "only ")
        self._connection.execute(sql.SQL("delete from {}{} t using {} s where {}").format(only, own, stage, same))
        insert = sql.SQL("insert into {} ({}) overriding system value select {} from {}").format(own, columns, columns, stage)
        try:
            with self._connection.transaction():
                self._connection.execute(insert)
        except psycopg.errors.UniqueViolation as error:
            for part in self._rebuild.constraints:
                if part.name == error.diag.constraint_name and part.table == table.name:
                    raise self._duplicate(part) or self._search.taken(table, part.columns) or from_driver(error) from error
            raise from_driver(error) from error

    def _restart_identities(self) -> None:
        """Restart identities after the highest id. In a merge they never go back."""
        for schema_name, name, tables, columns in self._connection.execute(_IDENTITIES, [self._quoted]).fetchall():
            sequence = sql.Identifier(schema_name, name)
            places = [
                sql.SQL("(select max({}) from {})").format(sql.Identifier(column), sql.Identifier(table))
                for table, column in zip(tables, columns, strict=True)
            ]
            highest = sql.SQL("select greatest({})").format(sql.SQL(", ").join(places))
            # Not pg_sequence_last_value(): it returns null after a restart, and so after an earlier load.
            last = sql.SQL("select last_value - (not is_called)::int from {}").format(sequence)
            rows = [self._connection.execute(query).fetchone() for query in ([highest, last] if self._merge else [highest])]
            restart = 1 + max(row[0] or 0 for row in rows if row)
            self._connection.execute(sql.SQL("alter sequence {} restart with {}").format(sequence, restart))

    def _tell(self, doing: str) -> None:
        if self._progress:
            self._progress(Progress(doing, None, self._size, sum(self.lines.counts.values())))

"""Snapshot of all rows, as the dump's lines in physical order, read over one or several connections.

The server formats the lines and joins them, so that Python handles blocks of lines.
"""

import struct
from collections import deque
from collections.abc import Container, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import groupby
from operator import attrgetter
from select import POLLIN, POLLOUT, poll
from typing import LiteralString

import msgspec
import psycopg
from psycopg import IsolationLevel, sql
from psycopg.abc import PQGen
from psycopg.errors import error_from_result
from psycopg.generators import copy_from, execute
from psycopg.pq import ExecStatus, TransactionStatus
from psycopg.waiting import Ready, Wait

from ..errors import Conflict, WrongState
from ..server import schema
from ..transactions import Transactions
from . import catalog, distributed, limits
from .catalog import Column, Table

_PIECE = 240  # pages per COPY
_MESSAGE = 1 << 17  # minimum bytes of a message, as long as they take no more than this number of pages:
_MOST_PAGES = 3
_STEP = 500  # milliseconds to wait: an interrupt that arrives as a wait begins is noticed at its end
_AHEAD = 16 << 20  # bytes that all connections together may read ahead
_LINES = 1 << 10  # overhead of a block of lines in bytes

_SIGNATURE = b"PGCOPY\n"
_HEAD = 19  # bytes of a binary COPY's header
_ROW = struct.Struct("!hiqi")  # two columns: eight bytes with the number of lines, and their text

# A value's JSON by its column's kind: its text if that is valid JSON, else the result of to_json.
_JSON: dict[str, LiteralString] = {
    "integer": "t.{0}::text",
    "number": "case when abs(t.{0}) < 'Infinity' then t.{0}::text else to_json(t.{0})::text end",
    "boolean": "t.{0}::text",
    "json": "t.{0}::text",
    "instant": "to_json(t.{0}::timestamptz)::text",  # spared from looking through a domain
    "array": "to_json(t.{0})::text",
    "text": "to_json(t.{0}::text)::text",
}
_WORD: LiteralString = """'"' || t.{0} || '"'"""  # of a column that has nothing else

_SETTINGS = """
set local timezone = 'UTC';
set local extra_float_digits = 1;
set local synchronize_seqscans = off;
set local max_parallel_workers_per_gather = 0;
set local jit = off;
set local bytea_output = 'hex';
set local intervalstyle = 'iso_8601';
set local row_security = off;
set local datestyle = 'ISO'
"""

# Columns with a check that only allows certain words, which need no escaping in JSON.
_WORDS = r"""
select c.relname, a.attname
from pg_constraint k
join pg_class c on c.oid = k.conrelid
join pg_attribute a on a.attrelid = k.conrelid and k.conkey = array[a.attnum]
join pg_collation l on l.oid = a.attcollation and l.collisdeterministic
where k.conrelid = any(%s::regclass[]) and k.contype = 'c'
  and pg_get_constraintdef(k.oid) ~ $$^CHECK \(\([\w"]+ = ANY \(ARRAY\['\w+'::text(, '\w+'::text)*\]\)\)\)\Z$$
"""

_SIZES = """
select
  c.oid::regclass::text,
  pg_relation_size(c.oid) / current_setting('block_size')::bigint,
  c.reltoastrelid <> 0 and pg_relation_size(c.reltoastrelid) > 0
from pg_class c where c.oid = any(%s::regclass[])
"""


@dataclass(frozen=True, slots=True)
class Piece:
    """Pages of a table or of its partition `leaf`, or a whole distributed table. toasted: whether its rows can be large."""

    table: Table
    leaf: str
    first_page: int
    toasted: bool


@dataclass(frozen=True, slots=True)
class DumpedLines:
    """Several lines, each ending with “,” and a newline."""

    table: Table
    text: memoryview
    rows: int


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A snapshot of the database: its tables, and their lines in pieces of similar size, to be read in order."""

    tables: list[Table]
    pieces: Sequence[Iterator[DumpedLines]]


@contextmanager
def taken(db: Transactions, jobs: int) -> Iterator[Snapshot]:
    """Provide a snapshot that is read over at most `jobs` connections of the database. Workers can write meanwhile.

    Raises WrongSchema if the schema is not this code's, and Conflict if a migration waits for the tables.
    """
    with ExitStack() as stack:
        first = stack.enter_context(db.connection())
        if first.pgconn.transaction_status != TransactionStatus.IDLE:
            raise WrongState("a dump needs a transaction of its own: call it outside of transaction()")
        schema.check(first)
        tables = catalog.tables(first)
        is_distributed = any(table.distributed for table in tables)
        if is_distributed:
            stack.enter_context(distributed.without_accounting(first))
        stack.enter_context(_transaction(first, tables))
        schema.check(first)  # its tables cannot change any more
        if is_distributed:
            distributed.await_commits(first)
        words = set(first.execute(_WORDS, [[table.name_quoted for table in tables]]))
        pieces = _pieces(first, tables)
        jobs = max(min(jobs, len(pieces), db.stats().pool.size), 1)
        connections = [first]
        if jobs > 1:
            (snapshot,) = first.execute("select pg_export_snapshot()").fetchone() or ("",)
            connections += [stack.enter_context(_joined(db, tables, snapshot)) for _ in range(jobs - 1)]
        # Only the first connection reads tables with large rows, since each connection would hold some in memory.
        turns = [0 if piece.toasted else n % jobs for n, piece in enumerate(pieces)]
        readers = []
        for n, connection in enumerate(connections):
            share = [piece for piece, turn in zip(pieces, turns, strict=True) if turn == n]
            readers.append(_SnapshotReader(connection, share, words, _AHEAD // jobs))
            stack.callback(readers[n].stop)
            readers[n].start()
        yield Snapshot(tables, [_lines(readers[turn], readers) for turn in turns])


@contextmanager
def _transaction(connection: psycopg.Connection, tables: Sequence[Table], snapshot: str | None = None) -> Iterator[None]:
    """Provide a read-only transaction that locks all tables before it takes its snapshot.

    A connection that joins a snapshot does not wait for locks, since their holder may wait for the first connection.
    """
    connection.isolation_level, connection.read_only = IsolationLevel.REPEATABLE_READ, True
    with connection.transaction():
        if any(table.distributed for table in tables):
            connection.execute(distributed.SETTINGS)
        limits.lift(connection)
        connection.execute(_SETTINGS)
        if snapshot is not None:
            connection.execute(sql.SQL("set transaction snapshot {}").format(snapshot))
        names = sql.SQL(", ").join(sql.Identifier(table.name) for table in tables)
        nowait = sql.SQL(" nowait" if snapshot is not None else "")
        try:
            connection.execute(sql.SQL("lock table {} in access share mode{}").format(names, nowait))
        except psycopg.errors.LockNotAvailable as error:
            raise Conflict("another session waits to change the schema; dump after that, or with one job") from error
        yield


@contextmanager
def _joined(db: Transactions, tables: Sequence[Table], snapshot: str) -> Iterator[psycopg.Connection]:
    """Provide another connection with the first one's snapshot."""
    with db.connection() as connection, _transaction(connection, tables, snapshot):
        yield connection


def _pieces(connection: psycopg.Connection, tables: Sequence[Table]) -> list[Piece]:
    leaves = [(table, leaf) for table in tables for leaf in table.leaves]
    found = connection.execute(_SIZES, [[leaf for _, leaf in leaves]])
    sizes = {name: (pages, toasted) for name, pages, toasted in found}
    return [
        Piece(table, leaf, first, sizes[leaf][1] or table.distributed)
        for table, leaf in leaves
        for first in range(0, 1 if table.distributed else sizes[leaf][0], _PIECE)
    ]


def _query(piece: Piece, line: sql.SQL, pages: int) -> sql.Composed:
    """Return the COPY of a piece: a row per record if rows can be large, else a row per block of pages."""
    name = sql.SQL(piece.leaf)  # already quoted by the catalog
    first, end = sql.Literal(piece.first_page), sql.Literal(piece.first_page + _PIECE)
    if piece.table.distributed:  # each row of the result has a worker's rows of one key
        query = "select count(*), string_agg({}, '') from {} t where {} group by t.{}"
        key = sql.Identifier(distributed.KEY)
        lines = sql.SQL(query).format(line, name, distributed.known_rows(piece.table), key)
    elif piece.toasted:
        query = """
        select 1::bigint, {} from only {} t
        where t.ctid >= format('(%s,0)', {})::tid and t.ctid < format('(%s,0)', {})::tid
        """
        lines = sql.SQL(query).format(line, name, first, end)
    else:
        query = """
        select joined.* from generate_series({}, {} - 1, {}) block (page), lateral (
          select count(*), string_agg({}, '') from only {} t
          where
            t.ctid >= format('(%s,0)', block.page)::tid
            and t.ctid < format('(%s,0)', least(block.page + {}, {}))::tid
        ) joined
        """
        lines = sql.SQL(query).format(first, end, pages, line, name, pages, end)
    return sql.SQL("copy ({}) to stdout (format binary)").format(lines)


def _line(table: Table, words: Container[tuple[str, str]]) -> sql.Composable:
    """Return the expression of a record's line, built column by column, which costs the server less than row_to_json."""
    begin, end = ("[", "]") if len(table.key) > 1 else ("", "")
    parts: list[sql.Composable] = []
    before = f'{{"model":{msgspec.json.encode(table.model).decode()},"pk":{begin}'
    for column in table.key:
        parts += [sql.Literal(before), _value(table, column, words)]
        before = ","
    before = f'{end},"fields":{{'
    for column in table.fields:
        parts += [
            sql.Literal(before + msgspec.json.encode(column.name).decode() + ":"),
            _value(table, column, words),
        ]
        before = ","
    parts.append(sql.Literal("}},\n" if table.fields else before + "}},\n"))
    while len(parts) > 1:  # joining in pairs copies partial results less often
        parts = [sql.SQL("({})").format(sql.SQL(" || ").join(parts[n : n + 2])) for n in range(0, len(parts), 2)]
    return parts[0]


def _value(table: Table, column: Column, words: Container[tuple[str, str]]) -> sql.Composed:
    value = _WORD if (table.name, column.name) in words else _JSON[column.kind]
    return sql.SQL(f"coalesce({value}, 'null')").format(sql.Identifier(column.name))


class _SnapshotReader:
    """Reads pieces over a connection as data arrive, up to some bytes ahead of the consumer."""

    def __init__(
        self, connection: psycopg.Connection, pieces: Sequence[Piece], words: Container[tuple[str, str]], most: int
    ) -> None:
        self.found: deque[DumpedLines | None] = deque()
        self._connection, self._most = connection, most
        self._ahead = 0
        self._reading = self._read(pieces, words)
        self._awaited: Wait | None = None

    def start(self) -> None:
        """Request the first piece."""
        self._awaited = next(self._reading, None)

    @property
    def socket(self) -> int:
        """Return the connection's socket."""
        return self._connection.pgconn.socket

    @property
    def events(self) -> int:
        """Return the socket events to wait for; none while enough is read ahead."""
        if self._awaited is None or self._ahead >= self._most:
            return 0
        return (POLLIN if self._awaited & Wait.R else 0) | (POLLOUT if self._awaited & Wait.W else 0)

    def go_on(self, events: int) -> None:
        """Read the available data."""
        ready = (Ready.R if events & ~POLLOUT else 0) | (Ready.W if events & POLLOUT else 0)
        try:
            self._awaited = self._reading.send(Ready(ready))
        except StopIteration:
            self._awaited = None

    def take(self) -> DumpedLines | None:
        """Return the next result: some lines, or None at the end of a piece."""
        lines = self.found.popleft()
        if lines:
            self._ahead -= len(lines.text) + _LINES
        return lines

    def stop(self) -> None:
        """Stop reading, since no result is needed any more."""
        if self._connection.pgconn.transaction_status == TransactionStatus.ACTIVE:
            self._connection.close()

    def _read(self, pieces: Sequence[Piece], words: Container[tuple[str, str]]) -> PQGen[None]:
        """Yield the lines of all pieces, with None after each piece.

        A message has the lines of several pages. Their number is determined by reading the table's first piece page by page,
        since a few compressed rows can become much text.
        """
        pgconn = self._connection.pgconn
        for table, share in groupby(pieces, attrgetter("table")):
            line = sql.SQL(_line(table, words).as_string(self._connection))
            pages = 1
            for piece in share:
                longest = 1
                pgconn.send_query(_query(piece, line, pages).as_bytes(self._connection))
                (result,) = yield from execute(pgconn)
                if result.status != ExecStatus.COPY_OUT:
                    raise error_from_result(result)
                while isinstance(data := (yield from copy_from(pgconn)), memoryview):
                    if data[: len(_SIGNATURE)] == _SIGNATURE:
                        data = data[_HEAD:]
                    if len(data) > _ROW.size:  # a block without rows, or the end, is shorter
                        rows: int = _ROW.unpack_from(data)[2]
                        longest = max(longest, len(data))
                        self.found.append(DumpedLines(table, data[_ROW.size :], rows))
                        self._ahead += len(data) - _ROW.size + _LINES
                    del data  # before there is another
                self.found.append(None)
                pages = max(min(_MESSAGE * pages // longest, _MOST_PAGES), 1)


def _lines(reader: _SnapshotReader, readers: Sequence[_SnapshotReader]) -> Iterator[DumpedLines]:
    """Yield the lines of a reader's next piece, while all readers continue."""
    while True:
        sockets = poll()
        for each in readers:
            if each.events:
                sockets.register(each.socket, each.events)
        ready = dict(sockets.poll(0 if reader.found else _STEP))
        for each in readers:
            if each.socket in ready:
                each.go_on(ready[each.socket])
        if reader.found:
            lines = reader.take()
            if lines is None:
                return
            yield lines
            del lines  # before there are others

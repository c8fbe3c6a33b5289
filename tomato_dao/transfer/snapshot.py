"""All rows of one moment, as the dump's lines in their physical order, over one connection or several of one snapshot.

The server makes the lines and joins them, so that Python handles blocks of them.
"""

import struct
import threading
from collections import deque
from collections.abc import Generator, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager, nullcontext
from dataclasses import dataclass
from typing import LiteralString

import orjson
import psycopg
from psycopg import IsolationLevel, sql
from psycopg.pq import TransactionStatus

from .. import layout
from ..database import Database
from ..errors import Conflict, WrongState
from . import catalog
from .catalog import Column, Table

_PIECE = 240  # pages that are read by one COPY
_MESSAGE = 1 << 17  # bytes that are worth a message, while they take no more than so many pages:
_MOST_PAGES = 8
_AHEAD = 16 << 20  # bytes that all connections together read before their turn

_SIGNATURE = b"PGCOPY\n"
_HEAD = 19  # bytes of a binary COPY's header
_ROW = struct.Struct("!hiqi")  # two columns: eight bytes with a number of lines, and so many with their text

# A value's JSON by its column's kind: its own text, where that is JSON, else to_json of what it is read from.
_JSON: dict[str, LiteralString] = {
    "integer": "t.{0}::text",
    "number": "case when abs(t.{0}) < 'Infinity' then t.{0}::text else to_json(t.{0})::text end",
    "boolean": "t.{0}::text",
    "json": "t.{0}::text",
    "instant": "to_json(t.{0}::timestamptz)::text",  # spared from looking through a domain
    "array": "to_json(t.{0})::text",
    "text": "to_json(t.{0}::text)::text",
}

_SIZE = """
select
  pg_relation_size(c.oid) / current_setting('block_size')::bigint,
  c.reltoastrelid <> 0 and pg_relation_size(c.reltoastrelid) > 0
from pg_class c where c.oid = %s::regclass
"""


@dataclass(frozen=True, slots=True)
class Piece:
    """Pages of a table; toasted: its rows can be large."""

    table: Table
    first_page: int
    toasted: bool


@dataclass(frozen=True, slots=True)
class Lines:
    """Some lines, each with “,” and a newline at its end."""

    table: Table
    text: memoryview
    rows: int


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What there is at one moment: the tables, and their lines in pieces of about one size, each to be read after the other."""

    tables: list[Table]
    pieces: Sequence[Iterator[Lines]]


@contextmanager
def taken(db: Database, jobs: int) -> Iterator[Snapshot]:
    """A snapshot that is read over at most `jobs` of the database's connections; workers go on writing meanwhile.

    Raises WrongLayout where the layout is not the code's, Conflict where a migration waits.
    """
    with ExitStack() as stack:
        first = stack.enter_context(db.connection())
        if first.pgconn.transaction_status != TransactionStatus.IDLE:
            raise WrongState("a dump has a transaction of its own: take it outside of transaction()")
        layout.check(first)
        tables = catalog.tables(first)
        stack.enter_context(_transaction(first, tables))
        layout.check(first)  # its tables can't change any more
        pieces = [piece for table in tables for piece in _pieces(first, table)]
        jobs = min(jobs, len(pieces), db.stats().pool.size)
        if jobs <= 1:
            lines = _read(first, pieces)
            stack.callback(lines.close)  # ends the COPY that runs where the dump is given up
            yield Snapshot(tables, [iter(lines.__next__, None) for _ in pieces])
            return
        (snapshot,) = first.execute("select pg_export_snapshot()").fetchone() or ("",)
        joined: list[AbstractContextManager[psycopg.Connection]]
        joined = [nullcontext(first), *(_joined(db, tables, snapshot) for _ in range(jobs - 1))]
        # Of large rows one connection after the other would have some in memory: they are the first one's.
        turns = [0 if piece.toasted else n % jobs for n, piece in enumerate(pieces)]
        shares = [[piece for piece, turn in zip(pieces, turns, strict=True) if turn == n] for n in range(jobs)]
        readers = [_Reader(connection, share, _AHEAD // jobs) for connection, share in zip(joined, shares, strict=True)]
        for reader in readers:
            reader.start()
            stack.callback(reader.stop)
        yield Snapshot(tables, [readers[turn].piece() for turn in turns])


@contextmanager
def _transaction(connection: psycopg.Connection, tables: Sequence[Table], snapshot: str | None = None) -> Iterator[None]:
    """A read-only transaction that holds all tables, locked before it looks at anything.

    Whoever joins a snapshot doesn't wait for its locks: the one it would wait for waits for the first of us.
    """
    connection.isolation_level, connection.read_only = IsolationLevel.REPEATABLE_READ, True
    with connection.transaction():
        for setting in (
            "statement_timeout = 0", "idle_in_transaction_session_timeout = 0", "timezone = 'UTC'", "extra_float_digits = 1",
            "synchronize_seqscans = off", "max_parallel_workers_per_gather = 0", "jit = off", "bytea_output = 'hex'",
            "intervalstyle = 'iso_8601'", "datestyle = 'ISO'",
        ):  # fmt: skip
            connection.execute(sql.SQL("set local ") + sql.SQL(setting))
        if snapshot is not None:
            connection.execute(sql.SQL("set transaction snapshot {}").format(snapshot))
        names = sql.SQL(", ").join(sql.Identifier(table.name) for table in tables)
        nowait = sql.SQL(" nowait" if snapshot is not None else "")
        connection.execute(sql.SQL("lock table {} in access share mode{}").format(names, nowait))
        yield


@contextmanager
def _joined(db: Database, tables: Sequence[Table], snapshot: str) -> Iterator[psycopg.Connection]:
    """Another connection that sees what the first one sees."""
    with db.connection() as connection, _transaction(connection, tables, snapshot):
        yield connection


def _pieces(connection: psycopg.Connection, table: Table) -> Iterator[Piece]:
    (pages, toasted) = connection.execute(_SIZE, [sql.Identifier(table.name).as_string()]).fetchone() or (0, False)
    for first in range(0, pages, _PIECE):
        yield Piece(table, first, toasted)


def _read(connection: psycopg.Connection, pieces: Sequence[Piece]) -> Generator[Lines | None, None, None]:
    """The lines of all pieces, with None after each.

    A message holds the lines of some pages: of how many is known once a piece of the table was read page by page, as
    few compressed rows can make much text.
    """
    pages: dict[Table, int] = {}
    for piece in pieces:
        block = pages.get(piece.table, 1)
        longest = 1
        with connection.cursor() as cursor, cursor.copy(_query(piece, block)) as copy:
            for message in copy:
                data = memoryview(message)
                if data[: len(_SIGNATURE)] == _SIGNATURE:
                    data = data[_HEAD:]
                if len(data) > _ROW.size:  # less has a block without rows, and the end
                    rows: int = _ROW.unpack_from(data)[2]
                    longest = max(longest, len(data))
                    yield Lines(piece.table, data[_ROW.size :], rows)
                del message, data  # before there is another
        pages[piece.table] = max(min(_MESSAGE * block // longest, _MOST_PAGES), 1)
        yield None


def _query(piece: Piece, block: int) -> sql.Composed:
    """COPY of a piece: a row per record where rows can be large, else a row per block of pages."""
    line = _line(piece.table)
    name = sql.Identifier(piece.table.name)
    first, end = sql.Literal(piece.first_page), sql.Literal(piece.first_page + _PIECE)
    if piece.toasted:
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
        lines = sql.SQL(query).format(first, end, block, line, name, block, end)
    return sql.SQL("copy ({}) to stdout (format binary)").format(lines)


def _line(table: Table) -> sql.Composable:
    """A record's line, put together column by column, which costs the server less than row_to_json."""
    begin, end = ("[", "]") if len(table.key) > 1 else ("", "")
    parts: list[sql.Composable] = []
    before = f'{{"model":{orjson.dumps(table.model).decode()},"pk":{begin}'
    for column in table.key:
        parts += [sql.Literal(before), _value(column)]
        before = ","
    before = f'{end},"fields":{{'
    for column in table.fields:
        parts += [sql.Literal(before + orjson.dumps(column.name).decode() + ":"), _value(column)]
        before = ","
    parts.append(sql.Literal("}},\n" if table.fields else before + "}},\n"))
    while len(parts) > 1:  # joined in pairs, what is there already is copied seldom
        parts = [sql.SQL("({})").format(sql.SQL(" || ").join(parts[n : n + 2])) for n in range(0, len(parts), 2)]
    return parts[0]


def _value(column: Column) -> sql.Composed:
    return sql.SQL(f"coalesce({_JSON[column.kind]}, 'null')").format(sql.Identifier(column.name))


class _Reader(threading.Thread):
    """Reads every n-th piece over a connection of its own, some bytes ahead of who takes them."""

    def __init__(self, connection: AbstractContextManager[psycopg.Connection], pieces: Sequence[Piece], most: int) -> None:
        super().__init__(name="dump", daemon=True)
        self._connection, self._pieces, self._most = connection, pieces, most
        self._found: deque[Lines | BaseException | None] = deque()
        self._ahead = 0
        self._stopped = False
        self._changed = threading.Condition()

    def run(self) -> None:
        """Read all pieces, with None after each, or an error after which there is nothing more."""
        try:
            with self._connection as connection, closing(_read(connection, self._pieces)) as found:
                for lines in found:
                    self._put(lines)
                    del lines  # before there are others
        except psycopg.errors.LockNotAvailable as error:
            waits = Conflict("somebody waits to change the layout; dump when that is done, or with one job")
            waits.__cause__ = error
            self._put(waits)
        except BaseException as error:  # noqa: BLE001 (it is raised where the lines are taken)
            self._put(error)

    def piece(self) -> Iterator[Lines]:
        """The lines of the next piece."""
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._found)
                lines = self._found.popleft()
                if isinstance(lines, Lines):
                    self._ahead -= len(lines.text)
                self._changed.notify_all()
            if lines is None:
                return
            if isinstance(lines, BaseException):
                raise lines
            yield lines
            del lines  # before there are others

    def stop(self) -> None:
        """Nobody takes anything any more."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()
        self.join()

    def _put(self, lines: Lines | BaseException | None) -> None:
        with self._changed:
            self._found.append(lines)
            self._changed.notify_all()
            if isinstance(lines, Lines):
                self._ahead += len(lines.text)
                self._changed.wait_for(lambda: self._stopped or self._ahead < self._most)
                if self._stopped:
                    raise InterruptedError("the dump was given up")

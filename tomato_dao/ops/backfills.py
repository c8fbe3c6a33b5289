"""Backfills: fill the columns that an expand migration has added, in batches by key, while workers go on.

A file of db/backfills has one statement, preceded by comments that define the rows to be done:

    -- table: hosts
    -- key: id
    -- todo: kind is null
    update hosts
    set kind = attrs ->> 'kind'
    where id between :first and :last and kind is null

`todo` is a condition on rows of the table, and `key` an indexed column. Each batch is a transaction, so a backfill that was
stopped continues with the rows that are still to be done.
"""

import re
from dataclasses import dataclass
from pathlib import Path

import psycopg
from psycopg import sql

from ..errors import InvalidValue, NotFound, WrongState, from_driver
from ..printable import quoted
from ..server import schema
from ..server.backoff import pauses
from ..server.commands import command_line
from ..server.waiting import sleep
from ..sql.wording import counted
from ..transfer.report import Progress, Report

BATCH = 1000
PAUSE = 0.05
_FIELD = re.compile(r"^-- (table|key|todo): *(.+?) *$", re.MULTILINE)
_PARAMETER = re.compile(r"(?<![:\w]):(first|last)\b")
_LOCK_TIMEOUT = "500ms"  # so that no other sessions queue behind a batch that waits for rows or tables


@dataclass(frozen=True, slots=True)
class Backfill:
    """A backfill: its table, its key column, the condition for rows to be done, and the statement.

    statement: in psycopg's format, with the parameters first and last.
    """

    name: str
    table: str
    key: str
    todo: str
    statement: str


def directory() -> Path:
    """Return the directory of backfills."""
    return schema.DB_DIR / "backfills"


def names() -> list[str]:
    """Return the names of all backfills."""
    return sorted(path.stem for path in directory().glob("[!.]*.sql")) if directory().is_dir() else []


def read(name: str) -> Backfill:
    """Return the backfill with this name. Raises NotFound, and InvalidValue if its file is faulty."""
    if name not in names():
        known = ", ".join(names()) or "none"
        raise NotFound(f"unknown backfill {quoted(name)} (known: {known})", entity="backfill")
    text = (directory() / f"{name}.sql").read_text("utf-8")
    fields = dict(_FIELD.findall(text))
    if missing := [field for field in ("table", "key", "todo") if field not in fields]:
        raise InvalidValue(f"db/backfills/{name}.sql lacks the line “-- {missing[0]}: …”")
    lines = [line for line in text.splitlines() if not line.startswith("--")]
    statement = "\n".join(lines).strip().rstrip(";").replace("%", "%%")
    if {match[1] for match in _PARAMETER.finditer(statement)} != {"first", "last"}:
        raise InvalidValue(f"the statement of db/backfills/{name}.sql must be of the rows from :first to :last")
    return Backfill(name, fields["table"], fields["key"], fields["todo"], _PARAMETER.sub(r"%(\1)s", statement))


def is_done(connection: psycopg.Connection, name: str) -> bool:
    """Return whether a backfill has no rows left to do."""
    return connection.execute(_select("select 1", read(name), sql.SQL("limit 1"))).fetchone() is None


def backfill(
    connection: psycopg.Connection,
    name: str,
    *,
    batch: int = BATCH,
    pause: float = PAUSE,
    progress: Report | None = None,
) -> int:
    """Run a backfill, and return the number of rows done.

    Args:
        connection: A connection of the tables' owner, in autocommit mode.
        name: The name of the backfill.
        batch: Rows per transaction.
        pause: Seconds between two transactions.
        progress: A function that is called after each batch.

    A batch that cannot lock its rows, or that runs into a deadlock, is retried. Raises WrongState if rows are left at the end:
    code that does not know the new column keeps creating such rows, unless a trigger of the expand migration fills it.
    """
    found = read(name)
    try:
        connection.execute(f"set lock_timeout = '{_LOCK_TIMEOUT}'".encode())
        total = _count(connection, found)
        done = 0
        last: object = None
        while (range_ := _batch(connection, found, last, batch)) is not None:
            first, last, rows = range_
            _patiently(connection, found, first, last)
            done += rows
            if progress:
                progress(Progress(f"backfilling {name}", min(1, done / max(total, 1)), 0, done))
            sleep(pause)
        if left := _count(connection, found):
            raise WrongState(
                f"{counted(left, 'row')} of {found.table} are still to do ({found.todo}) after {counted(done, 'row')}: workers "
                f"made them meanwhile, or the statement leaves them as they are; {command_line('backfill')} {name} goes on"
            )
        return done
    except psycopg.Error as error:
        raise from_driver(error) from error


def _patiently(connection: psycopg.Connection, found: Backfill, first: object, last: object) -> None:
    """Run the statement for a range of keys, retrying while it cannot lock its rows."""
    for wait in pauses(0.1, 2):
        try:
            connection.execute(found.statement.encode(), {"first": first, "last": last})
            return
        except (psycopg.errors.LockNotAvailable, psycopg.errors.DeadlockDetected, psycopg.errors.SerializationFailure):
            sleep(wait)


def _batch(connection: psycopg.Connection, found: Backfill, after: object, rows: int) -> tuple[object, object, int] | None:
    """Return the first and last key of the next rows to be done, and their number; None if no rows are left."""
    key = sql.Identifier(found.key)
    beyond = sql.SQL("") if after is None else sql.SQL("and {} > %(after)s").format(key)
    tail = sql.SQL("{} order by {} limit %(rows)s").format(beyond, key)
    chosen = _select(sql.SQL("select {} as key").format(key).as_string(), found, tail)
    query = sql.SQL("select min(b.key), max(b.key), count(*) from ({}) b").format(chosen)
    first, last, count = connection.execute(query, {"after": after, "rows": rows}).fetchone() or (None, None, 0)
    return None if not count else (first, last, int(count))


def _count(connection: psycopg.Connection, found: Backfill) -> int:
    (count,) = connection.execute(_select("select count(*)", found, sql.SQL(""))).fetchone() or (0,)
    return int(count)


def _select(what: str, found: Backfill, tail: sql.Composable) -> sql.Composed:
    """Return a query of the rows to be done. The condition is SQL from our own file."""
    condition = sql.SQL(found.todo.replace("%", "%%"))
    start = sql.SQL(what)
    return sql.SQL("{} from {} where ({}) {}").format(start, sql.Identifier(found.table), condition, tail)

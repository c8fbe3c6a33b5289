"""The load: find and recognise a dump file, and pass it to the engine or only check it."""

import os
import time
from contextlib import suppress
from dataclasses import replace as changed
from typing import IO

import msgspec

from ..errors import InvalidValue, WrongSchema
from ..printable import printable
from ..server import schema
from ..server.commands import command_line
from ..transactions import Transactions
from . import engine
from .files import Source, source
from .legacy.load import load_legacy
from .legacy.reader import is_legacy
from .reader import DumpReader, tables_of
from .report import Progress, Report, Summary

_HEADER_LINES = 2
_LONGEST_HEADER = 1 << 20  # bytes


def load(
    db: Transactions,
    file: str | os.PathLike[str] | IO[bytes] | Source,
    *,
    replace: bool = False,
    merge: bool = False,
    progress: Report | None = None,
) -> Summary:
    """Load a dump, all or nothing; new ids continue after the highest one. See docs/operations.md.

    An old backend's dump is recognised by its content, and loaded as by `load_legacy`.

    Args:
        db: A Database, or any other `Transactions`, whose user owns the tables.
        file: A path, whose ending .json, .json.gz or .json.zst may be left out, or a file that is open for reading bytes.
        replace: First delete everything in the database. Otherwise it must be empty, unless `merge` is given.
        merge: Insert or update rows by pk; rows missing from the file stay.
        progress: A function that is called now and then with a `Progress`.

    Raises:
        NotFound: The file does not exist, or a record refers to a missing one.
        InvalidValue: The file or a record is faulty; the message has line and record, as for the next two.
        AlreadyExists: A pk or unique key occurs twice.
        WrongSchema: The dump's migrations are not the database's.
        NotEmpty: The database has rows.
        NotAllowed: The user does not own the tables.
        Unavailable: The file cannot be read, or the connection fails.
    """
    if replace and merge:
        raise InvalidValue("a load can replace or merge, not both")
    start = time.monotonic()
    with source(file) as chunks:
        if chunks.recognise(is_legacy):
            if merge:
                raise InvalidValue("an old backend's dump cannot be merged into a database that is in use")
            return load_legacy(db, chunks, replace=replace, progress=progress)
        reader = DumpReader(chunks)
        _refuse_older(reader.header.migrations)

        def tell(told: Progress) -> None:
            if progress:
                progress(changed(told, part=chunks.part()) if told.doing == "loading" else told)

        counts = engine.load_blocks(db, reader.blocks, replace=replace, merge=merge, progress=tell)
    return Summary(counts, time.monotonic() - start)


def check(file: str | os.PathLike[str] | IO[bytes] | Source, *, progress: Report | None = None) -> Summary:
    """Check a dump without a database. Unique keys and references are not checked.

    Records are checked against this code's schema, or, for an older schema, against the dump's header. Raises the errors of
    `load` for faults of the file.
    """
    start = time.monotonic()
    with source(file) as chunks:
        reader = DumpReader(chunks)
        tables = reader.header.tables
        if not lacking(reader.header.migrations):
            tables = tables_of(msgspec.json.decode((schema.DB_DIR / "models.json").read_bytes()))
        counts = {table.model: 0 for table in tables}
        size = 0
        for block in reader.blocks(tables):
            counts[block.table.model] += block.rows
            size += len(block.text)
            if progress:
                progress(Progress("checking", chunks.part(), size, sum(counts.values())))
            del block  # released before the next one
    return Summary(counts, time.monotonic() - start)


def lacking(theirs: list[str]) -> list[str]:
    """Return this code's migrations that a dump of an older schema lacks.

    None are lacking in a dump of this code's schema, nor in one from before the first release, whose records are compared with
    the tables' fields. Raises WrongSchema for a newer or an unreleased schema.
    """
    ours = schema.known()
    if theirs and max(theirs) < ours[0]:
        return []
    differs = schema.compare(theirs)
    if unknown := differs.unknown:
        raise WrongSchema(
            f"the dump has migrations that this code does not know ({printable(', '.join(unknown))}): it is of a newer "
            "tomato-dao; load it with that version"
        )
    if not theirs or theirs != ours[: len(theirs)]:
        raise WrongSchema(f"the dump lacks migrations ({', '.join(differs.pending)}): no release has this schema")
    return differs.pending


def migrations_of(file: Source) -> list[str]:
    """Return the migrations named in a dump's header, or none without a header. The file stays unread."""
    found: list[str] = []

    def judge(start: bytes) -> bool | None:
        if start.count(b"\n") < _HEADER_LINES:
            return None if len(start) < _LONGEST_HEADER else False
        with suppress(InvalidValue):
            found.extend(DumpReader([b"".join(start.splitlines(keepends=True)[:_HEADER_LINES])]).header.migrations)
        return True

    file.recognise(judge)
    return found


def _refuse_older(theirs: list[str]) -> None:
    if missing := lacking(theirs):
        ours = schema.known()
        raise WrongSchema(
            f"the dump lacks {len(missing)} of {len(ours)} migrations ({', '.join(missing)}): {command_line('load')} applies "
            "them while loading"
        )

"""The load: a dump's file, found and recognised, given to the engine; or only checked."""

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
    """Load a dump, all or nothing, with all its values as they were; new ids go on after the highest.

    An old backend's dump is recognised by its content, and loaded as by `load_legacy`.

    db: its user must own the tables. file: a path (also without its ending .json, .json.gz or .json.zst), or a file that is
    open for reading bytes. replace: first delete everything in the database. merge: insert or update by pk; what the file
    doesn't name stays. Without either the database must be empty. progress: is told now and then.

    Raises NotFound where there is no such file, Unavailable where it can't be read or the connection fails, WrongSchema
    where its migrations are not the database's, NotEmpty, NotAllowed; and for the file's faults, with line and record,
    InvalidValue, AlreadyExists for a pk that is there twice, NotFound for references to nothing.
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
    """Read a dump and verify what can be verified without a database: not whether keys are unique and references fit.

    Records are held against this code's schema, whatever columns the header tells of; those of an older schema against the
    header. Raises as `load` does for the file's faults.
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
            del block  # before there is another
    return Summary(counts, time.monotonic() - start)


def lacking(theirs: list[str]) -> list[str]:
    """Return this code's migrations that a dump lacks: it is of an older schema, which a database of that schema can take.

    None where it is of this code's schema, or of one before the first release: then the fields of each record are compared
    with the tables' all the same. Raises WrongSchema for a newer schema, and for one that is no beginning of this code's.
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
    """Return the migrations that a dump's header tells of, and leave the file as it is; none where it has no such header."""
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

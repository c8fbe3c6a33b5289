"""The load: a dump's file, found and recognised, given to the engine; or only checked."""

import os
import time
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
    open for reading bytes. replace: remove all that is in the database first. merge: insert or update by pk; what the file
    doesn't name stays. Without either the database must be empty. progress: is told now and then.

    Raises NotFound where there is no such file, Unavailable where it can't be read or the connection fails, WrongSchema
    where its migrations are not the database's, NotEmpty, NotAllowed; and for the file's faults, with line and record,
    InvalidValue, AlreadyExists for a pk that is there twice, NotFound for references to nothing.
    """
    if replace and merge:
        raise InvalidValue("a load replaces or merges, not both")
    start = time.monotonic()
    with source(file) as chunks:
        if chunks.recognise(is_legacy):
            if merge:
                raise InvalidValue("an old dump can't be merged into a database that is in use")
            return load_legacy(db, chunks, replace=replace, progress=progress)
        reader = DumpReader(chunks)
        _check_migrations(reader.header.migrations)

        def tell(told: Progress) -> None:
            if progress:
                progress(changed(told, part=chunks.part()) if told.doing == "loading" else told)

        counts = engine.load_blocks(db, reader.blocks, replace=replace, merge=merge, progress=tell)
    return Summary(counts, time.monotonic() - start)


def check(file: str | os.PathLike[str] | IO[bytes] | Source, *, progress: Report | None = None) -> Summary:
    """Read a dump and verify what can be verified without a database: not whether keys are unique and references fit.

    Records are held against this code's schema, whatever columns the header tells of. Raises as `load` does for the file's
    faults.
    """
    start = time.monotonic()
    with source(file) as chunks:
        reader = DumpReader(chunks)
        _check_migrations(reader.header.migrations)
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


def _check_migrations(theirs: list[str]) -> None:
    ours = schema.known()
    if theirs and max(theirs) < ours[0]:
        return  # of a schema before the first release; the fields of each record are compared with the tables' all the same
    differs = schema.compare(theirs)
    if unknown := differs.unknown:
        raise WrongSchema(
            f"the dump has migrations that this code does not know ({printable(', '.join(unknown))}): it is of a newer "
            "tomato-dao; load it with that one"
        )
    if missing := differs.pending:
        raise WrongSchema(
            f"the dump lacks {len(missing)} of {len(ours)} migrations ({', '.join(missing)}): load it with the tomato-dao that "
            f"wrote it into a database of its schema, then run {command_line('migrate')}"
        )

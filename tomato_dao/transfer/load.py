"""The load: a dump's file, found and recognised, given to the engine; or only checked."""

import os
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace as changed
from typing import IO

from .. import layout
from ..database import Database
from ..errors import InvalidValue, WrongLayout
from . import engine, files
from .reader import Reader
from .report import Progress, Report, Summary


def load(
    db: Database,
    file: str | os.PathLike[str] | IO[bytes],
    *,
    replace: bool = False,
    merge: bool = False,
    progress: Report | None = None,
) -> Summary:
    """Load a dump, all or nothing, with all its values as they were; new ids go on after the highest.

    db: its user must own the tables. file: a path (also without its ending .json, .json.gz or .json.zst), or a file that is
    open for reading bytes. replace: remove all that is in the database first. merge: insert or update by pk; what the file
    doesn't name stays. Without either the database must be empty. progress: is told now and then.

    Raises NotFound where there is no such file, Unavailable where it can't be read or the connection fails, WrongLayout
    where its migrations are not the database's, NotEmpty, NotAllowed; and for the file's faults, with line and record,
    InvalidValue, AlreadyExists for a pk that is there twice, NotFound for references to nothing.
    """
    if replace and merge:
        raise InvalidValue("a load replaces or merges, not both")
    start = time.monotonic()
    with _opened(file) as (stream, part):
        reader = Reader(stream)
        _check_migrations(reader.header.migrations)

        def tell(told: Progress) -> None:
            if progress:
                progress(changed(told, part=part()) if told.doing == "loading" else told)

        counts = engine.load_blocks(db, reader.blocks, replace=replace, merge=merge, progress=tell)
    return Summary(counts, time.monotonic() - start)


def check(file: str | os.PathLike[str] | IO[bytes], *, progress: Report | None = None) -> Summary:
    """Read a dump and verify what can be verified without a database: not whether keys are unique and references fit.

    Raises as `load` does for the file's faults.
    """
    start = time.monotonic()
    with _opened(file) as (stream, part):
        reader = Reader(stream)
        counts = {table.model: 0 for table in reader.header.tables}
        size = 0
        for block in reader.blocks(reader.header.tables):
            counts[block.table.model] += len(block.rows)
            size += sum(map(len, block.rows))
            if progress:
                progress(Progress("checking", part(), size, sum(counts.values())))
    return Summary(counts, time.monotonic() - start)


@contextmanager
def _opened(file: str | os.PathLike[str] | IO[bytes]) -> Iterator[tuple[IO[bytes], Callable[[], float | None]]]:
    """The file, and how to tell which part of it has been read."""
    if not isinstance(file, str | os.PathLike):
        yield file, lambda: None
        return
    with files.opened(files.find(file)) as stream:
        status = os.fstat(stream.fileno())
        size = status.st_size if stat.S_ISREG(status.st_mode) else 0
        yield stream, lambda: stream.tell() / size if size else None


def _check_migrations(theirs: list[str]) -> None:
    ours = layout.known()
    if unknown := [version for version in theirs if version not in ours]:
        raise WrongLayout(
            f"the dump has migrations that this code does not know ({', '.join(unknown)}): it is of a newer tomato-dao; "
            "load it with that one"
        )
    if missing := [version for version in ours if version not in theirs]:
        raise WrongLayout(
            f"the dump lacks {len(missing)} of {len(ours)} migrations ({', '.join(missing)}): load it with the tomato-dao that "
            "wrote it into a database of its layout, then run make migrate"
        )

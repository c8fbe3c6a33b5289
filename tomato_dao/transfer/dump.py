"""The dump: all tables as of one moment, as a JSON array with a record per line."""

import hashlib
import os
import time
from collections.abc import Mapping, Sequence
from typing import IO

import msgspec
import psycopg

from ..errors import InvalidValue, from_driver
from ..server import arguments, schema
from ..transactions import Transactions
from . import files, snapshot
from .catalog import Table
from .report import Progress, Report, Summary

FORMAT = 1
LONGEST = 512 << 20  # maximum bytes of a line
_ENOUGH = 1 << 14  # minimum bytes of a write


def dump(
    db: Transactions, file: str | os.PathLike[str] | IO[bytes], *, jobs: int = 1, progress: Report | None = None
) -> Summary:
    """Write all tables, as of one moment, while other sessions go on writing. See docs/operations.md.

    Args:
        db: A Database, or any other `Transactions`.
        file: A path, or a file that is open for writing bytes. A path is written under another name and renamed when
            complete, with mode 0600, compressed if it ends in .gz or .zst.
        jobs: The most connections of db to read with; the bytes are the same.
        progress: A function that is called now and then with a `Progress`.

    Raises:
        WrongSchema: The database's schema is not this code's.
        Unavailable: The file cannot be written, or the connection fails.
        Conflict: A migration waits for the tables.
        WrongState: Called inside `transaction()`.
    """
    if isinstance(file, str | os.PathLike):
        with files.written(arguments.path("a dump", file)) as output:
            return dump(db, output, jobs=jobs, progress=progress)
    arguments.count("a dump's jobs", jobs, 1)
    if not hasattr(file, "write"):
        raise InvalidValue(f"a dump goes into a file or to a path, not a {type(file).__name__}")
    start = time.monotonic()
    body = _Body(file)
    try:
        with snapshot.taken(db, jobs) as found:
            body.write(b"[\n" + header(found.tables) + b",\n")
            counts = {table.model: 0 for table in found.tables}
            for n, piece in enumerate(found.pieces):
                for lines in piece:
                    _check_length(lines)
                    body.write(lines.text)
                    counts[lines.table.model] += lines.rows
                    del lines  # released before the next lines are read
                if progress:
                    progress(Progress("dumping", (n + 1) / len(found.pieces), body.size, sum(counts.values())))
        body.end(counts)
    except psycopg.Error as error:
        raise from_driver(error) from error
    return Summary(counts, time.monotonic() - start)


def header(tables: Sequence[Table]) -> bytes:
    """Return the first record: the dump's models and schema."""
    versions = schema.known()
    fields = {
        "format": FORMAT,
        "schema_version": versions[-1],
        "migrations": versions,
        **described(tables),
    }
    return msgspec.json.encode({"model": "dump.header", "fields": fields})


def described(tables: Sequence[Table]) -> dict[str, object]:
    """Describe tables for a header. db/models.json has the description of this code's schema."""
    return {
        "models": [table.model for table in tables],
        "keys": {table.model: [column.name for column in table.key] for table in tables},
        "columns": {
            table.model: {column.name: column.kind + "?" * column.nullable for column in table.columns} for table in tables
        },
    }


def trailer(counts: Mapping[str, int], sha256: str) -> bytes:
    """Return the last record: the counts of records, and the hash of every byte before its line."""
    fields = {"rows": sum(counts.values()), "models": counts, "sha256": sha256}
    return msgspec.json.encode({"model": "dump.trailer", "fields": fields})


def _check_length(lines: snapshot.DumpedLines) -> None:
    if len(lines.text) > LONGEST and (longest := max(map(len, bytes(lines.text).split(b"\n")))) > LONGEST:
        raise InvalidValue(
            f"a {lines.table.model} makes a line of {longest >> 20} MiB, and {LONGEST >> 20} is the most that can be "
            f"loaded again: it begins with {bytes(lines.text[:80]).decode(errors='replace')}"
        )


class _Body:
    """Output that is hashed and written in large pieces."""

    def __init__(self, file: IO[bytes]) -> None:
        self.size = 0
        self._file = file
        self._hash = hashlib.sha256()
        self._waiting = bytearray()

    def write(self, data: bytes | memoryview) -> None:
        self.size += len(data)
        if len(data) < _ENOUGH:
            self._waiting += data
        if len(self._waiting) >= _ENOUGH or len(data) >= _ENOUGH:
            self._put(self._waiting)
            self._waiting = bytearray()
        if len(data) >= _ENOUGH:
            self._put(data)

    def end(self, counts: Mapping[str, int]) -> None:
        self._put(self._waiting)
        self._file.write(trailer(counts, self._hash.hexdigest()) + b"\n]\n")
        self._file.flush()

    def _put(self, data: bytes | bytearray | memoryview) -> None:
        self._hash.update(data)
        self._file.write(data)

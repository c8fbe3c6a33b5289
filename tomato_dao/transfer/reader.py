"""Reader of a dump as a stream: its header, blocks of rows for the engine, and the check of the trailer."""

import codecs
import hashlib
import itertools
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from ..errors import InvalidValue
from ..printable import printable
from . import scan
from .catalog import Column, Table
from .dump import FORMAT, LONGEST
from .engine import Block
from .record import KINDS, RecordReader, members, model_of

_SLICE = 1 << 16
_ANEW = "or was written anew by another program: a dump's first line is “[”, and each record has a line"
_MODEL = re.compile(rb'"model": *"(\w{1,60})"').search
_PK = re.compile(rb'"pk": *(\[[^\]]{1,200}\]|"[^"]{1,60}"|[^]},"[]{1,60})').search


@dataclass(frozen=True, slots=True)
class Header:
    """A dump's header: its migrations and its tables."""

    migrations: list[str]
    tables: list[Table]


class DumpReader:
    """The records of a dump, read once from beginning to end.

    Raises InvalidValue, with the line, for an error in the file, and Unavailable if reading fails.
    """

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._read = 0  # lines
        self._texts = self._complete_lines(chunks)
        start = b""
        while start.count(b"\n") < 2 and (text := next(self._texts, b"")):
            start += text
            self._read = start.count(b"\n")
        if not start:
            raise InvalidValue("the file is empty, or cut off")
        first, *others = start.split(b"\n", 2)
        if first != b"[":
            raise _wrong(1, f"this is not a dump, {_ANEW}")
        if len(others) < 2:
            raise _cut(1)
        header, rest = others
        self.header = _header(header)
        self._hash = hashlib.sha256(b"[\n%b\n" % header)
        self._read = 2
        self._texts = itertools.chain([rest] if rest else [], self._texts)

    def blocks(self, tables: Sequence[Table]) -> Iterator[Block]:
        """Yield the rows of these tables, in the file's order. Afterwards the file is known to be complete and unchanged."""
        all_records = {table.model: RecordReader(table) for table in tables}
        counts = dict.fromkeys(all_records, 0)
        records = next(iter(all_records.values()))
        for text in self._texts:
            first_line = self._read + 1
            before = self._hash.copy()
            self._hash.update(text)
            block = _simple_lines(records, text, first_line)
            if block:
                counts[records.table.model] += block.rows
                self._read += block.rows
                yield block
                continue
            lines = text.split(b"\n")
            del lines[-1]  # nothing follows the last newline
            rows: list[bytes] = []
            for n, line in enumerate(lines, first_line):
                row = records.row(line)
                if row is None:
                    model = _model(n, line)
                    if rows and model != records.table.model:
                        counts[records.table.model] += len(rows)
                        yield Block(records.table, b"\n".join(rows), len(rows), n - len(rows))
                        rows = []
                    if model == "dump.trailer":
                        self._hash = before
                        self._hash.update(b"".join(b"%b\n" % earlier for earlier in lines[: n - first_line]))
                        self._end(n, line, lines[n - first_line + 1 :], counts)
                        return
                    if model not in all_records:
                        raise _wrong(n, f"the model {printable(model, 60)} is unknown")
                    records = all_records[model]
                    row = records.row(line) or _any_row(records, n, line)
                rows.append(row)
            counts[records.table.model] += len(rows)
            self._read += len(lines)
            block = Block(records.table, b"\n".join(rows), len(rows), self._read + 1 - len(rows))
            del text, lines, line, rows, row  # before there are others: they can be large
            yield block
            del block
        raise _cut(self._read)

    def _end(self, n: int, line: bytes, rest: list[bytes], counts: dict[str, int]) -> None:
        """Check the trailer's counts and hash, and that nothing follows it."""
        try:
            fields = msgspec.json.decode(line)["fields"]
            said, rows, sha256 = dict(fields["models"]), fields["rows"], fields["sha256"]
        except (ValueError, RecursionError, TypeError, KeyError):
            raise _wrong(n, "the trailer is damaged") from None
        for model in counts | said:
            if said.get(model, 0) != counts.get(model, 0):
                told = f"{printable(said.get(model, 0), 60)} {printable(model, 60)} records"
                raise _wrong(n, f"the trailer says {told}, the file has {counts.get(model, 0)}")
        if rows != sum(counts.values()):
            raise _wrong(n, f"the trailer says {printable(rows, 60)} records, the file has {sum(counts.values())}")
        if sha256 != self._hash.hexdigest():
            raise _wrong(n, "the content doesn't match the trailer's hash: the file was changed or damaged")
        self._read = n + len(rest)
        for text in self._texts:
            rest += text[:-1].split(b"\n")
            self._read = n + len(rest)
            if len(rest) > 1:
                break
        if rest != [b"]"]:
            raise _wrong(n + 1, "only “]” may follow the trailer") if rest else _cut(n)

    def _complete_lines(self, chunks: Iterable[bytes]) -> Iterator[bytes]:
        """Yield several lines at a time, each with its newline."""
        rest = bytearray()
        for chunk in chunks:
            cut = chunk.rfind(b"\n") + 1
            if not cut:
                rest += chunk
                if len(rest) > LONGEST:
                    raise _wrong(self._read + 1, f"it is longer than {LONGEST >> 20} MiB, the limit for a line")
                continue
            text = b"".join((rest, memoryview(chunk)[:cut]))
            rest = bytearray(memoryview(chunk)[cut:])
            if not text.isascii():
                _check_encoding(text, self._read)
            yield text
            del text
        if rest and not self._read and rest[:1] == b"[" and rest[-1:] == b"]":
            raise _wrong(1, f"this is not a dump, {_ANEW}")
        if rest:
            raise InvalidValue(f"the file ends in the middle of line {self._read + 1}: it is cut off")


def _simple_lines(records: RecordReader, text: bytes, first_line: int) -> Block | None:
    if records.binary and (found := records.binary.rows(text)):
        return Block(records.table, *found, first_line, records.binary, text)
    found = records.rows(text)
    return Block(records.table, *found, first_line) if found else None


def _check_encoding(text: bytes, lines_before: int) -> None:
    decoder = codecs.getincrementaldecoder("utf-8")()
    for start in range(0, len(text), _SLICE):
        begun = len(decoder.getstate()[0])  # bytes of a character that the slice before has cut
        try:
            decoder.decode(text[start : start + _SLICE])  # the last line ends with a newline, and so with a complete character
        except UnicodeDecodeError as error:
            line = lines_before + text.count(b"\n", 0, start - begun + error.start) + 1
            raise _wrong(line, "it has bytes that are not valid UTF-8") from None


def _header(line: bytes) -> Header:
    try:
        record = msgspec.json.decode(line.rstrip().removesuffix(b","))
        fields = record["fields"] if record["model"] == "dump.header" else {}
        version = fields["format"]
    except (ValueError, RecursionError, TypeError, KeyError):
        raise _wrong(2, f"the header is missing or damaged, {_ANEW}") from None
    if version != FORMAT:
        told = f"the dump is of format {printable(version, 60)}, this tomato-dao reads {FORMAT}"
        raise _wrong(2, f"{told}: load it with the version that wrote it")
    try:
        first, *others = tables_of(fields)
        return Header([str(version) for version in fields["migrations"]], [first, *others])
    except (ValueError, TypeError, KeyError, AttributeError):
        raise _wrong(2, "the header is damaged") from None


def tables_of(described: dict[str, Any]) -> list[Table]:
    """Return the tables of a header. Raises ValueError, TypeError, KeyError or AttributeError if it is damaged."""
    return [_table(model, described) for model in described["models"]]


def _table(model: str, fields: dict[str, Any]) -> Table:
    columns = {name: _column(name, kind) for name, kind in fields["columns"][model].items()}
    key = tuple(columns.pop(name) for name in fields["keys"][model])
    return Table(model, model, key, tuple(columns.values()))


def _column(name: str, kind: str) -> Column:
    if kind.removesuffix("?") not in KINDS:
        raise ValueError(f"{kind} is not a kind of column")
    return Column(name, kind.removesuffix("?"), kind.endswith("?"))


def _model(n: int, line: bytes) -> str:
    """Return the model of a line that is not in a dump's usual form or is the first of its model."""
    if model := model_of(line):
        return model
    try:
        end = len(line.rstrip().removesuffix(b","))
        return scan.text_of(line[slice(*members(line, (0, end))["model"])])
    except KeyError:
        raise _wrong(n, "“model” is missing") from None
    except ValueError as error:
        raise _wrong(n, f"{_name(line)}{error}") from None


def _any_row(records: RecordReader, n: int, line: bytes) -> bytes:
    end = len(line.rstrip()) - 1
    try:
        if line[end : end + 1] != b",":
            raise ValueError("a record must end with “},”")
        return records.any_row(line, end)
    except ValueError as error:
        raise _wrong(n, f"{_name(line)}{error}") from None


def _name(line: bytes) -> str:
    """Name a record for a message, as far as possible without parsing it."""
    found = [match[1].decode(errors="replace") for find in (_MODEL, _PK) if (match := find(line))]
    return printable(" ".join(found)) + ": " if found else ""


def _wrong(line: int, message: str) -> InvalidValue:
    return InvalidValue(f"line {line}: {message}")


def _cut(line: int) -> InvalidValue:
    return InvalidValue(f"the file ends after line {line}, without its trailer: it is cut off")

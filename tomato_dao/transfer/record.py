"""Conversion of a dump's lines to COPY's text format. JSON is kept as text, so that no number changes.

Lines in a dump's usual form are split by one regular expression, many at once if nothing needs escaping. Other lines are split
by the slower scanner, which also finds errors.
"""

import re
from collections.abc import Callable

import msgspec

from ..printable import printable
from . import scan
from .binary import BinaryRows, can_be_binary
from .catalog import Column, Table
from .scan import Span

_NULL = rb"\N"
_SMALL = 1 << 20  # maximum bytes of JSON that is decoded
_MOST_DIMENSIONS = 6  # maximum dimensions of PostgreSQL's arrays
_ODD = (b"\\", b"\t", b"\r")  # characters with a special meaning in COPY
_SPACES = bytes.maketrans(b"\t\r", b"  ")

_INTEGER = rb"-?+(?!0[0-9])[0-9]{1,19}+"
_NUMBER = rb"-?+(?!0[0-9])[0-9]++(?:\.[0-9]++)?+(?:[eE][-+]?[0-9]++)?+"
_STRING = rb'[^"\\\x00-\x1f]*+(?:\\["\\/bfnrtu][^"\\\x00-\x1f]*+)*+'
_INSTANT = rb"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]{1,6})?+(?:\+00:00|Z|[-+][0-9]{2}:[0-9]{2})"
_JSON = rb'(?:"[^"]*+"|.+?)'  # checked later as JSON: a line can be read in one way only

# The group is passed to COPY.
_PATTERNS = {
    "integer": rb"(%b)" % _INTEGER,
    "number": rb"(%b)" % _NUMBER,
    "boolean": rb"(true|false)",
    "instant": rb'"(%b)"' % _INSTANT,
    "text": rb'"(%b)"' % _STRING,
    "json": rb"(%b)" % _JSON,
    "array": rb"(\[%b)" % _JSON,
}
_VALUES = {kind: re.compile(pattern).fullmatch for kind, pattern in _PATTERNS.items()}
KINDS = frozenset(_PATTERNS)
_EXPECTED = {
    "integer": "an integer of at most 64 bits",
    "number": "a number, or “NaN”, “Infinity” or “-Infinity”",
    "boolean": "true or false",
    "instant": "a time as “2026-01-31T12:00:00+00:00”",
    "text": "a string",
    "array": "an array",
}
_NO_NUMBER = re.compile(rb'"(NaN|-?Infinity)"').fullmatch
_MODEL = re.compile(rb'\{"model":"([^"\\]*+)"').match


def model_of(line: bytes) -> str | None:
    """Return the model of a line, if that comes first."""
    found = _MODEL(line)
    return found[1].decode() if found else None


def members(text: bytes, span: Span) -> dict[str, Span]:
    """Return the positions of an object's values in a text. Raises ValueError for other JSON or a duplicate member."""
    found: dict[str, Span] = {}
    for key, value in scan.parts(text, span):
        name = scan.text_of(key) if key else ""
        if not key or name in found:
            raise ValueError(f"“{printable(name, 60)}” occurs twice" if key else "expected an object, not an array")
        found[name] = value
    if not found and not text[slice(*span)].lstrip().startswith(b"{"):
        raise ValueError("expected an object")
    return found


class RecordReader:
    """Conversion of the lines of one table's records."""

    def __init__(self, table: Table) -> None:
        self.table = table
        self.binary = BinaryRows(table, self._each) if can_be_binary(table) else None
        self._match = re.compile(_line(table, _pattern)).fullmatch
        self._find_all = re.compile(rb"^%b$" % _line(table, _pattern_with_null), re.MULTILINE).findall
        self._nullable = any(column.nullable for column in table.columns)
        self._odd = (*_ODD, b'"null') if self._nullable else _ODD
        # Without nulls all lines are longer than their rows by this number of bytes.
        self._longer = len(_line(table, lambda column: b'""' * _quoted(column), bytes)) - len(table.columns) + 1
        kinds = [column.kind for column in table.columns]
        self._texts = [n for n, kind in enumerate(kinds) if kind == "text"]
        self._jsons = [n for n, kind in enumerate(kinds) if kind == "json"]
        self._arrays = [n for n, kind in enumerate(kinds) if kind == "array"]

    def rows(self, text: bytes) -> tuple[bytes, int] | None:
        """Return the rows of several lines at once, at a third of the cost, and their number. Each line has its newline.

        Returns None if a line is not simple enough or of another table.
        """
        if self._arrays or len(self.table.columns) == 1 or len(text) > _SMALL or any(odd in text for odd in self._odd):
            return None
        found = self._find_all(text)
        if not found or (self._nullable and len(found) != text.count(b"\n")):
            return None
        try:
            for n in self._jsons:
                for row in found:
                    msgspec.json.decode(row[n])
        except (ValueError, RecursionError):
            return None
        rows = b"\n".join(map(b"\t".join, found))
        if self._nullable:
            return rows.replace(b"\tnull", b"\t" + _NULL), len(found)
        # The lengths only add up if no line was skipped. This is faster than counting lines.
        return (rows, len(found)) if len(text) == len(rows) + len(found) * self._longer + 1 else None

    def _each(self, text: bytes) -> list[bytes]:
        """Return the rows of several valid lines, with members and white space in any order."""
        return [self.row(line) or self.any_row(line, line.rindex(b",")) for line in text.split(b"\n")[:-1]]

    def row(self, line: bytes) -> bytes | None:
        """Return the row of a line in a dump's usual form, or None for any other line."""
        found = self._match(line)
        if found is None:
            return None
        try:
            return b"\t".join(self._finished(list(found.groups(_NULL))))
        except (ValueError, RecursionError):
            return None

    def _finished(self, values: list[bytes]) -> list[bytes]:
        for n in self._jsons:
            if (value := values[n]) is not _NULL:
                _check_json(value)
                values[n] = _json(value)
        for n in self._arrays:
            if values[n] is not _NULL:
                values[n] = _array(values[n])
        for n in self._texts:
            if b"\\u" in values[n]:
                values[n] = _text(values[n])
        return values

    def any_row(self, line: bytes, end: int) -> bytes:
        """Return the row of a line with members and white space in any order, which ends before the comma at `end`.

        Raises ValueError with the reason if the line is invalid.
        """
        record = members(line, (0, end))
        for name in ("pk", "fields"):
            if name not in record:
                raise ValueError(f"“{name}” is missing")
        if unknown := record.keys() - {"model", "pk", "fields"}:
            raise ValueError(f"“{printable(min(unknown), 60)}” is not allowed beside model, pk and fields")
        fields = members(line, record["fields"])
        if unknown := fields.keys() - {column.name for column in self.table.fields}:
            raise ValueError(f"the field {printable(min(unknown), 60)} is unknown")
        if missing := [column.name for column in self.table.fields if column.name not in fields]:
            raise ValueError(f"the field {missing[0]} is missing")
        key = [record["pk"]]
        if len(self.table.key) > 1:
            key = [value for _, value in scan.parts(line, record["pk"])]
            if len(key) != len(self.table.key) or line[record["pk"][0]] != ord("["):
                raise ValueError(f"pk must be an array of {', '.join(column.name for column in self.table.key)}")
        values = [*key, *(fields[column.name] for column in self.table.fields)]
        return b"\t".join(_value(column, line, span) for column, span in zip(self.table.columns, values, strict=True))


def _line(table: Table, value: Callable[[Column], bytes], literal: Callable[[bytes], bytes] = re.escape) -> bytes:
    key = literal(b",").join(map(value, table.key))
    if len(table.key) > 1:
        key = literal(b"[") + key + literal(b"]")
    fields = literal(b",").join(literal(msgspec.json.encode(column.name) + b":") + value(column) for column in table.fields)
    begin = literal(b'{"model":%b,"pk":' % msgspec.json.encode(table.model))
    return begin + key + literal(b',"fields":{') + fields + literal(b"}},")


def _quoted(column: Column) -> bool:
    return _PATTERNS[column.kind].startswith(b'"')


def _pattern(column: Column) -> bytes:
    pattern = _PATTERNS[column.kind]
    return b"(?:null|(?!null)%b)" % pattern if column.nullable else pattern


def _pattern_with_null(column: Column) -> bytes:
    """Extend a value's pattern by null. A jsonb null is left to the caller, which distinguishes it from SQL's null."""
    pattern = _PATTERNS[column.kind]
    if not column.nullable:
        return b"(?!null)" + pattern if column.kind == "json" else pattern
    if _quoted(column):
        return b'"?+((?<!")null(?!")|(?<=")%b(?="))"?+' % pattern[2:-2]
    return b"(null|(?!null)%b)" % pattern[1:-1]


def _value(column: Column, line: bytes, span: Span) -> bytes:
    """Convert a JSON value for COPY. Raises ValueError if it has a wrong type."""
    begin, end = span
    if column.nullable and end - begin == 4 and line[begin:end] == b"null":
        return _NULL
    if column.kind == "json":
        return _json(line[begin:end])
    found = _VALUES[column.kind](line, begin, end)
    if found is None and column.kind == "number":
        found = _NO_NUMBER(line, begin, end)
    if found is None:
        shown = printable(line[begin : min(end, begin + 300)].decode(errors="replace"), 60)
        raise ValueError(f"{column.name} is {shown}, but must be {_EXPECTED[column.kind]}")
    value = found[1]
    if column.kind == "array":
        return _array(value)
    return _text(value) if column.kind == "text" and b"\\u" in value else value


def _check_json(value: bytes) -> None:
    """Raise ValueError if a text might not be JSON that PostgreSQL can store."""
    if len(value) > _SMALL or b"\\u0000" in value:
        raise ValueError("the scanner will tell")
    msgspec.json.decode(value)


def _json(value: bytes) -> bytes:
    """Convert JSON for COPY. Tabs and carriage returns can only be white space between its parts."""
    if b"\t" in value or b"\r" in value:
        value = value.translate(_SPACES)
    return value.replace(b"\\", b"\\\\") if b"\\" in value else value


def _text(string: bytes) -> bytes:
    r"""Return a JSON string without its quotes, as COPY reads it: that knows all escapes but \u."""
    return _escaped(scan.text_of(b'"%b"' % string).encode())


def _escaped(text: bytes) -> bytes:
    for character, escape in ((b"\\", b"\\\\"), (b"\t", b"\\t"), (b"\n", b"\\n"), (b"\r", b"\\r")):
        text = text.replace(character, escape)
    return text


def _array(value: bytes) -> bytes:
    """Convert a JSON array to PostgreSQL's format."""
    return _escaped(_literal(value))


def _literal(value: bytes, dimensions: int = 0) -> bytes:
    if value.startswith(b"["):
        if dimensions == _MOST_DIMENSIONS:
            raise ValueError(f"an array has more than {_MOST_DIMENSIONS} dimensions, which is PostgreSQL's limit")
        return b"{%b}" % b",".join(_literal(value[slice(*span)], dimensions + 1) for _, span in scan.parts(value))
    if value.startswith(b'"'):
        return b'"%b"' % scan.text_of(value).encode().replace(b"\\", b"\\\\").replace(b'"', b'\\"')
    return value

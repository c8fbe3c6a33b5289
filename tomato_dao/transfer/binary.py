"""Lines of a dump become rows in COPY's binary format, where every value is a number of fixed width, a time or a word.

msgspec reads such lines, and struct writes the rows, in less time than the regular expression needs, and the server reads a row
in half the time. Whatever is not certainly the same in both formats is left to the text format.
"""

import re
import string
import struct
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from .catalog import Column, Table

BEGIN = b"PGCOPY\n\xff\r\n\0" + bytes(8)
END = b"\xff\xff"

_TYPES = {"h": int, "i": int, "q": int, "d": float, "instant": str, "word": str}
_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_MOST = 1 << 20  # bytes of lines that become Python objects
_KEPT = 10_000  # times and words whose bytes are kept
_LONGEST = 60  # characters of a word
_INSTANT = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]{1,6})?\+00:00").fullmatch
_DELETED = (string.ascii_letters + string.digits + "_.+").encode()
_ZEROS = b"0" * 30  # as a number begins that can be too small for the server


class BinaryRows:
    """The lines of records of a table that `can_be_binary`, as COPY's binary format has them.

    columns: the order in which a row has the values, those of fixed width first. as_text: returns the rows of lines in COPY's
    text format, for the message if one is refused.
    """

    def __init__(self, table: Table, as_text: Callable[[bytes], list[bytes]]) -> None:
        self.as_text = as_text
        # Names of our own, since a column's can be a keyword of Python's.
        places = {column: f"pk[{n}]" if len(table.key) > 1 else "pk" for n, column in enumerate(table.key)}
        places |= {column: f"fields.f{n}" for n, column in enumerate(table.fields)}
        names = {f"f{n}": column.name for n, column in enumerate(table.fields)}
        key_types = tuple(_TYPES[column.wire] for column in table.key)
        key = tuple.__class_getitem__(key_types) if len(table.key) > 1 else key_types[0]
        members = [(name, _TYPES[column.wire]) for name, column in zip(names, table.fields, strict=True)]
        fields = msgspec.defstruct("Fields", members, rename=names, forbid_unknown_fields=True, gc=False)
        record = msgspec.defstruct(
            "Record",
            [("pk", key), ("fields", fields)],
            tag_field="model",
            tag=table.model,
            forbid_unknown_fields=True,
            gc=False,
        )
        self.columns = sorted(places, key=lambda column: column.wire == "word")
        self._decode = msgspec.json.Decoder(list[record]).decode  # type: ignore[valid-type]
        self._pack = _packer(self.columns, places)
        self._shape = _line(table).translate(None, _DELETED)

    def rows(self, text: bytes) -> tuple[bytes, int] | None:
        """Return the rows of several lines, each with its newline, and how many they are.

        None where one is of another table, or not certainly right: with all letters and digits away, lines as a dump writes
        them are the same. So no member is there twice, each record has its line, and no number is negative (msgspec takes minus
        zero for zero) or has a negative exponent (it takes a number for zero that is too small for the server).
        """
        if len(text) > _MOST or _ZEROS in text:
            return None
        shapes = text.translate(None, _DELETED)
        size = len(shapes) // len(self._shape)
        if shapes != self._shape * size:
            return None
        try:
            records = self._decode(b"".join((b"[", memoryview(text)[:-2], b"]")))
            return b"".join(self._pack(records)), size
        except (ValueError, struct.error):
            return None


def _line(table: Table) -> bytes:
    """Return a line as a dump writes it, its numbers empty."""
    examples = {"instant": b'"--T::+:"', "word": b'""'}
    key, fields = ([examples.get(column.wire, b"") for column in columns] for columns in (table.key, table.fields))
    pk = b",".join(key)
    names = (msgspec.json.encode(column.name) for column in table.fields)
    members = b",".join(b"%b:%b" % member for member in zip(names, fields, strict=True))
    pk = b"[%b]" % pk if len(key) > 1 else pk
    return b'{"model":%b,"pk":%b,"fields":{%b}},\n' % (msgspec.json.encode(table.model), pk, members)


def can_be_binary(table: Table) -> bool:
    """Return whether all values of a table's records are there, and of types that are written here."""
    return all(column.wire and not column.nullable and column.name.isidentifier() for column in table.columns)


def _packer(columns: list[Column], places: dict[Column, str]) -> Callable[[list[Any]], list[bytes]]:
    """Return a function that makes rows of records; as source text, since a loop over columns takes twice the time."""
    form, values, words = ">h", [str(len(columns))], ""
    for column in columns:
        if column.wire == "word":
            words += f" + words[r.{places[column]}]"
        elif column.wire == "instant":
            form += "12s"
            values.append(f"instants[r.{places[column]}]")
        else:
            form += f"i{column.wire}"
            values += [str(struct.calcsize(f">{column.wire}")), f"r.{places[column]}"]
    names = {"pack": struct.Struct(form).pack, "instants": _Kept(_instant), "words": _Kept(_word)}
    made: Callable[[list[Any]], list[bytes]] = eval(  # noqa: S307 (nothing of it is anybody's text)
        f"lambda records: [pack({', '.join(values)}){words} for r in records]", names
    )
    return made


class _Kept(dict[str, bytes]):
    """The bytes of strings that come again and again."""

    def __init__(self, make: Callable[[str], bytes]) -> None:
        self._make = make

    def __missing__(self, key: str) -> bytes:
        if len(self) >= _KEPT:
            self.clear()
        self[key] = made = self._make(key)
        return made


def _instant(text: str) -> bytes:
    if not _INSTANT(text):
        raise ValueError("not as a dump has it")
    return struct.pack(">iq", 8, (datetime.fromisoformat(text) - _EPOCH) // _MICROSECOND)


def _word(text: str) -> bytes:
    if len(text) > _LONGEST:
        raise ValueError("no word")
    word = text.encode()
    return struct.pack(">i", len(word)) + word

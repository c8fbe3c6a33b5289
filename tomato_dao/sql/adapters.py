"""Conversion of values between Python and the server: psycopg's adapters, with dumpers that check their values.

psycopg's own dumpers by type trust the value: 2**31 for an int4 would be stored as -2**31, "x" for a boolean as true.
"""

import json
import struct
import sys
from array import array
from collections.abc import Sequence
from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from uuid import UUID

import psycopg
from psycopg import pq
from psycopg.abc import AdaptContext, Buffer
from psycopg.adapt import Dumper, PyFormat
from psycopg.types.array import ListBinaryDumper
from psycopg.types.json import Json, Jsonb, set_json_dumps, set_json_loads

from .rows import load_json

_TYPES = psycopg.postgres.types
_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


class _Int2(Dumper):
    """Dumper of a number. Calling `pack` directly, when no value of the call is a bool, takes half the time."""

    format = pq.Format.BINARY
    oid = _TYPES["int2"].oid
    pack = struct.Struct("!h").pack

    def dump(self, obj: object) -> Buffer:
        if obj is True or obj is False:
            raise TypeError("expected a number, not bool")
        return self.pack(obj)


class _Int4(_Int2):
    oid = _TYPES["int4"].oid
    pack = struct.Struct("!i").pack


class _Int8(_Int2):
    oid = _TYPES["int8"].oid
    pack = struct.Struct("!q").pack


class _Float4(_Int2):
    oid = _TYPES["float4"].oid
    pack = struct.Struct("!f").pack


class _Float8(_Int2):
    oid = _TYPES["float8"].oid
    pack = struct.Struct("!d").pack


class _Text(_Int2):
    oid = _TYPES["text"].oid
    dump = pack = staticmethod(str.encode)  # type: ignore[assignment]  # accepts only a str


class _Timestamptz(Dumper):
    format = pq.Format.BINARY
    oid = _TYPES["timestamptz"].oid

    def dump(self, obj: object) -> Buffer:
        return struct.pack("!q", _microseconds(obj))


def _microseconds(moment: object) -> int:
    if not isinstance(moment, datetime) or moment.tzinfo is None:
        raise TypeError("expected a datetime with a time zone")
    return (moment - _EPOCH) // _MICROSECOND


def _guarded(name: str, *accepted: type, refused: tuple[type, ...] = ()) -> type[Dumper]:
    """Return psycopg's dumper for a server type, restricted to the accepted Python classes."""
    trusting = psycopg.postgres.adapters.get_dumper_by_oid(_TYPES[name].oid, pq.Format.BINARY)

    class Guarded(Dumper):
        format = pq.Format.BINARY
        oid = _TYPES[name].oid

        def __init__(self, cls: type, context: AdaptContext | None = None) -> None:
            super().__init__(cls, context)
            self._dump = trusting(cls, context).dump

        def dump(self, obj: object) -> Buffer | None:
            if not isinstance(obj, accepted) or isinstance(obj, refused):
                raise TypeError(f"expected {' or '.join(c.__name__ for c in accepted)}, not {type(obj).__name__}")
            return self._dump(obj)

    return Guarded


_GUARDED = [
    _guarded("bool", bool),
    _guarded("varchar", str),
    _guarded("name", str),
    _guarded("bytea", bytes, bytearray, memoryview),
    _guarded("date", date, refused=(datetime,)),
    _guarded("time", time),
    _guarded("timetz", time),
    _guarded("timestamp", datetime),
    _guarded("interval", timedelta),
    _guarded("uuid", UUID),
]


class _Array(ListBinaryDumper):
    """Dumper of an array of any type, from a list or a tuple."""

    def dump(self, obj: object) -> Buffer | None:
        if not isinstance(obj, list | tuple):
            raise TypeError(f"expected a list, not {type(obj).__name__}")
        return super().dump(list(obj))


class _FixedArray(_Array):
    """Dumper of an array of 8-byte values, copied in one step: a tenth of the cost of one call per element."""

    code = "q"

    def values(self, items: Sequence[object]) -> Sequence[object]:
        if bool in set(map(type, items)):  # array() would store it as 0 or 1
            raise TypeError("expected numbers, not bool")
        return items

    def dump(self, obj: object) -> Buffer | None:
        if not isinstance(obj, list | tuple) or not obj or None in obj or isinstance(obj[0], list | tuple):
            return super().dump(obj)
        values: array[Any] = array(self.code, self.values(obj))
        if sys.byteorder == "little":
            values.byteswap()
        data = bytearray((b"\0\0\0\x08" + bytes(8)) * len(values))
        whole, halves = memoryview(data).cast("i"), memoryview(values).cast("B").cast("i")
        whole[1::3], whole[2::3] = halves[::2], halves[1::2]
        return _array_head(self.element_oid, len(values)) + data


class _TextArray(_Array):
    """Dumper of an array of text. Each distinct value is encoded once."""

    oid, element_oid = _TYPES["text"].array_oid, _TYPES["text"].oid

    def dump(self, obj: object) -> Buffer | None:
        if not isinstance(obj, list | tuple) or set(map(type, obj)) != {str}:
            return super().dump(obj)
        encoded = {text: text.encode() for text in set(obj)}
        elements = {text: struct.pack("!i", len(value)) + value for text, value in encoded.items()}
        return _array_head(self.element_oid, len(obj)) + b"".join(map(elements.__getitem__, obj))


def _array_head(oid: int, length: int) -> bytes:
    return struct.pack("!IIIII", 1, 0, oid, length, 1)


class _Int8Array(_FixedArray):
    oid, element_oid = _TYPES["int8"].array_oid, _TYPES["int8"].oid


class _Float8Array(_FixedArray):
    oid, element_oid = _TYPES["float8"].array_oid, _TYPES["float8"].oid
    code = "d"


class _TimestamptzArray(_FixedArray):
    oid, element_oid = _TYPES["timestamptz"].array_oid, _TYPES["timestamptz"].oid

    def values(self, items: Sequence[object]) -> Sequence[object]:
        try:
            return [(item - _EPOCH) // _MICROSECOND for item in items]  # type: ignore[operator]
        except TypeError:
            return [_microseconds(item) for item in items]


_ARRAYS: list[type[Dumper]] = [
    _Int8Array,
    _Float8Array,
    _TimestamptzArray,
    _TextArray,
    *(
        type(f"_{name.title()}Array", (_Array,), {"oid": _TYPES[name].array_oid, "element_oid": _TYPES[name].oid})
        for name in ("int2", "int4", "bool", "jsonb", "interval", "numeric", "date", "uuid")
    ),
]


class _Encoder(json.JSONEncoder):
    def default(self, o: object) -> object:
        if isinstance(o, datetime):
            if o.tzinfo is None:
                raise ValueError(f"{o} has no time zone")
            return o.isoformat()
        return super().default(o)


_ENCODER = _Encoder(allow_nan=False, ensure_ascii=False, separators=(",", ":"))


def dump_json(value: object) -> str:
    """Encode JSON, keeping every digit. Raises ValueError for NaN and infinities, which JSON does not have."""
    return _ENCODER.encode(value)


def adapt(context: AdaptContext) -> None:
    """Register these adapters on a connection. Its cursors keep psycopg's own treatment of Python's types."""
    adapters = context.adapters
    set_json_dumps(dump_json, context)
    set_json_loads(load_json, context)
    adapters.register_dumper(None, adapters.get_dumper(Jsonb, PyFormat.BINARY))
    adapters.register_dumper(None, adapters.get_dumper(Json, PyFormat.BINARY))
    dumpers: list[type[Dumper]] = [_Int2, _Int4, _Int8, _Float4, _Float8, _Text, _Timestamptz, *_GUARDED, *_ARRAYS]
    for dumper in dumpers:
        adapters.register_dumper(None, dumper)

"""The stream of an old dump's records: any layout and size, and what is wrong told with its place."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tomato_dao import InvalidValue
from tomato_dao.transfer.legacy.reader import LegacyRecords, is_legacy

pytestmark = pytest.mark.slow

ONE = {"model": "tomato.host", "pk": 1, "fields": {"name": "h"}}


def chunks(text: bytes, size: int) -> Iterator[bytes]:
    return (text[n : n + size] for n in range(0, len(text), size))


def read(text: str | bytes, size: int = 7) -> list[tuple[str, Any, dict[str, Any]]]:
    data = text if isinstance(text, bytes) else text.encode()
    return [(record.model, record.pk, record.fields) for record in LegacyRecords(chunks(data, size))]


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(st.characters(codec="utf-8")),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)
records = st.lists(st.dictionaries(st.text(max_size=5), values, max_size=4), max_size=4)


@given(fields=records, size=st.integers(1, 50), indent=st.none() | st.integers(0, 3), ascii_only=st.booleans())
def test_any_records_in_any_layout_cut_anywhere(fields: list[Any], size: int, indent: int | None, ascii_only: bool) -> None:
    given = [{"model": f"tomato.m{n}", "pk": n, "fields": one} for n, one in enumerate(fields)]
    text = json.dumps(given, indent=indent, ensure_ascii=ascii_only)
    assert read(text, size) == [(one["model"], one["pk"], one["fields"]) for one in given]


def test_pythons_extensions_of_json_are_read() -> None:
    ((_, _, fields),) = read('[{"model": "a.b", "pk": 1, "fields": {"x": [Infinity, -Infinity], "y": "\\ud800"}}]', 1)
    assert fields == {"x": [float("inf"), float("-inf")], "y": "\ud800"}


def test_a_record_larger_than_many_chunks() -> None:
    large = {**ONE, "fields": {"data": "x" * 3_000_000}}
    assert read(json.dumps([large, ONE]), 1 << 16)[0][2] == large["fields"]


BAD = {
    "nothing": (b"", "ends after 0 records"),
    "no array": (b'{"a": 1}', "line 1, column 2 .*starting with “\\[”"),
    "cut in a record": (json.dumps([ONE, ONE]).encode()[:-20], "ends after 1 record, .*cut off"),
    "cut between records": (b"[" + json.dumps(ONE).encode() + b",", "ends after 1 record"),
    "no end": (b"[" + json.dumps(ONE).encode(), "ends after 1 record"),
    "wrong JSON": (
        b"[\n" + json.dumps(ONE).encode() + b',\n{"model": tomato}]',
        r"line 3, column 11 \(after 1 record\): not JSON",
    ),
    "no comma": (json.dumps(ONE).join("[ ]").encode().replace(b"]", json.dumps(ONE).encode() + b"]"), "“,” or “]” is expected"),
    "something after the end": (json.dumps([ONE]).encode() + b" x", "there must be nothing after the end of the array"),
    "a number as record": (b"[1]", "a record is expected"),
    "no model": (b'[{"pk": 1, "fields": {}}]', "a record must have a model, a pk and fields"),
    "a list as pk": (b'[{"model": "a.b", "pk": [1], "fields": {}}]', "a record must have a model, a pk and fields"),
    "no UTF-8": (b'[{"model": "\xff"}]', "is not UTF-8 at byte 13: invalid start byte"),
    "no UTF-8 within a character": (b'[{"model": "\xe2\x82\xff"}]', "is not UTF-8 at byte 13: invalid continuation byte"),
    "cut in a character": (b'[{"model": "\xe2\x82', "is not UTF-8 at byte 13: unexpected end of data"),
}


@pytest.mark.parametrize("size", [1, 1000])
@pytest.mark.parametrize("case", BAD)
def test_faults_are_named_with_their_place(case: str, size: int) -> None:
    text, message = BAD[case]
    with pytest.raises(InvalidValue, match=message):
        read(text, size)


def test_wrong_json_is_told_before_the_rest_is_read() -> None:
    pieces = iter([b'[{"model": oops', b"x" * 100, b"y" * 100])
    with pytest.raises(InvalidValue, match="not JSON"):
        list(LegacyRecords(pieces))
    assert list(pieces) != []


@pytest.mark.parametrize(
    ("start", "verdict"),
    [
        (b'[{"pk": 1, "model": "tomato.host"', True),
        (b'[\n {\n "fields": {"attrs": "{\\"model\\": \\"x\\"}"}, "model" : "south.migrationhistory"', True),
        (b'[\n{"model":"dump.header","fields"', False),
        (b'[{"model": "host"', False),
        (b'{"model": "tomato.host"', False),
        (b"", None),
        (b" [", None),
        (b'[{"pk": 1', None),
        (b"\x1f\x8b", False),
    ],
)
def test_an_old_dump_is_known_by_its_start(start: bytes, verdict: bool | None) -> None:
    assert is_legacy(start) is verdict

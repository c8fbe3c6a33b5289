"""A dump's line becomes a row: the same whether it is read among others, by itself, or written in another way."""

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.conftest import CHECKOUT
from tests.helpers.transfer_cases import as_json, by_hand, floats, instants, jsons, numbers, organization, texts
from tomato_dao import Database
from tomato_dao.transfer import reader
from tomato_dao.transfer.catalog import Column, Table
from tomato_dao.transfer.load import check
from tomato_dao.transfer.record import RecordReader

KEY = (Column("id", "integer", nullable=False),)


@pytest.mark.slow
@given(st.data())
@settings(max_examples=200, deadline=None)
def test_a_line_says_the_same_in_any_order_and_spacing(data: st.DataObject) -> None:
    kinds = {"t": (texts, "text"), "n": (numbers.map(lambda n: ("number", n)), "number"), "j": (jsons, "json")}
    columns = [Column(name, kind, nullable=name == "t") for name, (_, kind) in kinds.items()]
    reading = RecordReader(Table("things", "thing", (Column("id", "integer", nullable=False),), tuple(columns)))
    found = {name: as_json(data.draw(values)) for name, (values, _) in kinds.items()}
    fields = ",".join(f'"{name}":{value}' for name, value in found.items())
    line = f'{{"model":"thing","pk":5,"fields":{{{fields}}}}},'.encode()
    shuffled = " , ".join(f'"{name}" : {value}' for name, value in data.draw(st.permutations(list(found.items()))))
    other = f'{{ "fields": {{ {shuffled} }},"pk": 5 , "model":"thing"}} , '.encode()
    expected = reading.any_row(line, len(line) - 1)
    assert reading.any_row(other, len(other) - 2) == expected
    assert reading.row(line) in (expected, None)
    if not any(odd in fields for odd in ("\\u", "e400", "9" * 400)):
        assert reading.row(line) == expected


KINDS = {
    "integer": st.integers(-(2**63), 2**63 - 1).map(str),
    "number": numbers | floats.map(repr),
    "boolean": st.sampled_from(["true", "false"]),
    "instant": instants.map(lambda at: as_json(at.isoformat())),
    "text": texts.map(as_json),
    "json": jsons.map(as_json),
}


@pytest.mark.slow
@given(st.data())
@settings(max_examples=200, deadline=None)
def test_lines_say_the_same_among_others(data: st.DataObject) -> None:
    kinds = data.draw(st.lists(st.sampled_from(sorted(KINDS)), max_size=6))
    columns = tuple(Column(f"c{n}", kind, nullable=data.draw(st.booleans())) for n, kind in enumerate(kinds))
    reading = RecordReader(Table("things", "thing", KEY, columns))
    lines = []
    for pk in range(data.draw(st.integers(1, 4))):
        values = [
            data.draw(st.just("null") | KINDS[column.kind] if column.nullable else KINDS[column.kind]) for column in columns
        ]
        fields = ",".join(f'"{column.name}":{value}' for column, value in zip(columns, values, strict=True))
        lines.append(f'{{"model":"thing","pk":{pk},"fields":{{{fields}}}}},'.encode())
    try:
        expected = b"\n".join(reading.any_row(line, len(line) - 1) for line in lines)
    except ValueError:
        expected = None
    assert reading.rows(b"".join(b"%b\n" % line for line in lines)) in ((expected, len(lines)), None)


def things(*fields: str) -> list[bytes]:
    return [f'{{"model":"thing","pk":{n},"fields":{{{text}}}}},\n'.encode() for n, text in enumerate(fields)]


@pytest.mark.parametrize(
    ("kind", "values", "read"),
    [
        ("text?", ['"a"', "null", '""'], ["a", r"\N", ""]),
        ("instant?", ["null", '"2026-01-31T12:00:00+00:00"'], [r"\N", "2026-01-31T12:00:00+00:00"]),
        ("integer?", ["null", "7"], [r"\N", "7"]),
        ("json?", ["null", '{"a":[null]}', '"\u2028"'], [r"\N", '{"a":[null]}', '"\u2028"']),
        ("json", ["{}", "1.10"], ["{}", "1.10"]),
        ("text", ['"null"', '"nullable"'], ["null", "nullable"]),
    ],
)
def test_nulls_are_told_from_values_among_others(kind: str, values: list[str], read: list[str]) -> None:
    reading = RecordReader(Table("things", "thing", KEY, (Column("c", kind.removesuffix("?"), kind.endswith("?")),)))
    lines = things(*(f'"c":{value}' for value in values))
    rows = "\n".join(f"{n}\t{text}" for n, text in enumerate(read)).encode()
    assert reading.rows(b"".join(lines)) == (rows, len(lines))


@given(st.booleans(), st.lists(st.integers(0, 10**18), max_size=3), st.lists(st.integers(0, 10**18), max_size=3), st.data())
def test_no_line_is_passed_over(nullable: bool, before: list[int], after: list[int], data: st.DataObject) -> None:
    reading = RecordReader(Table("things", "thing", KEY, (Column("c", "integer", nullable),)))
    lines = things(*(f'"c":{value}' for value in [*before, 0, *after]))
    good = lines[len(before)]
    at = data.draw(st.integers(0, len(good)))
    bad = good[:at] + data.draw(st.binary(max_size=2)) + good[at + data.draw(st.integers(0, 60)) :]
    lines[len(before)] = bad
    text = b"".join(lines).removesuffix(b"\n") + b"\n"
    if found := reading.rows(text):
        rows, size = found
        assert rows.split(b"\n") == [reading.row(line) for line in text.removesuffix(b"\n").split(b"\n")]
        assert size == text.count(b"\n")


@pytest.mark.parametrize(
    ("kind", "simple", "value"),
    [
        ("text", '""', r'"\u0041"'), ("text?", '""', '"nullable"'), ("text?", '""', '"null'),
        ("text?", '""', 'null"'), ("text?", '""', "x"),
        ("instant?", "null", '"2026-01-31T12:00:00Z'), ("instant?", "null", '2026-01-31T12:00:00Z"'),
        ("json", "1", "null"), ("json", "1", "{"), ("json", "1", '"a'), ("json", "1", '1,"d":2'), ("json", "1", '1,"c":2'),
        ("json", "1", "[1,\t2]"), ("json", "1", "[\r]"),
        ("number", "1", '"NaN"'), ("integer", "1", "null"), ("array", "[]", "[]"),
    ],
)  # fmt: skip
def test_lines_that_need_parsing_are_left_to_the_parser(kind: str, simple: str, value: str) -> None:
    reading = RecordReader(Table("things", "thing", KEY, (Column("c", kind.removesuffix("?"), kind.endswith("?")),)))
    lines = things(f'"c":{simple}', f'"c":{value}')
    assert reading.rows(b"".join(lines)) is None
    assert (reading.rows(lines[0]) is None) == (kind == "array")


def test_an_array_of_more_dimensions_than_the_server_has_is_refused() -> None:
    reading = RecordReader(Table("things", "thing", KEY, (Column("c", "array", nullable=False),)))
    (line,) = things('"c":' + "[" * 20_000 + "]" * 20_000)
    assert reading.row(line) is None
    with pytest.raises(ValueError, match="an array has more than 6 dimensions"):
        reading.any_row(line, line.rindex(b","))


def test_most_lines_of_a_dump_are_read_many_at_once(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = 20_000
    text = by_hand(db, (organization(n) for n in range(1, rows + 1)))
    calls = Counter[str]()
    row = RecordReader.row
    monkeypatch.setattr(RecordReader, "row", lambda self, line: (calls.update(["row"]), row(self, line))[1])
    assert check(text).rows == rows
    assert calls.total() < rows / 4


def test_few_lines_of_a_dump_are_read_the_slow_way(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = Counter[str]()
    for name in ("_any_row", "members"):
        slow = getattr(reader, name)
        monkeypatch.setattr(reader, name, lambda *values, n=name, s=slow: (calls.update([n]), s(*values))[1])
    found = check(CHECKOUT / "tests" / "data" / "dump-1.0.0.json.zst")
    assert min(found.models.values()) > 0
    assert calls == {"_any_row": 1}  # a quota with the largest number

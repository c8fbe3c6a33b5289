"""Rows: what a row class is to its users, and how a result's columns become rows."""

import pickle
from datetime import UTC, datetime
from math import inf, isnan
from typing import Any

import msgspec
import psycopg
import pytest
from psycopg import postgres

from tests.conftest import World
from tomato_dao import Database
from tomato_dao.rows import asdict, replace
from tomato_dao.sql.rows import Row, row_builder

JSONB, INT = postgres.types["jsonb"].oid, postgres.types["int4"].oid
NOON = datetime(2026, 11, 28, 12, tzinfo=UTC)


class Part(Row, frozen=True):
    """A row inside a row."""

    id: int
    share: float
    at: datetime | None


class Whole(Row, frozen=True):
    """A row with rows inside."""

    id: int
    parts: tuple[Part, ...] | None
    attrs: dict[str, Any]


def whole(*values: tuple[Any, ...]) -> list[Any]:
    """Return the rows of tuples as the driver gives them: jsonb as its bytes after a version."""
    tuples = [tuple(b"\1" + value.encode() if isinstance(value, str) else value for value in row) for row in values]
    return list(row_builder(Whole, [INT, JSONB, JSONB])(tuples))


def test_rows_are_frozen_comparable_printable_and_pickleable(world: World) -> None:
    host = world.host
    with pytest.raises(AttributeError):
        host.name = "other"  # type: ignore[misc]
    assert pickle.loads(pickle.dumps(host)) == host  # noqa: S301
    assert repr(world.site).startswith(f"Site(id={world.site.id}, name='{world.site.name}', ")
    assert replace(host, name="other") != host
    assert replace(host, name="other").name == "other"
    assert asdict(host)["name"] == host.name
    match world.site:
        case type(id=id):
            assert id == world.site.id


def test_rows_of_rows_have_their_own_types() -> None:
    (row,) = whole((1, '[[5, "NaN", "2026-11-28T12:00:00+00:00"], [6, "-Infinity", null]]', "{}"))
    assert isinstance(row.parts[0], Part)
    assert isnan(row.parts[0].share)
    assert (row.parts[0].at, row.parts[1]) == (NOON, Part(6, -inf, None))


def test_many_rows_are_made_as_each_alone() -> None:
    values = [
        (1, None, "{}"),
        (2, "[]", '{"a": [1, 2.5, null, "\\u0001"]}'),
        (3, "[[1, 2, null]]", '{"b": 18446744073709551616}'),
    ]
    assert whole(*values) == [row for value in values for row in whole(value)]
    assert whole(*values)[2].attrs == {"b": 2**64}
    assert whole() == []


@pytest.mark.parametrize("number", ["1e400", "9" * 5000, "-1e400"])
def test_a_number_that_msgspec_refuses_is_read_beside_others(number: str) -> None:
    values = [(1, None, "{}"), (2, "[[1, 0.5, null]]", f'{{"a": {number}, "b": 9007199254740993}}'), (3, None, '{"c": 1}')]
    first, second, third = whole(*values)
    assert second.attrs == {"a": -inf if number.startswith("-") else inf, "b": 2**53 + 1}
    assert (first.attrs, second.parts, third.attrs) == ({}, (Part(1, 0.5, None),), {"c": 1})


def test_a_share_that_is_no_number_is_read_beside_one_that_msgspec_refuses() -> None:
    (row,) = whole((1, '[[5, "NaN", null], [6, 1e400, null]]', "{}"))
    assert isnan(row.parts[0].share)
    assert row.parts[1] == Part(6, inf, None)


def test_a_column_that_an_inner_row_does_not_declare_is_refused() -> None:
    for parts in ("[[1, 0.5, null, 7]]", "[[1, 0.5]]"):
        with pytest.raises(msgspec.ValidationError):
            whole((1, parts, "{}"))
        with pytest.raises(msgspec.ValidationError):
            whole((1, None, "{}"), (2, parts, "{}"))


def test_json_nested_too_deeply_is_an_error_of_the_driver() -> None:
    deep = '{"a": ' + "[" * 10_000 + "]" * 10_000 + "}"
    with pytest.raises(psycopg.DataError, match="nested too deeply"):
        whole((1, None, "{}"), (2, None, deep))


def test_json_in_a_result_without_a_class_is_decoded_too() -> None:
    assert row_builder(None, [JSONB])([(b'\1{"a":1}',), (None,), (b"\1null",)]) == [{"a": 1}, None, None]
    assert row_builder(None, [INT, JSONB])([(1, b"\1[1]"), (2, None)]) == [(1, [1]), (2, None)]


def test_the_escape_hatch_reads_json_as_python(db: Database, world: World) -> None:
    db.hosts.set_attrs("host1", {"a": [1, {"b": None}]})
    with db.connection() as connection:
        row = connection.execute("select attrs from hosts").fetchone()
    assert row == ({"a": [1, {"b": None}]},)


def test_json_nested_too_deeply_beside_a_huge_number_is_an_error_of_the_driver() -> None:
    with pytest.raises(psycopg.DataError, match="nested too deeply"):
        whole((1, None, '{"a": 1e400, "b": ' + "[" * 10_000 + "]" * 10_000 + "}"))

"""Parameters of every type: what comes back as it went, and what is refused."""

import math
import re
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from uuid import UUID

import pytest
from psycopg.types.json import Jsonb
from psycopg.types.range import Range

from tests.helpers.statement_cases import NAIVE, NEW_YEAR, query, run
from tomato_dao import Database, InvalidValue
from tomato_dao.database import QUERIES
from tomato_dao.sql.query import Query

Echo = Callable[[str, object], object]
JSON: list[object] = [{}, [], {"a": [1, 1.5, "x", True, None, {}]}, 5, "text", False, 2**63 - 1]
NOT_INT8: list[object] = [2**63, -(2**63) - 1, 2**64, "1", 1.5, NEW_YEAR, {}, True, False]
NOT_NUMERIC: list[object] = ["1.5", 1.5, []]
NOT_INTERVAL: list[object] = ["1 day", 5, 1.5, NEW_YEAR, []]


@pytest.fixture(scope="module")
def lasting(lasting: Database) -> Database:
    """As ever, with an enum and some domains."""
    with lasting.connection() as connection:
        connection.execute("create type mood as enum ('sad', 'happy')")
        connection.execute("create domain positive as int4 check (value > 0)")
        connection.execute("create domain word as text check (value <> '')")
    return lasting


@pytest.fixture(scope="module")
def echo(lasting: Database, tmp_path_factory: pytest.TempPathFactory) -> Echo:
    """Sends a value as a parameter of a type and returns what comes back."""
    known: dict[str, Query] = {}

    def sent(kind: str, value: object) -> object:
        if kind not in known:
            known[kind] = query(tmp_path_factory.mktemp("echo"), f"select :v::{kind} as v", "v")
        (row,) = run(lasting, known[kind], value)
        return row

    return sent


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "value"),
    [
        *[("int2", n) for n in (0, -1, 2**15 - 1, -(2**15))],
        *[("int4", n) for n in (0, 5, 100000, 2**31 - 1, -(2**31))],
        *[("int8", n) for n in (0, 5, 2**31, 2**63 - 1, -(2**63))],
        *[("float8", x) for x in (0.0, 0.1, -1e300, 5e-324, math.inf)],
        *[("float4", x) for x in (0.5, -math.inf)],
        *[("numeric", Decimal(x)) for x in ("0", "1.50", "-1e-30", "123456789012345678901234567890.5")],
        *[("bool", b) for b in (True, False)],
        *[("text", s) for s in ("", "a", "Zürich \U0001f345", "'; drop table hosts; --", "$1 :v %s", "x" * 1_000_000)],
        *[(kind, "abc") for kind in ("varchar", "bpchar", "name", "word")],
        ("bytea", b"\x00\xff"),
        ("uuid", UUID(int=5)),
        *[("timestamptz", t) for t in (NEW_YEAR, datetime(1, 1, 1, tzinfo=UTC), datetime.max.replace(tzinfo=UTC))],
        *[("instant", t) for t in (NEW_YEAR, datetime(1, 1, 1, tzinfo=UTC), datetime.max.replace(tzinfo=UTC))],
        ("timestamp", NAIVE),
        ("date", date(2020, 2, 29)),
        ("time", time(1, 2, 3, 4)),
        *[("interval", t) for t in (timedelta(0), timedelta(-1), timedelta(days=400, microseconds=1))],
        *[("jsonb", j) for j in JSON],
        ("json", {"a": [1]}),
        *[("mood", s) for s in ("sad", "happy")],
        ("positive", 5),
        *[("int8[]", a) for a in ([], [1], [1, 2**40, -1], [None, 1], [None], [[1, 2], [3, 4]])],
        *[("int4[]", a) for a in ([], [5, 100000])],
        *[
            ("text[]", a)
            for a in ([], ["a"], ["", "null", 'a"b\\c,{}', "ü"], [None, "a"], ["a", None], [["a", None], ["b", "c"]])
        ],
        *[("float8[]", a) for a in ([], [1.5, None])],
        ("bool[]", [True, None, False]),
        ("timestamptz[]", [NEW_YEAR, None]),
        ("jsonb[]", [{"a": 1}, 5, None]),
        ("numeric[]", [Decimal("1.50")]),
        *[("int4range", r) for r in (Range(1, 5), Range(None, 5), Range(empty=True))],
        ("int8range", Range(2**40, None)),
        ("numrange", Range(Decimal("0.5"), Decimal("1.5"), "[]")),
        ("tstzrange", Range(NEW_YEAR, None)),
    ],
    ids=lambda value: str(value)[:30],
)
def test_a_value_comes_back_as_it_went(echo: Echo, kind: str, value: object) -> None:
    came = echo(kind, value)
    assert came == value
    assert type(came) is type(value)


@pytest.mark.parametrize(
    "kind", ["int2", "int4", "int8", "float8", "numeric", "bool", "text", "timestamptz", "instant", "interval", "jsonb", "mood"]
)
def test_none_is_null_and_a_parameter_may_be_null_at_first(echo: Echo, kind: str) -> None:
    assert echo(kind, None) is None
    assert echo(f"{kind}[]", None) is None


def test_none_in_a_jsonb_parameter_is_null_and_not_a_json_null(lasting: Database, tmp_path: Path) -> None:
    is_null = query(tmp_path, "select :v::jsonb is null", "v")
    assert run(lasting, is_null, None) == [True]
    assert run(lasting, is_null, Jsonb(None)) == [False]


@pytest.mark.parametrize(
    ("kind", "given", "stored"),
    [
        ("float8", 1, 1.0),
        ("float8", Decimal("1.5"), 1.5),
        ("numeric", 10**50, Decimal(10**50)),
        ("jsonb", (1, 2), [1, 2]),
        ("jsonb", {"at": NEW_YEAR}, {"at": "2020-01-01T00:00:00+00:00"}),
        ("int8[]", (1, 2), [1, 2]),
        ("int8[]", (), []),
        ("text[]", ("a", None), ["a", None]),
        ("text[]", (), []),
        ("float8[]", [1, 1.5], [1.0, 1.5]),
        ("timestamptz", datetime(2020, 1, 1, 1, tzinfo=UTC).astimezone(), datetime(2020, 1, 1, 1, tzinfo=UTC)),
    ],
    ids=str,
)
def test_a_value_of_a_kindred_type_is_taken(echo: Echo, kind: str, given: object, stored: object) -> None:
    assert echo(kind, given) == stored


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "value"),
    [
        *[("int2", v) for v in (2**15, -(2**15) - 1, 2**63, "1", 1.0, b"1", [1], True, False)],
        *[("int4", v) for v in (2**31, -(2**31) - 1, 2**63, "1", 1.0, Decimal(1), True, False)],
        *[("int8", v) for v in NOT_INT8],
        *[("float8", v) for v in ("1.5", "nan", 10**400, NEW_YEAR, [1.5], True, False)],
        *[("float4", v) for v in ("1.5", 1e300, True, False)],
        *[("numeric", v) for v in NOT_NUMERIC],
        *[("bool", v) for v in ("true", "", 1, 0, [True])],
        *[("text", v) for v in (5, True, 1.5, b"a", ["a"], {"a": 1}, NEW_YEAR, "a\0b", "\0", "\ud800", "a\udfff")],
        *[(kind, v) for kind in ("varchar", "bpchar", "name", "word") for v in (5, "a\0b", "\ud800")],
        *[("bytea", v) for v in ("a", 5)],
        *[("uuid", v) for v in ("x", 5)],
        *[("timestamptz", v) for v in (NAIVE, date(2020, 1, 1), "2020-01-01", 5, 1.5)],
        *[("instant", v) for v in (NAIVE, date(2020, 1, 1), "2020-01-01", "x", 5)],
        *[("timestamp", v) for v in (NEW_YEAR, "2020-01-01")],
        *[("date", v) for v in ("2020-01-01", 5, NEW_YEAR, NAIVE)],
        *[("time", v) for v in ("01:00", 5)],
        *[("interval", v) for v in NOT_INTERVAL],
        *[("jsonb", v) for v in (math.nan, {"a": math.inf}, [-math.inf], {"a": object()}, {(1,): 2}, {"a": {1}}, b"{}")],
        *[("jsonb", v) for v in ("a\0", {"a": "\0"}, {"\0": 1}, "\ud800", {"a": ["\udfff"]})],
        *[("json", v) for v in (math.nan, "\ud800", object())],
        *[("mood", v) for v in ("angry", "", 5, b"sad", "sad\0")],
        *[("positive", v) for v in (0, -5, 2**31, "x", "5", 1.5)],
        ("word", ""),
        *[
            ("int8[]", v)
            for v in (
                5,
                "12",
                ["1"],
                [2**63],
                [1, "a"],
                [1.5],
                [[1], [2, 3]],
                [[1], 2],
                [True],
                [1, False],
                {1},
                {1: 2},
                iter([1]),
            )
        ],
        *[("int4[]", v) for v in ([2**31], [1, 2**31])],
        *[("int2[]", v) for v in ([2**15],)],
        *[("text[]", v) for v in (5, "abc", "", [5], ["a", 5], ["a\0"], ["\ud800"], {"a"}, {"a": 1}, b"ab")],
        *[("float8[]", v) for v in (["x"], 1.5, [True], [1.5, False], [None, True])],
        *[("bool[]", v) for v in (["x"], [1])],
        *[("timestamptz[]", v) for v in ([NAIVE], ["2020-01-01"])],
        *[("jsonb[]", v) for v in ([math.nan], [object()], 5)],
        *[("mood[]", v) for v in (["angry"], [5], "sad")],
        *[("int4range", v) for v in (Range(1, 2**40), Range(5, 1), "[1,5)", 5, [1, 5])],
    ],
    ids=lambda value: re.sub(" at 0x.*", "", ascii(value))[:30],
)
def test_a_value_that_does_not_fit_is_an_invalid_value(echo: Echo, kind: str, value: object) -> None:
    with pytest.raises(InvalidValue):
        echo(kind, value)
    assert echo("text", "usable") == "usable"


def test_a_missing_value_of_a_type_that_psycopg_does_not_know_is_refused(lasting: Database, tmp_path: Path) -> None:
    needed = query(tmp_path, "select :v::mood", "v", nullable=False)
    with pytest.raises(InvalidValue, match="v: None does not fit"):
        run(lasting, needed, None)


WRONG: dict[str, Sequence[object]] = {
    "bigint": ["5", 1.5, [5], 2**63, NEW_YEAR, {}],
    "integer": ["5", 1.5, [5], 2**31, NEW_YEAR, {}],
    "smallint": ["5", 1.5, [5], 2**15, NEW_YEAR, {}],
    "double precision": ["1.5", [1.5], NEW_YEAR, 10**400],
    "boolean": ["true", 1, 0, []],
    "text": [5, True, b"x", ["a"], {}, NEW_YEAR, "\ud800"],
    "jsonb": [math.nan, b"x", {"a": {1}}, "\ud800"],
    "timestamp with time zone": [NAIVE, "2020-01-01", 5, date(2020, 1, 1)],
    "instant": [NAIVE, "2020-01-01", 5, date(2020, 1, 1)],
    "interval": ["1 day", 5, 1.5, NEW_YEAR],
    "bigint[]": [5, "12", ["5"], [2**63], [1.5], {1}],
    "text[]": [5, "abc", [5], ["\ud800"], {"a"}, {"a": 1}],
    "jsonb[]": [5, "abc", [math.nan], [{1}], {"a": 1}],
    "integer[]": [5, ["5"], [2**31], [1.5]],
    "boolean[]": [True, [1], ["true"]],
    "double precision[]": [1.5, ["1.5"], [NEW_YEAR]],
    "timestamp with time zone[]": [NEW_YEAR, [NAIVE], ["2020-01-01"]],
}
FITTING: dict[str, object] = {
    "bigint": 1,
    "boolean": True,
    "double precision": 1.5,
    "integer": 1,
    "timestamp with time zone": NEW_YEAR,
    "interval": timedelta(1),
    "jsonb": {},
    "text": "x",
    "bigint[]": [1],
    "text[]": ["x"],
    "jsonb[]": [{}],
    "instant": NEW_YEAR,
    "integer[]": [1],
    "boolean[]": [True],
    "double precision[]": [1.5],
    "timestamp with time zone[]": [NEW_YEAR],
}


@pytest.mark.parametrize("name", QUERIES)
def test_a_wrong_type_for_any_parameter_of_any_query_is_refused(lasting: Database, name: str) -> None:
    parameters = QUERIES[name].parameters
    with lasting.connection() as connection:
        connection.pgconn.prepare(b"asked", QUERIES[name].sql.encode())
        found = connection.execute(
            "select parameter_types::text[] from pg_prepared_statements where name = 'asked'", prepare=False
        ).fetchone()
        connection.execute("deallocate asked")
    types: list[str] = found[0] if found else []
    fitting: dict[str, object] = {p: FITTING[kind] for p, kind in zip(parameters, types, strict=True)}
    for parameter, kind in zip(parameters, types, strict=True):
        for wrong in [object(), *WRONG.get(kind, ()), *([] if parameter in QUERIES[name].nullable else [None])]:
            if wrong is None and kind == "jsonb":
                continue  # null is JSON
            with pytest.raises(InvalidValue, match=rf": {parameter}: ") as refused:
                lasting._run(QUERIES[name], list((fitting | {parameter: wrong}).values()))
            assert refused.value.key == parameter
            assert "\n" not in str(refused.value)
    assert lasting.hosts.list() == []

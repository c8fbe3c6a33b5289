"""Statements: what becomes of parameters of every type, of stale plans, and of many threads at once."""

import math
import re
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from uuid import UUID

import psycopg
import pytest
from conftest import World
from psycopg.types.json import Jsonb
from psycopg.types.range import Range

from tomato_dao import Database, InvalidValue, NotFound, TomatoError, connect
from tomato_dao.database import QUERIES
from tomato_dao.errors import from_driver
from tomato_dao.ops.scratch import scratch_database
from tomato_dao.queries import Query, load
from tomato_dao.statements import Connection

Echo = Callable[[str, object], object]
NEW_YEAR = datetime(2020, 1, 1, tzinfo=UTC)
NAIVE = datetime(2020, 1, 1)

JSON: list[object] = [{}, [], {"a": [1, 1.5, "x", True, None, {}]}, 5, "text", False, 2**63 - 1]
NOT_INT8: list[object] = [2**63, -(2**63) - 1, 2**64, "1", 1.5, NEW_YEAR, {}]
NOT_NUMERIC: list[object] = ["1.5", 1.5, []]
NOT_INTERVAL: list[object] = ["1 day", 5, 1.5, NEW_YEAR, []]


def query(directory: Path, sql: str, parameters: str = "") -> Query:
    """The query of that SQL, loaded from a file."""
    nullable = f"-- nullable: {parameters}\n" if parameters else ""
    (directory / "adhoc.sql").write_text(f"-- name: run({parameters})\n{nullable}{sql};\n", "utf-8")
    return load(directory)["adhoc.run"]


def run(db: Database, query: Query, *values: object) -> list[object]:
    """The rows of a query that no DAO has; errors as a DAO gives them."""
    with db.connection() as connection:
        assert isinstance(connection, Connection)
        try:
            rows: list[object] = connection.run(query, values)
        except psycopg.Error as error:
            raise from_driver(error) from error
        return rows


@pytest.fixture
def single(tomato_url: str) -> Iterator[Database]:
    """A Database of one connection, so that each call meets the statements of the one before."""
    with connect(tomato_url, pool_size=1) as db:
        yield db


@pytest.fixture(scope="module")
def lasting(tomato_server_url: str) -> Iterator[Database]:
    """A Database of one connection for all tests that leave nothing behind, with an enum and some domains."""
    with scratch_database(tomato_server_url) as url, connect(url, pool_size=1) as db:
        with db.connection() as connection:
            connection.execute("create type mood as enum ('sad', 'happy')")
            connection.execute("create domain positive as int4 check (value > 0)")
            connection.execute("create domain word as text check (value <> '')")
        yield db


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


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        *[("int2", v) for v in (2**15, -(2**15) - 1, 2**63, "1", 1.0, b"1", [1])],
        *[("int4", v) for v in (2**31, -(2**31) - 1, 2**63, "1", 1.0, Decimal(1))],
        *[("int8", v) for v in NOT_INT8],
        *[("float8", v) for v in ("1.5", "nan", 10**400, NEW_YEAR, [1.5])],
        *[("float4", v) for v in ("1.5", 1e300)],
        *[("numeric", v) for v in NOT_NUMERIC],
        *[("bool", v) for v in ("true", "", 1, 0, [True])],
        *[("text", v) for v in (5, True, 1.5, b"a", ["a"], {"a": 1}, NEW_YEAR, "a\0b", "\0", "\ud800", "a\udfff")],
        *[(kind, v) for kind in ("varchar", "bpchar", "name", "word") for v in (5, "a\0b", "\ud800")],
        *[("bytea", v) for v in ("a", 5)],
        *[("uuid", v) for v in ("x", 5)],
        *[("timestamptz", v) for v in (NAIVE, date(2020, 1, 1), "2020-01-01", 5, 1.5)],
        *[("instant", v) for v in (NAIVE, date(2020, 1, 1), "2020-01-01", "x", 5)],
        *[("timestamp", v) for v in (NEW_YEAR, "2020-01-01")],
        *[("date", v) for v in ("2020-01-01", 5)],
        *[("time", v) for v in ("01:00", 5)],
        *[("interval", v) for v in NOT_INTERVAL],
        *[("jsonb", v) for v in (math.nan, {"a": math.inf}, [-math.inf], {"a": object()}, {(1,): 2}, {"a": {1}}, b"{}")],
        *[("jsonb", v) for v in ("a\0", {"a": "\0"}, {"\0": 1}, "\ud800", {"a": ["\udfff"]})],
        *[("json", v) for v in (math.nan, "\ud800", object())],
        *[("mood", v) for v in ("angry", "", 5, b"sad", "sad\0")],
        *[("positive", v) for v in (0, -5, 2**31, "x", "5", 1.5)],
        ("word", ""),
        *[("int8[]", v) for v in (5, "12", ["1"], [2**63], [1, "a"], [1.5], [[1], [2, 3]], [[1], 2], {1}, {1: 2}, iter([1]))],
        *[("int4[]", v) for v in ([2**31], [1, 2**31])],
        *[("int2[]", v) for v in ([2**15],)],
        *[("text[]", v) for v in (5, "abc", "", [5], ["a", 5], ["a\0"], ["\ud800"], {"a"}, {"a": 1}, b"ab")],
        *[("float8[]", v) for v in (["x"], 1.5)],
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


def test_text_that_the_server_cannot_hold_is_an_invalid_value(db: Database, world: World) -> None:
    for name in ("a\0b", "\0", "\ud800", "a\udfff"):
        with pytest.raises(InvalidValue):
            db.organizations.create(name)
        with pytest.raises(InvalidValue):
            db.organizations.update("uni", {"description": name})
        with pytest.raises(InvalidValue):
            db.organizations.set_attrs("uni", {"key": [name]})
        with pytest.raises(InvalidValue):
            db.organizations.set_attrs("uni", {name: 1})
        with pytest.raises((InvalidValue, NotFound)):
            db.organizations.get_by_name(name)
        assert db.organizations.list() == [world.organization]


def test_a_time_without_a_zone_is_refused_wherever_it_is_given(db: Database, world: World) -> None:
    with pytest.raises(InvalidValue, match="info_at"):
        db.hosts.update("host1", {"info_at": NAIVE})
    with pytest.raises(InvalidValue):
        db.hosts.set_attrs("host1", {"at": NAIVE})
    assert db.hosts.get(world.host.id) == world.host


def test_a_patch_keeps_a_time_to_the_microsecond(db: Database, world: World) -> None:
    exact = NEW_YEAR.replace(microsecond=123457)
    assert db.hosts.update("host1", {"info_at": exact}).info_at == exact
    assert db.hosts.update("host1", {"info_at": None}).info_at is None


def test_a_big_number_in_json_is_stored_exactly(db: Database, world: World, server: psycopg.Connection) -> None:
    for number in (2**53 + 1, 2**63, 2**70, -(10**40)):
        db.hosts.set_attrs("host1", {"n": number})
        db.hosts.update("host1", {"info": {"n": [number]}})
        stored = server.execute("select attrs ->> 'n', info #>> '{n,0}' from hosts").fetchone()
        assert stored == (str(number), str(number))


def test_a_number_beyond_every_float_does_not_make_its_row_unreadable(db: Database, world: World) -> None:
    with suppress(InvalidValue):
        db.hosts.set_attrs("host1", {"n": 10**400})
    assert [host.id for host in db.hosts.list()] == [world.host.id]


def test_a_number_beyond_every_float_that_others_stored_can_be_read(
    db: Database, world: World, server: psycopg.Connection
) -> None:
    server.execute("""update hosts set attrs = '{"n": 1e400}'""")
    assert [host.id for host in db.hosts.list()] == [world.host.id]


def test_keys_of_attrs_can_be_removed_by_a_tuple(db: Database, world: World) -> None:
    db.hosts.set_attrs("host1", {"a": 1, "b": 2})
    assert db.hosts.set_attrs("host1", {"c": 3}, ("a", "b")) == {"c": 3}
    assert db.hosts.set_attrs("host1", {}, ()) == {"c": 3}


def test_a_string_is_not_a_sequence_of_keys(db: Database, world: World) -> None:
    db.hosts.set_attrs("host1", {"a": 1, "b": 2})
    with pytest.raises(InvalidValue, match="remove"):
        db.hosts.set_attrs("host1", {}, "ab")
    assert db.hosts.set_attrs("host1", {}) == {"a": 1, "b": 2}


def test_one_statement_serves_small_and_big_numbers(single: Database, tmp_path: Path) -> None:
    numbers = query(tmp_path, "select :v::int8 as v", "v")
    assert [run(single, numbers, n) for n in (5, 100000, 2**40, None, -1)] == [[5], [100000], [2**40], [None], [-1]]
    with single.connection() as connection:
        count = connection.execute("select count(*) from pg_prepared_statements where name like 'adhoc.run:%'").fetchone()
    assert count == (1,)


def test_a_query_of_no_columns_or_no_rows_gives_what_it_has(single: Database, tmp_path: Path) -> None:
    assert run(single, query(tmp_path, "select from (values (1), (2)) v")) == [(), ()]
    assert run(single, query(tmp_path, "select 1 where false")) == []
    assert run(single, query(tmp_path, "select 1, 'a', null")) == [(1, "a", None)]


def test_a_statement_made_stale_by_another_column_type_is_prepared_again(
    single: Database, server: psycopg.Connection, tmp_path: Path
) -> None:
    server.execute("create table t as select 1 as id, 5 as v")
    read = query(tmp_path, "select t.v from t where t.id = :id", "id")
    assert run(single, read, 1) == [5]
    server.execute("alter table t alter column v type int8 using 100000000000")
    assert run(single, read, 1) == [100000000000]
    server.execute("alter table t alter column v type text")
    assert run(single, read, 1) == ["100000000000"]
    server.execute("alter table t alter column v type numeric using 0.5")
    assert run(single, read, 1) == [Decimal("0.5")]


def test_a_statement_made_stale_by_another_column_is_prepared_again(
    single: Database, server: psycopg.Connection, tmp_path: Path
) -> None:
    server.execute("create table t as select 1 as a")
    read = query(tmp_path, "select * from t")
    change = query(tmp_path, "update t set a = a + :n returning *", "n")
    assert run(single, read) == [1]
    assert run(single, change, 1) == [2]
    server.execute("alter table t add column b text default 'new'")
    assert run(single, read) == [(2, "new")]
    assert run(single, change, 1) == [(3, "new")]
    assert server.execute("select a from t").fetchall() == [(3,)]


def test_a_widened_column_takes_wider_values_at_once(single: Database, server: psycopg.Connection, tmp_path: Path) -> None:
    server.execute("create table t (v int4)")
    write = query(tmp_path, "insert into t (v) values (:v) returning v", "v")
    assert run(single, write, 5) == [5]
    server.execute("alter table t alter column v type int8")
    assert run(single, write, 2**40) == [2**40]


def test_a_dao_goes_on_after_its_table_was_altered(single: Database, server: psycopg.Connection) -> None:
    uni = single.organizations.create("uni")
    assert single.organizations.get_by_name("uni") == uni
    server.execute("alter table organizations alter column description type varchar(200), add column motto text default ''")
    assert single.organizations.get_by_name("uni") == uni
    assert single.organizations.update("uni", {"description": "old"}).description == "old"
    assert [o.name for o in single.organizations.list()] == ["uni"]


@pytest.mark.parametrize("forgetting", ["deallocate all", "discard all"])
def test_a_connection_that_forgot_its_statements_prepares_them_again(single: Database, forgetting: str) -> None:
    uni = single.organizations.create("uni")
    assert single.organizations.get_by_name("uni") == uni
    with single.connection() as connection:
        connection.execute(forgetting)
    assert single.organizations.get_by_name("uni") == uni


def test_a_stale_statement_ends_its_transaction_and_nothing_else(single: Database, server: psycopg.Connection) -> None:
    uni = single.organizations.create("uni")
    assert single.organizations.list() == [uni]
    server.execute("alter table organizations alter column description type varchar(200)")

    def use_it() -> None:
        with single.transaction():
            single.organizations.create("lost")
            single.organizations.list()

    with pytest.raises(TomatoError) as refused:
        use_it()
    assert isinstance(refused.value.__cause__, psycopg.errors.FeatureNotSupported)
    assert single.organizations.list() == [uni]
    with single.transaction():
        assert single.organizations.list() == [uni]


def test_prepared_statements_survive_a_rollback(single: Database) -> None:
    prepared = "select name from pg_prepared_statements order by name"

    def fail() -> None:
        with single.transaction():
            single.organizations.create("lost")
            single.organizations.delete("nobody")

    with pytest.raises(NotFound):
        fail()
    with single.connection() as connection:
        before = connection.execute(prepared).fetchall()
    assert len(before) == 2
    with pytest.raises(NotFound):
        fail()
    assert single.organizations.create("kept").name == "kept"
    with single.connection() as connection:
        assert connection.execute(prepared).fetchall() == before


def test_a_refused_value_leaves_the_transaction_as_it_was(single: Database) -> None:
    with single.transaction():
        single.organizations.create("uni")
        with pytest.raises(InvalidValue):
            single.organizations.get(2**63)
    assert [o.name for o in single.organizations.list()] == ["uni"]


def test_cursors_of_a_leased_connection_work_beside_statements(single: Database, tmp_path: Path) -> None:
    echo = query(tmp_path, "select :v::int4 as v", "v")
    row = "select %s, %s, %s::text, %s, %s::jsonb, %s"
    values = [5, 2**40, "a", True, Jsonb({"a": 1}), [1, 2]]
    with single.connection() as connection:
        assert isinstance(connection, Connection)
        for binary in (False, True):
            assert connection.execute(row, values, binary=binary).fetchone() == (5, 2**40, "a", True, {"a": 1}, [1, 2])
            assert connection.run(echo, [7]) == [7]
        with connection.cursor() as cursor:
            cursor.execute("select generate_series(1, 3)")
            assert connection.run(echo, [8]) == [8]
            assert cursor.fetchall() == [(1,), (2,), (3,)]
            cursor.executemany("select %s::int", [(1,), (2,)])
        with connection.transaction(), connection.cursor("named") as named:
            named.execute("select generate_series(1, 3)")
            assert (connection.run(echo, [9]), named.fetchall()) == ([9], [(1,), (2,), (3,)])
        with connection.cursor() as cursor, cursor.copy("copy (select 1) to stdout") as copy:
            assert list(copy.rows()) == [("1",)]


def test_many_threads_on_a_small_pool_get_their_own_rows_only(db: Database) -> None:
    def work(n: int) -> None:
        made = db.organizations.create(f"uni{n}", description="x" * n)
        for round in range(10):
            attrs = db.organizations.set_attrs(made.name, {"n": n, "round": round})
            assert attrs == {"n": n, "round": round}
            row = db.organizations.get_by_name(made.name)
            assert (row.id, row.name, row.description, row.attrs) == (made.id, f"uni{n}", "x" * n, attrs)
            assert db.organizations.get(made.id) == row
            with pytest.raises(NotFound, match=f"'nobody{n}'"):
                db.organizations.get_by_name(f"nobody{n}")
            with pytest.raises(InvalidValue):
                db.organizations.get(2**63)

    with ThreadPoolExecutor(25) as threads:
        list(threads.map(work, range(25)))
    assert sorted(o.name for o in db.organizations.list()) == sorted(f"uni{n}" for n in range(25))


def test_threads_that_set_attrs_of_one_row_keep_each_others_keys(db: Database, world: World) -> None:
    with ThreadPoolExecutor(25) as threads:
        list(threads.map(lambda n: db.hosts.set_attrs("host1", {f"key{n}": n}), range(25)))
    assert db.hosts.get_by_name("host1").attrs == {f"key{n}": n for n in range(25)}

"""Statements: what becomes of stale plans, of forgotten statements, and of many threads at once."""

from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from pathlib import Path

import psycopg
import pytest
from psycopg.abc import PQGen
from psycopg.types.json import Jsonb

from tests.conftest import World
from tests.helpers.statement_cases import query, run
from tomato_dao import AlreadyExists, Database, InvalidValue, NotFound, TomatoError, WrongState
from tomato_dao.sql.prepared import Statement
from tomato_dao.sql.query import Query
from tomato_dao.sql.statements import QueryConnection


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


def test_json_is_decoded_beside_an_array_of_json(single: Database, tmp_path: Path) -> None:
    both = query(tmp_path, """select '{"a": 1}'::jsonb, array['{"b": 2}'::jsonb, null]""")
    assert run(single, both) == [({"a": 1}, [{"b": 2}, None])]


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


def test_a_statement_is_prepared_again_for_each_of_several_changes_in_a_row(
    single: Database, server: psycopg.Connection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.execute("create table t as select 5 as v")
    read = query(tmp_path, "select t.v from t")
    prepare, changes = QueryConnection._prepare, iter(["int8", "text", "numeric", "float8", "int2"])

    def prepare_too_early(connection: QueryConnection, query: Query) -> PQGen[Statement]:
        statement = yield from prepare(connection, query)
        if type_ := next(changes, None):
            server.execute(f"alter table t alter column v type {type_} using v::{type_}".encode())
        return statement

    monkeypatch.setattr(QueryConnection, "_prepare", prepare_too_early)
    assert run(single, read) == [5]
    assert next(changes, None) is None


def test_a_stale_statement_is_not_kept(single: Database, server: psycopg.Connection, tmp_path: Path) -> None:
    server.execute("create table t as select 5 as v")
    read = query(tmp_path, "select t.v from t")
    for type_ in ("int8", "int4", "int2"):
        assert run(single, read) == [5]
        server.execute(f"alter table t alter column v type {type_}".encode())
    assert run(single, read) == [5]
    with single.connection() as connection:
        count = connection.execute("select count(*) from pg_prepared_statements where name like 'adhoc.run:%'").fetchone()
    assert count == (1,)


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


def test_an_invalid_value_is_reported_in_a_failed_transaction_too(single: Database) -> None:
    def go_on() -> None:
        with single.transaction():
            for wrong in (NotFound, InvalidValue):
                with pytest.raises(wrong):
                    single.organizations.get(2**63 if wrong is InvalidValue else 2**40)
            single.organizations.create("uni")
            with pytest.raises(AlreadyExists):
                single.organizations.create("uni")
            with pytest.raises(InvalidValue, match="does not fit int8"):
                single.organizations.get(2**63)
            reached.append("the end")

    reached: list[str] = []
    with pytest.raises(WrongState, match="already exists"):
        go_on()
    assert reached == ["the end"]


def test_cursors_of_a_leased_connection_work_beside_statements(single: Database, tmp_path: Path) -> None:
    echo = query(tmp_path, "select :v::int4 as v", "v")
    row = "select %s, %s, %s::text, %s, %s::jsonb, %s"
    values = [5, 2**40, "a", True, Jsonb({"a": 1}), [1, 2]]
    with single.connection() as connection:
        assert isinstance(connection, QueryConnection)
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


def test_a_refused_write_is_tried_once_and_its_session_goes_on(single: Database) -> None:
    def session() -> int:
        with single.connection() as connection:
            return connection.info.backend_pid

    single.organizations.create("uni")
    before = session()
    for _ in range(2):
        with pytest.raises(AlreadyExists):
            single.organizations.create("uni")
    counted = single.stats().queries["organizations.create"]
    assert (counted.calls, counted.errors) == (3, 2)
    assert session() == before


@pytest.mark.parametrize("values", [(), (1, 2)], ids=["too few", "too many"])
def test_another_number_of_values_than_parameters_is_refused_before_it_is_sent(
    single: Database, tmp_path: Path, values: tuple[int, ...]
) -> None:
    echo = query(tmp_path, "select :v::int8 as v", "v")
    with single.transaction():
        with pytest.raises(ValueError, match=r"argument 4 is (shorter|longer) than argument"):
            run(single, echo, *values)
        assert run(single, echo, 5) == [5]

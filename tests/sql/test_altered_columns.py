"""Schemas that change while they are used: rows stay right, statements are prepared again."""

import threading
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from pathlib import Path

import psycopg
import pytest

from tests.conftest import World
from tests.helpers.busy_cases import ROUNDS
from tests.helpers.statement_cases import NEW_YEAR, query, run
from tomato_dao import InvalidValue, connect

ALTERATIONS = [
    "alter table hosts alter column component_errors type int8",
    "alter table hosts alter column description_text type varchar(100)",
    "alter table hosts alter column description_text type varchar(200)",
    "alter table hosts alter column description_text type text",
    "alter table hosts alter column component_errors type int4 using component_errors & 65535",
    "alter table hosts alter column component_errors type int8",
]


@pytest.mark.slow
def test_rows_stay_right_while_a_columns_type_changes_under_load(
    tomato_url: str, world: World, server: psycopg.Connection, tmp_path: Path, prepare: bool
) -> None:
    wide, enough, rounds = threading.Event(), threading.Event(), threading.Semaphore(0)
    columns = "component_errors, name"
    count = query(tmp_path, f"update hosts set component_errors = :n where name = :name returning {columns}", "n, name")
    find = query(tmp_path, f"select {columns} from hosts where component_errors = :n and name = :name", "n, name")

    def work(thread: int) -> int:
        name = f"host-{thread}"
        db.hosts.create(name, address="", rpcurl=name, site_id=world.site.id)
        for n in range(1, ROUNDS):
            if enough.is_set():
                return n
            errors = n + (2**40 if wide.is_set() else 0)
            updated = db.hosts.update(name, {"component_errors": n, "description_text": f"{n}" * 5})
            assert (updated.component_errors, updated.description_text) == (n, f"{n}" * 5)
            assert db.hosts.get_by_name(name) == updated
            assert (name, n) in [(host.name, host.component_errors) for host in db.hosts.list()]
            assert run(db, count, errors, name) == [(errors, name)]
            assert run(db, find, errors, name) == [(errors, name)]
            assert db.hosts.get_by_name(name).component_errors == errors
            rounds.release()
        return ROUNDS

    def progress() -> None:
        while rounds.acquire(blocking=False):
            pass  # those before the last alteration
        for _ in range(40):
            assert rounds.acquire(timeout=1 if any(call.done() for call in calls) else 60), "the load stands still"

    count, find = (query(tmp_path, q.sql.replace("$1", ":n").replace("$2", ":name"), "n, name") for q in (count, find))
    with connect(tomato_url, pool_size=8, prepare=prepare) as db, ThreadPoolExecutor(8) as threads:
        calls = [threads.submit(work, thread) for thread in range(8)]
        try:
            for alteration in ALTERATIONS:
                progress()
                server.execute(alteration)
            wide.set()
            progress()
        finally:
            enough.set()
            assert min(call.result(60) for call in calls) > 1


def test_a_row_is_right_after_its_columns_type_changed(
    tomato_url: str, server: psycopg.Connection, tmp_path: Path, prepare: bool
) -> None:
    server.execute("create table t as select 1 as id, 5 as v")
    read = query(tmp_path, "select v, id from t where id = :id", "id")
    with connect(tomato_url, pool_size=2, prepare=prepare) as db, db.connection(), ThreadPoolExecutor(1) as other:
        for type_, text, value in [
            ("int4", "5", 5),
            ("int8", "5", 5),
            ("int8", "1099511627776", 2**40),
            ("text", "ü", "ü"),
            ("numeric", "0.5", Decimal("0.5")),
            ("float8", "0.5", 0.5),
            ("int4", "7", 7),
            ("timestamptz", "2020-01-01 00:00:00+00", NEW_YEAR),
            ("jsonb", '{"a": 1}', {"a": 1}),
            ("text[]", "{a,null}", ["a", None]),
        ]:
            server.execute(f"alter table t alter column v type {type_} using '{text}'::{type_}")
            assert run(db, read, 1) == [(value, 1)]
            assert other.submit(run, db, read, 1).result(60) == [(value, 1)]


def test_a_widened_column_takes_wider_values_at_once(
    tomato_url: str, server: psycopg.Connection, tmp_path: Path, prepare: bool
) -> None:
    server.execute("create table t (v int4)")
    write = query(tmp_path, "insert into t (v) values (:v) returning v", "v")
    with connect(tomato_url, pool_size=1, prepare=prepare) as db:
        assert run(db, write, 5) == [5]
        with pytest.raises(InvalidValue):
            run(db, write, 2**40)
        server.execute("alter table t alter column v type int8")
        assert run(db, write, 2**40) == [2**40]
        with db.transaction():
            assert run(db, write, 2**41) == [2**41]
        server.execute("alter table t alter column v type text")
        assert run(db, write, "a") == ["a"]


def test_a_column_of_another_kind_takes_its_values_at_once(
    tomato_url: str, server: psycopg.Connection, tmp_path: Path, prepare: bool
) -> None:
    server.execute("create table t (v text)")
    write = query(tmp_path, "insert into t (v) values (:v) returning v", "v")
    with connect(tomato_url, pool_size=1, prepare=prepare) as db:
        assert run(db, write, "a") == ["a"]
        server.execute("alter table t alter column v type jsonb using to_jsonb(v)")
        assert run(db, write, "b") == ["b"]
        assert run(db, write, ["b"]) == [["b"]]


def test_a_statement_of_a_recreated_type_works(
    tomato_url: str, server: psycopg.Connection, tmp_path: Path, prepare: bool
) -> None:
    server.execute("create type mood as enum ('sad')")
    server.execute("create table t (v mood)")
    write = query(tmp_path, "insert into t (v) values (:v) returning v", "v")
    with connect(tomato_url, pool_size=1, prepare=prepare) as db:
        assert run(db, write, "sad") == ["sad"]
        server.execute("create type feeling as enum ('sad', 'happy')")
        server.execute("alter table t alter column v type feeling using v::text::feeling")
        server.execute("drop type mood")
        assert run(db, write, "happy") == ["happy"]


def test_refused_values_leave_no_statements_behind(lasting_url: str) -> None:
    with connect(lasting_url, pool_size=1) as db:
        for n in range(20):
            with pytest.raises(InvalidValue):
                db.hosts.get(2**63 + n)
        with db.connection() as connection:
            found = connection.execute("select count(*) from pg_prepared_statements where name like 'hosts.get:%'").fetchone()
    assert found == (1,)


def test_a_row_is_right_after_a_column_of_json_became_another(
    tomato_url: str, server: psycopg.Connection, tmp_path: Path, prepare: bool
) -> None:
    server.execute("create table t as select n as id, '{}'::jsonb as v from generate_series(1, 2) n")
    read = query(tmp_path, "select v, id from t where id <= :most order by id", "most")
    with connect(tomato_url, pool_size=1, prepare=prepare) as db:
        for type_, text, value in [
            ("jsonb", "[1]", [1]),
            ("text", "b", "b"),
            ("json", '{"a": 1}', {"a": 1}),
            ("int4", "7", 7),
            ("jsonb", "null", None),
            ("jsonb[]", '{"[1]",null}', [[1], None]),
            ("jsonb", '"b"', "b"),
            ("text[]", "{a,null}", ["a", None]),
        ]:
            server.execute(f"alter table t alter column v type {type_} using '{text}'::{type_}")
            assert run(db, read, 1) == [(value, 1)]
            assert run(db, read, 2) == [(value, 1), (value, 2)]

"""Calls whose answer was lost: those that are proved to read only are run again, any other only where its file says so."""

from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest

from tomato_dao import Database, Unavailable
from tomato_dao.database import QUERIES
from tomato_dao.sql.query import Query
from tomato_dao.sql.query_files import READ_ONLY, fingerprint, load

pytestmark = pytest.mark.slow

# Each takes a number of a sequence, which stays taken, and ends its own session before the answer is sent.
LOST = {
    "nextval": "select nextval('numbers') from pg_terminate_backend(pg_backend_pid())",
    "function": "select take_number()",
    "merge": "merge into taken t using (select nextval('numbers') as n from pg_terminate_backend(pg_backend_pid())) s"
    " on false when not matched then insert values (s.n)",
    "cte": "with t as (insert into taken values (nextval('numbers')) returning 1)"
    " select pg_terminate_backend(pg_backend_pid()) from t",
}


@pytest.fixture
def taken(server: psycopg.Connection) -> Callable[[], int]:
    """Tell how many numbers were taken."""
    server.execute("create sequence numbers minvalue 0")
    server.execute("select nextval('numbers')")
    server.execute("create table taken (n bigint)")
    server.execute(
        "create function take_number() returns bigint language plpgsql as"
        " $$ begin return nextval('numbers') from pg_terminate_backend(pg_backend_pid()); end $$"
    )

    def number() -> int:
        row = server.execute("select last_value from numbers").fetchone()
        assert row
        return int(row[0])

    return number


def lost(directory: Path, sql: str, said: str = "") -> Query:
    (directory / "lost.sql").write_text(f"-- name: call()\n{said}{sql};\n", "utf-8")
    return load(directory)["lost.call"]


def calls(db: Database, query: Query, taken: Callable[[], int]) -> int:
    """Return how often a call is carried out whose answer never comes."""
    before = taken()
    with pytest.raises(Unavailable):
        db._run(query, [])
    return taken() - before


@pytest.mark.parametrize("name", LOST)
def test_a_write_whose_answer_is_lost_is_carried_out_once(
    single: Database, taken: Callable[[], int], tmp_path: Path, name: str
) -> None:
    assert calls(single, lost(tmp_path, LOST[name]), taken) == 1


def test_a_query_annotated_as_repeatable_is_run_again(single: Database, taken: Callable[[], int], tmp_path: Path) -> None:
    query = lost(tmp_path, LOST["function"], "-- repeatable: numbers are plenty\n")
    assert calls(single, query, taken) == single.stats().pool.size + 2


def test_a_proof_holds_for_the_text_that_was_proved_alone(single: Database, taken: Callable[[], int], tmp_path: Path) -> None:
    query = lost(tmp_path, LOST["function"])
    (tmp_path / READ_ONLY).write_text(f"# Proved\n\nlost.call {fingerprint(query.sql)}\n", "utf-8")
    assert calls(single, lost(tmp_path, LOST["function"]), taken) == single.stats().pool.size + 2
    assert calls(single, lost(tmp_path, f"{LOST['function']} where true"), taken) == 1
    (tmp_path / READ_ONLY).write_text(f"lost.other {fingerprint(query.sql)}\n", "utf-8")
    assert calls(single, lost(tmp_path, LOST["function"]), taken) == 1


def test_aggregating_and_combining_may_be_repeated_and_no_other_write() -> None:
    repeatable = {name for name, query in QUERIES.items() if query.repeatable}
    assert {name for name in repeatable if "repeatable" in QUERIES[name].claims} == {"usage.aggregate", "links.combine"}
    assert {name for name in repeatable if QUERIES[name].verb != "select"} == set()
    assert {name for name, query in QUERIES.items() if query.verb == "select"} == repeatable

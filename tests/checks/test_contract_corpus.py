"""The contract on its corpus: no wrong declaration is accepted, and next to no right one is refused."""

import random
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from checks.contract import check, made_marks
from checks.described import Described
from tests.helpers.corpus_cases import contradictions, corpus_connection, described, expected, fill, load_corpus, without_claims
from tests.helpers.join_cases import Seen, made_joins, right_declaration, seen_of, with_claims, wrong_declarations
from tomato_dao.sql.query_files import load

pytestmark = pytest.mark.slow

JOINS, FILLS = 160, 30
ENOUGH = 30  # rows of a query that show what is so
Corpus = dict[str, list[Described]]
Joins = list[tuple[Described, Seen]]


@pytest.fixture(scope="module")
def connection() -> Iterator[psycopg.Connection]:
    """Provide a connection to a database with the corpus's tables."""
    with corpus_connection() as connection:
        yield connection


@pytest.fixture(scope="module")
def corpus(connection: psycopg.Connection) -> Corpus:
    """Provide the queries of each directory of the corpus."""
    return {name: described(connection, load_corpus(name)) for name in ("right", "wrong", "claimed")}


@pytest.fixture(scope="module")
def joins(connection: psycopg.Connection, tmp_path_factory: pytest.TempPathFactory) -> Joins:
    """Joins, and what they return from random rows."""
    made = made_joins(JOINS)
    directory = tmp_path_factory.mktemp("joins")
    (directory / "joins.sql").write_text("\n".join(f"-- name: q{n}()\n{sql};\n" for n, sql in enumerate(made)), "utf-8")
    queries = described(connection, list(load(directory).values()))
    return list(zip(queries, seen_of(connection, made, FILLS), strict=True))


def test_each_wrong_declaration_is_refused_for_its_reason(corpus: Corpus) -> None:
    wrong = {}
    for q in corpus["wrong"]:
        found, wanted = check(q), expected(q.query)
        if not wanted or len(found) != len(wanted) or not all(w in f for w, f in zip(wanted, found, strict=True)):
            wrong[q.query.name] = (found, wanted)
    assert wrong == {}


def test_each_right_declaration_is_accepted(corpus: Corpus) -> None:
    assert {q.query.name: found for q in corpus["right"] if (found := check(q))} == {}


def test_a_claim_gets_each_query_through_that_needs_it(corpus: Corpus, connection: psycopg.Connection) -> None:
    assert {q.query.name: found for q in corpus["claimed"] if (found := check(q))} == {}
    bare = described(connection, [without_claims(q.query) for q in corpus["claimed"]])
    assert [q.query.name for q in bare if not check(q)] == []


def test_only_queries_that_are_proved_to_read_only_may_be_run_again(
    corpus: Corpus, connection: psycopg.Connection, tmp_path: Path
) -> None:
    (tmp_path / "changes.sql").write_text(
        "-- name: merged()!\nmerge into things t using things s on false when matched then do nothing;\n"
        "-- name: merged_in_cte()\nwith l as (delete from logs returning id) select id from l;\n"
        "-- name: read()\nselect 1;\n",
        "utf-8",
    )
    writing = [q for q in corpus["wrong"] + corpus["claimed"] if q.query.file in ("changes", "meant") and q.changes]
    reading = [q for q in corpus["right"] if q.query.verb == "select"]
    others = described(connection, list(load(tmp_path).values()))
    marked = {line.split()[0] for line in made_marks([*writing, *reading, *others]).splitlines()[1:]}
    assert len(writing) > 10
    assert marked == {q.query.name for q in reading} | {"changes.read"}


def test_rows_never_contradict_what_is_proved(corpus: Corpus, connection: psycopg.Connection) -> None:
    chance = random.Random(16)  # noqa: S311
    queries = [q for found in corpus.values() for q in found if q.columns and q.query.file != "changes"]
    found = {}
    for _ in range(4):
        fill(connection, chance)
        for q in queries:
            if said := contradictions(connection, q, chance):
                found[q.query.name] = said
    assert found == {}


def test_a_claim_gets_each_join_through_that_is_refused(joins: Joins) -> None:
    refused = [right for q, seen in joins if seen.rows >= ENOUGH and check(right := right_declaration(q, seen))]
    assert {q.query.sql: found for q in refused if (found := check(with_claims(q)))} == {}


def test_no_wrong_declaration_is_accepted_and_few_right_ones_are_refused(corpus: Corpus, joins: Joins) -> None:
    refused_for_now = [q for q in corpus["claimed"] if q.query.file == "refused"]
    wrong = corpus["wrong"] + [declaration for q, seen in joins for declaration in wrong_declarations(q, seen)]
    right = corpus["right"] + [right_declaration(q, seen) for q, seen in joins if seen.rows >= ENOUGH]
    accepted = [q.query.sql for q in wrong if not check(q)]
    refused = [q.query.sql for q in right if check(q)] + [q.query.sql for q in refused_for_now]
    total = len(right) + len(refused_for_now)
    print(f"{sum(map(len, corpus.values())) + len(joins)} queries")
    print(f"{len(wrong)} wrong declarations, {len(accepted)} of them accepted")
    print(f"{total} right declarations, {len(refused)} of them refused", *refused, sep="\n  ")
    assert accepted == []
    assert len(refused) <= 0.02 * total
    assert total > 150
    assert len(wrong) > 300

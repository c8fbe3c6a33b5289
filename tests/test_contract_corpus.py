"""The contract on its corpus: no wrong declaration is accepted, and next to no right one is refused."""

import random
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from corpus_cases import contradictions, corpus_connection, described, expected, fill, load_corpus, without_claims
from join_cases import made_joins, seen_of

from tomato_dao.ops.contract import check
from tomato_dao.queries import load

MADE, FILLS, ENOUGH = 160, 40, 40


@pytest.fixture(scope="module")
def corpus() -> Iterator[psycopg.Connection]:
    """A connection to a database with the corpus's tables."""
    with corpus_connection() as connection:
        yield connection


def test_no_wrong_declaration_is_accepted(corpus: psycopg.Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = {}
    for q in described(corpus, load_corpus(monkeypatch, "wrong")):
        found, wanted = check(q), expected(q.query)
        if not wanted or len(found) != len(wanted) or not all(w in f for w, f in zip(wanted, found, strict=True)):
            wrong[q.query.name] = (found, wanted)
    assert wrong == {}


def test_no_right_declaration_is_refused(corpus: psycopg.Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    assert {q.query.name: found for q in described(corpus, load_corpus(monkeypatch, "right")) if (found := check(q))} == {}


def test_a_claim_gets_each_query_through_that_needs_it(corpus: psycopg.Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    queries = load_corpus(monkeypatch, "claimed")
    assert {q.query.name: found for q in described(corpus, queries) if (found := check(q))} == {}
    assert [q.query.name for q in described(corpus, [without_claims(query) for query in queries]) if not check(q)] == []


def test_rows_never_contradict_what_is_proved(corpus: psycopg.Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    chance = random.Random(16)  # noqa: S311
    queries = described(corpus, [query for name in ("right", "wrong", "claimed") for query in load_corpus(monkeypatch, name)])
    queries = [q for q in queries if q.columns and q.query.file != "changes"]
    found = {}
    for _ in range(8):
        fill(corpus, chance)
        for q in queries:
            if said := contradictions(corpus, q, chance):
                found[q.query.name] = said
    assert found == {}


def test_made_joins_are_as_they_are_proved(corpus: psycopg.Connection, tmp_path: Path) -> None:
    made = made_joins(MADE)
    (tmp_path / "joins.sql").write_text("\n".join(f"-- name: q{n}()\n{sql};\n" for n, sql in enumerate(made)), "utf-8")
    wrong, refused, right = {}, {}, 0
    for q, seen in zip(described(corpus, list(load(tmp_path).values())), seen_of(corpus, made, FILLS), strict=True):
        proved = [column.can_be_null is False for column in q.columns] + [q.at_most_one_row, q.has_a_row]
        shown = [count == seen.rows for count in seen.values] + [max(seen.counts) < 2, min(seen.counts) > 0]
        if any(p and not s for p, s in zip(proved, shown, strict=True)):
            wrong[q.query.sql] = (proved, shown)
        if seen.rows >= ENOUGH:
            right += 1
            if proved != shown:
                refused[q.query.sql] = (proved, shown)
    print(f"{len(made)} joins: {len(wrong)} wrong accepted, {right} right by their rows, {len(refused)} of them refused")
    for sql, (proved, shown) in refused.items():
        print(sql, proved, shown)
    assert wrong == {}
    assert len(refused) <= right * 0.02
    assert right >= 100

"""The contract on its corpus: no wrong declaration is accepted, and next to no right one is refused."""

import random
from collections.abc import Iterator

import psycopg
import pytest
from corpus_cases import contradictions, corpus_connection, described, expected, fill, load_corpus, without_claims

from tomato_dao.ops.contract import check


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

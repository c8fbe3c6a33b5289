"""The corpus of the contract: queries with right and wrong declarations, and random rows to hold what is proved against."""

import random
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace

import psycopg

from checks.described import Described, Refused, describe
from tests.conftest import CHECKOUT
from tomato_dao.ops import embedded
from tomato_dao.ops.scratch import scratch_database
from tomato_dao.sql.query import Query
from tomato_dao.sql.query_files import load
from tomato_dao.sql.rows import Row

CORPUS = CHECKOUT / "tests" / "checks" / "contract_corpus"


class Thing(Row, frozen=True):
    """A row with a name, or without one."""

    id: int
    name: str | None


class Named(Row, frozen=True):
    """A row with a name."""

    id: int
    name: str


class Truth(Row, frozen=True):
    """A row with an answer."""

    id: int
    is_it: bool


class Number(Row, frozen=True):
    """A row with a number."""

    id: int
    n: int


class Counted(Row, frozen=True):
    """A kind, and how many there are of it."""

    kind: str
    n: int


class Summed(Row, frozen=True):
    """A kind, and a sum."""

    kind: str
    n: int


class Pair(Row, frozen=True):
    """Two texts."""

    first: str
    second: str


class Tagged(Row, frozen=True):
    """A row with a list of texts."""

    id: int
    tags: list[str]


class Holder(Row, frozen=True):
    """A row that holds rows."""

    id: int
    things: tuple[Named, ...]


class Owner(Row, frozen=True):
    """A row that holds a row, or none."""

    id: int
    thing: Named | None


class OptionalHolder(Row, frozen=True):
    """A row that holds a row whose name may be missing."""

    id: int
    thing: Thing


CLASSES: dict[str, type] = {
    record_class.__name__: record_class
    for record_class in (Thing, Named, Truth, Number, Counted, Summed, Pair, Tagged, Holder, Owner, OptionalHolder)
}


@contextmanager
def corpus_connection() -> Iterator[psycopg.Connection]:
    """Provide a connection to a database with the corpus's tables."""
    with (
        embedded.started_for_tests() as server_url,
        scratch_database(server_url, migrated=False) as url,
        psycopg.connect(url, autocommit=True) as connection,
    ):
        connection.execute((CORPUS / "schema.sql").read_bytes())
        yield connection


def load_corpus(directory: str) -> list[Query]:
    """Return the queries of a directory of the corpus; what each finds is said in its comments."""
    return list(load(CORPUS / directory, CLASSES).values())


def without_claims(query: Query) -> Query:
    """Return the same query, as if its file said nothing that the server can't know."""
    return replace(query, claims={}, verb="select" if "writes" in query.claims else query.verb)


def expected(query: Query) -> list[str]:
    """Fragments of what is to be found of a wrong query, in order."""
    return [line.removeprefix("found: ") for line in query.doc.splitlines() if line.startswith("found: ")]


def described(connection: psycopg.Connection, queries: list[Query]) -> list[Described]:
    """Return the queries as the server sees them, which refuses none."""
    found = describe(connection, queries)
    assert not [(q.query.name, q.message) for q in found if isinstance(q, Refused)]
    return [q for q in found if isinstance(q, Described)]


def fill(connection: psycopg.Connection, chance: random.Random) -> None:
    """Put a few random rows with nulls into the tables, of values that are often equal, in place of what is there."""
    connection.execute("delete from things")
    connection.execute("delete from parts")

    def some(values: str) -> str | None:
        choice: list[str | None] = [*values, None]
        return chance.choice(choice)

    names = [(kind, name) for kind in "ab" for name in ("a", "b", "c", None, None)]
    for id, (kind, name) in zip(chance.sample(range(1, 6), chance.choice((0, 1, 3, 5))), chance.sample(names, 5), strict=False):
        codes = [some("ab") for _ in range(chance.randrange(3))]
        tags = chance.sample("ab", chance.randrange(3))
        info = chance.choice(["{}", "null", '{"name": "a"}', '{"name": null}', '{"name": "b"}'])
        connection.execute(
            "insert into things (id, name, kind, size, tags, codes, info) values (%s, %s, %s, %s, %s, %s, %s)",
            [id, name, kind, chance.randrange(1, 4), tags, codes, info],
        )
    for id in chance.sample(range(1, 6), chance.choice((0, 1, 3, 5))):
        note = some("ab")
        thing_id = chance.choice([1, 2, 3, None])
        connection.execute("insert into parts values (%s, %s, %s, %s)", [id, thing_id, "abcde"[id - 1], note])


_VALUES: dict[str, list[object]] = {
    "int8": [1, 2, 3],
    "int4": [1, 2, 3],
    "int8[]": [[1, 2], [3]],
    "text": ["a", "b"],
    "text[]": [["a"], ["a", "b"], []],
    "timestamptz": ["now"],
}


def arguments(q: Described, chance: random.Random) -> list[object]:
    """Random values for a query's parameters; a null now and then where one may be."""
    chosen: list[object] = [chance.choice(_VALUES[type_]) for type_ in q.parameters]
    return [
        (["a", None] if isinstance(value, list) else None) if name in q.query.nullable and chance.random() < 0.5 else value
        for name, value in zip(q.query.parameters, chosen, strict=True)
    ]


def contradictions(connection: psycopg.Connection, q: Described, chance: random.Random) -> list[str]:
    """Return what is proved of a query and is not so of the rows that it returns now; a statement's changes are undone.

    Nothing is told by a statement that these rows, or values, make fail.
    """
    found = None
    failures = suppress(psycopg.DataError, psycopg.IntegrityError, psycopg.errors.CardinalityViolation)
    with failures, connection.transaction(force_rollback=True), psycopg.RawCursor(connection) as cursor:
        cursor.execute(q.query.sql.encode(), arguments(q, chance))
        found = cursor.fetchall()
    if found is None:
        return []
    said = ["two rows"] if q.at_most_one_row and len(found) > 1 else []
    said += ["no row"] if q.has_a_row and not found else []
    for n, column in enumerate(q.columns):
        values = [row[n] for row in found]
        if column.can_be_null is False and None in values:
            said.append(f"{column.name} is null")
        has_items = column.is_many or column.type.endswith("[]")
        if has_items and column.can_hold_null is False and any(None in value for value in values if isinstance(value, list)):
            said.append(f"{column.name} holds a null")
    return said

"""docs/query-files.md: its examples keep to the contract, and what it shows of them is what faces.pyi and the server get."""

import re
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from checks import contract, faces
from checks.described import Described, describe, schema_connection
from tests.conftest import CHECKOUT
from tomato_dao import rows
from tomato_dao.sql.query import Query
from tomato_dao.sql.query_files import load

pytestmark = pytest.mark.slow

PAGE = CHECKOUT / "docs" / "query-files.md"
BLOCK = re.compile(r"^```(sql|python)\n(.*?)\n```$", re.MULTILINE | re.DOTALL)
TABLE = re.compile(r"(?:from|update|into) (\w+)")


@pytest.fixture(scope="module")
def blocks() -> list[tuple[str, str]]:
    """Provide the page's blocks: their language and text."""
    return [(found[1], found[2]) for found in BLOCK.finditer(PAGE.read_text("utf-8"))]


@pytest.fixture(scope="module")
def examples(blocks: list[tuple[str, str]], tmp_path_factory: pytest.TempPathFactory) -> list[Query]:
    """Provide the page's queries, each in the file of its table."""
    directory = tmp_path_factory.mktemp("examples")
    for language, text in blocks:
        if language == "sql" and text.startswith("-- name:"):
            table = TABLE.search(re.sub(r"--.*", "", text))
            with (directory / f"{table[1] if table else 'locks'}.sql").open("a", encoding="utf-8") as file:
                file.write(f"{text}\n\n")
    return list(load(directory, rows.CLASSES).values())


@pytest.fixture(scope="module")
def described(examples: list[Query]) -> Iterator[list[Described]]:
    """Provide the page's queries as the server sees them."""

    def seen(connection: psycopg.Connection) -> Iterator[Described]:
        for q in describe(connection, examples):
            assert isinstance(q, Described), (q.query.name, q.message)
            yield q

    with schema_connection() as connection:
        yield list(seen(connection))


def test_its_examples_keep_to_the_contract(described: list[Described]) -> None:
    assert len(described) > 10
    assert {q.query.name: found for q in described if (found := contract.check(q))} == {}


def test_it_shows_what_faces_are(described: list[Described], blocks: list[tuple[str, str]]) -> None:
    made = {line.strip() for q in described for line in faces.faces([q]).splitlines()}
    shown = [text for language, text in blocks if language == "python"]
    assert len(shown) > 5
    assert [text for text in shown if text not in made] == []


def test_it_shows_what_the_server_gets(examples: list[Query], blocks: list[tuple[str, str]]) -> None:
    sent = {variant.sql for query in examples for variant in query.variants()}
    shown = [text for language, text in blocks if language == "sql" and not text.startswith("-- name:")]
    assert len(shown) > 4
    assert [text for text in shown if text not in sent] == []


def test_it_has_a_section_for_each_annotation() -> None:
    text = Path(CHECKOUT / "tomato_dao" / "sql" / "query_files.py").read_text("utf-8")
    words = {"record_class", "nullable", "optional", "order", "if", "after"} | set(
        re.search(r"\?P<what>([^)]*)\)", text)[1].split("|")  # type: ignore[index]
    )
    headings = " ".join(re.findall(r"^## (.*)$", PAGE.read_text("utf-8"), re.MULTILINE))
    assert [word for word in sorted(words) if word not in headings] == []


def test_it_says_how_many_variants_there_are(examples: list[Query]) -> None:
    (query,) = [query for query in examples if query.name == "error_dumps.list"]
    assert len(list(query.variants())) == 32
    assert "It has 32 variants" in PAGE.read_text("utf-8")

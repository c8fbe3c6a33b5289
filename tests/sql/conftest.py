"""Fixtures of the tests of query files."""

from pathlib import Path

import pytest

from tests.helpers.choice_cases import Read
from tomato_dao.sql.query import Query
from tomato_dao.sql.query_files import load


@pytest.fixture
def read(tmp_path: Path) -> Read:
    """Loads a file things.sql of one query."""

    def read_text(text: str) -> Query:
        (tmp_path / "things.sql").write_text(text, "utf-8")
        (query,) = load(tmp_path).values()
        return query

    return read_text

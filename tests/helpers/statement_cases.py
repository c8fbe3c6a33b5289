"""Helpers that the tests of statements share: queries that no DAO has, and times."""

from datetime import UTC, datetime
from pathlib import Path

import psycopg

from tomato_dao import Database
from tomato_dao.errors import from_driver
from tomato_dao.sql.query import Query
from tomato_dao.sql.query_files import load
from tomato_dao.sql.statements import QueryConnection

NEW_YEAR = datetime(2020, 1, 1, tzinfo=UTC)
NAIVE = datetime(2020, 1, 1)


def query(directory: Path, sql: str, parameters: str = "", *, nullable: bool = True) -> Query:
    """Return the query of that SQL, loaded from a file."""
    said = f"-- nullable: {parameters}\n" if parameters and nullable else ""
    (directory / "adhoc.sql").write_text(f"-- name: run({parameters})\n{said}{sql};\n", "utf-8")
    return load(directory)["adhoc.run"]


def run(db: Database, query: Query, *values: object) -> list[object]:
    """Return the rows of a query that no DAO has; errors as a DAO gives them."""
    with db.connection() as connection:
        assert isinstance(connection, QueryConnection)
        try:
            rows: list[object] = connection.run(query, values)
        except psycopg.Error as error:
            raise from_driver(error) from error
        return rows


def sqlstate(state: str) -> bytes:
    """Return a statement that the server refuses with that SQLSTATE."""
    return f"do $$ begin raise exception 'said' using errcode = '{state}'; end $$".encode()

"""The databases of a mutation run in a copy of the tree: one server for all test runs, one template for most.

So tests do not spend their time on starting a server and migrating. A changed migration gets its own template.
"""

import sys
from contextlib import suppress

import psycopg
import pytest
from psycopg import sql

from tomato_dao import NotAllowed
from tomato_dao.database import QUERIES
from tomato_dao.errors import TomatoError
from tomato_dao.ops import embedded, roles
from tomato_dao.ops.databases import create_database
from tomato_dao.ops.migrate import migrate
from tomato_dao.ops.scratch import drop_database, with_database
from tomato_dao.sql.query import Query
from tomato_dao.sql.statements import QueryConnection

from .recording import Queries

TEMPLATE = "mutants_template"
OWN_TEMPLATE = "mutants_own_template"


def main() -> None:
    """Start the server of this copy's tests, print its URL, and stop it when stdin ends."""
    with embedded.started_for_tests() as url:
        make_template(url, TEMPLATE)
        print(url, flush=True)
        sys.stdin.read()
    embedded.remove()  # the copy's own, which tests of commands start


def make_template(url: str, name: str) -> None:
    """Make a database from this copy's db/, for tests to clone."""
    template = with_database(url, name)
    drop_database(template)
    create_database(template)
    migrate(template)
    with suppress(NotAllowed):
        roles.make_roles(template)


def probe_migration(url: str) -> str:
    """Create a template from this copy's changed migrations. Return the error message, if any."""
    try:
        make_template(url, OWN_TEMPLATE)
    except (TomatoError, psycopg.Error) as error:
        return str(error) or type(error).__name__
    return ""


def probe_query(url: str, name: str) -> str:
    """Prepare a changed query. Return the error message, if any."""
    with psycopg.connect(with_database(url, TEMPLATE)) as connection:
        results = (connection.pgconn.prepare(b"", variant.sql.encode()) for variant in QUERIES[name].variants())
        return next((said.decode(errors="replace") for result in results if (said := result.error_message)), "")


def tidy(url: str) -> str:
    """Drop the leftover databases of killed runs."""
    with psycopg.connect(with_database(url, "postgres"), autocommit=True) as server:
        left = server.execute("select datname from pg_database where starts_with(datname, 'tomato_')").fetchall()
        for (name,) in left:
            with suppress(psycopg.Error):
                server.execute(sql.SQL("alter database {} is_template false").format(sql.Identifier(name)))
                server.execute(sql.SQL("drop database {} (force)").format(sql.Identifier(name)))
    return ""


class Template:
    """A pytest plugin that provides an existing template to tests."""

    def __init__(self, name: str) -> None:
        self._name = name

    @pytest.hookimpl(trylast=True)
    def pytest_sessionstart(self, session: pytest.Session) -> None:
        """Run after the plugin whose fixture this one replaces."""
        name = self._name

        class Fixture:
            @pytest.fixture(scope="session")
            def tomato_template(self) -> str:
                return name

        session.config.pluginmanager.register(Fixture())


class QueriesRun(Queries):
    """A pytest plugin that records the named queries of each test."""

    def __init__(self, result: str) -> None:
        super().__init__(result)
        run = QueryConnection.run

        def noted(connection: QueryConnection, query: Query, values: object) -> object:
            self.ran(query.base)
            return run(connection, query, values)  # type: ignore[arg-type]

        QueryConnection.run = noted  # type: ignore[method-assign, assignment]


if __name__ == "__main__":
    main()

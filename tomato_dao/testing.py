"""A pytest plugin for tests of code that uses tomato_dao: `pytest_plugins = ["tomato_dao.testing"]` in conftest.py.

Needs the extra “testing”. The server is that of DATABASE_URL (whose user may create databases; the database that it names is
not touched), else an embedded one for tests alone.
"""

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict
from pytest_postgresql.janitor import DatabaseJanitor

from . import Database, connect
from .ops import embedded
from .ops.migrate import migrate
from .ops.scratch import with_database


@pytest.fixture(scope="session")
def tomato_server_url() -> Iterator[str]:
    """The URL of the server that tests run on."""
    if url := os.environ.get("DATABASE_URL"):
        yield url
    else:
        with embedded.started_for_tests() as url:
            yield url


@pytest.fixture(scope="session")
def tomato_template(tomato_server_url: str) -> Iterator[str]:
    """The name of a migrated, empty database, from which each test's own is cloned."""
    name = f"tomato_template_{secrets.token_hex(6)}"
    with _janitor(tomato_server_url, name, as_template=True):
        migrate(with_database(tomato_server_url, name))
        yield name


@pytest.fixture
def tomato_url(tomato_server_url: str, tomato_template: str) -> Iterator[str]:
    """The URL of a migrated, empty database of the test's own."""
    with cloned(tomato_server_url, tomato_template) as url:
        yield url


@pytest.fixture
def tomato_db(tomato_url: str) -> Iterator[Database]:
    """A Database on a migrated, empty database of the test's own."""
    with connect(tomato_url, pool_size=4) as db:
        yield db


@contextmanager
def cloned(server_url: str, template: str) -> Iterator[str]:
    """The URL of a new database that is as the template; it is dropped at the end."""
    name = f"tomato_test_{secrets.token_hex(6)}"
    with _janitor(server_url, name, template=template):
        yield with_database(server_url, name)


class _Janitor(DatabaseJanitor):
    """Ends its own user's sessions only: another's, as autovacuum's, it may not, and needn't."""

    @staticmethod
    def _terminate_connection(cur: psycopg.Cursor, dbname: str) -> None:
        cur.execute(
            "select pg_terminate_backend(pid) from pg_stat_activity where datname = %s and usename = current_user", [dbname]
        )


def _janitor(url: str, name: str, *, template: str | None = None, as_template: bool = False) -> DatabaseJanitor:
    settings = conninfo_to_dict(url)
    return _Janitor(
        host=str(settings.get("host") or os.environ.get("PGHOST", "")),
        port=str(settings.get("port") or os.environ.get("PGPORT", "5432")),
        user=str(settings.get("user") or os.environ.get("PGUSER", "")),
        password=str(settings["password"]) if "password" in settings else None,
        dbname=name,
        template_dbname=template or "template0",
        as_template=as_template,
        connection_timeout=10,
    )

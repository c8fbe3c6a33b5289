"""A pytest plugin for tests of code that uses tomato_dao (docs/guides/testing.md).

Put `pytest_plugins = ["tomato_dao.testing"]` into conftest.py, and install the extra “testing”. Tests run on the server of
DATABASE_URL, whose user must be allowed to create databases (the database named there is not touched), or else on an
embedded server of their own.

    def test_a_new_lab_is_empty(tomato_db):
        university = tomato_db.organizations.create("uni")
"""

import os
from collections.abc import AsyncIterator, Iterator

import pytest
from psycopg.conninfo import conninfo_to_dict

from . import AsyncDatabase, Database, connect, connect_async
from .ops import embedded
from .ops.scratch import scratch_database
from .server.target import server_of


@pytest.fixture(scope="session")
def tomato_server_url() -> Iterator[str]:
    """Return the URL of the server that tests run on (once per session)."""
    if url := os.environ.get("DATABASE_URL"):
        yield server_of(url)
    else:
        with embedded.started_for_tests() as url:
            yield url


@pytest.fixture(scope="session")
def tomato_template(tomato_server_url: str) -> Iterator[str]:
    """Return the name of a migrated, empty database, which is copied for each test (once per session)."""
    with scratch_database(tomato_server_url) as url:
        yield str(conninfo_to_dict(url)["dbname"])


@pytest.fixture
def tomato_url(tomato_server_url: str, tomato_template: str) -> Iterator[str]:
    """Return the URL of a migrated, empty database for this test alone; it is dropped after the test."""
    with scratch_database(tomato_server_url, template=tomato_template) as url:
        yield url


@pytest.fixture
def tomato_db(tomato_url: str) -> Iterator[Database]:
    """Return a Database, with a pool of 4 connections, on a migrated, empty database for this test alone."""
    with connect(tomato_url, pool_size=4) as db:
        yield db


@pytest.fixture
async def async_tomato_db(tomato_url: str, anyio_backend: object) -> AsyncIterator[AsyncDatabase]:
    """Return an AsyncDatabase, with a pool of 4 connections, on an empty database for this test alone.

    Needs anyio's pytest plugin.
    """
    del anyio_backend  # requesting it makes the anyio plugin run this fixture
    async with connect_async(tomato_url, pool_size=4) as db:
        yield db

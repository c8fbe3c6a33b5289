"""A pytest plugin for tests of code that uses tomato_dao: `pytest_plugins = ["tomato_dao.testing"]` in conftest.py.

Needs the extra “testing”. The server is that of DATABASE_URL (whose user may create databases; the database that it names is
not touched), else an embedded one for tests alone.
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
    """Provide the URL of the server that tests run on."""
    if url := os.environ.get("DATABASE_URL"):
        yield server_of(url)
    else:
        with embedded.started_for_tests() as url:
            yield url


@pytest.fixture(scope="session")
def tomato_template(tomato_server_url: str) -> Iterator[str]:
    """Provide the name of a migrated, empty database, of which each test gets a copy."""
    with scratch_database(tomato_server_url) as url:
        yield str(conninfo_to_dict(url)["dbname"])


@pytest.fixture
def tomato_url(tomato_server_url: str, tomato_template: str) -> Iterator[str]:
    """Provide the URL of a migrated, empty database of the test's own."""
    with scratch_database(tomato_server_url, template=tomato_template) as url:
        yield url


@pytest.fixture
def tomato_db(tomato_url: str) -> Iterator[Database]:
    """Provide a Database on a migrated, empty database of the test's own."""
    with connect(tomato_url, pool_size=4) as db:
        yield db


@pytest.fixture
async def async_tomato_db(tomato_url: str, anyio_backend: object) -> AsyncIterator[AsyncDatabase]:
    """Provide an AsyncDatabase on a migrated, empty database of the test's own, to tests of anyio's pytest plugin."""
    del anyio_backend  # by which the plugin knows that it runs this
    async with connect_async(tomato_url, pool_size=4) as db:
        yield db

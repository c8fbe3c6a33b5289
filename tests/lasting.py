"""Databases of a module's tests together, for those that leave nothing behind."""

from collections.abc import Iterator

import psycopg
import pytest

from tomato_dao import Database, connect
from tomato_dao.ops.scratch import scratch_database


@pytest.fixture(scope="module")
def lasting_url(tomato_server_url: str, tomato_template: str) -> Iterator[str]:
    """The URL of a database for all tests of a module that leave nothing behind."""
    with scratch_database(tomato_server_url, template=tomato_template) as url:
        yield url


@pytest.fixture(scope="module")
def lasting(lasting_url: str) -> Iterator[Database]:
    """A Database of one connection for all tests of a module that leave nothing behind."""
    with connect(lasting_url, pool_size=1) as db:
        yield db


@pytest.fixture
def here(lasting_url: str) -> Iterator[Database]:
    """A Database whose locks are in the session “here locks”."""
    with connect(lasting_url, pool_size=1, application_name="here") as db:
        yield db


@pytest.fixture
def there(lasting_url: str) -> Iterator[Database]:
    """Another one, whose locks are in the session “there locks”, as those of another process would be."""
    with connect(lasting_url, pool_size=1, application_name="there") as db:
        yield db


@pytest.fixture
def watcher(lasting_url: str) -> Iterator[psycopg.Connection]:
    """A connection of its own to that database, in autocommit mode."""
    with psycopg.connect(lasting_url, autocommit=True) as connection:
        yield connection

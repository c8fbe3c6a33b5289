"""Tests of the DAOs run against both faces: with threads, and with asyncio by a bridge (most of these are `long`)."""

from collections.abc import Iterator

import pytest

from tests.conftest import acting_as
from tests.helpers.async_bridge import bridged
from tomato_dao import Database, connect
from tomato_dao.ops import roles

# Modules whose tests run with asyncio each time; between them they call most kinds of methods.
_EACH_TIME = {"test_users", "test_error_dumps", "test_links", "test_iterating"}

_OF_THREADS = {"dump", "dumped", "load"}  # what takes no AsyncDatabase


@pytest.fixture(params=["threads", "asyncio"])
def db(tomato_url: str, has_roles: bool, request: pytest.FixtureRequest) -> Iterator[Database]:
    """Provide a Database on a migrated, empty database, with the privileges of a worker, or as_owner."""
    if request.param == "asyncio" and not _OF_THREADS.isdisjoint(request.node.function.__code__.co_names):
        pytest.skip("dump and load take a Database of threads")
    is_owner = not has_roles or request.node.get_closest_marker("as_owner")
    url = tomato_url if is_owner else acting_as(roles.APP, tomato_url)
    with bridged(url, pool_size=4) if request.param == "asyncio" else connect(url, pool_size=4) as db:
        yield db


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what runs with asyncio as long, but for the quick tests of some modules."""
    for item in items:
        callspec = getattr(item, "callspec", None)
        if callspec is None or callspec.params.get("db") != "asyncio":
            continue
        if item.path.stem not in _EACH_TIME or item.get_closest_marker("slow"):
            item.add_marker(pytest.mark.long)

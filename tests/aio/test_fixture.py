"""The fixture async_tomato_db gives tests of anyio's pytest plugin a database of their own."""

import pytest

from tomato_dao import AsyncDatabase

pytest.importorskip("anyio")
pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    """Run in asyncio's loop: anyio's other one has no tasks that a database knows."""
    return "asyncio"


@pytest.mark.parametrize("turn", [1, 2])
async def test_each_test_has_a_database_of_its_own(async_tomato_db: AsyncDatabase, turn: int) -> None:
    assert await async_tomato_db.organizations.list() == []
    async with async_tomato_db.transaction():
        await async_tomato_db.organizations.create("uni")

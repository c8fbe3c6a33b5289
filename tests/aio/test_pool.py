"""The pool for asyncio: connections that are old or unused go, and a network that is dark is waited for."""

import asyncio
from functools import partial
from pathlib import Path

import psycopg
import pytest
from psycopg_pool import AsyncConnectionPool

from tests.chaos.proxy import Proxy
from tests.fixtures.loops import Run
from tests.helpers.session_cases import BACKENDS
from tests.helpers.statement_cases import query
from tomato_dao import connect_async

pytestmark = pytest.mark.slow
SESSIONS = "select count(*) " + BACKENDS


async def until_sessions(server: psycopg.Connection, name: str, number: int) -> None:
    """Wait until the server has so many sessions of a name; the test's limit is the loop's."""
    while server.execute(SESSIONS, [name]).fetchone() != (number,):
        await asyncio.sleep(0.005)


@pytest.mark.parametrize(("lifetime", "sessions"), [(0, 3), (3600, 1)], ids=["over", "not over"])
def test_a_connection_is_replaced_when_its_lifetime_is_over(
    tomato_url: str,
    server: psycopg.Connection,
    run: Run,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    lifetime: float,
    sessions: int,
) -> None:
    monkeypatch.setattr("tomato_dao.aio.pool.LIFETIME", lifetime)
    who = query(tmp_path, "select pg_backend_pid()")

    async def work() -> None:
        async with connect_async(tomato_url, pool_size=1, application_name="old") as db:
            assert len({str(await db._run(who, [])) for _ in range(3)}) == sessions
            await until_sessions(server, "old", 1)

    run(work())


def test_connections_that_nobody_uses_are_closed_but_one(
    tomato_url: str, server: psycopg.Connection, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tomato_dao.aio.pool.IDLE_AFTER", 0.1)
    monkeypatch.setattr("tomato_dao.aio.pool.AsyncConnectionPool", partial(AsyncConnectionPool, max_idle=0.1))

    async def work() -> None:
        async with connect_async(tomato_url, pool_size=4, application_name="many") as db:
            together = asyncio.Barrier(5)

            async def use() -> None:
                async with db.connection():
                    await together.wait()

            for _ in range(2):
                tasks = [asyncio.create_task(use()) for _ in range(4)]
                await until_sessions(server, "many", 4)
                await together.wait()
                await asyncio.gather(*tasks)
                await until_sessions(server, "many", 1)
            assert await db.organizations.list() == []

    run(work())


def test_a_network_that_is_dark_is_waited_for(tomato_url: str, run: Run) -> None:
    async def opened(url: str) -> None:
        async with connect_async(url, timeout=20) as db:
            assert await db.organizations.list() == []

    async def work() -> None:
        proxy.hold(True)
        opening = asyncio.create_task(opened(proxy.url))
        await asyncio.wait([opening], timeout=0.8)  # more than the half second after which it once gave up
        assert not opening.done()
        proxy.hold(False)
        await opening

    proxy = Proxy(tomato_url)
    try:
        run(work())
    finally:
        proxy.close()

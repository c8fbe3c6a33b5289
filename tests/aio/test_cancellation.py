"""A cancelled task frees its connection in a known state, whatever it was awaiting, and is cancelled and nothing else."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from time import sleep
from typing import LiteralString

import psycopg
import pytest
from psycopg.abc import PQGen
from psycopg.pq.abc import PGresult

from tests.fixtures.loops import Run
from tests.helpers.dao_cases import until
from tests.helpers.hanging_cases import stopped
from tests.helpers.session_cases import BACKENDS, blocked, kill
from tests.helpers.storm import APPLICATION, NAMES, SIZE, Storm, calm
from tomato_dao import AsyncDatabase, Unavailable, WrongState, connect_async

pytestmark = pytest.mark.slow
AT_WORK: LiteralString = (
    "select exists (select " + BACKENDS + " and state = 'active' and wait_event in ('PgSleep', 'ClientRead')"
    " and query ~ 'pg_sleep|from stdin')"
)
_writers: list[AsyncDatabase] = []  # whose COPY has begun for the client, too: one that is cancelled before is closed
Begin = Callable[[AsyncDatabase], Awaitable[object]]


async def sleeps(db: AsyncDatabase) -> None:
    async with db.connection() as connection:
        await connection.execute("select pg_sleep(60)")


async def sleeps_in_a_transaction(db: AsyncDatabase) -> None:
    async with db.transaction():
        await db.organizations.create("lost")
        await sleeps(db)


async def sleeps_in_a_nested_transaction(db: AsyncDatabase) -> None:
    async with db.transaction():
        await sleeps_in_a_transaction(db)


async def copies(db: AsyncDatabase) -> None:
    sql = "copy (select pg_sleep(60)) to stdout"
    async with db.connection() as connection, connection.cursor() as cursor, cursor.copy(sql) as copy:
        async for _ in copy:
            pass


async def copies_in(db: AsyncDatabase) -> None:
    sql = "copy key_values (key, value) from stdin"
    async with db.connection() as connection, connection.cursor() as cursor, cursor.copy(sql) as copy:
        await copy.write(b"lost\t1\n")
        _writers.append(db)
        await asyncio.sleep(60)


async def active(db: AsyncDatabase) -> None:
    """Wait until the database's one connection runs something."""
    async with asyncio.timeout(30):
        while not db._pool._at_work() or (next(iter(db._pool._all)).pgconn.transaction_status == 0):
            await asyncio.sleep(0.002)


@pytest.mark.parametrize(
    "begin",
    [sleeps, sleeps_in_a_transaction, sleeps_in_a_nested_transaction, copies, copies_in],
    ids=lambda begin: begin.__name__,
)
@pytest.mark.parametrize("times", [1, 3])
def test_a_cancelled_statement_is_cancelled_at_the_server_and_its_connection_used_again(
    tomato_url: str, server: psycopg.Connection, run: Run, begin: Begin, times: int
) -> None:
    async def work() -> None:
        async with connect_async(tomato_url, pool_size=1, application_name="one") as db:
            await db.organizations.list()
            before = server.execute("select pid " + BACKENDS, ["one"]).fetchall()
            task = asyncio.ensure_future(begin(db))
            await active(db)
            while server.execute(AT_WORK, ["one"]).fetchone() != (True,) or (begin is copies_in and db not in _writers):
                await asyncio.sleep(0.005)  # a cancel that comes before the statement is lost
            for _ in range(times):
                task.cancel()
                await asyncio.sleep(0)
            with pytest.raises(asyncio.CancelledError):
                await task
            assert await db.organizations.list() == []
            assert await db.key_values.list() == []
            if begin is not copies:  # of which psycopg closes the connection
                assert server.execute("select pid " + BACKENDS, ["one"]).fetchall() == before
            assert server.execute("select state " + BACKENDS, ["one"]).fetchall() == [("idle",)]

    run(work())


def test_a_transaction_goes_on_after_a_nested_one_that_was_timed_out(tomato_url: str, run: Run) -> None:
    async def work() -> None:
        async with connect_async(tomato_url, pool_size=1) as db:
            async with db.transaction():
                await db.organizations.create("kept")
                with pytest.raises(TimeoutError):
                    await _timed(sleeps_in_a_transaction(db))
                assert [row.name for row in await db.organizations.list()] == ["kept"]
            assert [row.name for row in await db.organizations.list()] == ["kept"]

    run(work())


def test_a_transaction_whose_call_was_timed_out_has_failed(tomato_url: str, run: Run) -> None:
    async def fail(db: AsyncDatabase) -> None:
        async with db.transaction():
            await db.organizations.create("lost")
            with pytest.raises(TimeoutError):
                await _timed(sleeps(db))

    async def work() -> None:
        async with connect_async(tomato_url, pool_size=1) as db:
            with pytest.raises(WrongState, match="a call in the transaction failed"):
                await fail(db)
            assert await db.organizations.list() == []

    run(work())


async def _timed(work: Awaitable[None]) -> None:
    async with asyncio.timeout(0.05):
        await work


def test_a_cancellation_that_arrives_before_its_statement_is_repeated(
    tomato_url: str, server: psycopg.Connection, run: Run
) -> None:
    async def work() -> None:
        async with connect_async(tomato_url, pool_size=1, application_name="one") as db:
            await db.organizations.list()
            (connection,) = db._pool._all
            cancel, arrived = connection.cancel_safe, asyncio.Event()

            async def cancel_safe(*, timeout: float = 30) -> None:
                await cancel(timeout=timeout)
                arrived.set()

            connection.cancel_safe = cancel_safe  # type: ignore[method-assign]
            with stopped(server, "one"):
                task = asyncio.ensure_future(sleeps(db))
                await active(db)
                task.cancel()
                await arrived.wait()  # a session without a statement ignores it
            with pytest.raises(asyncio.CancelledError):
                await task
            assert await db.organizations.list() == []
            assert [*db._pool._all] == [connection]

    run(work())


def test_a_server_that_does_not_answer_delays_no_cancellation(
    tomato_url: str, server: psycopg.Connection, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its connection counts as taken, and is closed after a few seconds; meanwhile others wait for their time alone."""
    monkeypatch.setattr("tomato_dao.aio.connection._SETTLING", 0.3)  # of the 5 s

    async def work() -> None:
        async with connect_async(tomato_url, pool_size=1) as db:
            await db.organizations.list()
            (connection,) = db._pool._all

            async def silent(**_: object) -> None:
                await asyncio.sleep(60)

            connection.cancel_safe = silent  # type: ignore[method-assign]
            task = asyncio.ensure_future(sleeps(db))
            await active(db)
            began = asyncio.get_running_loop().time()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert await db.organizations.list() == []  # on another one
            assert connection.closed
            assert asyncio.get_running_loop().time() - began < 20

    run(work())


@pytest.mark.parametrize(
    ("seed", "cancellations"), [(1, 1500), pytest.param(7, 100_000, marks=pytest.mark.long)], ids=["short", "long"]
)
def test_a_storm_of_cancellations_loses_nothing(
    tomato_url: str, run: Run, seed: int, cancellations: int, caplog: pytest.LogCaptureFixture
) -> None:
    async def work() -> None:
        async with connect_async(tomato_url, pool_size=SIZE, application_name=APPLICATION) as db:
            for n in range(NAMES):
                await db.organizations.create(f"org{n}")
            storm = Storm(db, tomato_url, seed, cancellations)
            await storm.rage()
            assert storm.faults == []
            assert storm.kills > 0
            assert await calm(db, tomato_url) == []

    with caplog.at_level(logging.ERROR, "asyncio"):
        run(work())
    assert [record for record in caplog.records if record.levelno >= logging.ERROR] == []


def test_a_deadline_bounds_calls_transactions_and_the_queue(tomato_url: str, run: Run) -> None:
    async def work() -> None:
        async with connect_async(tomato_url, pool_size=1) as db:
            await db.organizations.list()
            for begin in (sleeps_in_a_transaction, sleeps_in_a_nested_transaction):
                began = asyncio.get_running_loop().time()
                with pytest.raises(Unavailable, match=r"within 0\.1 s"), db.timeout(0.1):
                    await begin(db)
                assert asyncio.get_running_loop().time() - began < 1
                assert await db.organizations.list() == []
            async with db.connection():
                with db.timeout(0.1):
                    began = asyncio.get_running_loop().time()
                    with pytest.raises(Unavailable, match="no connection free in time"):
                        await asyncio.create_task(_names(db))
                    assert asyncio.get_running_loop().time() - began < 1

    run(work())


async def _names(db: AsyncDatabase) -> list[str]:
    return [row.name for row in await db.organizations.list()]


def test_the_outcome_of_a_commit_whose_answer_was_lost_is_found_out(
    tomato_url: str, server: psycopg.Connection, run: Run
) -> None:
    async def work() -> None:
        async with connect_async(tomato_url, pool_size=1, application_name="lost") as db:
            async with db.transaction():
                await db.organizations.create("uni")
                (connection,) = db._pool._all
                commit = connection._commit

                def lose() -> PQGen[PGresult]:
                    result = yield from commit()
                    connection.commit_state = "sent"  # as where the answer did not come
                    kill(server, "lost")
                    raise psycopg.OperationalError(f"lost, after {result.command_status!r}")

                connection._commit = lose  # type: ignore[method-assign]
            assert await _names(db) == ["uni"]

    run(work())


def test_a_write_whose_answer_had_arrived_at_its_deadline_is_not_told_as_failed(
    tomato_url: str, server: psycopg.Connection, run: Run
) -> None:
    """The event loop comes late: it hears of the deadline before it has read the answer."""

    async def work() -> None:
        loop = asyncio.get_running_loop()
        async with connect_async(tomato_url, pool_size=1, application_name="late") as db:
            await db.organizations.create("first")  # prepares the statement
            with psycopg.connect(tomato_url, autocommit=True) as watcher:
                watcher.execute("begin; lock table organizations in exclusive mode")
                deadline = loop.time() + 4
                with db.timeout(4):
                    call = asyncio.create_task(db.organizations.create("uni"))
                await asyncio.to_thread(until, server, *blocked("late"))

                def let_it_end() -> None:
                    watcher.execute("commit")
                    until(server, "exists (select " + BACKENDS + " and state = 'idle')", "late")

                loop.call_at(deadline - 0.1, let_it_end)
                sleep(max(deadline + 0.1 - loop.time(), 0))  # both timers are due at the next turn, the deadline's last
                assert (await call).name == "uni"
            assert sorted(await _names(db)) == ["first", "uni"]

    run(work())

"""An AsyncDatabase: transactions of tasks, the pool's queue, dead connections, locks and events, and where it can't be used."""

import asyncio
import os
import threading
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from logging import WARNING
from pathlib import Path

import psycopg
import pytest

from tests.fixtures.loops import Run
from tests.helpers.session_cases import BACKENDS, kill, refusing_connections
from tests.helpers.statement_cases import query
from tomato_dao import (
    AlreadyExists,
    AsyncDatabase,
    Busy,
    Conflict,
    InvalidValue,
    LockLost,
    TomatoError,
    Unavailable,
    WrongState,
    connect,
    connect_async,
)  # fmt: skip
from tomato_dao.events import MISSED, Event

pytestmark = pytest.mark.slow


async def names(db: AsyncDatabase) -> list[str]:
    return [organization.name for organization in await db.organizations.list()]


async def refusal(work: Awaitable[object]) -> TomatoError:
    """Return the error of a call."""
    try:
        await work
    except TomatoError as error:
        return error
    raise AssertionError("it was not refused")


async def until(condition: Callable[[], object]) -> None:
    """Let others run until a condition holds; the test's limit is the loop's."""
    while not condition():
        await asyncio.sleep(0.002)


@pytest.mark.parametrize("prepare", [True, False], ids=["prepared", "as it is"])
def test_calls_are_awaited_and_give_rows(tomato_url: str, run: Run, prepare: bool) -> None:
    async def work() -> None:
        async with connect_async(tomato_url, pool_size=2, prepare=prepare) as db:
            made = [await db.organizations.create(f"org{n}", attrs={"n": n}) for n in range(3)]
            assert [row async for row in db.organizations.iterate()] == made
            assert (await db.organizations.get_by_name("org1")).attrs == {"n": 1}
            assert await asyncio.gather(*(db.organizations.get(row.id) for row in made * 20)) == made * 20
            assert type(await refusal(db.organizations.create("org1"))) is AlreadyExists
            assert type(await refusal(db.organizations.get("x"))) is InvalidValue  # type: ignore[arg-type]
            assert db.stats().queries["organizations.get_by_name"].calls == 1

    run(work())


def test_a_transaction_is_all_or_nothing_and_may_be_nested(tomato_url: str, run: Run) -> None:
    async def write(db: AsyncDatabase, *written: str, error: Exception | None = None) -> None:
        async with db.transaction():
            for name in written:
                await db.organizations.create(name)
            if error is not None:
                raise error

    async def swallow(db: AsyncDatabase) -> None:
        async with db.transaction():
            await refusal(db.organizations.create("kept"))

    async def work() -> None:
        async with connect_async(tomato_url, pool_size=2) as db:
            async with db.transaction():
                await db.organizations.create("kept")
                assert type(await refusal(write(db, "lost", "kept"))) is AlreadyExists
                assert await names(db) == ["kept"]
            assert type(await refusal(write(db, "lost", error=Conflict("lost")))) is Conflict
            assert "a call in the transaction failed" in str(await refusal(swallow(db)))
            assert await names(db) == ["kept"]

    run(work())


def test_a_task_that_is_started_inside_a_transaction_does_not_share_it(tomato_url: str, run: Run) -> None:
    async def work() -> None:
        async with connect_async(tomato_url, pool_size=2) as db:
            over = asyncio.Event()

            async def later() -> list[str]:
                await over.wait()
                return await names(db)

            async with db.transaction():
                await db.organizations.create("uni")
                waiting = asyncio.create_task(later())
                for call in (names(db), db.run(lambda: names(db)), db.transaction().__aenter__()):
                    assert "started inside transaction()" in str(await refusal(asyncio.create_task(call)))
                assert await names(db) == ["uni"]
            over.set()
            assert await waiting == ["uni"]  # once the block is left, it is a task as any other

    run(work())


def test_work_is_repeated_after_a_conflict(tomato_url: str, run: Run) -> None:
    async def work() -> None:
        async with connect_async(tomato_url) as db:
            tries: list[int] = []

            async def attempt() -> int:
                tries.append(1)
                if len(tries) < 3:
                    raise Conflict("again")
                return len(tries)

            assert await db.run(attempt) == 3
            assert type(await refusal(db.run(7))) is InvalidValue  # type: ignore[arg-type]

    run(work())


def test_tasks_are_served_in_the_order_in_which_they_came(tomato_url: str, run: Run) -> None:
    async def work() -> None:
        async with connect_async(tomato_url, pool_size=1, timeout=20, max_waiting=5) as db:
            order: list[int] = []

            async def task(n: int) -> None:
                async with db.connection():
                    order.append(n)

            async with db.connection():
                tasks = [asyncio.create_task(task(n)) for n in range(5)]
                await until(lambda: db.stats().pool.waiting == 5)
                assert "limit" in str(await refusal(names(db)))  # max_waiting
                tasks[2].cancel()
                await until(lambda: db.stats().pool.waiting == 4)
            await asyncio.gather(*tasks, return_exceptions=True)
            assert order == [0, 1, 3, 4]
            pool = db.stats().pool
            assert (pool.connections, pool.idle, pool.waits, pool.turned_away) == (1, 1, 5, 1)

    run(work())


def test_a_task_that_waits_too_long_learns_who_has_the_connections(tomato_url: str, run: Run) -> None:
    async def work() -> None:
        async with connect_async(tomato_url, pool_size=1) as db, db.connection():
            db._pool.timeout = 0.05  # from now on: to open a connection may take longer
            assert "all 1 of this process's pool are at work (connection()" in str(await refusal(names(db)))

    run(work())


def test_there_are_never_more_sessions_than_the_pool_may_have(tomato_url: str, server: psycopg.Connection, run: Run) -> None:
    async def work() -> None:
        async with connect_async(tomato_url, pool_size=3, application_name="few") as db:
            async with AsyncExitStack() as leases:
                for _ in range(3):
                    await leases.enter_async_context(db.connection())
                waiting = [asyncio.create_task(names(db)) for _ in range(100)]
                while db.stats().pool.waiting < 100:
                    await asyncio.sleep(0)
                assert server.execute("select count(*) " + BACKENDS, ["few"]).fetchone() == (3,)
            await asyncio.gather(*waiting)
            assert server.execute("select count(*) " + BACKENDS, ["few"]).fetchone() == (3,)

    run(work())
    assert server.execute("select count(*) " + BACKENDS + " and state <> 'idle'", ["few"]).fetchone() == (0,)


def test_a_read_is_run_again_if_its_session_was_ended(tomato_url: str, server: psycopg.Connection, run: Run) -> None:
    async def work() -> None:
        async with connect_async(tomato_url, pool_size=2, application_name="dead") as db:
            await db.organizations.create("a")
            for call in (lambda: names(db), lambda: db.organizations.create("b"), lambda: db.run(lambda: names(db))):
                async with AsyncExitStack() as leases:
                    for _ in range(2):
                        await leases.enter_async_context(db.connection())
                assert kill(server, "dead") == 2
                await call()
            assert await names(db) == ["a", "b"]

    run(work())


def test_a_server_that_takes_nobody_in_is_waited_for(tomato_url: str, server: psycopg.Connection, run: Run) -> None:
    async def work() -> None:
        async with connect_async(tomato_url, pool_size=2, application_name="shut") as db:
            await names(db)
            with refusing_connections(tomato_url):
                kill(server, "shut")
                call = asyncio.create_task(names(db))
                opened = asyncio.create_task(_opened(tomato_url))
                await asyncio.wait([call, opened], timeout=0.3)
                assert not call.done()
                assert not opened.done()
            assert await call == []
            assert await opened == []

    run(work())


def test_a_server_that_answers_slowly_is_waited_for(tomato_url: str, server: psycopg.Connection, run: Run) -> None:
    async def work() -> None:
        with server.transaction():
            server.execute("lock table schema_migrations")  # which connecting looks at
            opened = asyncio.create_task(_opened(tomato_url))
            await asyncio.wait([opened], timeout=1.5)
            assert not opened.done()
        assert await opened == []

    run(work())


async def _opened(url: str) -> list[str]:
    db = await connect_async(url, timeout=30)
    try:
        return await names(db)
    finally:
        await db.close()


def test_a_slow_call_is_logged(tomato_url: str, tmp_path: Path, caplog: pytest.LogCaptureFixture, run: Run) -> None:
    nap = query(tmp_path, "select 1 from pg_sleep(0.05)")

    async def work() -> None:
        async with connect_async(tomato_url, log_slower_than=0.04) as db:
            await db._run(nap, [])

    with caplog.at_level(WARNING, "tomato_dao"):
        run(work())
    assert [f"slow call: {nap.name}" in line for line in caplog.messages] == [True]


def test_closing_lets_calls_end_and_cancels_the_rest(tomato_url: str, tmp_path: Path, run: Run) -> None:
    nap = query(tmp_path, "select 1 from pg_sleep(:s)", "s")

    async def work() -> None:
        db = await connect_async(tomato_url, pool_size=2)
        calls = [asyncio.create_task(db._run(nap, [seconds])) for seconds in (0.1, 60)]
        await until(lambda: len(db._pool._at_work()) == 2)
        await db.close(grace=0.5)
        assert await calls[0] == [1]
        assert type(await refusal(calls[1])) is Unavailable
        assert str(await refusal(names(db))) == "the database is closed"
        assert db.stats().pool.connections == 0

    run(work())


def test_another_loop_or_thread_gets_an_error(tomato_url: str, run: Run) -> None:
    async def work() -> None:
        async with connect_async(tomato_url, pool_size=2) as db:
            found: list[str] = []

            async def use() -> None:
                calls = [names(db), db.transaction().__aenter__(), db.exclusive("topology", 1).__aenter__(), db.close()]
                found.extend([str(await refusal(call)) for call in (*calls, anext(db.listen("elements")))])

            thread = threading.Thread(target=lambda: asyncio.run(use()))
            thread.start()
            await asyncio.to_thread(thread.join)
            assert len(found) == 5
            assert all("belongs to the event loop in which it was opened" in text for text in found)
            assert await names(db) == []

    run(work())


def test_a_child_process_gets_an_error_and_the_parent_keeps_its_connections(
    tomato_url: str, server: psycopg.Connection, run: Run
) -> None:
    async def work() -> None:
        async with connect_async(tomato_url, pool_size=1, application_name="forked") as db:
            await names(db)
            before = server.execute("select pid " + BACKENDS, ["forked"]).fetchall()
            reading, writing = os.pipe()
            if not (pid := os.fork()):
                try:
                    told = asyncio.new_event_loop().run_until_complete(refusal(names(db)))
                    os.write(writing, str(told).encode())
                finally:
                    os._exit(0)
            os.waitpid(pid, 0)
            assert b"opened before a fork" in os.read(reading, 1000)
            os.close(reading)
            os.close(writing)
            assert await names(db) == []
            assert server.execute("select pid " + BACKENDS, ["forked"]).fetchall() == before

    run(work())


def test_a_lock_is_a_tasks_own_among_tasks_and_processes(tomato_url: str, run: Run) -> None:
    async def work() -> None:
        async with connect_async(tomato_url) as db:
            async with db.exclusive("topology", 1) as lock:
                await lock.check()
                with connect(tomato_url) as other, pytest.raises(Busy), other.exclusive("topology", 1):
                    pass
                assert type(await refusal(_locked(db))) is WrongState
                await _locked(db, reentrant=True)
                assert type(await refusal(asyncio.create_task(_locked(db)))) is Busy
                assert "waited 0.1 s" in str(await refusal(asyncio.create_task(_locked(db, wait=0.1))))
                waiting = [asyncio.create_task(_locked(db, wait=30)) for _ in range(2)]
                await asyncio.sleep(0.06)
                waiting.pop().cancel()
                assert not waiting[0].done()
            await waiting[0]
            await _locked(db)

    run(work())


async def _locked(db: AsyncDatabase, *, wait: float = 0, reentrant: bool = False) -> None:
    async with db.exclusive("topology", 1, wait=wait, reentrant=reentrant):
        pass


def test_a_lost_lock_is_reported(tomato_url: str, server: psycopg.Connection, run: Run) -> None:
    async def lose(db: AsyncDatabase) -> None:
        async with db.exclusive("element", 2) as lock:
            kill(server, "mine locks")
            assert type(await refusal(lock.check())) is LockLost

    async def work() -> None:
        async with connect_async(tomato_url, application_name="mine") as db:
            assert type(await refusal(lose(db))) is LockLost

    run(work())


def test_a_task_hears_of_changes(tomato_url: str, server: psycopg.Connection, run: Run) -> None:
    async def work() -> None:
        async with connect_async(tomato_url, application_name="ears") as db:
            uni = await db.organizations.create("uni")
            user = await db.users.create("alice", organization_id=uni.id)
            lab = await db.topologies.create("lab", owner_id=user.id)
            vm = await db.elements.create(lab.id, "kvmqm")
            async with db.listen("elements", timeout=30) as heard:
                await db.elements.update(vm.id, {"state": "started"})
                assert await anext(heard) == Event("element", vm.id, "state")
                waiting = asyncio.ensure_future(anext(heard))
                await asyncio.sleep(0)
                kill(server, "ears events")
                assert await waiting == MISSED
                with pytest.raises(TimeoutError):
                    await asyncio.wait_for(anext(heard), 0.01)
            assert str(await refusal(anext(heard))) == "the listener is closed"
            assert [event async for event in db.listen("topologies", timeout=0.01)] == []
            assert type(await refusal(anext(db.listen("x")))) is InvalidValue  # type: ignore[arg-type]
            last = db.listen("elements")
            ended = asyncio.ensure_future(anext(last))
            await until(lambda: last._listener)
        assert str(await refusal(ended)) == "the database is closed"

    run(work())

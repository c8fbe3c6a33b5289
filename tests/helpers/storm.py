"""A storm of cancellations and timeouts over a small pool, whose backends are killed at random; with a seed."""

import asyncio
import random
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import LiteralString

import psycopg

from tests.helpers.session_cases import BACKENDS
from tomato_dao import AsyncDatabase, Conflict, TomatoError, Unavailable, WrongState

SIZE, TASKS, NAMES = 4, 16, 50
APPLICATION = "storm"
_KILL: LiteralString = "select pg_terminate_backend(pid) " + BACKENDS + " order by random() limit 1"


class Storm:
    """A storm of cancelled calls; `faults` lists what must never happen and did."""

    def __init__(self, db: AsyncDatabase, url: str, seed: int, cancellations: int) -> None:
        self.faults: list[str] = []
        self.seen: Counter[str] = Counter()
        self.kills = 0
        self._db = db
        self._url = url
        self._random = random.Random(seed)  # noqa: S311 (no secret)
        self._left = cancellations
        self._over = asyncio.Event()

    async def rage(self) -> None:
        """Go on until there were so many cancellations."""
        killer = asyncio.create_task(self._kill())
        try:
            await asyncio.gather(*(self._work() for _ in range(TASKS)))
        finally:
            self._over.set()
            await killer

    async def _work(self) -> None:
        """Make calls, one after the other, most of which are cancelled."""
        calls = [self._read, self._read, self._echo, self._transaction, self._nested, self._sleep, self._pages]
        while self._left > 0:
            call, at = self._random.choice(calls), self._random.choice([0.0005, 0.005, 0.02, 0.05]) * self._random.random()
            key = self._random.randrange(NAMES)
            if self._random.random() < 0.5:
                await self._cancelled(call, key, at)
            else:
                await self._timed_out(call, key, at)

    async def _cancelled(self, call: Callable[[int], Awaitable[None]], key: int, at: float) -> None:
        async def run() -> None:
            await call(key)

        task = asyncio.create_task(run())
        await asyncio.sleep(at)
        asked = task.cancel()
        if asked and self._random.random() < 0.1:  # once more, while it is being cleared up
            await asyncio.sleep(0)
            task.cancel()
        with suppress(asyncio.CancelledError, TomatoError, psycopg.Error):
            await task
        self._left -= asked
        self.seen["cancelled" if task.cancelled() else "ended first"] += 1
        if asked and not task.cancelled():
            self.faults.append(f"{call.__name__}: swallowed, or turned into {task.exception()!r}")

    async def _timed_out(self, call: Callable[[int], Awaitable[None]], key: int, at: float) -> None:
        how = "ended first"
        try:
            async with asyncio.timeout(at) as limit:
                await call(key)
        except TimeoutError:
            how = "timed out"
            self._left -= 1
        except (TomatoError, psycopg.Error) as error:
            how = type(error).__name__
        if limit.expired() and how != "timed out":
            self.faults.append(f"{call.__name__}: a timeout was swallowed, or turned into {how}")
        self.seen[how] += 1

    def _expect(self, got: object, expected: object) -> None:
        if got != expected:
            self.faults.append(f"a task got {got!r} instead of {expected!r}")

    async def _read(self, key: int) -> None:
        self._expect((await self._db.organizations.get_by_name(f"org{key}")).name, f"org{key}")

    async def _echo(self, key: int) -> None:
        async with self._db.connection() as connection:
            cursor = await connection.execute("select %s::int, count(*) from generate_series(1, 3000)", [key])
            self._expect(await cursor.fetchone(), (key, 3000))

    async def _sleep(self, _: int) -> None:
        async with self._db.connection() as connection:
            await connection.execute("set statement_timeout = 0")  # is undone before it is anybody else's
            await connection.execute("select pg_sleep(0.5)")

    async def _transaction(self, key: int) -> None:
        """Write two notes together, or none."""
        async with self._db.transaction():
            await self._db.key_values.set(f"a{key}", key)
            await self._db.key_values.set(f"b{key}", key)

    async def _nested(self, key: int) -> None:
        """Go on in a transaction whose inner one was timed out."""
        with suppress(WrongState, Conflict):
            async with self._db.transaction():
                try:
                    async with asyncio.timeout(0.001), self._db.transaction(), self._db.connection() as connection:
                        await connection.execute("select pg_sleep(0.2)")
                except TimeoutError:
                    self._expect((await self._db.organizations.get_by_name(f"org{key}")).name, f"org{key}")

    async def _pages(self, _: int) -> None:
        names = [organization.name async for organization in self._db.organizations.iterate()]
        self._expect(names, [f"org{n}" for n in range(NAMES)])

    async def _kill(self) -> None:
        """Kill a backend now and then, and look that there are never more sessions than the pool has room for."""
        async with await psycopg.AsyncConnection.connect(self._url, autocommit=True) as connection:
            while not self._over.is_set():
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._over.wait(), self._random.uniform(0, 0.1))
                self.kills += (await connection.execute(_KILL, [APPLICATION])).rowcount
                if (held := self._db.stats().pool.connections) > SIZE:
                    self.faults.append(f"{held} connections")


async def calm(db: AsyncDatabase, url: str) -> list[str]:
    """Return what is wrong after the storm: connections that are lost or in another state than a fresh one's."""
    faults = []
    for n in range(100):
        with suppress(Unavailable):  # from the last kill
            await db.organizations.get_by_name(f"org{n % NAMES}")
    for _ in range(3):
        found = await asyncio.gather(*(db.organizations.get_by_name(f"org{n % NAMES}") for n in range(200)))
        if [row.name for row in found] != [f"org{n % NAMES}" for n in range(200)]:
            faults.append("calls got the results of others")
    async with asyncio.timeout(20):
        together = asyncio.Barrier(SIZE)

        async def hold() -> tuple[object, ...]:
            async with db.connection() as connection:
                await together.wait()  # so all of the pool are here at once: none is lost
                cursor = await connection.execute("select current_setting('statement_timeout'), pg_backend_pid()")
                row = await cursor.fetchone()
                assert row is not None
                return row

        held = await asyncio.gather(*(hold() for _ in range(SIZE)))
    if {setting for setting, _ in held} != {"1min"}:
        faults.append(f"left in sessions: {held}")
    if len({pid for _, pid in held}) != SIZE:
        faults.append("a connection was handed out twice")
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
        sessions = await (await connection.execute("select pid, state, query " + BACKENDS, [APPLICATION])).fetchall()
        faults += [f"left: {session}" for session in sessions if session[1] != "idle"]
        if len(sessions) > SIZE:
            faults.append(f"{len(sessions)} sessions")
        halves = "select count(*) from key_values a full join key_values b on b.key = 'b' || substr(a.key, 2)"
        halves += " where a.key like 'a%' and b.key is null"
        if (row := await (await connection.execute(halves)).fetchone()) != (0,):
            faults.append(f"half transactions: {row}")
    return faults

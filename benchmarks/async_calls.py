"""The cost of an awaited call, compared with asyncpg: part of `make bench-calls`, or `python -m benchmarks.async_calls`.

All contestants share one event loop and take turns in rotating order, pinned to one CPU together with the server: first in
asyncio's loop, then in uvloop's.
"""

import argparse
import asyncio
import os
import random
import statistics
import time
from collections.abc import Awaitable, Callable

import uvloop

import tomato_dao
from benchmarks.contestants import COLUMNS, NAME, connected_to_asyncpg
from benchmarks.page import positive
from benchmarks.pinning import pin
from tomato_dao.ops.scratch import scratch_database
from tomato_dao.ops.urls import database_url
from tomato_dao.rows import Organization

Calls = Callable[[int], Awaitable[None]]  # runs a number of point reads, one after the other

OURS, BARE, POOL = "tomato_dao", "asyncpg, bare connection", "asyncpg, pool"
TASKS, SIZE = 400, 8
A_TURN, MANY = 100, 8000  # calls
SQL = f"select {COLUMNS} from organizations where name = $1"


def compare(url: str, rounds: int) -> None:
    """Print the results for both loops and the goals. The database must have the organization of benchmarks/contestants.py."""
    free = os.sched_getaffinity(0)
    for name, factory in (("asyncio", asyncio.new_event_loop), ("uvloop", uvloop.new_event_loop)):
        with asyncio.Runner(loop_factory=factory) as runner:
            single, many = runner.run(_measure(url, rounds, min(free)))
        pin(url, free)
        print(f"\n{name}, pinned to one CPU: µs per point read; calls per second of {TASKS} tasks over {SIZE} connections")
        for contestant, micros in single.items():
            rate = f"{many[contestant]:>10,.0f}" if contestant in many else ""
            print(f"  {contestant:<36}{micros:>11,.1f} ({micros / single[OURS]:5.2f}){rate}")
        goals = (
            ("point read / asyncpg, bare", single[OURS] / single[BARE], "at most 0.85"),
            ("point read / asyncpg, pool", single[OURS] / single[POOL], "at most 0.4"),
            (f"{TASKS} tasks, calls per second / asyncpg", many[OURS] / many[POOL], "at least 2.5"),
        )
        for what, reached, bound in goals if name == "asyncio" else [(*goals[2][:2], "at least 2")]:
            print(f"  {what:<40}{reached:6.2f}  {bound}")


async def _measure(url: str, rounds: int, cpu: int) -> tuple[dict[str, float], dict[str, float]]:
    """Return, by contestant, the median time of a call in µs and the median rate of many tasks."""
    db = await tomato_dao.connect_async(url, pool_size=SIZE)
    bare, pool = await connected_to_asyncpg(url, pooled=False), await connected_to_asyncpg(url, pooled=True)

    async def ours(calls: int) -> None:
        for _ in range(calls):
            await db.organizations.get_by_name(NAME)

    def asyncpgs(fetch: Callable[[str, str], Awaitable[tuple[object, ...]]]) -> Calls:
        async def make(calls: int) -> None:
            for _ in range(calls):
                Organization(*await fetch(SQL, NAME))  # type: ignore[arg-type]

        return make

    turns: dict[str, Calls] = {OURS: ours, BARE: asyncpgs(bare.fetchrow), POOL: asyncpgs(pool.fetchrow)}
    for name, calls in turns.items():  # warm-up: prepare statements and fill pools
        await calls(A_TURN)
        if name != BARE:
            await _together(calls)
    pin(url, {cpu})
    times: dict[str, list[float]] = {name: [] for name in turns}
    for _ in range(rounds):
        for name in random.sample([*turns], len(turns)):
            start = time.perf_counter()
            await turns[name](A_TURN)
            times[name].append((time.perf_counter() - start) / A_TURN * 1e6)
    rates: dict[str, list[float]] = {OURS: [], POOL: []}
    for _ in range(5):
        for name in random.sample([*rates], len(rates)):
            start = time.perf_counter()
            await _together(turns[name])
            rates[name].append(MANY / (time.perf_counter() - start))
    await asyncio.gather(db.close(), bare.close(), pool.close())
    return {n: statistics.median(found) for n, found in times.items()}, {n: statistics.median(f) for n, f in rates.items()}


async def _together(calls: Calls) -> None:
    await asyncio.gather(*(calls(MANY // TASKS) for _ in range(TASKS)))


def main() -> None:
    """Run the benchmark on a temporary database."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=positive, default=100, help="number of rounds (default: %(default)s)")
    rounds: int = parser.parse_args().rounds
    with scratch_database(database_url()) as url:
        with tomato_dao.connect(url) as db:
            for n in range(100):
                db.organizations.create(f"org{n}", description=f"number {n}", attrs={"n": n, "_note": "a note"})
        compare(url, rounds)


if __name__ == "__main__":
    main()

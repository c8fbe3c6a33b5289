"""Transactions over lists: reads, appends, and transfers from one list to another; and reads of them on standbys."""

import random
from collections.abc import Sequence
from time import monotonic
from typing import Any, Literal, LiteralString, cast

from psycopg import IsolationLevel

from tests.chaos.history import Append, Call, Read
from tests.chaos.worker import Worker

Level = Literal["s", "r"]
LEVELS = {"s": IsolationLevel.SERIALIZABLE, "r": IsolationLevel.READ_COMMITTED}
LISTS = {level: [f"{level}{n}" for n in range(8)] for level in LEVELS}
WAITS = (0.02, 0.02, 0.2)  # seconds for which reads wait for a standby; the first is the default
_LOCK_ROW: LiteralString = "select from key_values where key = %s for update"
Steps = Sequence[tuple[str, int | None]]


def transactions(worker: Worker, who: str, chance: random.Random) -> None:
    """Read and append, or transfer from one list to another, in one transaction."""
    level = cast("Level", chance.choice("sr"))
    steps = _steps(chance, LISTS[level])
    with worker.recorder.call(f"lists {level}", who, sure=not worker.is_async) as call:
        if worker.is_async:
            work = cast("Any", lambda: _do_async(worker, call, steps, level))
            worker.db.run(work, isolation=LEVELS[level])
        else:
            with worker.timeout(chance):
                worker.db.run(lambda: _do(worker, call, steps, level), isolation=LEVELS[level])


def _do(worker: Worker, call: Call, steps: Steps, level: Level) -> None:
    db = worker.db
    call.ops.clear()
    for key, amount in steps:
        if amount is not None and level == "r":
            with db.connection() as connection:
                connection.execute(_LOCK_ROW, [key])
        entries = _read(call, key, db.key_values.get(key))
        if amount is not None:
            db.key_values.set(key, _appended(call, key, entries, worker.new_id(), amount))


async def _do_async(worker: Worker, call: Call, steps: Steps, level: Level) -> None:
    db = worker.real()
    call.ops.clear()
    for key, amount in steps:
        if amount is not None and level == "r":
            async with db.connection() as connection:
                await connection.execute(_LOCK_ROW, [key])
        entries = _read(call, key, await db.key_values.get(key))
        if amount is not None:
            await db.key_values.set(key, _appended(call, key, entries, worker.new_id(), amount))


def sums(worker: Worker, who: str, chance: random.Random) -> None:
    """Read all lists in one statement: what was taken from one was put into another, at any moment."""
    with worker.recorder.call("sum", who, sure=True) as call, worker.timeout(chance):
        _sum(worker, call)
    worker.over.wait(0.02)


def _sum(worker: Worker, call: Call) -> None:
    rows = [row for row in worker.db.key_values.list() if row.key in LISTS["s"] or row.key in LISTS["r"]]
    call.ops = [Read(row.key, tuple(id for id, _ in cast("Any", row.value))) for row in rows]
    if total := sum(amount for row in rows for _, amount in cast("Any", row.value)):
        call.facts["wrong"] = f"a sum of {total} instead of 0"
    if len(rows) != len(LISTS["s"]) + len(LISTS["r"]):
        call.facts["wrong"] = f"{len(rows)} lists"


def on_standbys(worker: Worker, who: str, chance: random.Random) -> None:
    """Read where standbys may serve it: what was committed before a token, or the block, is there, and what it wrote itself."""
    with worker.recorder.call("sum", who, sure=True) as call, worker.timeout(chance):
        kind = chance.choice(["all", "own", "none"])
        token = None if kind == "none" else worker.db.token(own=kind == "own")
        if kind == "own":
            call.facts["own"] = worker.name
        worker.over.wait(chance.choice([0, 0, 0.05]))
        if token is None:
            call.begin = monotonic()
        with worker.db.reads(after=token, wait=chance.choice(WAITS)):
            _sum(worker, call)
    with worker.recorder.call("note", who, sure=False) as call:
        key, n = f"note of {who}", worker.new_id()
        if chance.random() < 0.5:
            with worker.db.reads(wait=chance.choice(WAITS)):
                worker.db.key_values.list(limit=1)
                worker.db.key_values.set(key, n)
                got = worker.db.key_values.get(key)
        else:
            worker.db.key_values.set(key, n)
            with worker.db.reads(after=worker.db.token(own=True), wait=chance.choice(WAITS)):
                got = worker.db.key_values.get(key)
        if got != n:
            call.facts["wrong"] = f"{got} instead of {n}, which it had written"


def _steps(chance: random.Random, keys: Sequence[str]) -> Steps:
    """Return what a transaction does: (list, amount to append, or None to read only)."""
    if chance.random() < 0.3:
        one, other = chance.sample(keys, 2)
        amount = chance.randrange(1, 100)
        return [(one, -amount), (other, amount)]
    return [(chance.choice(keys), chance.choice([None, 0])) for _ in range(chance.randrange(1, 5))]


def _read(call: Call, key: str, value: Any) -> list[Any]:
    call.ops.append(Read(key, tuple(id for id, _ in value)))
    return list(value)


def _appended(call: Call, key: str, entries: list[Any], id: int, amount: int) -> list[Any]:
    call.ops.append(Append(key, id))  # before it is sent: it may be there even if no answer comes
    return [*entries, [id, amount]]

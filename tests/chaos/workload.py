"""Work that many threads do while faults come: transactions over lists, rows, locks, leases, connections, events."""

import random
import threading
from collections.abc import Callable, Sequence
from contextlib import ExitStack, nullcontext, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from time import monotonic
from typing import Any, Literal, LiteralString, cast

import psycopg
from psycopg import IsolationLevel

from tests.chaos.history import Append, Call, Read, Recorder
from tests.helpers.async_bridge import bridged
from tomato_dao import Database, NotFound, TomatoError, connect

Level = Literal["s", "r"]
LEVELS = {"s": IsolationLevel.SERIALIZABLE, "r": IsolationLevel.READ_COMMITTED}
LISTS = {level: [f"{level}{n}" for n in range(8)] for level in LEVELS}
ECHOES, ITEMS, LOCKS, SIZE = 20, 400, 3, 4
OWNER = "chaos"
DAY, LEASE = timedelta(days=1), timedelta(seconds=0.2)
_LOCK_ROW: LiteralString = "select from key_values where key = %s for update"
_ECHO: LiteralString = "select %s::text, current_setting('chaos.who'), current_setting('statement_timeout'), pg_backend_pid()"
Steps = Sequence[tuple[str, int | None]]


@dataclass
class Result:
    """The history that a process saw."""

    calls: list[Call] = field(default_factory=list)
    heard: list[tuple[float, str, int | None]] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    listened_until: float = 0.0


def prepare(url: str) -> None:
    """Make the lists, and what is only read."""
    with connect(url, pool_size=1) as db:
        for key in (*LISTS["s"], *LISTS["r"]):
            db.key_values.set(key, [])
        for n in range(ECHOES):
            db.key_values.set(f"echo{n}", n)
        db.users.create(OWNER, organization_id=db.organizations.create(OWNER).id)


class Workload:
    """The threads of a process, and their history."""

    def __init__(self, db: Database, seed: int, number: int, *, is_async: bool = False) -> None:
        self.result = Result()
        self.name = f"chaos{number}"
        self._db, self._seed, self._first_id, self._is_async = db, seed, number * 10**9, is_async
        self._recorder = Recorder()
        self.result.calls = self._recorder.calls
        self._over = threading.Event()
        self._owner = _owner(db)

    def rage(self, seconds: float, kinds: Sequence[str], threads: int = 2) -> None:
        """Let so many threads of each kind work for some seconds: of the methods' names."""
        running = []
        for kind in kinds:
            for n in range(threads):
                who = f"{self.name}.{kind}{n}"
                chance = random.Random(f"{self._seed} {who}")  # noqa: S311 (no secret)
                running.append(threading.Thread(target=self._go_on, args=(getattr(self, kind), who, chance), daemon=True))
        for thread in running:
            thread.start()
        self._over.wait(seconds)
        self._over.set()
        deadline = monotonic() + 60
        for thread in running:
            thread.join(max(deadline - monotonic(), 0))
        if any(thread.is_alive() for thread in running):
            self.result.faults.append("a call does not return, a minute after the storm")

    def _go_on(self, kind: Callable[[str, random.Random], None], who: str, chance: random.Random) -> None:
        try:
            while not self._over.is_set():
                kind(who, chance)
        except Exception as error:  # noqa: BLE001 (no other thread would tell)
            self.result.faults.append(f"{who} ended: {error!r}")

    def _here(self, call: Callable[[], Any]) -> Any:
        """Call something that the bridge has not wrapped, and await it where it is to be."""
        return self._db._loop.do(call) if self._is_async else call()  # type: ignore[attr-defined]

    def _id(self) -> int:
        return self._first_id + self._recorder.new_id()

    def _timeout(self, chance: random.Random) -> Any:
        """Bound half of the calls; a bridge can't."""
        return self._db.timeout(chance.uniform(0.5, 3)) if not self._is_async and chance.random() < 0.5 else nullcontext()

    def lists(self, who: str, chance: random.Random) -> None:
        """Read and append, or transfer from one list to another, in one transaction."""
        level = cast("Level", chance.choice("sr"))
        steps = _steps(chance, LISTS[level])
        with self._recorder.call(f"lists {level}", who, sure=not self._is_async) as call:
            if self._is_async:
                real = self._db._real  # type: ignore[attr-defined]
                self._db.run(cast("Any", lambda: self._do_async(real, call, steps, level)), isolation=LEVELS[level])
            else:
                with self._timeout(chance):
                    self._db.run(lambda: self._do(call, steps, level), isolation=LEVELS[level])

    def _do(self, call: Call, steps: Steps, level: Level) -> None:
        db = self._db
        call.ops.clear()
        for key, amount in steps:
            if amount is not None and level == "r":
                with db.connection() as connection:
                    connection.execute(_LOCK_ROW, [key])
            entries = _read(call, key, db.key_values.get(key))
            if amount is not None:
                db.key_values.set(key, _appended(call, key, entries, self._id(), amount))

    async def _do_async(self, db: Any, call: Call, steps: Steps, level: Level) -> None:
        call.ops.clear()
        for key, amount in steps:
            if amount is not None and level == "r":
                async with db.connection() as connection:
                    await connection.execute(_LOCK_ROW, [key])
            entries = _read(call, key, await db.key_values.get(key))
            if amount is not None:
                await db.key_values.set(key, _appended(call, key, entries, self._id(), amount))

    def sums(self, who: str, chance: random.Random) -> None:
        """Read all lists in one statement: what was taken from one was put into another, at any moment."""
        with self._recorder.call("sum", who, sure=True) as call, self._timeout(chance):
            rows = [row for row in self._db.key_values.list() if row.key in LISTS["s"] or row.key in LISTS["r"]]
            call.ops = [Read(row.key, tuple(id for id, _ in cast("Any", row.value))) for row in rows]
            if total := sum(amount for row in rows for _, amount in cast("Any", row.value)):
                call.facts["wrong"] = f"a sum of {total} instead of 0"
            if len(rows) != len(LISTS["s"]) + len(LISTS["r"]):
                call.facts["wrong"] = f"{len(rows)} lists"
        self._over.wait(0.02)

    def rows(self, who: str, chance: random.Random) -> None:
        """Create a row by one call of its own."""
        with self._recorder.call("create", who, sure=False) as call:
            call.facts["name"] = f"kept {self._id()}"
            self._db.topologies.create(call.facts["name"], owner_id=self._owner)
        self._over.wait(0.005)

    def deletions(self, who: str, chance: random.Random) -> None:
        """Delete a row: listeners hear of it."""
        try:
            id = self._db.topologies.create("gone", owner_id=self._owner).id
        except TomatoError:
            return
        with self._recorder.call("delete", who, sure=False) as call:
            call.facts["id"] = id
            try:
                self._db.topologies.delete(id)
            except NotFound as error:
                call.facts["wrong"] = f"{error}, of a row of its own: the write was repeated"
                raise
        self._over.wait(0.005)

    def locks(self, who: str, chance: random.Random) -> None:
        """Have a lock for a while: surely until its last check began."""
        at = 0.0
        with self._recorder.call("lock", who, sure=False) as call:
            call.facts["thing"] = chance.randrange(LOCKS)
            with self._db.exclusive("topology", call.facts["thing"], wait=1) as lock:
                since = monotonic()
                for _ in range(chance.randrange(4)):
                    self._over.wait(chance.uniform(0, 0.005))
                    at = monotonic()
                    self._here(lock.check)
                    call.facts["had"] = (since, at)
                at = monotonic()
            call.facts["had"] = (since, at)

    def leases(self, who: str, chance: random.Random) -> None:
        """Claim an item, and finish it in most cases, in time or too late."""
        with self._recorder.call("lease", who, sure=False) as call:
            call.facts["thing"] = f"item{chance.randrange(ITEMS)}"
            claim = self._db.tasks.claim(call.facts["thing"], DAY, lease=LEASE)
            if claim is not None:
                call.facts["had"] = (claim.started_at.timestamp(), claim.lease_until.timestamp())
        if call.outcome == "ok" and claim is not None and chance.random() < 0.7:
            self._over.wait(chance.choice([0, 0, 0.1, 0.25]))
            with self._recorder.call("finish", who, sure=False) as done:
                done.facts["thing"] = claim.name
                self._db.tasks.finish(claim.name, claim.lease_until)

    def connections(self, who: str, chance: random.Random) -> None:
        """Have a connection to oneself: nobody else has it meanwhile, or hears its answers."""
        with self._recorder.call("connection", who, sure=False) as call, self._timeout(chance):
            key = chance.randrange(ECHOES)
            if (got := self._db.key_values.get(f"echo{key}")) != key:
                call.facts["wrong"] = f"{got} instead of {key}"
            with self._db.connection() as connection:
                since = monotonic()
                connection.execute(
                    "select set_config('chaos.who', %s, false), set_config('statement_timeout', '9s', false)", [who]
                )
                row = connection.execute(_ECHO, [str(key)]).fetchone()
                if row is None or row[:3] != (str(key), who, "9s"):
                    call.facts["wrong"] = f"{row} instead of {key}, {who}"
                call.facts |= {"thing": row and row[3], "had": (since, monotonic())}

    def calm(self) -> None:
        """Look whether the pool is whole: all its connections at once, each in the state of a new one."""
        deadline = monotonic() + 30
        while monotonic() < deadline:
            with suppress(TomatoError):
                self._db.key_values.get("echo1")
                break
        held: list[tuple[Any, ...]] = []
        together = threading.Barrier(SIZE)
        threads = [threading.Thread(target=self._hold, args=(together, held), daemon=True) for _ in range(SIZE)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        if len({pid for _, _, pid in held}) != SIZE:
            self.result.faults.append(f"the pool is not whole after the storm: {held}")
        if changed := [row for row in held if row[:2] != ("1min", "")]:
            self.result.faults.append(f"left in sessions: {changed}")
        if (stats := self._db.stats().pool).connections > SIZE or stats.waiting:
            self.result.faults.append(f"after the storm: {stats}")

    def _hold(self, together: threading.Barrier, held: list[tuple[Any, ...]]) -> None:
        for _ in range(SIZE * 3):  # dead sessions are found out one after the other
            try:
                with ExitStack() as stack:
                    connection = stack.enter_context(self._db.connection())
                    row = connection.execute(
                        "select current_setting('statement_timeout'), coalesce(current_setting('chaos.who', true), ''),"
                        " pg_backend_pid()"
                    ).fetchone()
                    together.wait(20)
                    held.append(row or ())
                    return
            except (TomatoError, psycopg.Error):
                continue
            except threading.BrokenBarrierError:
                return

    def listen(self, started: threading.Event) -> threading.Thread:
        """Start a listener; it ends when it has heard of what is deleted last."""

        def run() -> None:
            try:
                listen = (self._db._real if self._is_async else self._db).listen  # type: ignore[attr-defined]
                listener = self._here(lambda: listen("topologies", timeout=0.1))
                after = (lambda: anext(listener, None)) if self._is_async else (lambda: next(listener, None))
                while self.last not in {id for _, _, id in self.result.heard[-50:]} and not self._given_up.is_set():
                    if (event := self._here(after)) is not None:
                        self.result.heard.append((monotonic(), event.change, event.id))
                    started.set()
                self._here(listener.close)
            except TomatoError as error:
                self.result.faults.append(f"listening ended: {error}")

        self.last: int | None = -1
        self._given_up = threading.Event()
        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        return thread

    def end_listening(self, thread: threading.Thread) -> None:
        """Delete one more, until that is heard."""
        deadline = monotonic() + 30
        while monotonic() < deadline and thread.is_alive():
            with suppress(TomatoError):
                self.last = self._db.topologies.create("last", owner_id=self._owner).id
                self.result.listened_until = monotonic()
                self._db.topologies.delete(self.last)
                thread.join(1)
        self._given_up.set()
        if thread.is_alive() or self.last not in {id for _, _, id in self.result.heard}:
            self.result.faults.append("a listener hears nothing any more, 30 s after the storm")


def _owner(db: Database) -> int:
    return next(user.id for user in db.users.iterate() if user.name == OWNER)


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


ALL = ("lists", "lists", "sums", "rows", "deletions", "locks", "leases", "connections")


def work(
    url: str,
    seed: int,
    number: int,
    seconds: float,
    together: threading.Barrier,
    *,
    is_async: bool,
    kinds: Sequence[str] = ALL,
    patience: float = 20,
) -> Result:
    """Do all of it in this process, and return what it saw.

    together: of all who work and who makes the faults. patience: seconds that a connection is waited for.
    """
    settings: dict[str, Any] = {"pool_size": SIZE, "timeout": patience, "application_name": f"chaos{number}"}
    with bridged(url, **settings) if is_async else connect(url, **settings) as db:
        workload = Workload(db, seed, number, is_async=is_async)
        started = threading.Event()
        listening = workload.listen(started)
        started.wait(30)
        together.wait(60)
        workload.rage(seconds, kinds)
        workload.end_listening(listening)
        workload.calm()
    return workload.result

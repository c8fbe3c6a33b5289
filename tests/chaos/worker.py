"""A process at work: threads that call a Database over and over while faults come, and the history of what they were told."""

import random
import threading
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from time import monotonic
from typing import Any, TypeAlias

from tests.chaos.history import Recorder, Result
from tomato_dao import Database

OWNER = "chaos"
_PATIENCE = 60  # seconds after the storm within which every call must have returned


class Worker:
    """State shared by the threads of a process.

    deadlines: bound half of the calls of threads by `db.timeout()`.
    """

    def __init__(self, db: Database, seed: int, number: int, *, is_async: bool, deadlines: bool = True) -> None:
        self.db = db
        self.is_async = is_async
        self.recorder = Recorder()
        self.result = Result(calls=self.recorder.calls)
        self.over = threading.Event()
        self.owner = next(user.id for user in db.users.iterate() if user.name == OWNER)
        self.name, self._seed, self._first_id, self._deadlines = f"chaos{number}", seed, number * 10**9, deadlines

    def rage(self, seconds: float, kinds: Sequence["Kind"], threads: int = 2) -> None:
        """Let so many threads do each kind of work for some seconds."""
        running = []
        for number, kind in enumerate(kinds):
            for n in range(threads):
                who = f"{self.name}.{kind.__name__}{number}.{n}"
                chance = random.Random(f"{self._seed} {who}")  # noqa: S311 (no secret)
                running.append(threading.Thread(target=self._go_on, args=(kind, who, chance), daemon=True))
        for thread in running:
            thread.start()
        self.over.wait(seconds)
        self.over.set()
        deadline = monotonic() + _PATIENCE
        for thread in running:
            thread.join(max(deadline - monotonic(), 0))
        if any(thread.is_alive() for thread in running):
            self.result.faults.append(f"a call does not return, {_PATIENCE} s after the storm")

    def _go_on(self, kind: "Kind", who: str, chance: random.Random) -> None:
        try:
            while not self.over.is_set():
                kind(self, who, chance)
        except Exception as error:  # noqa: BLE001 (no other thread would tell)
            self.result.faults.append(f"{who} ended: {error!r}")

    def here(self, call: Callable[[], Any]) -> Any:
        """Call something that the bridge to asyncio has not wrapped, and await it where it is to be."""
        return self.db._loop.do(call) if self.is_async else call()  # type: ignore[attr-defined]

    def real(self) -> Any:
        """Return the Database without the bridge."""
        return self.db._real if self.is_async else self.db  # type: ignore[attr-defined]

    def new_id(self) -> int:
        """Return a number that no entry of any process has yet."""
        return self._first_id + self.recorder.new_id()

    def timeout(self, chance: random.Random) -> Any:
        """Bound half of the calls; a bridge can't."""
        is_bounded = self._deadlines and not self.is_async and chance.random() < 0.5
        return self.db.timeout(chance.uniform(0.5, 3)) if is_bounded else nullcontext()


Kind: TypeAlias = Callable[[Worker, str, random.Random], None]

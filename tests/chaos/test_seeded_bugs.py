"""The proof of the proof: bugs that are patched into the layer are found by a storm, each as what it is."""

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from itertools import count
from time import monotonic
from typing import Any

import pytest
from psycopg import IsolationLevel

from tests.chaos import workload
from tests.chaos.faults import Faults
from tests.chaos.judging import judge
from tests.chaos.proxy import Proxy
from tomato_dao import Conflict, Database, Unavailable, database, events
from tomato_dao.aio.transactions import AsyncTransactions
from tomato_dao.committing import Committing
from tomato_dao.dao.key_values import KeyValues
from tomato_dao.events import Events
from tomato_dao.locks import Locks
from tomato_dao.sql.statements import QueryConnection
from tomato_dao.transactions import Transactions

pytestmark = pytest.mark.long
Patch = pytest.MonkeyPatch
SECONDS = 2.5


@dataclass(frozen=True)
class Bug:
    """A bug, the work and the faults that bring it to light, and how the judge's line begins."""

    plant: Callable[[Patch], None]
    found: str
    kinds: Sequence[str]
    faults: Sequence[str] = ()
    is_async: bool = False


def repeated_writes(patch: Patch) -> None:
    patch.setattr(database, "_may_run_again", lambda connection, query, error: connection.ended(error))


def lost_commits_told_as_rolled_back(patch: Patch) -> None:
    patch.setattr(Committing, "_was_committed", lambda self, connection: False)


def transactions_repeated_after_unknown_outcomes(patch: Patch) -> None:
    run = Transactions.run

    def run_again(self: Any, work: Any, **given: Any) -> Any:
        try:
            return run(self, work, **given)
        except Unavailable:
            return run(self, work, **given)

    patch.setattr(Committing, "_was_committed", lambda self, connection: False)
    patch.setattr(Transactions, "run", run_again)


def _edit_query(patch: Patch, name: str, old: str, new: str) -> None:
    query = database.QUERIES[name]
    assert old in query.sql
    changed = replace(query, sql=query.sql.replace(old, new))
    patch.setattr(database, "QUERIES", {**database.QUERIES, name: changed})


def a_lease_is_handed_out_twice(patch: Patch) -> None:
    _edit_query(patch, "tasks.claim", "else t.run_lease_until <= now()", "else true")


def a_lease_is_finished_by_who_lost_it(patch: Patch) -> None:
    patch.setattr(workload, "ITEMS", 10)
    _edit_query(patch, "tasks.finish", "t.run_lease_until = ", "clock_timestamp() > ")


def a_lock_without_its_session(patch: Patch) -> None:
    def take(self: Locks, connection: Any, lock: Any, seconds: float) -> bool:
        lock.connection = connection
        return True

    patch.setattr(Locks, "_try_in", take)


def threads_do_not_take_turns_at_a_lock(patch: Patch) -> None:
    def take(self: Locks, lock: Any, wait: float) -> None:
        while not self._try(lock, monotonic() + wait):
            threading.Event().wait(0.01)

    patch.setattr(Locks, "_take", take)


def sessions_are_not_cleaned(patch: Patch) -> None:
    patch.setattr(QueryConnection, "clean", lambda self: None)


def reads_are_as_old_as_a_lagging_replica(patch: Patch) -> None:
    get, cache = KeyValues.get, {}  # type: ignore[var-annotated]

    def get_old(self: KeyValues, key: str) -> Any:
        at, value = cache.get(key, (0.0, None))
        if monotonic() - at > 0.1:
            cache[key] = at, value = monotonic(), get(self, key)
        return value

    patch.setattr(KeyValues, "get", get_old)


def _run_at(level: IsolationLevel | None) -> Callable[..., Any]:
    run = Transactions.run

    def run_at(self: Any, work: Any, isolation: Any = None) -> Any:
        return run(self, work, isolation=level)

    return run_at


def serializable_is_read_committed(patch: Patch) -> None:
    patch.setattr(Transactions, "run", _run_at(IsolationLevel.READ_COMMITTED))


def serializable_is_repeatable_read(patch: Patch) -> None:
    patch.setattr(workload, "LISTS", {"s": ["s0", "s1"], "r": workload.LISTS["r"]})
    patch.setattr(Transactions, "run", _run_at(IsolationLevel.REPEATABLE_READ))


def asyncio_forgets_the_isolation(patch: Patch) -> None:
    run = AsyncTransactions.run
    patch.setattr(AsyncTransactions, "run", lambda self, work, isolation=None: run(self, work))


def work_runs_without_a_transaction(patch: Patch) -> None:
    patch.setattr(Transactions, "run", lambda self, work, isolation=None: work())


def a_conflict_is_swallowed(patch: Patch) -> None:
    run = Transactions.run

    def run_once(self: Any, work: Any, isolation: Any = None) -> Any:
        with suppress(Conflict):
            return run(self, work, isolation=isolation, attempts=1)

    patch.setattr(Transactions, "run", run_once)


def the_escape_hatch_is_outside_the_transaction(patch: Patch) -> None:
    @contextmanager
    def connection(self: Database) -> Iterator[QueryConnection]:
        leased = self._pool.lease_live()
        try:
            yield leased
        finally:
            self._pool.give_back(leased)

    patch.setattr(Transactions, "connection", connection)


def a_listener_does_not_tell_what_it_missed(patch: Patch) -> None:
    tell = Events.tell
    patch.setattr(Events, "tell", lambda self, event: None if event is events.MISSED else tell(self, event))


def a_listener_drops_events(patch: Patch) -> None:
    tell, numbers = Events.tell, count(1)
    patch.setattr(Events, "tell", lambda self, event: tell(self, event) if next(numbers) % 10 else None)


def answers_are_mixed_up(patch: Patch) -> None:
    run, numbers, kept = Database._run, count(1), {}  # type: ignore[var-annotated]

    def run_mixed(self: Database, query: Any, values: Any) -> Any:
        answer = run(self, query, values)
        earlier = kept.get(query.name, answer)
        kept[query.name] = answer
        return earlier if query.name == "key_values.get" and not next(numbers) % 20 else answer

    patch.setattr(Database, "_run", run_mixed)


LISTS = ("lists", "lists", "lists")
SLOW_AND_CUT = ("slow", "cut", "cut")
BUGS = [
    Bug(repeated_writes, "doubled", ("rows", "rows"), SLOW_AND_CUT),
    Bug(lost_commits_told_as_rolled_back, "a failure that was carried out", LISTS, SLOW_AND_CUT),
    Bug(transactions_repeated_after_unknown_outcomes, "from nowhere", LISTS, SLOW_AND_CUT),
    Bug(a_lease_is_handed_out_twice, "two holders", ("leases",)),
    Bug(a_lease_is_finished_by_who_lost_it, "finished twice", ("leases", "leases")),
    Bug(a_lock_without_its_session, "two holders", ("locks",)),
    Bug(threads_do_not_take_turns_at_a_lock, "two holders", ("locks", "locks")),
    Bug(sessions_are_not_cleaned, "left in sessions", ("connections",)),
    Bug(reads_are_as_old_as_a_lagging_replica, "stale", LISTS),
    Bug(serializable_is_read_committed, "lost", LISTS),
    Bug(serializable_is_repeatable_read, "cycle", LISTS),
    Bug(asyncio_forgets_the_isolation, "lost", LISTS, is_async=True),
    Bug(work_runs_without_a_transaction, "lost", LISTS),
    Bug(a_conflict_is_swallowed, "lost", LISTS),
    Bug(the_escape_hatch_is_outside_the_transaction, "lost", LISTS),
    Bug(a_listener_does_not_tell_what_it_missed, "unheard", ("deletions", "deletions"), ("kill",)),
    Bug(a_listener_drops_events, "unheard", ("deletions",)),
    Bug(answers_are_mixed_up, "a wrong answer", ("connections",)),
]


def storm(url: str, kinds: Sequence[str], faults: Sequence[str], is_async: bool) -> list[str]:
    """Return what the judge finds after a storm over two pools in this process."""
    proxy, together = Proxy(url), threading.Barrier(3)
    injected = Faults(url, 1, proxy)
    try:
        with ThreadPoolExecutor(2) as threads:
            running = [
                threads.submit(workload.work, proxy.url, 1, n, SECONDS, together, is_async=is_async, kinds=kinds, patience=3)
                for n in range(2)
            ]
            together.wait(60)
            if faults:
                injected.rage(SECONDS, faults, 0.2 if "cut" in faults else 0.06)
            results = [each.result(90) for each in running]
    finally:
        proxy.close()
    return judge(url, results)


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.plant.__name__)
def test_a_bug_is_found(bug: Bug, tomato_url: str, monkeypatch: Patch) -> None:
    workload.prepare(tomato_url)
    bug.plant(monkeypatch)
    found = storm(tomato_url, bug.kinds, bug.faults, bug.is_async)
    assert any(line.startswith(bug.found) for line in found), found[:5]

"""Bugs to plant in the layer, each with the work and the faults that bring it to light, and how the judge's line begins."""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from itertools import count
from time import monotonic
from typing import Any

import pytest
from psycopg import IsolationLevel

from tests.chaos import alone, lists
from tests.chaos.alone import connections, leases, locks
from tests.chaos.changes import deletions, rows, states
from tests.chaos.lists import on_standbys, transactions
from tests.chaos.worker import Kind
from tomato_dao import Conflict, Database, LockLost, Unavailable, database, events
from tomato_dao.aio.pool import AsyncPool
from tomato_dao.aio.transactions import AsyncTransactions
from tomato_dao.committing import Committing
from tomato_dao.dao.key_values import KeyValues
from tomato_dao.events import Events
from tomato_dao.locks import Locks
from tomato_dao.pool import Pool
from tomato_dao.replicas import Reading
from tomato_dao.server.positions import Position
from tomato_dao.sql.statements import QueryConnection
from tomato_dao.transactions import Transactions

Patch = pytest.MonkeyPatch


@dataclass(frozen=True)
class Bug:
    """A bug. plant: patches it in. found: how a line of the judge begins that tells of it."""

    plant: Callable[[Patch], None]
    found: str
    kinds: Sequence[Kind]
    faults: Sequence[str] = ()
    is_async: bool = False


def repeated_writes(patch: Patch) -> None:
    patch.setattr(database, "_may_run_again", lambda connection, query, error: connection.ended(error))


def lost_commits_told_as_rolled_back(patch: Patch) -> None:
    patch.setattr(Committing, "_was_committed", lambda self, connection: False)


def lost_commits_told_as_done(patch: Patch) -> None:
    patch.setattr(Committing, "_was_committed", lambda self, connection: True)


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
    patch.setattr(alone, "ITEMS", 10)
    _edit_query(patch, "tasks.finish", "t.run_lease_until = ", "clock_timestamp() > ")


def a_lock_without_its_session(patch: Patch) -> None:
    def take(self: Locks, connection: Any, lock: Any, seconds: float) -> bool:
        lock.connection = connection
        return True

    patch.setattr(Locks, "_try_in", take)


def a_lost_lock_is_not_told(patch: Patch) -> None:
    ask = Locks.ask

    def ask_on(self: Locks, lock: Any, statement: bytes) -> bytes | None:
        try:
            return ask(self, lock, statement)
        except LockLost:
            return b"t"

    patch.setattr(alone, "HOLD", 0.2)
    patch.setattr(Locks, "ask", ask_on)


def threads_do_not_take_turns_at_a_lock(patch: Patch) -> None:
    def take(self: Locks, lock: Any, wait: float) -> None:
        while not self._try(lock, monotonic() + wait):
            threading.Event().wait(0.01)

    patch.setattr(Locks, "_take", take)


def sessions_are_not_cleaned(patch: Patch) -> None:
    patch.setattr(QueryConnection, "clean", lambda self: None)


def a_busy_connection_is_handed_out(patch: Patch) -> None:
    checkout, release, numbers, guard = Pool.checkout_live, Pool.release, count(1), threading.RLock()
    on_offer: list[QueryConnection] = []
    doubly_had: list[QueryConnection] = []

    def checkout_twice(self: Pool, timeout: float | None = None) -> QueryConnection:
        with guard:
            if on_offer and on_offer[-1] in self._all:
                doubly_had.append(on_offer.pop())
                return doubly_had[-1]
        connection = checkout(self, timeout)
        with guard:
            if not next(numbers) % 5:
                on_offer.append(connection)
        return connection

    def release_once(self: Pool, connection: QueryConnection) -> None:
        with guard:
            if connection in on_offer:
                on_offer.remove(connection)
            if connection in doubly_had:
                doubly_had.remove(connection)
                return
        release(self, connection)

    patch.setattr(Pool, "checkout_live", checkout_twice)
    patch.setattr(Pool, "release", release_once)


def a_connection_is_leaked(patch: Patch) -> None:
    release, numbers = Pool.release, count(1)
    patch.setattr(Pool, "release", lambda self, lent: release(self, lent) if next(numbers) != 50 else None)


def a_task_leaks_its_connection(patch: Patch) -> None:
    release, numbers = AsyncPool.release, count(1)
    patch.setattr(AsyncPool, "release", lambda self, lent: release(self, lent) if next(numbers) != 50 else None)


def a_dead_connection_is_not_replaced(patch: Patch) -> None:
    put, numbers = Pool._return, count(1)
    patch.setattr(Pool, "_return", lambda self, dead: put(self, dead) if not dead or next(numbers) != 1 else None)


def reads_are_as_old_as_a_cache(patch: Patch) -> None:
    get, cache = KeyValues.get, {}  # type: ignore[var-annotated]

    def get_old(self: KeyValues, key: str) -> Any:
        at, value = cache.get(key, (0.0, None))
        if monotonic() - at > 0.1:
            cache[key] = at, value = monotonic(), get(self, key)
        return value

    patch.setattr(KeyValues, "get", get_old)


def a_standby_serves_reads_however_far_it_is(patch: Patch) -> None:
    patch.setattr(Position, "covers", lambda self, other: True)


def a_block_of_reads_forgets_what_it_wrote(patch: Patch) -> None:
    patch.setattr(Reading, "written", lambda self, position: None)


def _run_at(level: IsolationLevel | None) -> Callable[..., Any]:
    run = Transactions.run

    def run_at(self: Any, work: Any, isolation: Any = None) -> Any:
        return run(self, work, isolation=level)

    return run_at


def serializable_is_read_committed(patch: Patch) -> None:
    patch.setattr(Transactions, "run", _run_at(IsolationLevel.READ_COMMITTED))


def serializable_is_repeatable_read(patch: Patch) -> None:
    patch.setattr(lists, "LISTS", {"s": ["s0", "s1"], "r": lists.LISTS["r"]})
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
        connection = self._pool.checkout_live()
        try:
            connection.execute("set lock_timeout = '100ms'")  # it may wait for the transaction that it is in
            yield connection
        finally:
            self._pool.release(connection)

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


LISTS = (transactions, transactions, transactions)
SLOW_AND_CUT = ("slow", "cut", "cut")
BUGS = [
    Bug(repeated_writes, "doubled", (rows, rows), SLOW_AND_CUT),
    Bug(lost_commits_told_as_rolled_back, "a failure that was carried out", LISTS, SLOW_AND_CUT),
    Bug(lost_commits_told_as_done, "lost", LISTS, SLOW_AND_CUT),
    Bug(transactions_repeated_after_unknown_outcomes, "from nowhere", LISTS, SLOW_AND_CUT),
    Bug(a_lease_is_handed_out_twice, "two holders", (leases,)),
    Bug(a_lease_is_finished_by_who_lost_it, "finished twice", (leases, leases)),
    Bug(a_lock_without_its_session, "two holders", (locks,)),
    Bug(a_lost_lock_is_not_told, "two holders", (locks, locks), ("kill",)),
    Bug(threads_do_not_take_turns_at_a_lock, "two holders", (locks, locks)),
    Bug(sessions_are_not_cleaned, "left in sessions", (connections,)),
    Bug(a_busy_connection_is_handed_out, "two holders", (connections, connections)),
    Bug(a_connection_is_leaked, "the pool is not whole", (connections,)),
    Bug(a_task_leaks_its_connection, "the pool is not whole", (connections,), is_async=True),
    Bug(a_dead_connection_is_not_replaced, "the pool is not whole", (connections,), ("kill",)),
    Bug(reads_are_as_old_as_a_cache, "stale", LISTS),
    Bug(serializable_is_read_committed, "lost", LISTS),
    Bug(serializable_is_repeatable_read, "cycle", LISTS),
    Bug(asyncio_forgets_the_isolation, "lost", LISTS, is_async=True),
    Bug(work_runs_without_a_transaction, "lost", LISTS),
    Bug(a_conflict_is_swallowed, "lost", LISTS),
    Bug(the_escape_hatch_is_outside_the_transaction, "lost", LISTS),
    Bug(a_listener_does_not_tell_what_it_missed, "unheard", (deletions, deletions), ("kill",)),
    Bug(a_listener_drops_events, "unheard", (states,)),
    Bug(answers_are_mixed_up, "a wrong answer", (connections,)),
]
OF_STANDBYS = [
    Bug(a_standby_serves_reads_however_far_it_is, "stale", (transactions, on_standbys)),
    Bug(a_block_of_reads_forgets_what_it_wrote, "a wrong answer", (on_standbys,)),
]

"""Metrics of a process's calls: counted without loss, told with names and without values; work that is repeated."""

import os
import re
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from logging import WARNING
from pathlib import Path
from time import monotonic

import psycopg
import pytest
from prometheus_client import CollectorRegistry
from psycopg import IsolationLevel

from tests.conftest import World
from tests.helpers.dao_cases import at_once, until
from tests.helpers.session_cases import BACKENDS, blocked
from tests.helpers.statement_cases import query, run
from tomato_dao import Conflict, Database, InvalidValue, NotFound, Unavailable, connect
from tomato_dao.server.prometheus import StatsCollector
from tomato_dao.sql.counters import BOUNDS

pytestmark = pytest.mark.slow

# Counting.


def test_calls_of_many_threads_are_all_counted(db: Database, world: World) -> None:
    def work(_: int) -> None:
        for n in range(40):
            db.hosts.get(world.host.id)
            if n % 4 == 0:
                with pytest.raises(InvalidValue):
                    db.hosts.get("x")  # type: ignore[arg-type]

    with ThreadPoolExecutor(25) as threads:
        list(threads.map(work, range(25)))
    counted = db.stats().queries["hosts.get"]
    assert (counted.calls, counted.errors) == (25 * 50, 25 * 10)
    assert counted.seconds > 0


def test_a_row_that_is_not_there_is_no_error_of_its_query(db: Database) -> None:
    with pytest.raises(NotFound):
        db.hosts.get(1)
    assert (db.stats().queries["hosts.get"].calls, db.stats().queries["hosts.get"].errors) == (1, 0)


def test_counts_of_a_connection_outlive_it(tomato_url: str, server: psycopg.Connection) -> None:
    with connect(tomato_url, pool_size=1, application_name="counted") as db:
        for _ in range(5):
            db.organizations.list()
            server.execute("select pg_terminate_backend(pid, 5000) " + BACKENDS, ["counted"])
        db.organizations.list()
        assert db.stats().queries["organizations.list"].errors == 5
        assert db.stats().queries["organizations.list"].calls == 11  # each read was repeated on a connection that lives


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_child_process_counts_from_the_start(db: Database) -> None:
    db.organizations.list()
    child = os.fork()
    if child == 0:
        empty = db.stats().queries == {}
        db.organizations.list()
        os._exit(0 if empty and db.stats().queries["organizations.list"].calls == 1 else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert db.stats().queries["organizations.list"].calls == 1


def test_the_pools_figures(tomato_url: str) -> None:
    with connect(tomato_url, pool_size=2, timeout=10) as db, ThreadPoolExecutor(1) as thread:
        with ExitStack() as leases:
            began = monotonic()
            for _ in range(2):
                leases.enter_context(db.connection())
            waiting = thread.submit(db.organizations.list)
            while not db.stats().pool.waiting:
                pass
            pool = db.stats().pool
            assert (pool.size, pool.connections, pool.idle, pool.turned_away) == (2, 2, 0, 0)
        waiting.result(60)
        pool = db.stats().pool
        assert (pool.waiting, pool.idle) == (0, 2)
        assert pool.waits == 3
        assert 0 < pool.waited <= pool.waits * (monotonic() - began)
        db._pool.return_idle()  # to psycopg_pool, where they are idle as well
        assert db.stats().pool.idle == 2


def test_prometheus_gets_the_same_figures(db: Database, world: World) -> None:
    registry = CollectorRegistry()
    registry.register(StatsCollector(db))
    before = db.stats().queries["organizations.create"]
    assert registry.get_sample_value("tomato_dao_calls_total", {"query": "organizations.create"}) == before.calls == 1
    assert registry.get_sample_value("tomato_dao_errors_total", {"query": "organizations.create"}) == 0
    assert registry.get_sample_value("tomato_dao_call_seconds_total", {"query": "organizations.create"}) == before.seconds
    assert registry.get_sample_value("tomato_dao_pool_size") == 4
    name, labels = "tomato_dao_call_duration_seconds", {"query": "organizations.create"}
    counts = [registry.get_sample_value(f"{name}_bucket", {**labels, "le": str(bound)}) for bound in (*BOUNDS, "+Inf")]
    assert counts == sorted(counts, key=lambda count: count or 0)
    assert counts[-1] == registry.get_sample_value(f"{name}_count", labels) == 1
    assert registry.get_sample_value(f"{name}_sum", labels) == before.seconds


def test_calls_are_counted_by_their_duration(tomato_url: str, tmp_path: Path) -> None:
    naps = [query(tmp_path, f"select pg_sleep({seconds}), :x::int4 as x", "x") for seconds in (0, 0.006, 0.006, 0.02)]
    with connect(tomato_url, pool_size=1) as db:
        for nap in naps:
            db._run(nap, [1])
        found = [stats.buckets for stats in db.stats().queries.values()]
    together = [sum(bucket) for bucket in zip(*found, strict=True)]
    assert sum(together) == 4
    assert (sum(together[2:]) >= 3, sum(together[3:]) >= 1) == (True, True)
    assert len(together) == len(BOUNDS) + 1


# Samples and labels.


def test_a_slow_call_is_logged_with_its_name_and_without_its_values(
    tomato_url: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    nap = query(tmp_path, "select pg_sleep(0.05), :secret::text as secret", "secret")
    with caplog.at_level(WARNING, "tomato_dao"):
        with connect(tomato_url, log_slower_than=0.04) as db:
            run(db, nap, "s3cret")
        with connect(tomato_url, log_slower_than=60) as db:
            run(db, nap, "s3cret")
    (line,) = caplog.messages
    assert re.match(rf"slow call: {nap.name} took \d+\.", line)
    assert "s3cret" not in line


def test_a_task_that_waits_too_long_learns_which_queries_hold_the_connections(
    tomato_url: str, world: World, server: psycopg.Connection
) -> None:
    ready, over = threading.Event(), threading.Event()

    def transact() -> None:
        with db.transaction():
            db.users.get(world.user.id)
            ready.set()
            over.wait(60)

    with connect(tomato_url, pool_size=3, timeout=0.3, application_name="held") as db, ThreadPoolExecutor(3) as threads:
        with server.transaction(), db.connection():
            server.execute("select from hosts for update")
            update = threads.submit(db.hosts.update, "host1", {"address": "10.0.0.2"})
            transaction = threads.submit(transact)
            until(server, *blocked("held"))
            assert ready.wait(60)
            with pytest.raises(Unavailable) as refused:
                db.organizations.list()
            over.set()
        update.result(60)
        transaction.result(60)
        assert db.stats().pool.turned_away == 1
    told = str(refused.value)
    assert told.startswith("no connection free after 0.3 s: all 3 of this process's pool are at work (")
    for holder in (
        "hosts.update: 1, for up to 0.",
        "a transaction after users.get: 1, for up to 0.",
        "connection(): 1, for up to 0.",
    ):
        assert holder in told
    assert "10.0.0.2" not in told


def test_more_tasks_than_may_wait_are_rejected_at_once(tomato_url: str) -> None:
    with connect(tomato_url, pool_size=1, timeout=10, max_waiting=2) as db, ThreadPoolExecutor(2) as threads:
        with db.connection():
            waiting = [threads.submit(db.organizations.list) for _ in range(2)]
            while db.stats().pool.waiting < 2:
                pass
            with pytest.raises(Unavailable, match="the queue has 2 tasks already, the limit: all 1 of this process's pool"):
                db.organizations.list()
        assert [call.result(60) for call in waiting] == [[], []]


# Work that is repeated.


def test_work_that_meets_another_is_repeated_until_it_is_done(db: Database, world: World) -> None:
    tries: list[int] = []
    meet = threading.Barrier(4)

    def five_times() -> None:
        met = False

        def count_up() -> None:
            nonlocal met
            tries.append(1)
            site = db.sites.get_by_name("lab")
            if not met:
                met = True
                meet.wait(60)  # all four have read the same, so only one of them can go on
            db.sites.update("lab", {"description": str(int(site.description or "0") + 1)})

        for _ in range(5):
            db.run(count_up, attempts=100, isolation=IsolationLevel.SERIALIZABLE)

    assert at_once(*[five_times] * 4) == [None] * 4
    assert db.sites.get_by_name("lab").description == "20"
    assert len(tries) >= 23


def test_both_of_two_deadlocked_transactions_are_done(db: Database, world: World) -> None:
    db.sites.create("other", organization_id=world.organization.id)
    meet = threading.Barrier(2)

    def swap(first: str, second: str) -> Callable[[], None]:
        met = False

        def work() -> None:
            nonlocal met
            db.sites.update(first, {"location": first})
            if not met:
                met = True
                meet.wait(60)
            db.sites.update(second, {"location": first})

        return lambda: db.run(work)

    assert at_once(swap("lab", "other"), swap("other", "lab")) == [None, None]
    assert db.sites.get_by_name("lab").location == db.sites.get_by_name("other").location


def test_work_returns_what_it_returns_and_nothing_else_is_repeated(db: Database) -> None:
    tries: list[str] = []

    def work(error: Exception | None) -> str:
        tries.append("tried")
        db.organizations.create("uni")
        if error:
            raise error
        return "done"

    for error in (ValueError(), Unavailable("away"), InvalidValue("wrong")):
        with pytest.raises(type(error)):
            db.run(partial(work, error))
    assert len(tries) == 3
    assert db.organizations.list() == []
    assert db.run(lambda: work(None)) == "done"
    assert [o.name for o in db.organizations.list()] == ["uni"]


def test_work_is_repeated_a_bounded_number_of_times(db: Database) -> None:
    tries: list[str] = []

    def work() -> None:
        tries.append("tried")
        raise Conflict("another was first")

    with pytest.raises(Conflict):
        db.run(work, attempts=3)
    assert len(tries) == 3


def test_inside_a_transaction_the_whole_is_repeated(db: Database) -> None:
    tries: list[str] = []

    def inner() -> None:
        tries.append("inner")
        if len(tries) < 4:
            raise Conflict("another was first")

    def outer() -> None:
        tries.append("outer")
        db.run(inner)

    db.run(outer)
    assert tries == ["outer", "inner", "outer", "inner"]

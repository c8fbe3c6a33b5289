"""Exclusive work: one worker has a lock, across threads and processes; nothing else waits."""

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, suppress
from time import monotonic

import psycopg
import pytest

from tests.conftest import World
from tests.helpers.dao_cases import refused, until
from tests.helpers.lock_cases import Worker, is_free
from tests.helpers.pooler_cases import pgbouncer
from tests.helpers.session_cases import BACKENDS, LOCKS, kill
from tomato_dao import Busy, Database, InvalidValue, LockLost, NotAllowed, WrongState, connect
from tomato_dao.locks import Kind

HIGHEST = 2**60 - 1  # id that can be locked
ADVISORY = f"select count(*) {LOCKS} and locktype = 'advisory'"


def test_a_lock_is_one_workers_across_threads_and_processes(here: Database, there: Database) -> None:
    with ThreadPoolExecutor(1) as thread:
        for _ in range(2):
            with here.exclusive("topology", 1):
                assert not is_free(there, 1)
                assert not thread.submit(is_free, here, 1).result(60)
            assert is_free(there, 1)
            assert thread.submit(is_free, here, 1).result(60)


@pytest.mark.parametrize(("wait", "said"), [(0, "holds the lock$"), (0.1, r"holds the lock \(waited 0.1 s\)$")])
@pytest.mark.parametrize("holder", ["thread", "process"])
def test_a_refusal_says_what_is_taken(here: Database, there: Database, holder: str, wait: float, said: str) -> None:
    worker = Worker(here if holder == "thread" else there, 7)
    assert worker.inside.wait(60)
    began = monotonic()
    with pytest.raises(Busy, match=f"^topology 7: another worker {said}") as refused:
        here.exclusive("topology", 7, wait=wait).__enter__()
    assert monotonic() - began >= wait
    assert (refused.value.entity, refused.value.key) == ("topology", 7)
    worker.leave()


def test_locks_are_independent_of_each_other_and_of_other_advisory_locks(
    here: Database, there: Database, watcher: psycopg.Connection
) -> None:
    kinds: tuple[Kind, ...] = ("topology", "element", "connection")
    watcher.execute("select pg_advisory_lock(1), pg_advisory_lock(0, 1)")
    with ExitStack() as held:
        for kind in kinds:
            for id in (0, 1, 2**32, 2**32 + 1, HIGHEST):
                assert is_free(there, id, kind)
                held.enter_context(here.exclusive(kind, id))
                assert not is_free(there, id, kind)


def test_a_thread_that_asks_for_its_own_lock_is_refused(here: Database, there: Database) -> None:
    with here.exclusive("topology", 1):
        with refused(WrongState, "topology", 1, "^topology 1: this thread holds the lock already"):
            here.exclusive("topology", 1, wait=60).__enter__()
        assert not is_free(there, 1)
    assert is_free(there, 1)


def test_nested_work_of_a_thread_is_let_in_and_the_outermost_block_frees_the_lock(here: Database, there: Database) -> None:
    with ThreadPoolExecutor(1) as thread, here.exclusive("topology", 1, reentrant=True) as outer:
        for _ in range(2):
            with here.exclusive("topology", 1, reentrant=True) as inner, here.exclusive("topology", 1, reentrant=True):
                inner.check()
                assert inner is outer
            with suppress(ZeroDivisionError), here.exclusive("topology", 1, reentrant=True):
                raise ZeroDivisionError
            assert not is_free(there, 1)
            assert not thread.submit(is_free, here, 1).result(60)
            with here.exclusive("element", 1, reentrant=True):
                assert not is_free(there, 1, "element")
            assert is_free(there, 1, "element")
    assert is_free(there, 1)


def test_only_the_thread_that_has_a_lock_is_let_in_again(here: Database) -> None:
    def enter() -> None:
        with here.exclusive("topology", 1, reentrant=True):
            pass

    with ThreadPoolExecutor(1) as thread, here.exclusive("topology", 1):
        enter()
        with pytest.raises(Busy):
            thread.submit(enter).result(60)
        with pytest.raises(WrongState, match=r"reentrant=True"):
            here.exclusive("topology", 1).__enter__()


def test_a_task_of_asyncio_is_not_let_in_to_anothers_work(here: Database) -> None:
    async def enter() -> None:
        with here.exclusive("topology", 1, reentrant=True):
            await asyncio.sleep(0)

    async def both() -> None:
        with here.exclusive("topology", 1, reentrant=True):
            await enter()
            with refused(WrongState, "topology", 1, "^topology 1: another asyncio task of this thread holds the lock"):
                await asyncio.create_task(enter())

    asyncio.run(both())


def test_nested_work_is_not_begun_once_the_lock_is_lost(here: Database, watcher: psycopg.Connection) -> None:
    with ExitStack() as outer:
        outer.enter_context(here.exclusive("topology", 1))
        assert kill(watcher, "here locks") == 1
        with pytest.raises(LockLost, match=r"^topology 1: the lock was lost"):
            here.exclusive("topology", 1, reentrant=True).__enter__()
        with pytest.raises(LockLost):
            outer.close()


def test_a_refused_caller_takes_the_lock_from_nobody(here: Database) -> None:
    with ThreadPoolExecutor(1) as thread, here.exclusive("topology", 1):
        for _ in range(2):
            assert not thread.submit(is_free, here, 1).result(60)
        with pytest.raises(WrongState):
            here.exclusive("topology", 1).__enter__()
        assert not thread.submit(is_free, here, 1).result(60)


@pytest.mark.parametrize(
    ("kind", "id", "wait", "said"),
    [
        ("host", 1, 0, "a topology, element or connection, not on 'host'"),
        ("topology", 1, -1, "topology 1: wait must be 0 or more seconds, not -1"),
        ("topology", 1, float("nan"), "not nan"),
        ("topology", 1, float("inf"), "not inf"),
        ("topology", 1, None, "not None"),
        ("topology", 1, "1", "not '1'"),
    ],
)
def test_invalid_lock_arguments_are_refused(here: Database, kind: Kind, id: int, wait: float, said: str) -> None:
    with pytest.raises(InvalidValue, match=said):
        here.exclusive(kind, id, wait=wait).__enter__()


@pytest.mark.parametrize("id", [-1, HIGHEST + 1, "1", None])
def test_an_id_that_cannot_be_one_is_refused_and_named(here: Database, id: int) -> None:
    with refused(InvalidValue, "topology", id, f"^topology: {id!r} is not an id$"):
        here.exclusive("topology", id).__enter__()


@pytest.mark.parametrize("waiting", ["thread", "process"])
def test_a_waiting_worker_gets_the_lock_once_it_is_free(here: Database, there: Database, waiting: str) -> None:
    with here.exclusive("topology", 1):
        worker = Worker(here if waiting == "thread" else there, 1)
        assert not worker.inside.wait(0.1)
    assert worker.inside.wait(60)
    assert not is_free(here, 1)
    worker.leave()
    assert is_free(here, 1)


def test_one_of_many_workers_holds_a_lock_at_a_time(here: Database, there: Database) -> None:
    inside: list[int] = []
    together: list[int] = []

    def work(n: int) -> None:
        for _ in range(5):
            with (here, there)[n % 2].exclusive("topology", 1, wait=60):
                inside.append(n)
                here.organizations.list()
                together.append(len(inside))
                inside.remove(n)

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(work, range(8), timeout=60))
    assert together == [1] * 40


def test_a_block_that_raises_gives_its_lock_back(here: Database, there: Database) -> None:
    with pytest.raises(ZeroDivisionError) as raised, here.exclusive("topology", 1):
        raise ZeroDivisionError
    assert not hasattr(raised.value, "__notes__")
    assert is_free(there, 1)
    assert is_free(here, 1)


def test_threads_share_one_session_and_do_not_wait_for_each_other(
    here: Database, there: Database, watcher: psycopg.Connection
) -> None:
    start = threading.Barrier(25)

    def work(n: int) -> None:
        start.wait(60)
        with ExitStack() as held:
            for id in range(10):
                held.enter_context(here.exclusive("element", 100 * n + id, wait=10))  # of a busy machine
        for id in range(10):
            with here.exclusive("element", 100 * n + id, wait=10) as lock:
                lock.check()

    with ExitStack() as taken, ThreadPoolExecutor(25) as threads:
        for id in range(5):
            taken.enter_context(there.exclusive("topology", id))
        slow = [Worker(here, id) for id in range(5)]
        list(threads.map(work, range(25), timeout=60))
        assert not any(worker.inside.is_set() for worker in slow)
        assert watcher.execute("select count(*) " + BACKENDS, ["here locks"]).fetchone() == (1,)
        taken.close()
        for worker in slow:
            worker.leave()
    assert watcher.execute(ADVISORY).fetchone() == (0,)


def test_threads_that_take_their_first_locks_at_once_all_get_them(lasting_url: str) -> None:
    start = threading.Barrier(8)

    def take(db: Database, id: int) -> bool:
        start.wait(60)
        return is_free(db, id)

    with ThreadPoolExecutor(8) as threads:
        for _ in range(3):
            with connect(lasting_url, pool_size=1) as db:
                taken = [threads.submit(take, db, id) for id in range(8)]
                assert [call.result(60) for call in taken] == [True] * 8


def test_a_refusal_of_advisory_locks_is_told_and_not_asked_again_for_ever(app_url: str, server: psycopg.Connection) -> None:
    server.execute("revoke execute on function pg_try_advisory_lock(bigint) from public")
    with connect(app_url, pool_size=1) as db:
        for _ in range(2):  # in the first session, and in a new one
            with pytest.raises(NotAllowed, match="pg_try_advisory_lock"), db.exclusive("topology", 1, wait=5):
                pytest.fail("a lock that the server refused is held")


def test_a_lock_keeps_nobody_from_rows_or_maintenance(tomato_url: str, world: World, server: psycopg.Connection) -> None:
    with connect(tomato_url, application_name="here") as here, connect(tomato_url, application_name="there") as there:
        topology = here.topologies.create("lab", owner_id=world.user.id)
        server.execute("set statement_timeout = '10s'")
        with here.exclusive("topology", topology.id):
            worker = Worker(there, topology.id)
            until(server, "exists (select " + BACKENDS + ")", "there locks")
            there.topologies.update(topology.id, {"name": "changed"})
            server.execute("create index concurrently on topologies (name)")
            server.execute("vacuum topologies")
            there.topologies.delete(topology.id)
            sessions = server.execute("select state, backend_xid, backend_xmin " + BACKENDS, ["here locks"]).fetchall()
            assert sessions == [("idle in transaction", None, None)]
        worker.leave()
        until(server, "(select array_agg(state) " + BACKENDS + ") = '{idle}'", "here locks")


def test_a_lock_has_no_snapshot_whatever_isolation_is_the_default(tomato_url: str, server: psycopg.Connection) -> None:
    server.execute(f"alter database {server.info.dbname} set default_transaction_isolation = 'serializable'")
    with connect(tomato_url, application_name="here") as here, here.exclusive("topology", 1):
        sessions = server.execute("select state, backend_xid, backend_xmin " + BACKENDS, ["here locks"]).fetchall()
        assert sessions == [("idle in transaction", None, None)]


def test_the_session_is_in_a_transaction_for_as_long_as_it_has_a_lock(here: Database, watcher: psycopg.Connection) -> None:
    state = "select state " + BACKENDS
    with here.exclusive("topology", 1):
        with here.exclusive("topology", 2):
            pass
        assert watcher.execute(state, ["here locks"]).fetchone() == ("idle in transaction",)
    until(watcher, f"({state}) = 'idle'", "here locks")


def test_time_limits_do_not_end_a_lock(tomato_url: str, server: psycopg.Connection) -> None:
    limits = ["idle_session_timeout", "idle_in_transaction_session_timeout"]
    if server.info.server_version >= 170000:
        limits.append("transaction_timeout")
    for limit in limits:
        server.execute(f"alter database {server.info.dbname} set {limit} = '100ms'")
    with (
        connect(tomato_url) as db,
        db.exclusive("topology", 1) as lock,
        closing(psycopg.connect(tomato_url, application_name="limited")) as limited,
    ):
        limited.execute("select 1")
        until(server, "not exists (select " + BACKENDS + ")", "limited")
        lock.check()


def test_locks_are_safe_behind_a_pooler_in_transaction_mode(lasting_url: str, watcher: psycopg.Connection) -> None:
    with (
        pgbouncer(lasting_url) as pooled,
        connect(pooled, prepare=False, application_name="one") as one,
        connect(pooled, prepare=False, application_name="two") as two,
    ):
        for id in range(3):
            with one.exclusive("topology", id) as lock, two.exclusive("element", id):
                assert [is_free(two, id), is_free(one, id, "element")] == [False, False]
                assert one.organizations.list() == two.organizations.list() == []
                lock.check()
            assert watcher.execute(ADVISORY).fetchone() == (0,)

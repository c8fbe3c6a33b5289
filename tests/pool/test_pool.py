"""The pool: who waits is served, a fork and a lost pool leave nothing behind."""

import gc
import os
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from pathlib import Path
from time import monotonic, sleep

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from tests.conftest import World
from tests.helpers.session_cases import fill, kill, refusing_connections, until_waiting
from tests.helpers.statement_cases import query, run
from tomato_dao import Database, InvalidValue, TomatoError, Unavailable, connect

pytestmark = pytest.mark.slow

SESSIONS = (
    "select count(*) from pg_stat_activity where datname = current_database() and split_part(application_name, '/', 1) = %s"
)


def test_tasks_that_come_while_the_pool_grows_are_all_served(tomato_url: str) -> None:
    for _ in range(15):
        with connect(tomato_url, pool_size=4) as db, ThreadPoolExecutor(4) as threads, ExitStack() as leases:
            connections = [task.result(60) for task in [threads.submit(db._pool.checkout) for _ in range(4)]]
            for connection in connections:
                leases.callback(db._pool.release, connection)
            assert len({connection.info.backend_pid for connection in connections}) == 4
            assert db.stats().pool.connections == 4


def test_no_release_is_overlooked_by_tasks_that_join_the_queue(tomato_url: str) -> None:
    before = sys.getswitchinterval()
    with connect(tomato_url, pool_size=2, timeout=10) as db, ThreadPoolExecutor(6) as threads:

        def use(_: int) -> None:
            for _ in range(500):
                db._pool.release(db._pool.checkout())

        sys.setswitchinterval(1e-6)
        try:
            list(threads.map(use, range(6)))  # an overlooked release would let a task wait until its time is over
        finally:
            sys.setswitchinterval(before)
        assert db.stats().pool.turned_away == 0


def test_tasks_are_served_in_their_order(tomato_url: str) -> None:
    with connect(tomato_url, pool_size=1) as db:
        held = db._pool.checkout()
        served: list[int] = []

        def task(n: int) -> None:
            connection = db._pool.checkout()
            served.append(n)
            db._pool.release(connection)

        threads = []
        for n in range(10):
            threads.append(threading.Thread(target=task, args=(n,)))
            threads[-1].start()
            until_waiting(db, n + 1)
        db._pool.release(held)
        for thread in threads:
            thread.join()
    assert served == list(range(10))


def test_a_transaction_begins_on_another_connection_where_one_is_dead(tomato_url: str, server: psycopg.Connection) -> None:
    with connect(tomato_url, pool_size=1, application_name="dead") as db:
        db.organizations.list()
        server.execute(
            "select pg_terminate_backend(pid, 5000) from pg_stat_activity where split_part(application_name, '/', 1) = 'dead'"
        )
        with db.transaction():
            db.organizations.create("made")
        assert [o.name for o in db.organizations.list()] == ["made"]


def test_text_is_utf8_whatever_the_environment_says(tomato_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGCLIENTENCODING", "latin1")
    with connect(make_conninfo(tomato_url, client_encoding="latin1")) as db:
        db.organizations.create("Zürich", attrs={"ü": "東京"})
    monkeypatch.delenv("PGCLIENTENCODING")
    with connect(tomato_url) as db:
        assert db.organizations.get_by_name("Zürich").attrs == {"ü": "東京"}


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_fork_leaves_the_parents_connections_alone(tomato_url: str, world: World) -> None:
    with connect(tomato_url, pool_size=1, application_name="parent") as db, db.transaction():
        db.organizations.create("rolled back with the parent")
        child = os.fork()
        if child == 0:
            done = False
            with suppress(TomatoError):
                db.organizations.create("made by the child")
                done = [o.name for o in db.organizations.list()] == ["uni", "made by the child"]
            os._exit(0 if done else 1)
        assert os.waitpid(child, 0)[1] == 0
        assert [o.name for o in db.organizations.list()] == ["uni", "rolled back with the parent", "made by the child"]


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_database_that_was_closed_is_closed_in_a_child_too(tomato_url: str) -> None:
    db = connect(tomato_url, pool_size=1)
    db.close()
    child = os.fork()
    if child == 0:
        done = False
        with suppress(BaseException):
            with pytest.raises(Unavailable, match="the database is closed"):
                db.organizations.list()
            done = True
        os._exit(0 if done else 1)
    assert os.waitpid(child, 0)[1] == 0


def test_a_database_that_is_forgotten_goes_away(tomato_url: str, server: psycopg.Connection) -> None:
    def use() -> None:
        connect(tomato_url, application_name="forgotten").organizations.list()

    use()
    deadline = monotonic() + 60
    while server.execute(SESSIONS, ["forgotten"]).fetchone() != (0,):
        assert monotonic() < deadline
        gc.collect()
    assert not [t for t in threading.enumerate() if t.name == "forgotten-worker-0"]


def test_a_server_that_gives_no_connections_is_reported_with_its_reason(
    tomato_server_url: str, tomato_url: str, server: psycopg.Connection, caplog: pytest.LogCaptureFixture
) -> None:
    with connect(tomato_url, pool_size=1, timeout=1, application_name="refused") as db:
        db.organizations.create("made")  # so that a session is there, and none is being opened
        with refusing_connections(tomato_url):
            assert kill(server, "refused") == 1
            with pytest.raises(Unavailable):
                db.organizations.create("its session is dead")
            deadline = monotonic() + 60
            while "the pool of refused got no connection" not in caplog.text:
                assert monotonic() < deadline
                sleep(0.005)
            reason = f'allows it no more connections than [0-9]+: .*"{server.info.dbname}" is not currently accepting'
            with pytest.raises(Unavailable, match=reason):
                db._pool.checkout(timeout=0.1)


def test_a_pool_has_a_connection_at_least(tomato_url: str) -> None:
    with pytest.raises(InvalidValue, match=r"a pool.s size must be a whole number of 1 or more, not 0"):
        connect(tomato_url, pool_size=0)


def test_a_setting_that_libpq_refuses_is_reported(tomato_url: str) -> None:
    with pytest.raises(TomatoError, match="connect_timeout"):
        connect(make_conninfo(tomato_url, connect_timeout="abc"))


def test_values_of_the_longest_kind_are_refused_as_values(db: Database, world: World) -> None:
    with pytest.raises(InvalidValue):
        db.hosts.create("x", address="", rpcurl=os.urandom(20000).hex(), site_id=world.site.id)


def test_calls_that_follow_each_other_use_one_connection_so_that_the_others_can_go(tomato_url: str, tmp_path: Path) -> None:
    who = query(tmp_path, "select pg_backend_pid()")
    with connect(tomato_url, pool_size=3) as db:
        fill(db)
        assert len({run(db, who)[0] for _ in range(6)}) == 1


def test_a_refusal_that_is_over_is_not_told_any_more(tomato_url: str, server: psycopg.Connection) -> None:
    with connect(tomato_url, pool_size=2, timeout=20, application_name="refused") as db, ThreadPoolExecutor(1) as thread:
        db.organizations.create("made")
        with refusing_connections(tomato_url):
            kill(server, "refused")
            waiting = thread.submit(db.organizations.list)
            deadline = monotonic() + 60
            while not db._pool._name.refusal:
                assert monotonic() < deadline
                sleep(0.005)
        assert len(waiting.result(60)) == 1
        with db.connection(), pytest.raises(Unavailable, match=r"enlarge the pool or shorten the tasks$"):
            db._pool.checkout(timeout=0)


def test_a_connection_that_is_released_just_before_a_task_waits_is_not_overlooked(
    tomato_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with connect(tomato_url, pool_size=1) as db:
        held = db._pool.checkout()
        lock = db._pool._lock

        class ReleasesOnce:
            """The pool's lock; who leaves it first has seen that nothing is idle, and then the connection is released."""

            def __enter__(self) -> None:
                lock.acquire()

            def __exit__(self, *_: object) -> None:
                lock.release()
                monkeypatch.undo()
                db._pool.release(held)

        monkeypatch.setattr(db._pool, "_lock", ReleasesOnce())
        assert db._pool.checkout(timeout=5) is held
        db._pool.release(held)

"""The pool: who waits is served, nothing of one lease reaches the next, a fork and a lost pool leave nothing behind."""

import gc
import os
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from time import monotonic
from typing import Any

import psycopg
import pytest
from conftest import World
from psycopg import IsolationLevel
from psycopg.conninfo import make_conninfo
from psycopg.rows import dict_row

from tomato_dao import Database, InvalidValue, TomatoError, Unavailable, connect
from tomato_dao.pool import _Waiter

SESSIONS = "select count(*) from pg_stat_activity where datname = current_database() and application_name = %s"


def test_tasks_that_come_while_the_pool_grows_are_all_served(tomato_url: str) -> None:
    for _ in range(25):
        with connect(tomato_url, pool_size=4) as db, ThreadPoolExecutor(4) as threads, ExitStack() as leases:
            for future in [threads.submit(db._pool.lease) for _ in range(4)]:
                leases.callback(db._pool.give_back, future.result(10))


def test_a_connection_given_back_while_a_task_joins_the_queue_is_not_overlooked(tomato_url: str) -> None:
    with connect(tomato_url, pool_size=1, timeout=5) as db:
        held = [db._pool.lease()]

        class Queue(deque[_Waiter]):
            def append(self, waiter: _Waiter) -> None:
                db._pool.give_back(held.pop())
                super().append(waiter)

        db._pool._waiters = Queue()
        db._pool.give_back(db._pool.lease())
        assert held == []


def test_who_comes_first_is_served_first(tomato_url: str) -> None:
    with connect(tomato_url, pool_size=1) as db:
        held = db._pool.lease()
        served: list[int] = []

        def task(n: int) -> None:
            connection = db._pool.lease()
            served.append(n)
            db._pool.give_back(connection)

        threads = []
        for n in range(10):
            threads.append(threading.Thread(target=task, args=(n,)))
            threads[-1].start()
            while len(db._pool._waiters) <= n:
                pass
        db._pool.give_back(held)
        for thread in threads:
            thread.join()
    assert served == list(range(10))


def change_all(connection: Any) -> None:
    connection.row_factory = dict_row
    connection.autocommit = False
    connection.isolation_level = IsolationLevel.SERIALIZABLE
    connection.execute("set search_path to pg_catalog")
    connection.execute("set statement_timeout = 1")


def end_session(connection: Any) -> None:
    connection.autocommit = False
    connection.execute("select 1")
    with suppress(psycopg.OperationalError):
        connection.execute("select pg_terminate_backend(pg_backend_pid())")


@pytest.mark.parametrize("use", [change_all, end_session])
def test_what_the_escape_hatch_did_to_a_connection_does_not_reach_the_next_task(
    tomato_url: str, use: Callable[[Any], None]
) -> None:
    with connect(tomato_url, pool_size=1, timeout=5) as db:
        with db.connection() as connection:
            use(connection)
        for _ in range(3):
            assert db.organizations.list() == []
            with db.connection() as connection:
                assert connection.execute("show timezone").fetchone() == ("UTC",)
                assert connection.execute("show statement_timeout").fetchone() == ("1min",)


def test_a_transaction_begins_on_another_connection_where_one_is_dead(tomato_url: str, server: psycopg.Connection) -> None:
    with connect(tomato_url, pool_size=1, application_name="dead") as db:
        db.organizations.list()
        server.execute("select pg_terminate_backend(pid, 5000) from pg_stat_activity where application_name = 'dead'")
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


def test_a_database_that_is_forgotten_goes_away(tomato_url: str, server: psycopg.Connection) -> None:
    def use() -> None:
        connect(tomato_url, application_name="forgotten").organizations.list()

    use()
    deadline = monotonic() + 10
    while server.execute(SESSIONS, ["forgotten"]).fetchone() != (0,):
        assert monotonic() < deadline
        gc.collect()
    assert not [t for t in threading.enumerate() if t.name == "forgotten-worker-0"]


def test_a_server_that_gives_no_connections_is_told_with_its_reason(
    tomato_server_url: str, tomato_url: str, server: psycopg.Connection
) -> None:
    name = server.info.dbname
    with (
        psycopg.connect(make_conninfo(tomato_server_url, dbname="postgres"), autocommit=True) as admin,
        connect(tomato_url, pool_size=1, timeout=0.5, application_name="refused") as db,
    ):
        admin.execute(f'alter database "{name}" allow_connections false'.encode())
        try:
            admin.execute("select pg_terminate_backend(pid, 5000) from pg_stat_activity where application_name = 'refused'")
            with suppress(Unavailable):
                db.organizations.create("its session is dead")
            with pytest.raises(Unavailable, match=f'can\'t connect to .*"{name}" is not currently accepting connections'):
                db.organizations.create("there is no other")
        finally:
            admin.execute(f'alter database "{name}" allow_connections true'.encode())


def test_a_pool_has_a_connection_at_least(tomato_url: str) -> None:
    with pytest.raises(InvalidValue, match="at least one connection, not 0"):
        connect(tomato_url, pool_size=0)


def test_a_setting_that_libpq_does_not_take_is_told(tomato_url: str) -> None:
    with pytest.raises(TomatoError, match="connect_timeout"):
        connect(make_conninfo(tomato_url, connect_timeout="abc"))


def test_values_of_the_longest_kind_are_refused_as_values(db: Database, world: World) -> None:
    with pytest.raises(InvalidValue):
        db.hosts.create("x", address="", rpcurl=os.urandom(20000).hex(), site_id=world.site.id)

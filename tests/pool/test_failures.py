"""When things go wrong under load: sessions end, servers restart."""

import secrets
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg
import pytest

from tests.conftest import World
from tests.helpers.busy_cases import Load, assert_full_and_usable, assert_nothing_was_lost_or_done_twice
from tests.helpers.own_servers import start_anew
from tests.helpers.session_cases import BACKENDS
from tests.helpers.statement_cases import query, run
from tomato_dao import NotFound, connect
from tomato_dao.ops import embedded
from tomato_dao.ops.migrate import migrate

pytestmark = pytest.mark.slow


def test_sessions_that_end_under_load_cost_no_read_and_repeat_no_write(
    tomato_url: str, world: World, server: psycopg.Connection
) -> None:
    chance = secrets.SystemRandom()
    ended: set[int] = set()
    with connect(tomato_url, pool_size=8, application_name="load") as db:
        load = Load(db, world.host, world.user)
        for _ in range(80):
            load.progress(5)
            alive = [pid for (pid,) in server.execute("select pid " + BACKENDS, ["load"]) if pid not in ended]
            assert len(alive) <= 8
            for pid in chance.sample(alive, min(len(alive), chance.choice([1, 1, 1, 2]))):
                ended.add(pid)
                server.execute("select pg_terminate_backend(%s::int)", [pid])
        load.progress(100)
        works = load.stop()
        assert_nothing_was_lost_or_done_twice(works, server)
        assert any(work.refused for work in works)
        assert_full_and_usable(db, server, "load", 8)


def test_sessions_that_all_end_at_once_under_load_cost_no_read(
    tomato_url: str, world: World, server: psycopg.Connection
) -> None:
    with connect(tomato_url, pool_size=8, application_name="load") as db:
        load = Load(db, world.host, world.user)
        for _ in range(10):
            load.progress(50)
            server.execute("select pg_terminate_backend(pid) " + BACKENDS, ["load"])
        load.progress(100)
        assert_nothing_was_lost_or_done_twice(load.stop(), server)
        assert_full_and_usable(db, server, "load", 8)


def test_a_server_that_restarts_under_load_costs_no_read_and_repeats_no_write(tmp_path: Path) -> None:
    try:
        url = start_anew(tmp_path)
        migrate(url)
        with connect(url, pool_size=8, timeout=30, application_name="load") as db:
            organization = db.organizations.create("uni")
            site = db.sites.create("lab", organization_id=organization.id)
            host = db.hosts.create("host1", address="10.0.0.1", rpcurl="rpc://10.0.0.1", site_id=site.id)
            load = Load(db, host, db.users.create("alice", organization_id=organization.id))
            for _ in range(2):
                load.progress(50)
                assert embedded.stop(tmp_path)
                assert embedded.start(tmp_path) == url
            load.progress(100)
            works = load.stop()
            with psycopg.connect(url, autocommit=True) as server:
                assert_nothing_was_lost_or_done_twice(works, server)
                assert_full_and_usable(db, server, "load", 8)
    finally:
        embedded.remove(tmp_path)


def test_two_threads_never_share_a_connection(tomato_url: str, world: World, tmp_path: Path) -> None:
    who = query(tmp_path, "select pg_backend_pid()")
    inside: set[object] = set()
    seen: set[object] = set()
    guard = threading.Lock()

    def work(n: int) -> None:
        for _ in range(40):
            with db.transaction():
                (pid,) = run(db, who)
                with guard:
                    assert pid not in inside
                    inside.add(pid)
                    seen.add(pid)
                if n % 5 == 0:
                    with pytest.raises(NotFound), db.transaction():
                        db.hosts.get(n + 2**40)
                assert db.hosts.get_by_name("host1") == world.host
                assert run(db, who) == [pid]
                with guard:
                    inside.remove(pid)
            assert [host.id for host in db.hosts.list()] == [world.host.id]

    with connect(tomato_url, pool_size=4) as db, ThreadPoolExecutor(25) as threads:
        list(threads.map(work, range(25), timeout=60))
    assert len(seen) <= 4

"""A server that allows 20 connections: whatever runs at once, calls wait instead of failing, also through a restart."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import chain
from logging import WARNING
from pathlib import Path
from secrets import token_hex

import psycopg
import pytest

from tests.conftest import CHECKOUT
from tests.helpers.dao_cases import until
from tests.helpers.own_servers import start_anew
from tests.helpers.session_cases import fill
from tests.ops.test_commands import run as run_command
from tomato_dao import Unavailable, connect
from tomato_dao.ops import dbmate, embedded, migrate
from tomato_dao.ops.scratch import drop_database, scratch_database, with_database
from tomato_dao.server import schema

pytestmark = pytest.mark.slow

LIMIT, RESERVED = 20, 3
TIMEOUT = 30


@pytest.fixture(scope="module")
def limited(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Provide the data directory of a server that allows 20 connections."""
    directory = tmp_path_factory.mktemp("limited")
    try:
        with psycopg.connect(with_database(start_anew(directory), "postgres"), autocommit=True) as connection:
            connection.execute(f"alter system set max_connections = {LIMIT}".encode())
        embedded.stop(directory)
        embedded.start(directory)
        yield directory
    finally:
        embedded.remove(directory)


@pytest.fixture(scope="module")
def limited_template(limited: Path) -> str:
    """Provide the name of a migrated database on it, for a user without privileges of a superuser."""
    url = with_database(embedded.start(limited), "migrated")  # no scratch database, whose lock would end when the server does
    migrate.migrate(url)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("create role plain login")
        connection.execute("grant select, insert, update, delete on all tables in schema public to plain")
    return "migrated"


@pytest.fixture
def limited_url(limited: Path, limited_template: str) -> Iterator[str]:
    """Provide the URL of a copy of it."""
    with scratch_database(embedded.start(limited), template=limited_template) as url:
        yield url


def as_plain(url: str) -> str:
    """Return the same for a user whom no connection is reserved for."""
    return url + "&user=plain"


WORKER = """
import json, sys, threading, time
from concurrent.futures import ThreadPoolExecutor
from tomato_dao import TomatoError, connect

url, process, threads, calls, pool_size = sys.argv[1], *map(int, sys.argv[2:])
written, refused, failed, longest = [], [], [], [0.0] * threads

def work(thread):
    for n in range(calls):
        name = f"{process}-{thread}-{n}"
        began = time.monotonic()
        try:
            if n % 5 == 0:
                db.organizations.create(name)
                written.append(name)
            else:
                assert db.organizations.get_by_name("uni").name == "uni"
        except TomatoError as error:
            (refused if n % 5 == 0 else failed).append(name if n % 5 == 0 else str(error))
        longest[thread] = max(longest[thread], time.monotonic() - began)

with connect(url, pool_size=pool_size, timeout=30, application_name="worker") as db:
    print("ready", flush=True)
    sys.stdin.readline()
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(work, range(threads)))
    stats = db.stats()
print(json.dumps([written, refused, failed, max(longest), sum(query.calls for query in stats.queries.values())]))
"""


@dataclass
class Results:
    """Names that were written and names whose writing was refused, reads that failed, seconds of the longest call, calls
    that were counted."""

    written: list[str]
    refused: list[str]
    failed: list[str]
    longest: float
    counted: int


class Workers:
    """Processes that all work at once."""

    def __init__(self, url: str, *, processes: int, threads: int, calls: int, pool_size: int) -> None:
        numbers = [str(n) for n in (threads, calls, pool_size)]
        self._processes = [
            subprocess.Popen(
                [sys.executable, "-c", WORKER, url, str(n), *numbers], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
            )
            for n in range(processes)
        ]
        for process in self._processes:
            assert process.stdout
            assert process.stdout.readline() == "ready\n"

    def start(self) -> None:
        """Let them all begin."""
        for process in self._processes:
            assert process.stdin
            print(file=process.stdin, flush=True)

    def results(self) -> Results:
        """Return what they did, all together."""
        found = [json.loads(process.communicate(timeout=120)[0]) for process in self._processes]
        written, refused, failed, longest, counted = zip(*found, strict=True)
        return Results([*chain(*written)], [*chain(*refused)], [*chain(*failed)], max(longest), sum(counted))


@contextmanager
def watched(url: str) -> Iterator[Callable[[], int]]:
    """Return how many connections of clients the server had at most, as a superuser sees it all the while."""
    most, over = [0], threading.Event()
    with psycopg.connect(with_database(url, "postgres"), autocommit=True) as connection:

        def watch() -> None:
            # A session that is being refused shows up too, but without a user.
            sql = "select count(*) from pg_stat_activity where usename = 'plain'"
            while not over.wait(0.02):
                row = connection.execute(sql).fetchone()
                assert row
                most[0] = max(most[0], row[0])

        with ThreadPoolExecutor(1) as thread:
            watching = thread.submit(watch)
            try:
                yield lambda: most[0]
            finally:
                over.set()
            watching.result(60)


@pytest.mark.parametrize(("pool_size", "most"), [(4, 16), (8, LIMIT - RESERVED)], ids=["fitting", "too large"])
def test_400_threads_of_4_processes_never_fail_for_want_of_a_connection(limited_url: str, pool_size: int, most: int) -> None:
    with connect(limited_url, pool_size=1) as db:
        db.organizations.create("uni")
    calls = 50 if pool_size == 4 else 10
    workers = Workers(as_plain(limited_url), processes=4, threads=100, calls=calls, pool_size=pool_size)
    with watched(limited_url) as seen:
        workers.start()
        results = workers.results()
        assert 4 <= seen() <= most
    assert (results.refused, results.failed) == ([], [])
    assert len(results.written) == 4 * 100 * calls / 5
    assert results.counted == 4 * 100 * calls
    assert results.longest < TIMEOUT


def test_a_restart_costs_no_read_and_does_no_write_twice(limited: Path, limited_url: str) -> None:
    with connect(limited_url, pool_size=1) as db:
        db.organizations.create("uni")
    workers = Workers(as_plain(limited_url), processes=4, threads=100, calls=25, pool_size=4)
    workers.start()
    with psycopg.connect(limited_url, autocommit=True) as server:
        while server.execute("select count(*) > 200 from organizations").fetchone() != (True,):
            pass
    assert embedded.stop(limited)
    embedded.start(limited)
    results = workers.results()
    assert results.failed == []
    assert results.longest < TIMEOUT
    with psycopg.connect(limited_url) as server:
        stored = [name for (name,) in server.execute("select name from organizations where name <> 'uni'")]
    assert len(set(stored)) == len(stored)
    assert set(results.written) <= set(stored) <= {*results.written, *results.refused}


def test_every_write_after_a_restart_succeeds(limited: Path, limited_url: str) -> None:
    with connect(limited_url, pool_size=10) as db:
        fill(db)
        assert embedded.stop(limited)
        embedded.start(limited)
        for n in range(20):
            db.organizations.create(f"uni{n}")
        assert len(db.organizations.list()) == 20


@contextmanager
def full(url: str) -> Iterator[ExitStack]:
    """Provide the server has no connection left for who isn't a superuser; closing the stack frees them."""
    with ExitStack() as stack:
        while True:
            try:
                stack.enter_context(psycopg.connect(as_plain(url)))
            except psycopg.OperationalError:
                break
        yield stack


def test_connect_waits_for_a_server_at_its_limit(limited_url: str, caplog: pytest.LogCaptureFixture) -> None:
    told = threading.Event()
    with full(limited_url) as held, ThreadPoolExecutor(1) as thread, caplog.at_level(WARNING, "tomato_dao"):
        caplog.handler.addFilter(lambda _: (told.set(), True)[1])  # type: ignore[func-returns-value]
        opening = thread.submit(connect, as_plain(limited_url), pool_size=2, timeout=TIMEOUT)
        assert told.wait(60)
        assert not opening.done()
        held.close()
        with opening.result(60) as db:
            assert db.organizations.list() == []
    assert "(trying again for 30 s)" in caplog.text


def test_connect_gives_the_reason_after_its_timeout(limited_url: str) -> None:
    with full(limited_url), pytest.raises(Unavailable, match=r"can't connect to .*connection slots"):
        connect(as_plain(limited_url), timeout=0.2)


def test_a_call_that_cannot_wait_longer_learns_that_the_server_is_at_its_limit(limited_url: str) -> None:
    told = r"no connection free after 0.5 s: \d of at most 8 .*\(connection\(\): \d, for up to .*connection slots"

    def lease_all() -> None:
        for _ in range(8):
            leases.enter_context(db.connection())

    with ExitStack() as leases:
        db = leases.enter_context(connect(as_plain(limited_url), pool_size=8, timeout=0.5))
        leases.enter_context(full(limited_url))
        with pytest.raises(Unavailable, match=told):
            lease_all()


def test_a_pool_that_does_not_fit_is_reported_at_once(limited_url: str, caplog: pytest.LogCaptureFixture) -> None:
    with psycopg.connect(limited_url, autocommit=True) as server:
        until(server, "count(*) = 2 from pg_stat_activity where backend_type = 'client backend'")  # ended sessions are gone
        with caplog.at_level(WARNING, "tomato_dao"), connect(as_plain(limited_url), pool_size=14):
            pass  # of 13 it would fit: 15 are left, and locks and listeners take two
    assert caplog.messages == [
        "a pool of 14, with 2 more sessions for locks and for listeners, does not fit: "
        "the server allows 20 connections, reserves 3, and others hold 2, which leaves 15; "
        "make pools smaller or max_connections larger (bin/doctor says how)"
    ]


def test_the_doctor_prints_the_steps_at_the_limit(limited_url: str) -> None:
    with full(limited_url):
        done = run_command([str(CHECKOUT / "bin" / "doctor"), "--json", "--pool-size", "4"], limited_url)
        without = run_command([str(CHECKOUT / "bin" / "doctor")], as_plain(limited_url))
    assert done.returncode == without.returncode == 1
    found = {finding["topic"]: finding for finding in json.loads(done.stdout)["findings"]}
    connections = found["connections"]
    assert connections["level"] == "bad"
    assert connections["figures"]["processes_that_fit"] == 0
    assert any("alter system set max_connections = 50;" in line for line in connections["advice"])
    assert "no connection left" not in without.stderr
    assert "BAD   connections" in without.stdout
    assert "reserved connection" in without.stdout


def test_a_migration_waits_until_dbmate_gets_a_connection(
    limited_url: str, next_migration: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = threading.Event()
    monkeypatch.setattr(dbmate.logger, "warning", lambda *_: told.set())
    with ThreadPoolExecutor(1) as thread, ExitStack() as held:
        for _ in range(LIMIT - 2):  # beside that which holds the database, and the migration's own
            held.enter_context(psycopg.connect(limited_url))
        migrating = thread.submit(migrate.migrate, limited_url, TIMEOUT)
        assert told.wait(60)
        held.close()
        assert migrating.result(60) == [schema.known()[-1]]


STARTER = """
import os, sys, traceback
from tomato_dao import connect
from tomato_dao.ops import migrate

def start():
    with connect(sys.argv[1], pool_size=1, migrate=True) as db:
        return db.organizations.list() == []

children = []
for _ in range(20):
    child = os.fork()
    if not child:
        done = False
        try:
            done = start()
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(0 if done else 1)
    children.append(child)
print([os.waitpid(child, 0)[1] for child in children])
"""


def test_20_processes_that_start_at_once_without_a_database_all_work(limited: Path, tmp_path: Path) -> None:
    counting = tmp_path / "dbmate"
    counting.write_text(f'#!/bin/sh\necho "$@" >> "{tmp_path}/runs"\nexec "{dbmate.program()}" "$@"\n')
    counting.chmod(0o700)
    url = with_database(embedded.start(limited), f"started_{token_hex(4)}")  # which is not there
    try:
        command = [sys.executable, "-c", STARTER, url]
        environment = {**os.environ, "DBMATE": str(counting)}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)
        assert done.stdout == f"{[0] * 20}\n", done.stderr
        runs = (tmp_path / "runs").read_text().splitlines()
        assert len([run for run in runs if "pg_temp" not in run]) == 1
        with psycopg.connect(url) as connection:
            assert schema.applied(connection) == schema.known()
    finally:
        drop_database(url)

"""When things go wrong under load: sessions and servers end, layouts change, calls are interrupted, databases are closed."""

import secrets
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from logging import INFO, WARNING
from pathlib import Path
from time import monotonic

import psycopg
import pytest
from conftest import World
from dao_cases import until
from test_database import BACKENDS, blocked, names
from test_statements import query, run

from tomato_dao import Database, InvalidValue, NotFound, Unavailable, connect
from tomato_dao.ops import embedded
from tomato_dao.ops.migrate import migrate
from tomato_dao.ops.scratch import scratch_database
from tomato_dao.rows import Host, User

NEW_YEAR = datetime(2020, 1, 1, tzinfo=UTC)
ROUNDS = 5000  # that a thread of a load works at most


@pytest.fixture(params=[True, False], ids=["prepared", "as it is"])
def prepare(request: pytest.FixtureRequest) -> bool:
    """Whether statements are prepared, or sent as they are."""
    return bool(request.param)


@pytest.fixture(scope="module")
def lasting_url(tomato_server_url: str) -> Iterator[str]:
    """The URL of a database for all tests that leave nothing behind."""
    with scratch_database(tomato_server_url) as url:
        yield url


# Load: threads that read and write while something goes wrong.


@dataclass
class Work:
    """What one thread did: names that were written, names whose writing was refused, and how often it read."""

    written: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    reads: int = 0


class Load:
    """25 threads that read and write until `stop`."""

    def __init__(self, db: Database, host: Host, owner: User) -> None:
        self._db, self._host, self._owner = db, host, owner
        self._enough = threading.Event()
        self._rounds = threading.Semaphore(0)
        self._threads = ThreadPoolExecutor(25)
        self._works: list[Future[Work]] = [self._threads.submit(self._work, n) for n in range(25)]

    def progress(self, rounds: int) -> None:
        """Wait until they have gone so many rounds more."""
        for _ in range(rounds):
            if not self._rounds.acquire(timeout=20):
                self.stop()
                pytest.fail("the load stands still")

    def stop(self) -> list[Work]:
        """What each thread did. Raises what a read raised, AssertionError where it gave a wrong row."""
        self._enough.set()
        self._threads.shutdown()
        return [work.result(1) for work in self._works]

    def _work(self, thread: int) -> Work:
        work = Work()
        for n in range(ROUNDS):
            if self._enough.is_set():
                break
            self._write(work, [f"{thread}-{n}"])
            if n % 3 == 0:
                self._write(work, [f"{thread}-{n}-a", f"{thread}-{n}-b"])
            assert self._db.hosts.get(self._host.id) == self._host
            assert self._db.users.get_by_name("alice", "") == self._owner
            assert [host.id for host in self._db.hosts.list()] == [self._host.id]
            with pytest.raises(NotFound, match=f"'{thread}-{n}'"):
                self._db.sites.get_by_name(f"{thread}-{n}")
            work.reads += 4
            self._rounds.release()
        return work

    def _write(self, work: Work, names: Sequence[str]) -> None:
        """One statement, or a transaction of several."""
        try:
            with ExitStack() as stack:
                if len(names) > 1:
                    stack.enter_context(self._db.transaction())
                made = [self._db.topologies.create(name, owner_id=self._owner.id, attrs={"n": name}) for name in names]
        except Unavailable:
            work.refused += names
        else:
            work.written += names
            for topology in made:
                assert self._db.topologies.get(topology.id) == topology
            work.reads += len(made)


def assert_nothing_was_lost_or_done_twice(works: Sequence[Work], server: psycopg.Connection) -> None:
    written = {name for work in works for name in work.written}
    refused = {name for work in works for name in work.refused}
    rows = server.execute("select t.name, count(*), t.attrs ->> 'n' from topologies t group by 1, 3").fetchall()
    stored = {name for name, _, _ in rows}
    assert [row for row in rows if row[1] != 1 or row[0] != row[2]] == []
    assert len(rows) == len(stored) <= len(written) + len(refused)
    assert written <= stored <= written | refused
    assert [name for name in refused if name.endswith("-a") and (name in stored) != (f"{name[:-1]}b" in stored)] == []
    owners = server.execute("select count(*), count(distinct p.topology_id) from topology_permissions p").fetchone()
    assert owners == (len(rows), len(rows))
    assert sum(work.reads for work in works) > 0


def assert_full_and_usable(db: Database, server: psycopg.Connection, name: str, size: int) -> None:
    """So many calls run at once, and so many connections can be leased at once."""
    with ThreadPoolExecutor(size) as threads:
        with server.transaction():
            server.execute("lock table organizations")
            calls = [threads.submit(names, db) for _ in range(size)]
            until(server, *blocked(name, size))
        assert [call.result(10) for call in calls] == [["uni"]] * size
    with ExitStack() as leases:
        connections = [leases.enter_context(db.connection()) for _ in range(size)]
        pids = {row[0] for c in connections for row in c.execute("select pg_backend_pid()")}
    found = {row[0] for row in server.execute("select pid " + BACKENDS, [name])}
    assert len(pids) == size
    assert pids == found


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
                server.execute("select pg_terminate_backend(%s)", [pid])
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
        url = embedded.start(tmp_path)
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
        list(threads.map(work, range(25), timeout=30))
    assert len(seen) <= 4


# Layouts that change.

ALTERATIONS = [
    "alter table hosts alter column component_errors type int8",
    "alter table hosts alter column description_text type varchar(100)",
    "alter table hosts alter column description_text type varchar(200)",
    "alter table hosts alter column description_text type text",
    "alter table hosts alter column component_errors type int4 using component_errors & 65535",
    "alter table hosts alter column component_errors type int8",
]


def test_rows_stay_right_while_a_columns_type_changes_under_load(
    tomato_url: str, world: World, server: psycopg.Connection, tmp_path: Path, prepare: bool
) -> None:
    wide, enough, rounds = threading.Event(), threading.Event(), threading.Semaphore(0)
    columns = "component_errors, name"
    count = query(tmp_path, f"update hosts set component_errors = :n where name = :name returning {columns}", "n, name")
    find = query(tmp_path, f"select {columns} from hosts where component_errors = :n and name = :name", "n, name")

    def work(thread: int) -> int:
        name = f"host-{thread}"
        db.hosts.create(name, address="", rpcurl=name, site_id=world.site.id)
        for n in range(1, ROUNDS):
            if enough.is_set():
                return n
            errors = n + (2**40 if wide.is_set() else 0)
            updated = db.hosts.update(name, {"component_errors": n, "description_text": f"{n}" * 5})
            assert (updated.component_errors, updated.description_text) == (n, f"{n}" * 5)
            assert db.hosts.get_by_name(name) == updated
            assert (name, n) in [(host.name, host.component_errors) for host in db.hosts.list()]
            assert run(db, count, errors, name) == [(errors, name)]
            assert run(db, find, errors, name) == [(errors, name)]
            assert db.hosts.get_by_name(name).component_errors == errors
            rounds.release()
        return ROUNDS

    def progress() -> None:
        for _ in range(40):
            assert rounds.acquire(timeout=1 if any(call.done() for call in calls) else 5), "the load stands still"

    count, find = (query(tmp_path, q.sql.replace("$1", ":n").replace("$2", ":name"), "n, name") for q in (count, find))
    with connect(tomato_url, pool_size=8, prepare=prepare) as db, ThreadPoolExecutor(8) as threads:
        calls = [threads.submit(work, thread) for thread in range(8)]
        try:
            for alteration in ALTERATIONS:
                progress()
                server.execute(alteration)
            wide.set()
            progress()
        finally:
            enough.set()
            assert min(call.result(20) for call in calls) > 1


def test_a_row_is_right_after_its_columns_type_changed(
    tomato_url: str, server: psycopg.Connection, tmp_path: Path, prepare: bool
) -> None:
    server.execute("create table t as select 1 as id, 5 as v")
    read = query(tmp_path, "select v, id from t where id = :id", "id")
    with connect(tomato_url, pool_size=2, prepare=prepare) as db, db.connection(), ThreadPoolExecutor(1) as other:
        for type_, text, value in [
            ("int4", "5", 5),
            ("int8", "5", 5),
            ("int8", "1099511627776", 2**40),
            ("text", "ü", "ü"),
            ("numeric", "0.5", Decimal("0.5")),
            ("float8", "0.5", 0.5),
            ("int4", "7", 7),
            ("timestamptz", "2020-01-01 00:00:00+00", NEW_YEAR),
            ("jsonb", '{"a": 1}', {"a": 1}),
            ("text[]", "{a,null}", ["a", None]),
        ]:
            server.execute(f"alter table t alter column v type {type_} using '{text}'::{type_}")
            assert run(db, read, 1) == [(value, 1)]
            assert other.submit(run, db, read, 1).result(10) == [(value, 1)]


def test_a_widened_column_takes_wider_values_at_once(
    tomato_url: str, server: psycopg.Connection, tmp_path: Path, prepare: bool
) -> None:
    server.execute("create table t (v int4)")
    write = query(tmp_path, "insert into t (v) values (:v) returning v", "v")
    with connect(tomato_url, pool_size=1, prepare=prepare) as db:
        assert run(db, write, 5) == [5]
        with pytest.raises(InvalidValue):
            run(db, write, 2**40)
        server.execute("alter table t alter column v type int8")
        assert run(db, write, 2**40) == [2**40]
        with db.transaction():
            assert run(db, write, 2**41) == [2**41]
        server.execute("alter table t alter column v type text")
        assert run(db, write, "a") == ["a"]


def test_a_column_of_another_kind_takes_its_values_at_once(
    tomato_url: str, server: psycopg.Connection, tmp_path: Path, prepare: bool
) -> None:
    server.execute("create table t (v text)")
    write = query(tmp_path, "insert into t (v) values (:v) returning v", "v")
    with connect(tomato_url, pool_size=1, prepare=prepare) as db:
        assert run(db, write, "a") == ["a"]
        server.execute("alter table t alter column v type jsonb using to_jsonb(v)")
        assert run(db, write, "b") == ["b"]
        assert run(db, write, ["b"]) == [["b"]]


def test_a_statement_of_a_type_that_was_made_anew_works(
    tomato_url: str, server: psycopg.Connection, tmp_path: Path, prepare: bool
) -> None:
    server.execute("create type mood as enum ('sad')")
    server.execute("create table t (v mood)")
    write = query(tmp_path, "insert into t (v) values (:v) returning v", "v")
    with connect(tomato_url, pool_size=1, prepare=prepare) as db:
        assert run(db, write, "sad") == ["sad"]
        server.execute("create type feeling as enum ('sad', 'happy')")
        server.execute("alter table t alter column v type feeling using v::text::feeling")
        server.execute("drop type mood")
        assert run(db, write, "happy") == ["happy"]


def test_refused_values_leave_no_statements_behind(lasting_url: str) -> None:
    with connect(lasting_url, pool_size=1) as db:
        for n in range(20):
            with pytest.raises(InvalidValue):
                db.hosts.get(2**63 + n)
        with db.connection() as connection:
            found = connection.execute("select count(*) from pg_prepared_statements where name like 'hosts.get:%'").fetchone()
    assert found == (1,)


# Ctrl-C.

INTERRUPTED = """
import signal, sys, threading
from time import monotonic, sleep
import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from tomato_dao import connect

signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored, where a shell runs the tests in the background
url, how = sys.argv[1:]
db = connect(url, pool_size=1, application_name="interrupted")
db.hosts.get_by_name("host1")
allow = "alter database " + conninfo_to_dict(url)["dbname"] + " allow_connections {}"
leased, over = threading.Event(), threading.Event()

def waits():
    if how in ("pool", "server"):
        return len(db._pool._waiters) == 1
    sql = "select exists (select from pg_stat_activity where application_name = 'interrupted' and wait_event_type = 'Lock')"
    return watcher.execute(sql).fetchone() == (True,)

def watch():
    while not waits() and not over.wait(0.005):
        pass
    print("waiting", flush=True)

def lease():
    with db.connection():
        leased.set()
        over.wait(20)

if how == "pool":
    threading.Thread(target=lease).start()
    leased.wait(10)
elif how == "server":
    watcher = psycopg.connect(make_conninfo(url, dbname="postgres"), autocommit=True)
    watcher.execute(allow.format("false"))
    watcher.execute("select pg_terminate_backend(pid, 5000) from pg_stat_activity where application_name = 'interrupted'")
else:
    watcher = psycopg.connect(url, autocommit=True)
threading.Thread(target=watch, daemon=True).start()
try:
    if how == "transaction":
        with db.transaction():
            db.organizations.update("uni", {"description": "lost"})
            db.hosts.update("host1", {"address": "lost"})
    elif how == "server":
        db.hosts.list()
    else:
        db.hosts.update("host1", {"address": "lost"})
    print("not interrupted")
except KeyboardInterrupt:
    print(monotonic(), flush=True)
over.set()
if how == "server":
    watcher.execute(allow.format("true"))
with db.transaction():
    print(db.organizations.update("uni", {"description_text": "after"}).description, flush=True)
print(db.hosts.get_by_name("host1").address, flush=True)
sys.stdin.read()
db.close()
"""


@pytest.mark.parametrize("how", ["call", "transaction", "pool", "server"])
def test_an_interrupt_ends_a_call_that_waits_and_nothing_else(
    tomato_url: str, world: World, server: psycopg.Connection, how: str
) -> None:
    command = [sys.executable, "-c", INTERRUPTED, tomato_url, how]
    with (
        server.transaction(),
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process,
    ):
        assert process.stdin
        assert process.stdout
        guard = threading.Timer(10, process.kill)
        guard.start()
        try:
            server.execute("select from hosts for update")
            assert process.stdout.readline() == "waiting\n"
            sent = monotonic()
            process.send_signal(signal.SIGINT)
            took = float(process.stdout.readline()) - sent
            print(f"KeyboardInterrupt after {took:.3f} s")
            assert [process.stdout.readline() for _ in range(2)] == ["\n", "10.0.0.1\n"]
            until(server, "(select array_agg(state) " + BACKENDS + ") = '{idle}'", "interrupted")
            process.stdin.close()
            assert process.wait(10) == 0
        finally:
            guard.cancel()
            process.kill()
    assert took < 1


# Closing.


@pytest.mark.parametrize("within", ["a call", "a transaction"])
def test_closing_cancels_what_runs_after_a_grace(
    tomato_url: str, world: World, server: psycopg.Connection, within: str, prepare: bool
) -> None:
    db = connect(tomato_url, application_name="closing", prepare=prepare)

    def update() -> None:
        with ExitStack() as stack:
            if within == "a transaction":
                stack.enter_context(db.transaction())
                db.organizations.update("uni", {"description": "lost"})
            db.hosts.update("host1", {"address": "lost"})

    with ThreadPoolExecutor(3) as threads, server.transaction():
        server.execute("select from hosts for update")
        calls = [threads.submit(update) for _ in range(1 if within == "a transaction" else 3)]
        until(server, *blocked("closing", len(calls)))
        began = monotonic()
        db.close(grace=0.2)
        took = monotonic() - began
        for call in calls:
            with pytest.raises(Unavailable):
                call.result(2)
        until(server, "not exists (select " + BACKENDS + ")", "closing")
    assert 0.2 <= took < 2
    with pytest.raises(Unavailable, match="closed"):
        db.hosts.list()
    assert server.execute("select h.address, o.description from hosts h, organizations o").fetchone() == ("10.0.0.1", "")


def test_closing_lets_what_runs_end_within_the_grace(tomato_url: str, world: World, server: psycopg.Connection) -> None:
    db = connect(tomato_url, application_name="closing")
    with ThreadPoolExecutor(2) as threads:
        with server.transaction():
            server.execute("select from hosts for update")
            call = threads.submit(db.hosts.update, "host1", {"address": "10.0.0.2"})
            until(server, *blocked("closing"))
            closing = threads.submit(db.close, grace=10)
            assert db._pool._closed.wait(5)
            with pytest.raises(Unavailable, match="closed"):
                db.hosts.list()
        assert call.result(5).address == "10.0.0.2"
        closing.result(5)
    until(server, "not exists (select " + BACKENDS + ")", "closing")


def test_closing_is_immediate_where_nothing_runs(tomato_url: str, server: psycopg.Connection) -> None:
    db = connect(tomato_url, pool_size=8, application_name="closing")
    with ExitStack() as leases:
        for _ in range(8):
            leases.enter_context(db.connection())
    until(server, "(select count(*) " + BACKENDS + ") = 8", "closing")
    began = monotonic()
    db.close()
    assert monotonic() - began < 0.5
    until(server, "not exists (select " + BACKENDS + ")", "closing")
    for call in (db.hosts.list, db.transaction().__enter__, db.connection().__enter__):
        with pytest.raises(Unavailable, match="closed"):
            call()


def test_closing_ends_a_transaction_that_idles(tomato_url: str, server: psycopg.Connection) -> None:
    db = connect(tomato_url, application_name="closing")

    def go_on() -> None:
        with db.transaction():
            db.organizations.create("lost")
            with ThreadPoolExecutor(1) as thread:
                thread.submit(db.close, grace=0.2).result(5)
            db.organizations.create("late")

    with pytest.raises(Unavailable):
        go_on()
    until(server, "not exists (select " + BACKENDS + ")", "closing")
    assert server.execute("select name from organizations").fetchall() == []


# Notices.


def test_notices_reach_the_log(
    tomato_url: str, server: psycopg.Connection, tmp_path: Path, caplog: pytest.LogCaptureFixture, prepare: bool
) -> None:
    server.execute(
        """
        create function talk(n int) returns int language plpgsql as
        $$ begin raise notice 'noticed %', n; raise warning 'warned %', n; raise debug 'unheard'; return n; end $$
        """
    )
    talk = query(tmp_path, "select talk(:n)", "n")
    with connect(tomato_url, prepare=prepare) as db, caplog.at_level(INFO, "tomato_dao"):
        assert run(db, talk, 5) == [5]
        with db.transaction():
            assert run(db, talk, 6) == [6]
    assert caplog.record_tuples == [
        ("tomato_dao", level, f"{kind}: {said} {n}")
        for n in (5, 6)
        for level, kind, said in ((INFO, "NOTICE", "noticed"), (WARNING, "WARNING", "warned"))
    ]

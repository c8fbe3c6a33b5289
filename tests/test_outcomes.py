"""Outcomes of transactions whose COMMIT was sent and never answered."""

import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.helpers.async_bridge import bridged
from tests.helpers.dao_cases import until
from tests.helpers.hanging_cases import stopped
from tests.helpers.own_servers import start_anew
from tests.helpers.read_only_cases import admit, hosts, set_read_only, stored, turn_read_only
from tests.helpers.session_cases import commits_waiting, names
from tomato_dao import Database, NotFound, OutcomeUnknown, Unavailable, connect
from tomato_dao.ops import embedded
from tomato_dao.ops.databases import create_database
from tomato_dao.ops.migrate import migrate
from tomato_dao.ops.scratch import with_database
from tomato_dao.server.commits import server_of, was_committed

pytestmark = pytest.mark.slow
COMMITTING = "exists (select from pg_stat_activity where datname = current_database() and wait_event = 'SyncRep')"
COMMITTING_QUERY = b"select query from pg_stat_activity where datname = current_database() and wait_event = 'SyncRep'"
WAITING = "exists (select from pg_stat_activity where datname = current_database() and wait_event = 'advisory')"
END = b"select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()"
SLOW_COMMIT = """
create function wait_at_commit() returns trigger language plpgsql as $$
begin perform pg_advisory_xact_lock(1); return null; end $$;
create constraint trigger waits after insert on organizations deferrable initially deferred
for each row execute function wait_at_commit()
"""


@pytest.fixture
def watcher(durable_url: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(durable_url, autocommit=True, options="-c synchronous_commit=local") as connection:
        yield connection


@pytest.fixture
def commits_wait(watcher: psycopg.Connection) -> Iterator[None]:
    """Let all commits of the server wait for a standby that is not there."""
    with commits_waiting(watcher):
        yield


@pytest.fixture
def writer(durable_url: str) -> Iterator[Database]:
    with closing(connect(durable_url, pool_size=1, application_name="writer")) as db:
        yield db


def create_alone(db: Database) -> None:
    db.organizations.create("uni")


def create(db: Database) -> None:
    with db.transaction():
        db.organizations.create("uni")


def test_a_commit_whose_answer_was_lost_is_found_out(writer: Database, watcher: psycopg.Connection, commits_wait: None) -> None:
    with ThreadPoolExecutor(1) as threads:
        call = threads.submit(create, writer)
        until(watcher, COMMITTING)
        watcher.execute(END)
        call.result(10)  # it was committed, and nothing is raised
    assert names(writer) == ["uni"]


@pytest.fixture(params=[connect, bridged], ids=["threads", "asyncio"])
def asking(durable_url: str, request: pytest.FixtureRequest) -> Iterator[Database]:
    """Provide a Database that asks for the ids of its writes."""
    with request.param(durable_url, pool_size=1, application_name="writer", tokens=True) as db:
        yield db


@pytest.mark.usefixtures("commits_wait")
def test_a_write_whose_answer_was_lost_is_found_out(asking: Database, watcher: psycopg.Connection) -> None:
    with ThreadPoolExecutor(1) as threads:
        call = threads.submit(asking.organizations.create, "uni")
        until(watcher, COMMITTING)
        assert "/* organizations.create */" in str(watcher.execute(COMMITTING_QUERY).fetchone())
        watcher.execute(END)
        assert call.result(10).name == "uni"
    assert names(asking) == ["uni"]
    assert asking.token(own=True) <= asking.token()


@pytest.fixture
def beside(watcher: psycopg.Connection, tmp_path: Path) -> Iterator[str]:
    """Provide the URL of another server's empty database of the same name."""
    try:
        there = with_database(start_anew(tmp_path / "beside"), watcher.info.dbname)
        create_database(there)
        migrate(there)
        admit(there, watcher)
        yield there
    finally:
        embedded.remove(tmp_path / "beside")


@pytest.mark.parametrize("connect_", [connect, bridged], ids=["threads", "asyncio"])
def test_a_write_that_went_to_another_server_and_whose_answer_was_lost_is_found_out(
    durable_url: str, beside: str, watcher: psycopg.Connection, commits_wait: None, connect_: Callable[..., Any]
) -> None:
    with connect_(hosts((beside, durable_url)), pool_size=1) as db, ThreadPoolExecutor(1) as threads:
        turn_read_only(beside, db)
        call = threads.submit(db.organizations.create, "uni")
        until(watcher, COMMITTING)
        watcher.execute(END)
        assert call.result(10).name == "uni"
        assert (stored(beside), stored(durable_url)) == (set(), {"uni"})


def test_a_commit_whose_server_turned_read_only_before_it_answered_is_found_out(
    durable_url: str, beside: str, watcher: psycopg.Connection, commits_wait: None
) -> None:
    with connect(hosts((durable_url, beside), like=durable_url), pool_size=1) as db, ThreadPoolExecutor(1) as threads:
        call = threads.submit(create, db)
        until(watcher, COMMITTING)
        set_read_only(durable_url, "on")
        try:
            until(watcher, "current_setting('default_transaction_read_only') = 'on'")
            watcher.execute(END)
            call.result(10)  # it was committed, and nothing is raised
        finally:
            set_read_only(durable_url, None)
        assert (stored(beside), stored(durable_url)) == (set(), {"uni"})


@pytest.mark.usefixtures("commits_wait")
def test_a_write_whose_answer_was_lost_and_whose_id_is_not_known_is_unknown(
    writer: Database, watcher: psycopg.Connection
) -> None:
    with ThreadPoolExecutor(1) as threads:
        call = threads.submit(writer.organizations.create, "uni")
        until(watcher, COMMITTING)
        watcher.execute(END)
        error = call.exception(10)
    assert isinstance(error, OutcomeUnknown)
    assert isinstance(error.__cause__ or error.__context__, psycopg.OperationalError)
    assert names(writer) == ["uni"]


def test_a_write_that_was_ended_in_its_commit_is_told_as_rolled_back(asking: Database, watcher: psycopg.Connection) -> None:
    watcher.execute(SLOW_COMMIT)
    with ThreadPoolExecutor(1) as threads, watcher.transaction():
        watcher.execute("select pg_advisory_xact_lock(1)")
        call = threads.submit(asking.organizations.create, "uni")
        until(watcher, WAITING)
        watcher.execute(END)
        error = call.exception(10)
    assert type(error) is Unavailable
    assert names(asking) == []


@pytest.mark.usefixtures("commits_wait")
def test_a_query_by_hand_whose_answer_was_lost_is_found_out(durable_url: str, watcher: psycopg.Connection) -> None:
    command = [sys.executable, "-m", "tomato_dao", "query", "--write", "key_values.set", "key=a", "value=1"]
    with subprocess.Popen(
        command, env={"DATABASE_URL": durable_url, "PATH": ""}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as query:
        until(watcher, COMMITTING)
        watcher.execute(END)
        out, said = query.communicate(timeout=30)
    assert (query.returncode, said) == (0, "")
    assert out
    assert watcher.execute("select key from key_values").fetchall() == [("a",)]


@pytest.mark.parametrize("tokens", [True, False])
def test_a_write_that_the_server_has_ended_has_done_nothing(
    durable_url: str, watcher: psycopg.Connection, tokens: bool
) -> None:
    with (
        connect(durable_url, pool_size=1, application_name="writer", tokens=tokens) as db,
        ThreadPoolExecutor(1) as threads,
        watcher.transaction(),
    ):
        watcher.execute("lock table organizations in exclusive mode")
        call = threads.submit(db.organizations.create, "uni")
        until(watcher, "exists (select from pg_locks where not granted)")
        watcher.execute(END)
        error = call.exception(10)
        assert type(error) is Unavailable
        assert "terminating connection" in str(error)


@pytest.mark.parametrize("tokens", [True, False])
@pytest.mark.parametrize("write", [create_alone, create], ids=["write", "transaction"])
def test_what_is_refused_in_its_commit_is_an_error_and_no_more(
    durable_url: str, watcher: psycopg.Connection, write: Callable[[Database], None], tokens: bool
) -> None:
    watcher.execute("alter table organizations add parent text references organizations (name) initially deferred")
    watcher.execute("alter table organizations alter parent set default 'nobody'")
    with connect(durable_url, pool_size=1, tokens=tokens) as db:
        db.organizations.list()
        (session,) = db._pool._all
        for _ in range(2):
            with pytest.raises(NotFound):
                write(db)
        watcher.execute("alter table organizations alter parent drop default")
        write(db)
        assert names(db) == ["uni"]
        assert [*db._pool._all] == [session]


@pytest.mark.usefixtures("commits_wait")
def test_a_deadline_at_a_write_that_waits_for_a_standby_tells_the_truth(asking: Database) -> None:
    """In its commit the wait is cancelled, and it is committed. A busy machine may not come as far at first."""
    for seconds in (1, 5, 20):
        try:
            with asking.timeout(seconds):
                assert asking.organizations.create("uni").name == "uni"
            break
        except Unavailable:
            assert names(asking) == []
    assert names(asking) == ["uni"]


def test_a_deadline_at_a_write_that_waits_for_a_lock_rolls_it_back(asking: Database, watcher: psycopg.Connection) -> None:
    with watcher.transaction():
        watcher.execute("lock table organizations in exclusive mode")
        with asking.timeout(0.5), pytest.raises(Unavailable, match="the call was cancelled") as error:
            asking.organizations.create("uni")
    assert type(error.value) is Unavailable
    assert names(asking) == []


def test_a_deadline_after_the_commit_of_a_write_is_not_told_as_its_failure(
    asking: Database, watcher: psycopg.Connection
) -> None:
    """The server stops once it has committed, while it is asked for the position."""
    names(asking)
    (session,) = asking._pool._all
    session.position_query = b"select pg_sleep(60)"

    def write() -> str:
        with asking.timeout(10):
            return asking.organizations.create("uni").name

    with ThreadPoolExecutor(1) as threads:
        call = threads.submit(write)
        until(watcher, "exists (select from pg_stat_activity where datname = current_database() and wait_event = 'PgSleep')")
        with stopped(watcher, "writer"):
            assert call.result(60) == "uni"
    assert names(asking) == ["uni"]


def test_a_transaction_that_was_ended_in_its_commit_is_reported_as_rolled_back(
    writer: Database, watcher: psycopg.Connection
) -> None:
    watcher.execute(SLOW_COMMIT)
    with ThreadPoolExecutor(1) as threads, watcher.transaction():
        watcher.execute("select pg_advisory_xact_lock(1)")
        call = threads.submit(create, writer)
        until(watcher, WAITING)
        watcher.execute(END)
        error = call.exception(10)
    assert type(error) is Unavailable
    assert names(writer) == []


def test_a_commit_that_is_in_progress_at_the_deadline_is_unknown_and_never_repeated(
    writer: Database, watcher: psycopg.Connection, commits_wait: None
) -> None:
    tries = []

    def work() -> None:
        tries.append(1)
        writer.organizations.create("uni")

    def run() -> None:
        with writer.timeout(1):
            writer.run(work)

    with ThreadPoolExecutor(1) as threads:
        call = threads.submit(run)
        until(watcher, COMMITTING)
        with stopped(watcher, "writer"):
            error = call.exception(10)
    assert isinstance(error, OutcomeUnknown)
    assert re.search("still in progress|no answer within", str(error))  # as fast as the machine is
    assert "select pg_xact_status('" in str(error)
    assert tries == [1]


def test_a_transaction_whose_id_the_server_does_not_know_was_not_carried_out(
    durable_url: str, watcher: psycopg.Connection
) -> None:
    """As after a crash that has lost the commit, and with it the id."""
    usual = 5  # ids below 3 are reserved, in each epoch
    assert was_committed(durable_url, server_of(watcher), 2**62 + usual, timeout=5) is False


def test_a_deadline_at_a_commit_that_waits_for_a_standby_reports_the_outcome(
    writer: Database, watcher: psycopg.Connection, commits_wait: None
) -> None:
    """The wait is cancelled, and it is committed. A busy machine may not come as far at first."""
    for seconds in (1, 5, 20):
        try:
            with writer.timeout(seconds):
                create(writer)
            break
        except Unavailable:
            assert names(writer) == []
    assert names(writer) == ["uni"]


def test_an_interrupt_as_soon_as_a_commit_is_sent_is_not_told_as_a_rollback(writer: Database) -> None:
    class Interrupted:
        """A connection of libpq at which an interrupt arrives with the commit's last byte."""

        def __init__(self, pgconn: Any) -> None:
            self._pgconn = pgconn

        def pipeline_sync(self) -> None:
            self._pgconn.pipeline_sync()
            raise KeyboardInterrupt

        def __getattr__(self, name: str) -> Any:
            return getattr(self._pgconn, name)

    def interrupted() -> None:
        with writer.transaction():
            writer.organizations.create("uni")
            connection: Any = writer._pool.local.connection
            connection.pgconn = Interrupted(connection.pgconn)

    with pytest.raises(KeyboardInterrupt) as stopped:
        interrupted()
    assert "may or may not have been carried out" in " ".join(stopped.value.__notes__)

"""Reads on a standby: never stale, by the primary where the standby is not so far, and again by the standby when it is.

Each test is run with threads' Database, and with asyncio's by the bridge.
"""

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest

from tests.fixtures.loops import Run
from tests.helpers.async_bridge import bridged
from tests.helpers.standby_cases import Pair, primary_and_standby, until
from tomato_dao import Database, InvalidValue, WrongState, connect, connect_async
from tomato_dao.ops.databases import create_database
from tomato_dao.ops.migrate import migrate
from tomato_dao.rows import Organization
from tomato_dao.server.positions import Position

pytestmark = pytest.mark.slow
NAME = "tomato"


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    """Provide a primary and its standby, with a migrated database."""
    with primary_and_standby(tmp_path_factory.mktemp("primary")) as pair:
        create_database(pair.primary.url(NAME))
        migrate(pair.primary.url(NAME))
        pair.caught_up()
        yield pair


@pytest.fixture(params=[connect, bridged], ids=["threads", "asyncio"])
def db(pair: Pair, request: pytest.FixtureRequest) -> Iterator[Database]:
    """Provide a Database with the standby as its replica."""
    with request.param(pair.primary.url(NAME), pool_size=2, replicas=[pair.standby.url(NAME)]) as db:
        yield db
        for organization in db.organizations.list(limit=1000):
            db.organizations.delete(organization.name)


def served(db: Database) -> tuple[int, int]:
    return db.reads_served()


@pytest.fixture
def halted(pair: Pair) -> Iterator[None]:
    """Let the standby replay nothing meanwhile."""
    pair.standby.ask("select pg_wal_replay_pause()")
    until(lambda: pair.standby.ask("select pg_get_wal_replay_pause_state() = 'paused'"))
    yield
    pair.standby.ask("select pg_wal_replay_resume()")


def test_written_rows_are_read_on_the_standby(db: Database) -> None:
    for n in range(50):
        db.organizations.create(f"read{n}")
        token = db.token()
        with db.reads(after=token, wait=30):
            assert db.organizations.get_by_name(f"read{n}").name == f"read{n}"
        with db.reads(wait=30):
            assert db.organizations.get_by_name(f"read{n}")
    assert served(db) == (100, 0)


def test_a_standby_that_lags_is_passed_over_and_comes_back(db: Database, pair: Pair, request: pytest.FixtureRequest) -> None:
    request.getfixturevalue("halted")
    made = db.organizations.create("while halted")
    with db.reads(wait=0.01):
        assert db.organizations.get_by_name("while halted") == made
    assert served(db) == (0, 1)
    pair.standby.ask("select pg_wal_replay_resume()")
    with db.reads(wait=30):
        assert db.organizations.get_by_name("while halted") == made
    assert served(db) == (1, 1)


def questions(db: Database) -> int:
    """Return how often the primary was asked for its position."""
    found = db.stats().queries.get("positions.of_primary")
    return found.calls if found else 0


def one_write(db: Database) -> None:
    db.organizations.create("written")


def a_transaction(db: Database) -> None:
    with db.transaction():
        db.organizations.create("written")
        db.organizations.set_attrs("written", {"n": 1})


@pytest.mark.parametrize("write", [one_write, a_transaction])
def test_an_own_token_comes_with_the_write_and_lies_behind_its_commit(
    db: Database, pair: Pair, write: Callable[[Database], None], request: pytest.FixtureRequest
) -> None:
    before = db.token(own=True)
    asked = questions(db)
    request.getfixturevalue("halted")
    write(db)
    token = db.token(own=True)
    assert Position.parse(before) < Position.parse(token) <= Position.parse(db.token())
    assert questions(db) == asked + 1  # by the last one
    with db.reads(after=token, wait=0.01):
        assert db.organizations.get_by_name("written")
    assert served(db) == (0, 1)
    pair.standby.ask("select pg_wal_replay_resume()")
    with db.reads(after=token, wait=30):
        assert db.organizations.get_by_name("written")
    assert served(db) == (1, 1)


def test_the_token_of_a_transaction_lies_behind_the_record_of_its_commit(db: Database) -> None:
    db.token(own=True)
    with db.transaction():
        db.organizations.create("written")
        with db.connection() as connection:
            (last,) = connection.execute("select pg_current_wal_insert_lsn() - '0/0'").fetchone() or (0,)
    assert Position.parse(db.token(own=True)).lsn > last


def test_a_block_asks_the_primary_once_however_much_it_writes(db: Database) -> None:
    asked = questions(db)
    with db.reads(wait=30):
        assert db.organizations.list() == []
        for n in range(20):
            db.organizations.create(f"org{n}")
            assert db.organizations.get_by_name(f"org{n}")
    assert served(db) == (21, 0)
    assert questions(db) == asked + 1


def test_what_was_written_without_its_position_is_in_an_own_token(db: Database) -> None:
    db.token(own=True)
    with db.connection() as connection:
        connection.execute("insert into organizations (name) values ('by hand')")
    asked = questions(db)
    token = Position.parse(db.token(own=True))
    assert questions(db) == asked + 1
    assert token <= Position.parse(db.token())


@pytest.mark.usefixtures("halted")
def test_an_old_token_is_enough_for_who_saw_no_more(db: Database, pair: Pair) -> None:
    old = str(pair.standby.ask("select '00000001/' || pg_last_wal_replay_lsn()"))
    db.organizations.create("not seen")
    with db.reads(after=old):
        assert not [o for o in db.organizations.list(limit=1000) if o.name == "not seen"]
        db.organizations.create("written in the block")
        assert db.organizations.get_by_name("written in the block")
    assert served(db) == (1, 1)


def test_writes_and_transactions_go_to_the_primary(db: Database) -> None:
    with db.reads(wait=30):
        with db.transaction():
            db.organizations.create("in a transaction")
            assert db.organizations.get_by_name("in a transaction")
            with pytest.raises(WrongState, match="cannot be called inside transaction"):
                db.token()
        db.usage.aggregate()  # a select that writes
        assert db.organizations.get_by_name("in a transaction")
    assert served(db) == (1, 0)
    with pytest.raises(InvalidValue, match="is not a token"), db.reads(after="0/1"):
        pass


def in_an_inner_block(db: Database) -> None:
    with db.reads(wait=0):
        db.organizations.create("written")


def in_a_transaction(db: Database) -> None:
    with db.transaction():
        db.organizations.create("written")


@pytest.mark.parametrize("write", [in_an_inner_block, in_a_transaction])
def test_writes_after_a_position_was_taken_are_seen(
    db: Database, write: Callable[[Database], None], request: pytest.FixtureRequest
) -> None:
    with db.reads(wait=1):
        assert db.organizations.list() == []
        request.getfixturevalue("halted")
        write(db)
        assert [organization.name for organization in db.organizations.list()] == ["written"]
    assert served(db) == (1, 1)


def test_tasks_of_a_block_see_what_one_of_them_wrote(pair: Pair, run: Run, request: pytest.FixtureRequest) -> None:
    async def work() -> None:
        async with connect_async(pair.primary.url(NAME), pool_size=4, replicas=[pair.standby.url(NAME)]) as db:
            is_open, is_read = asyncio.Event(), asyncio.Event()

            async def write() -> None:
                async with db.transaction():
                    made.append(await db.organizations.create("by a task"))
                    is_open.set()
                    await is_read.wait()

            made: list[Organization] = []
            with db.reads(wait=1):
                writing = asyncio.create_task(write())
                await is_open.wait()
                pair.primary.ask("select 1 from pg_logical_emit_message(true, '', '')")  # its commit flushes what lies before
                assert await db.organizations.list() == []  # a position is known now that lies before the commit
                assert db.reads_served() == (1, 0)
                request.getfixturevalue("halted")
                is_read.set()
                await writing
                assert await db.organizations.list() == made
            await db.organizations.delete("by a task")

    run(work())


def test_a_standby_whose_sessions_end_is_left_out_and_comes_back(db: Database, pair: Pair) -> None:
    db.organizations.create("through it all")
    with psycopg.connect(pair.standby.url("postgres"), autocommit=True) as admin:
        admin.execute("select pg_terminate_backend(pid, 5000) from pg_stat_activity where datname = %s", [NAME])
    with db.reads(wait=0.01):
        assert db.organizations.get_by_name("through it all")

    def is_back() -> bool:
        before = served(db)[0]
        with db.reads(wait=1):
            db.organizations.get_by_name("through it all")
        return served(db)[0] > before

    until(is_back)


def test_a_promoted_standby_serves_nothing_more(tmp_path: Path) -> None:
    with primary_and_standby(tmp_path / "primary") as pair:
        create_database(pair.primary.url(NAME))
        migrate(pair.primary.url(NAME))
        pair.caught_up()
        url, replicas = pair.primary.url(NAME), [pair.standby.url(NAME)]
        with connect(url, pool_size=2, replicas=replicas) as db, bridged(url, pool_size=2, replicas=replicas) as other:
            db.organizations.create("before")
            pair.standby.ask("select pg_promote(true, 60)")
            made = db.organizations.create("after")
            for each in (db, other):
                with each.reads(wait=1):
                    assert each.organizations.get_by_name("after") == made
                assert served(each) == (0, 1)
        with connect(pair.standby.url(NAME), pool_size=1) as new:
            assert new.token() > "00000002"

"""Outcomes of commits whose server crashed, or was replaced by its standby, before it had answered."""

import os
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.helpers.async_bridge import bridged
from tests.helpers.session_cases import let_commits_wait, names
from tests.helpers.standby_cases import Pair, primary_and_standby, until
from tomato_dao import Database, OutcomeUnknown, connect
from tomato_dao.ops.databases import create_database
from tomato_dao.ops.migrate import migrate

pytestmark = pytest.mark.slow
NAME = "tomato"
COMMITTING = "select min(pid) from pg_stat_activity where wait_event = 'SyncRep'"


@contextmanager
def pair_whose_commits_wait(directory: Path) -> Iterator[Pair]:
    """Provide a primary and its standby, with a migrated database; all commits wait for a standby that is not there."""
    with primary_and_standby(directory) as pair:
        create_database(pair.primary.url(NAME))
        migrate(pair.primary.url(NAME))
        pair.caught_up()
        with psycopg.connect(pair.primary.url("postgres"), autocommit=True) as connection:
            let_commits_wait(connection)
        yield pair


def one_write(db: Database, name: str) -> None:
    db.organizations.create(name)


def a_transaction(db: Database, name: str) -> None:
    with db.transaction():
        db.organizations.create(name)


@contextmanager
def committing(pair: Pair, *calls: tuple[Database, Callable[[Database, str], None]]) -> Iterator[list["Future[None]"]]:
    """Provide calls that wait in their commits; each writes its number."""
    for db, _ in calls:
        db.organizations.list()
    with ThreadPoolExecutor(len(calls)) as threads:
        waiting = [threads.submit(write, db, str(n)) for n, (db, write) in enumerate(calls)]
        until(lambda: pair.primary.ask("select count(*) from pg_stat_activity where wait_event = 'SyncRep'") == len(calls))
        yield waiting


def check_unknown(call: "Future[None]", why: str) -> None:
    error = call.exception(60)
    assert isinstance(error, OutcomeUnknown), error
    assert why in str(error)
    assert "select pg_xact_status('" in str(error)


@pytest.mark.parametrize("write", [one_write, a_transaction])
@pytest.mark.parametrize("connect_", [connect, bridged], ids=["threads", "asyncio"])
def test_a_crash_between_a_commit_and_its_answer_is_told_as_unknown(
    tmp_path: Path, write: Callable[[Database, str], None], connect_: Callable[..., Any]
) -> None:
    with (
        pair_whose_commits_wait(tmp_path / "primary") as pair,
        connect_(pair.primary.url(NAME), pool_size=1, tokens=True) as db,
        committing(pair, (db, write)) as (call,),
    ):
        os.kill(int(str(pair.primary.ask(COMMITTING))), signal.SIGKILL)
        check_unknown(call, "the server has crashed since")
        assert names(db) == ["0"]  # it was durable, which this server can't say any more


def test_commits_of_another_timeline_are_told_as_unknown(tmp_path: Path) -> None:
    with pair_whose_commits_wait(tmp_path / "primary") as pair:
        url = pair.url(NAME, target_session_attrs="read-write")
        with connect(url, pool_size=2) as db, bridged(url, pool_size=2) as other:
            calls = [(each, write) for each in (db, other) for write in (one_write, a_transaction)]
            with committing(pair, *calls) as waiting:
                pair.caught_up()
                pair.primary.kill()
                pair.standby.ask("select pg_promote(true, 60)")
                for call in waiting:
                    check_unknown(call, "another timeline, has replaced it")
            assert sorted(names(db)) == ["0", "1", "2", "3"]  # none is lost, nor done twice

"""Commands whose commit is interrupted or not answered tell what became of it."""

import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from threading import Event

import psycopg
import pytest

from tests.fixtures.operations import dropped_afterwards
from tests.helpers.dao_cases import until
from tests.helpers.session_cases import commits_waiting, names
from tomato_dao import connect, dump
from tomato_dao.ops import restore as restoring
from tomato_dao.ops.backup import back_up
from tomato_dao.ops.scratch import with_database

pytestmark = pytest.mark.slow
COMMITTING = "exists (select from pg_stat_activity where wait_event = 'SyncRep')"
LOADING = "exists (select from pg_stat_activity where wait_event = 'SyncRep' and datname = current_database())"
LOCAL = "-c synchronous_commit=local"  # for a session that waits for no standby


def test_an_interrupted_load_says_that_all_was_committed(durable_url: str, tmp_path: Path) -> None:
    with connect(durable_url) as db:
        db.organizations.create("uni")
        dump(db, tmp_path / "d.json")
    command = [sys.executable, "-m", "tomato_dao", "load", "--replace", str(tmp_path / "d.json")]
    environment = {"DATABASE_URL": durable_url, "PATH": ""}
    with psycopg.connect(durable_url, autocommit=True, options=LOCAL) as watcher, commits_waiting(watcher):
        before = signal.signal(signal.SIGINT, signal.SIG_DFL)  # ignored, where a shell runs the tests in the background
        try:
            started = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)
        finally:
            signal.signal(signal.SIGINT, before)
        with started as load:
            until(watcher, LOADING)
            load.send_signal(signal.SIGINT)
            _, said = load.communicate(timeout=30)
    assert load.returncode == 130
    # Unknown if it comes before the load has read the transaction's id, which a busy machine shows.
    assert "but all was committed before" in said or "may or may not have been carried out" in said
    assert "nothing" not in said


def test_a_restore_whose_session_is_lost_in_the_swap_reports_the_outcome(
    durable_url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("BACKUP_DIR", str(tmp_path))
    file = back_up(durable_url)
    calls, swapping = [], Event()
    with (
        psycopg.connect(with_database(durable_url, "postgres"), autocommit=True, options=LOCAL) as admin,
        ThreadPoolExecutor(1) as threads,
        dropped_afterwards(durable_url),
    ):
        with ExitStack() as stack:

            def then_commits_wait(server: psycopg.Connection, name: str) -> None:
                calls.append(name)
                if len(calls) == 2:  # all is restored, and the swap comes
                    stack.enter_context(commits_waiting(admin))
                    swapping.set()

            monkeypatch.setattr(restoring, "_refuse_while_connected", then_commits_wait)
            call = threads.submit(restoring.restore, file, durable_url)
            assert swapping.wait(60)
            until(admin, COMMITTING)
            admin.execute("select pg_terminate_backend(pid) from pg_stat_activity where wait_event = 'SyncRep'")
        kept = call.result(30)
        assert kept is not None
        allowed = admin.execute("select datallowconn from pg_database where datname = %s", [kept]).fetchone()
        assert allowed == (True,)
    with connect(durable_url, pool_size=1) as db:
        assert names(db) == []

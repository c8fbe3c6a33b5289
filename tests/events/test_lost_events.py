"""Listeners whose connection is lost, or whose process ends or forks: when it is tried again, and that no session stays."""

import os
import signal
from contextlib import suppress
from time import monotonic

import psycopg
import pytest

from tests.helpers.dao_cases import until
from tests.helpers.event_cases import wait_for_refusals
from tests.helpers.lock_cases import line, process
from tests.helpers.session_cases import BACKENDS, kill, refusing_connections
from tomato_dao import Database, events

OVER = "not exists (select " + BACKENDS + ")"


@pytest.mark.slow
def test_pauses_between_tries_are_seconds_and_grow(
    here: Database, lasting_url: str, watcher: psycopg.Connection, caplog: pytest.LogCaptureFixture
) -> None:
    with here.listen("topologies"), refusing_connections(lasting_url):
        began = monotonic()
        kill(watcher, "here events")
        wait_for_refusals(caplog, 3)
        assert monotonic() - began >= 0.1 + 0.2 + 0.4


def test_pauses_between_tries_grow_up_to_a_limit(
    here: Database,
    lasting_url: str,
    watcher: psycopg.Connection,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(events, "_FIRST_PAUSE", 0.01)
    monkeypatch.setattr(events, "_LONGEST_PAUSE", 0.02)
    with here.listen("topologies"), refusing_connections(lasting_url):
        kill(watcher, "here events")
        wait_for_refusals(caplog, 12)  # doubled without a limit, the pauses would be 41 seconds


OUTLIVED = """
import os, signal, sys, tomato_dao
db = tomato_dao.connect(sys.argv[1], application_name="outlived")
listener = db.listen("topologies")
if child := os.fork():
    print(child, flush=True)
signal.pause()
"""


def test_a_child_does_not_keep_the_session_of_a_parent_that_was_killed(lasting_url: str, watcher: psycopg.Connection) -> None:
    with process(OUTLIVED, lasting_url) as parent:
        child = int(line(parent))
        try:
            parent.kill()
            until(watcher, OVER, "outlived events")
        finally:
            os.kill(child, signal.SIGKILL)


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_child_does_not_keep_a_session_that_its_parent_ends(here: Database, watcher: psycopg.Connection) -> None:
    listener = here.listen("topologies")
    child = os.fork()
    if child == 0:
        with suppress(BaseException):
            signal.pause()
        os._exit(1)
    try:
        listener.close()
        until(watcher, OVER, "here events")
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


FORGETFUL = """
import sys, tomato_dao
db = tomato_dao.connect(sys.argv[1], application_name="forgetful")
listener = db.listen("topologies")
"""


@pytest.mark.slow
def test_a_process_that_closes_nothing_ends(lasting_url: str, watcher: psycopg.Connection) -> None:
    with process(FORGETFUL, lasting_url) as forgetful:
        assert forgetful.wait(60) == 0
        until(watcher, OVER, "forgetful events")

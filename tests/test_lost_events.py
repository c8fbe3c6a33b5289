"""Listeners whose connection is lost: when it is tried again."""

from time import monotonic

import psycopg
import pytest
from event_cases import wait_for_refusals
from session_cases import kill, refusing_connections

from tomato_dao import Database, events


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

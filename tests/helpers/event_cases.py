"""Helpers that the tests of listeners share: what one hears, and how often a lost connection was tried in vain."""

from time import monotonic, sleep

import psycopg
import pytest

from tomato_dao.events import MISSED, Event, Listener


def heard(listener: Listener, watcher: psycopg.Connection, entity: str = "topology") -> list[Event]:
    """Return what a listener for such entities hears, up to now."""
    watcher.execute("select pg_notify('tomato_changes', %s)", [f"{entity} 0 state"])
    came = []
    while (event := next(listener)) != Event(entity, 0, "state"):
        assert event != MISSED
        came.append(event)
    return came


def wait_for_refusals(caplog: pytest.LogCaptureFixture, number: int) -> None:
    """Wait, 60 seconds at most, until the log has so many tries to open a connection that the server refused."""
    deadline = monotonic() + 60
    while sum("not currently accepting connections" in said for said in caplog.messages) < number:
        assert monotonic() < deadline
        sleep(0.005)

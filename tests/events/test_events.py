"""Listening: each change of state, and each removal of a topology, is heard of once; what may have been missed is told."""

import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import psycopg
import pytest

from tests.helpers.dao_cases import until
from tests.helpers.event_cases import heard, wait_for_refusals
from tests.helpers.session_cases import BACKENDS, kill, refusing_connections
from tomato_dao import Database, InvalidValue, Unavailable, connect, events
from tomato_dao.events import MISSED, Event

pytestmark = pytest.mark.slow

OVER = "not exists (select " + BACKENDS + ")"


@pytest.fixture
def here(lasting_url: str) -> Iterator[Database]:
    """Provide a Database whose listeners hear through the session “here events”."""
    with connect(lasting_url, pool_size=2, application_name="here") as db:
        yield db


@pytest.fixture(scope="module")
def owner(lasting_url: str) -> int:
    """Provide the id of a user."""
    with connect(lasting_url) as db:
        return db.users.create("alice", organization_id=db.organizations.create("uni").id).id


@dataclass(frozen=True)
class Lab:
    """The ids of a topology of step 9, of its two elements, and of the connection between them."""

    id: int
    elements: tuple[int, int]
    connection: int


@pytest.fixture
def lab(here: Database, owner: int) -> Lab:
    """Provide a topology of the test's own."""
    id = here.topologies.create("lab", owner_id=owner).id
    a, b = (here.elements.create(id, "udp_endpoint").id for _ in range(2))
    return Lab(id, (a, b), here.connections.create(a, b).id)


# Events that arrive.


def test_each_change_of_state_is_heard_once_it_is_made(here: Database, lab: Lab) -> None:
    changes: list[tuple[Callable[[], object], Event]] = [
        (lambda: here.elements.update(lab.elements[0], {"state": "started"}), Event("element", lab.id, "state")),
        (lambda: here.connections.update(lab.connection, {"state": "started"}), Event("connection", lab.id, "state")),
        (lambda: here.topologies.update(lab.id, {"timeout_step": 10}), Event("topology", lab.id, "state")),
        (lambda: here.topologies.renew(lab.id, timedelta(days=3)), Event("topology", lab.id, "state")),
        (lambda: here.elements.update(lab.elements[0], {"state": "created"}), Event("element", lab.id, "state")),
        (lambda: here.topologies.delete(lab.id), Event("topology", lab.id, "deleted")),
    ]
    with here.listen("topologies", "elements", "connections", timeout=60) as listener:
        for change, event in changes:
            change()
            assert next(listener) == event


def test_changes_of_no_state_send_no_event(here: Database, lab: Lab, watcher: psycopg.Connection) -> None:
    with here.listen("topologies", "elements", "connections", timeout=60) as listener:
        here.elements.update(lab.elements[0], {"state": "created", "site_id": None})
        here.elements.set_attrs(lab.elements[0], {"a": 1})
        here.connections.update(lab.connection, {"state": "created"})
        here.connections.set_attrs(lab.connection, {"a": 1})
        here.topologies.update(lab.id, {"name": "new", "timeout_step": 9})
        here.topologies.renew(lab.id, timedelta(hours=1))
        here.elements.create(lab.id, "kvmqm", state="started")
        here.elements.delete(lab.elements[1])
        with suppress(ZeroDivisionError), here.transaction():
            here.elements.update(lab.elements[0], {"state": "started"})
            raise ZeroDivisionError
        assert heard(listener, watcher) == []


def test_a_bulk_change_is_one_event_for_each_topology(here: Database, owner: int, watcher: psycopg.Connection) -> None:
    ids = [here.topologies.create("large", owner_id=owner).id for _ in range(2)]
    watcher.execute(
        "insert into elements (topology_id, type) select t.id, 'kvmqm' from unnest(%s) t (id), generate_series(1, 1000)", [ids]
    )
    with here.listen("elements", timeout=60) as listener:
        watcher.execute("update elements set state = 'prepared' where topology_id = %s", [ids[0]])
        assert heard(listener, watcher, "element") == [Event("element", ids[0], "state")]
        with here.transaction(), here.connection() as connection:
            for state in ("started", "created"):
                connection.execute("update elements set state = %s where topology_id = any(%s)", [state, ids])
        assert set(events_of_both := heard(listener, watcher, "element")) == {Event("element", id, "state") for id in ids}
        assert len(events_of_both) == 2


def test_a_listener_hears_only_of_what_it_asked_for(here: Database, lab: Lab, watcher: psycopg.Connection) -> None:
    with here.listen("connections", timeout=60) as one, here.listen("elements", "topologies", timeout=60) as two:
        with here.transaction():
            here.elements.update(lab.elements[0], {"state": "started"})
            here.connections.update(lab.connection, {"state": "started"})
        here.topologies.update(lab.id, {"timeout_step": 20})
        assert heard(one, watcher, "connection") == [Event("connection", lab.id, "state")]
        assert heard(two, watcher) == [Event("element", lab.id, "state"), Event("topology", lab.id, "state")]


def test_other_notifications_on_the_channel_are_ignored(here: Database, watcher: psycopg.Connection) -> None:
    with here.listen("topologies", timeout=60) as listener:
        for said in ("", "topology", "topology x state", "host 1 state", "topology 1 state deleted", "topologie é"):
            watcher.execute("select pg_notify('tomato_changes', %s)", [said])
        assert heard(listener, watcher) == []


@pytest.mark.parametrize("entities", [(), ("hosts",), ("topologies", "topology"), (["topologies"],), (None,)])
def test_there_is_no_listening_for_anything_else(here: Database, entities: tuple[object, ...]) -> None:
    with pytest.raises(InvalidValue, match="one or more of topologies, elements, connections, not"):
        here.listen(*entities)  # type: ignore[arg-type]


@pytest.mark.parametrize("timeout", [-1, float("nan"), float("inf"), "1", timedelta(seconds=1)])
def test_a_timeout_is_a_time(here: Database, timeout: Any) -> None:
    with pytest.raises(InvalidValue, match="timeout must be 0 or more seconds"):
        here.listen("elements", timeout=timeout)


# Listeners and their lifetime.


def test_all_listeners_of_a_process_share_a_session_that_ends_with_the_last(
    here: Database, lab: Lab, watcher: psycopg.Connection
) -> None:
    for _ in range(2):
        listeners = [here.listen("topologies", timeout=60) for _ in range(20)]
        here.topologies.update(lab.id, {"timeout_step": 10})
        here.topologies.update(lab.id, {"timeout_step": 20})
        for listener in listeners:
            assert [next(listener), next(listener)] == [Event("topology", lab.id, "state")] * 2
        assert watcher.execute("select count(*) " + BACKENDS, ["here events"]).fetchone() == (1,)
        for listener in listeners:
            listener.close()
            listener.close()
        until(watcher, OVER, "here events")


def test_a_listener_that_is_forgotten_goes_away(here: Database, lab: Lab, watcher: psycopg.Connection) -> None:
    def hear_once() -> Event:
        for event in here.listen("topologies", timeout=60):
            return event
        raise AssertionError

    with ThreadPoolExecutor(1) as thread:
        waiting = thread.submit(hear_once)
        until(watcher, "exists (select " + BACKENDS + " and state = 'idle' and query ~ 'listen')", "here events")
        here.topologies.delete(lab.id)
        assert waiting.result(60) == Event("topology", lab.id, "deleted")
    until(watcher, OVER, "here events")


def test_a_loop_ends_after_the_timeout_and_goes_on_where_it_was(here: Database, lab: Lab, watcher: psycopg.Connection) -> None:
    with here.listen("topologies", timeout=0.05) as listener, here.listen("topologies", timeout=60) as other:
        assert list(listener) == []
        assert next(listener, None) is None
        here.topologies.delete(lab.id)
        assert heard(other, watcher) == [Event("topology", lab.id, "deleted")]
        assert list(listener) == [Event("topology", lab.id, "deleted"), Event("topology", 0, "state")]


def test_a_timeout_of_nothing_gives_what_is_there(here: Database, watcher: psycopg.Connection) -> None:
    with here.listen("topologies", timeout=0) as listener, here.listen("elements", timeout=60) as other:
        assert list(listener) == []
        watcher.execute("select pg_notify('tomato_changes', 'topology 1 state')")
        assert heard(other, watcher, "element") == []
        assert list(listener) == [Event("topology", 1, "state")]


@pytest.mark.parametrize(("end", "said"), [("listener", "the listener is closed"), ("database", "the database is closed")])
def test_a_waiting_loop_gets_unavailable_when_the_listener_is_closed(
    lasting_url: str, watcher: psycopg.Connection, end: str, said: str
) -> None:
    with connect(lasting_url, application_name="ending") as db, ThreadPoolExecutor(1) as thread:
        listener = db.listen("elements")
        waiting = thread.submit(next, listener)
        (listener if end == "listener" else db).close()
        with pytest.raises(Unavailable, match=said):
            waiting.result(60)
        with pytest.raises(Unavailable, match=said):
            next(listener)
        until(watcher, OVER, "ending events")
    with pytest.raises(Unavailable, match="the database is closed"):
        db.listen("elements")


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_child_listens_anew(here: Database, lab: Lab, watcher: psycopg.Connection) -> None:
    with here.listen("topologies", timeout=60) as listener:
        child = os.fork()
        if child == 0:
            done = False
            with suppress(BaseException):
                with pytest.raises(Unavailable, match="closed"):
                    next(listener)
                own = here.listen("topologies", timeout=60)
                here.topologies.update(lab.id, {"timeout_step": 10})
                done = next(own) == Event("topology", lab.id, "state")
            os._exit(0 if done else 1)
        assert os.waitpid(child, 0)[1] == 0
        assert heard(listener, watcher) == [Event("topology", lab.id, "state")]


# Missed events.


def test_a_lost_connection_is_opened_again_and_told(here: Database, lab: Lab, watcher: psycopg.Connection) -> None:
    with here.listen("topologies", timeout=60) as one, here.listen("elements", timeout=60) as two:
        for step in (10, 20):
            assert watcher.execute("select pg_terminate_backend(pid, 5000) " + BACKENDS, ["here events"]).rowcount == 1
            assert next(one) == next(two) == MISSED
            here.topologies.update(lab.id, {"timeout_step": step})
            assert next(one) == Event("topology", lab.id, "state")
            assert watcher.execute("select count(*) " + BACKENDS, ["here events"]).fetchone() == (1,)


def test_a_lost_connection_is_tried_until_it_can_be_opened(
    here: Database, lasting_url: str, watcher: psycopg.Connection, caplog: pytest.LogCaptureFixture
) -> None:
    with here.listen("topologies", timeout=60) as listener:
        with refusing_connections(lasting_url):
            kill(watcher, "here events")
            wait_for_refusals(caplog, 1)
        assert next(listener) == MISSED
        assert heard(listener, watcher) == []


def test_a_listener_that_is_too_slow_gets_a_missed_event(
    here: Database, watcher: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events, "_MOST_PENDING", 3)
    with here.listen("topologies") as slow, here.listen("elements", timeout=60) as other:
        for n in range(1, 6):
            watcher.execute("select pg_notify('tomato_changes', %s)", [f"topology {n} state"])
        assert heard(other, watcher, "element") == []
        assert [next(slow), next(slow)] == [MISSED, Event("topology", 5, "state")]


def test_a_quiet_session_is_not_ended(lasting_url: str, watcher: psycopg.Connection) -> None:
    watcher.execute(f"alter database {watcher.info.dbname} set idle_session_timeout = '100ms'")
    try:
        with (
            connect(lasting_url) as db,
            db.listen("topologies", timeout=60) as listener,
            closing(psycopg.connect(lasting_url, application_name="limited")),
        ):
            until(watcher, OVER, "limited")
            assert heard(listener, watcher) == []
    finally:
        watcher.execute(f"alter database {watcher.info.dbname} reset idle_session_timeout")


def test_listening_is_unavailable_where_there_is_no_server(lasting_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", lasting_url)
    monkeypatch.setenv("DIRECT_DATABASE_URL", "postgresql://127.0.0.1:1/tomato")
    with connect() as db:
        for _ in range(2):
            with pytest.raises(Unavailable, match=r"can't connect to 127\.0\.0\.1:1"):
                db.listen("topologies", timeout=0.3)
    assert not [thread for thread in threading.enumerate() if thread.name == "tomato-dao events"]

"""Windows of usage: what counts in one, how often, and until when."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from tests.conftest import World
from tests.helpers.element_cases import Net
from tomato_dao import Database
from tomato_dao.rows import HostComponent, UsageRecord

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
WINDOW = 5 * MINUTE


@pytest.fixture
def component(db: Database, world: World) -> HostComponent:
    """Provide a host element that serves nothing, so that only its host's use is made of its."""
    return db.host_elements.create(world.host.id, 1, type="x", state="started")


def record(component: HostComponent, end: datetime, length: timedelta = WINDOW) -> UsageRecord:
    return UsageRecord(component.usage_id or 0, "5minutes", end - length, end, 1, 1, 1, 1, 1)


def use(db: Database, usage_id: int | None) -> Sequence[tuple[datetime, float]]:
    """Ends and CPU seconds of an object's 5-minute records."""
    return [(r.end_at, r.cputime) for r in db.usage.list(usage_id or 0, "5minutes")]


def test_no_record_is_pruned_before_its_window_is_settled(db: Database, world: World, component: HostComponent) -> None:
    """A second component delivers nothing, so that the windows stay open until they are settled."""
    db.host_elements.create(world.host.id, 2, type="x", state="started")
    db.usage.import_records([record(component, NOON - n * MINUTE / 2, MINUTE / 2) for n in range(20)], now=NOON)
    done = db.usage.aggregate(now=NOON)
    assert (done.written, done.pruned) == (0, 0)
    assert len(use(db, component.usage_id)) == 20
    for n in (1, 2):
        db.usage.aggregate(now=NOON + n * WINDOW)
    db.usage.import_records([record(component, NOON + MINUTE, MINUTE)], now=NOON)
    assert db.usage.aggregate(now=NOON + 3 * WINDOW).pruned == 9
    assert use(db, world.host.usage_id) == [(NOON - WINDOW, 10), (NOON, 10)]


def test_a_run_with_an_earlier_time_leaves_settled_windows_closed(
    db: Database, world: World, server: psycopg.Connection, component: HostComponent
) -> None:
    settled = NOON - 3 * WINDOW
    db.usage.aggregate(now=NOON)
    for earlier in (NOON - WINDOW, NOON - timedelta(hours=1)):
        assert db.usage.aggregate(now=earlier).ran
    assert server.execute("select settled_at from usage_progress").fetchone() == (settled,)
    imported = db.usage.import_records([record(component, settled), record(component, settled + WINDOW)], now=NOON)
    assert (imported.imported, imported.late) == (2, 1)
    assert db.usage.aggregate(now=NOON - timedelta(hours=1)).late == 1
    assert use(db, world.host.usage_id) == [(settled + WINDOW, 1)]


@pytest.mark.parametrize("kind", ["host_element", "host_connection"])
def test_a_host_component_at_both_ends_of_a_connection_counts_once(db: Database, world: World, net: Net, kind: str) -> None:
    """Once in the connection's use, and so in that of all that stands above it."""
    create = db.host_elements.create if kind == "host_element" else db.host_connections.create
    made = create(world.host.id, 1, type="x", state="started")
    db.connections.update(net.connection.id, {f"{kind}1_id": made.id, f"{kind}2_id": made.id})  # type: ignore[misc]
    db.usage.import_records([record(made, NOON)], now=NOON)
    db.usage.aggregate(now=NOON)
    topology = db.topologies.get(net.id)
    for usage_id in (net.connection.usage_id, topology.usage_id, world.user.usage_id, world.host.usage_id):
        assert use(db, usage_id) == [(NOON, 1)]

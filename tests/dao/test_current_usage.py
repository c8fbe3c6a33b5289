"""Current usage of an object: its record of the newest settled window, and nothing where it has none there."""

from datetime import UTC, datetime, timedelta

import pytest

from tests.conftest import World
from tests.helpers.usage_cases import WINDOW, settle
from tomato_dao import Database
from tomato_dao.rows import HostComponent, Topology, UsageRecord

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)


@pytest.fixture
def component(db: Database, world: World, topology: Topology) -> HostComponent:
    """Return what a host runs for the topology's only element."""
    element = db.elements.create(topology.id, "udp_endpoint")
    return db.host_elements.create(world.host.id, 1, type="x", state="started", element_id=element.id)


def deliver(db: Database, component: HostComponent, end: datetime) -> None:
    record = UsageRecord(component.usage_id or 0, "5minutes", end - WINDOW, end, 1, 1e9, 1, 1, 1)
    assert db.usage.import_records([record], now=end).imported == 1


def latest(db: Database, usage_id: int | None) -> datetime | None:
    found = db.usage.latest(usage_id or 0, "5minutes")
    return found.end_at if found else None


def test_a_stopped_element_uses_nothing_once_a_window_without_it_is_settled(
    db: Database, world: World, topology: Topology, component: HostComponent
) -> None:
    deliver(db, component, NOON)
    db.usage.aggregate(now=NOON)
    for n in range(1, 4):
        db.usage.aggregate(now=NOON + n * WINDOW)
        used = db.topologies.full(topology.id).usage
        assert used
        assert (used.end_at, used.memory) == (NOON, 1e9)
        assert latest(db, topology.usage_id) == latest(db, world.user.usage_id) == latest(db, component.usage_id) == NOON
    db.usage.aggregate(now=NOON + 4 * WINDOW)
    assert db.topologies.full(topology.id).usage is None
    assert latest(db, topology.usage_id) == latest(db, world.user.usage_id) == latest(db, component.usage_id) is None
    assert db.usage.latest(topology.usage_id or 0, "hour") is not None
    assert len(db.usage.list(topology.usage_id or 0, "5minutes")) == 1


def test_a_window_that_is_complete_counts_before_it_is_settled(
    db: Database, topology: Topology, component: HostComponent
) -> None:
    deliver(db, component, NOON)
    db.usage.aggregate(now=NOON)
    settle(db, NOON)
    deliver(db, component, NOON + 2 * WINDOW)
    db.usage.aggregate(now=NOON + 3 * WINDOW)
    assert latest(db, topology.usage_id) == NOON + 2 * WINDOW


def test_before_the_first_run_the_newest_record_counts(db: Database, component: HostComponent) -> None:
    deliver(db, component, NOON - timedelta(days=3))
    assert latest(db, component.usage_id) == NOON - timedelta(days=3)

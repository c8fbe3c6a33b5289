"""Accounting after an outage: what hosts measured meanwhile comes late, and still counts."""

from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from tests.conftest import World
from tests.helpers.usage_cases import settle
from tomato_dao import Database
from tomato_dao.rows import HostComponent, UsageRecord

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
WINDOW = timedelta(minutes=5)
MICROSECOND = timedelta(microseconds=1)


@pytest.fixture
def components(db: Database, world: World) -> tuple[HostComponent, HostComponent]:
    """Two host elements of one element of alice's, so that a window is complete only with records of both."""
    element = db.elements.create(db.topologies.create("lab", owner_id=world.user.id).id, "udp_endpoint")
    first, second = (
        db.host_elements.create(world.host.id, num, type="x", state="started", element_id=element.id) for num in (1, 2)
    )
    db.quotas.update(world.user.id, {"used_at": NOON - timedelta(hours=1)})
    db.quotas.set(world.user.id, memory=0, diskspace=0, traffic=0, cputime=0)
    db.usage.aggregate(now=NOON)
    return first, second


def deliver(db: Database, component: HostComponent, ends: list[datetime], now: datetime) -> int:
    """Import records of these windows; how many of them are late."""
    records = [UsageRecord(component.usage_id or 0, "5minutes", end - WINDOW, end, 1, 1, 1, 1, 1) for end in ends]
    return db.usage.import_records(records, now=now).late


def windows(db: Database, world: World) -> list[datetime]:
    """Return the ends of the windows that are rolled up for alice."""
    return [record.end_at for record in db.usage.list(world.user.usage_id or 0, "5minutes")]


def test_records_of_an_outage_that_come_within_15_minutes_count(
    db: Database, world: World, components: tuple[HostComponent, HostComponent]
) -> None:
    ends = [NOON + n * WINDOW for n in range(1, 25)]
    back = ends[-1] + timedelta(minutes=1)
    assert deliver(db, components[0], ends, back) == 0
    db.usage.aggregate(now=back)
    assert windows(db, world) == []  # the other one is waited for
    for n in (1, 2):
        db.usage.aggregate(now=back + n * WINDOW)
    assert deliver(db, components[1], ends, back + 2 * WINDOW) == 0
    assert db.usage.aggregate(now=back + 3 * WINDOW - MICROSECOND).late == 0
    assert windows(db, world) == ends
    assert db.usage.aggregate(now=back + 3 * WINDOW).late == 0
    db.quotas.count_use(now=back + 3 * WINDOW)
    assert db.quotas.get(world.user.id).used_cputime == 2 * len(ends)
    for component in components:
        deliver(db, component, [ends[-1] + WINDOW], back + 3 * WINDOW)
    db.usage.aggregate(now=back + 3 * WINDOW)
    assert windows(db, world) == [*ends[-11:], ends[-1] + WINDOW]


def test_windows_settle_15_minutes_after_accounting_resumed(
    db: Database, world: World, components: tuple[HostComponent, HostComponent]
) -> None:
    back = NOON + timedelta(hours=2)
    deliver(db, components[0], [NOON + WINDOW], back)
    for n in range(3):
        db.usage.aggregate(now=back + n * WINDOW)
    db.usage.aggregate(now=back + 3 * WINDOW - MICROSECOND)
    assert windows(db, world) == []
    db.usage.aggregate(now=back + 3 * WINDOW)
    assert windows(db, world) == [NOON + WINDOW]


def test_a_pause_of_one_window_is_no_outage(
    db: Database, world: World, components: tuple[HostComponent, HostComponent]
) -> None:
    deliver(db, components[0], [NOON], NOON)
    settle(db, NOON)
    assert windows(db, world) == [NOON]
    db.usage.aggregate(now=NOON + 4 * WINDOW + MICROSECOND)
    deliver(db, components[0], [NOON + WINDOW], NOON + 4 * WINDOW)
    db.usage.aggregate(now=NOON + 5 * WINDOW)
    assert windows(db, world) == [NOON]


def test_windows_stay_open_after_the_start_that_a_caller_tells(
    db: Database, world: World, components: tuple[HostComponent, HostComponent]
) -> None:
    deliver(db, components[0], [NOON], NOON)
    for n in range(1, 5):
        db.usage.aggregate(now=NOON + n * WINDOW, started_at=NOON + WINDOW + MICROSECOND)
        assert windows(db, world) == []
    db.usage.aggregate(now=NOON + 4 * WINDOW + MICROSECOND, started_at=NOON + WINDOW + MICROSECOND)
    assert windows(db, world) == [NOON]


def test_the_first_run_of_all_settles_nothing_where_the_backend_has_just_started(
    db: Database, world: World, components: tuple[HostComponent, HostComponent], server: psycopg.Connection
) -> None:
    server.execute("truncate usage_due, usage_arrivals, usage_progress")
    deliver(db, components[0], [NOON - timedelta(hours=1)], NOON)
    db.usage.aggregate(now=NOON, started_at=NOON)
    assert windows(db, world) == []
    assert deliver(db, components[1], [NOON - timedelta(hours=1)], NOON) == 0
    db.usage.aggregate(now=NOON, started_at=NOON)
    assert windows(db, world) == [NOON - timedelta(hours=1)]

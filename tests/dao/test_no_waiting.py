"""Work that many workers share passes over what another transaction has locked, and leaves it for the next time."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import pairwise
from typing import TypeVar

import psycopg
import pytest

from tests.conftest import World
from tests.helpers.dao_cases import at_once
from tomato_dao import Database
from tomato_dao.dao.host_components import HostComponents
from tomato_dao.rows import CombinedLinks, LinkMeasurement, OrphanClaim, UsageRecord, User, replace

T = TypeVar("T")
NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


@pytest.fixture
def users(db: Database, world: World) -> list[User]:
    """Two users who have used more than their quotas allow."""
    users = [world.user, db.users.create("carol", organization_id=world.organization.id)]
    for user in users:
        db.quotas.update(user.id, {"monthly_memory": 1, "used_memory": 2, "used_at": NOON})
    return users


def without_waiting(db: Database, call: Callable[[], T]) -> T:
    """Return the result of a call, which fails where it has to wait for a lock."""
    with db.transaction():
        with db.connection() as connection:
            connection.execute("set local lock_timeout = '1s'")
        return call()


@pytest.mark.parametrize("kind", ["host element", "host connection"])
def test_two_workers_claim_different_orphans(db: Database, world: World, kind: str) -> None:
    dao: HostComponents = db.host_elements if kind == "host element" else db.host_connections
    orphans = [dao.create(world.host.id, num, type="x", state="started").id for num in range(3)]

    def claim_the_rest() -> list[OrphanClaim]:
        return list(without_waiting(db, partial(dao.claim_orphans, limit=5, lease=MINUTE)))

    with db.transaction():
        (first,) = dao.claim_orphans(limit=1, lease=MINUTE)
        (rest,) = at_once(claim_the_rest)
    assert isinstance(rest, list), rest
    assert [first.id, *(claim.id for claim in rest)] == orphans


def test_quotas_are_enforced_without_waiting_for_a_user_who_is_being_changed(
    db: Database, server: psycopg.Connection, users: list[User]
) -> None:
    busy, other = users
    with server.transaction():
        server.execute("update users set realname = 'Alice' where id = %s", [busy.id])
        assert [user.id for user in without_waiting(db, partial(db.quotas.enforce, now=NOON))] == [other.id]
    (changed,) = db.quotas.enforce(now=NOON)
    assert (changed.id, changed.realname, changed.flags) == (busy.id, "Alice", ["over_quota"])


def test_use_is_counted_without_waiting_for_a_quota_that_is_being_changed(
    db: Database, server: psycopg.Connection, users: list[User]
) -> None:
    busy = users[0]
    next_month = NOON + timedelta(days=30)
    with server.transaction():
        server.execute("update quotas set monthly_memory = 7 where user_id = %s", [busy.id])
        assert without_waiting(db, partial(db.quotas.count_use, now=next_month)) == 1
    assert [db.quotas.get(user.id).used_memory for user in users] == [2, 0]
    assert db.quotas.count_use(now=next_month) == 1
    assert db.quotas.get(busy.id).used_memory == 0


@pytest.fixture
def sites(db: Database, world: World) -> list[int]:
    """Three sites without hosts."""
    return [db.sites.create(name, organization_id=world.organization.id).id for name in ("hall", "roof", "yard")]


def measure(db: Database, sites: list[int], *ends: datetime) -> None:
    """Store measurements between the first site and the second, and between the second and the third."""
    pairs = pairwise(sites)
    db.link_measurements.store_all([LinkMeasurement(*p, "single", e, e, 0, 1, 1, 1) for p in pairs for e in ends])


@pytest.mark.parametrize("removed", [0, 2])
def test_links_of_a_site_that_is_being_removed_are_combined_by_the_next_run(
    db: Database, server: psycopg.Connection, sites: list[int], removed: int
) -> None:
    measure(db, sites, NOON)
    combine = partial(db.links.combine, now=NOON + 20 * MINUTE)
    with server.transaction(force_rollback=True):
        server.execute("delete from sites where id = %s", [sites[removed]])
        assert without_waiting(db, combine) == CombinedLinks(ran=True, written=2, pruned=0)
    assert combine() == CombinedLinks(ran=True, written=2, pruned=0)


@pytest.mark.parametrize("removed", [0, 2])
def test_links_of_a_site_that_is_being_removed_are_pruned_by_the_next_run(
    db: Database, server: psycopg.Connection, sites: list[int], removed: int
) -> None:
    combine = partial(db.links.combine, now=NOON + 20 * MINUTE)
    measure(db, sites, *(NOON - n * MINUTE for n in range(10)))
    combine()
    measure(db, sites, NOON - 10 * MINUTE)  # too late to be combined
    with server.transaction(force_rollback=True):
        server.execute("delete from sites where id = %s", [sites[removed]])
        assert without_waiting(db, combine) == CombinedLinks(ran=True, written=0, pruned=1)
    assert combine() == CombinedLinks(ran=True, written=0, pruned=1)


@pytest.mark.one_server  # on a cluster no foreign key makes its records wait for the removal
def test_records_of_a_component_that_is_being_removed_are_pruned_by_the_next_run(
    db: Database, world: World, server: psycopg.Connection
) -> None:
    components = [db.host_elements.create(world.host.id, num, type="x", state="started") for num in range(2)]
    ends = [NOON - n * MINUTE for n in range(13)]
    records = [UsageRecord(c.usage_id or 0, "5minutes", e - MINUTE, e, 1, 1, 1, 1, 1) for c in components for e in ends]
    db.usage.import_records(records, now=NOON)
    aggregate = partial(db.usage.aggregate, now=NOON + timedelta(days=1))
    with server.transaction(force_rollback=True):
        server.execute("delete from host_elements where id = %s", [components[0].id])
        assert without_waiting(db, aggregate).pruned == 1
    db.usage.import_records([replace(records[0], end_at=NOON + MINUTE)], now=NOON)
    assert aggregate().pruned == 2


def test_a_component_is_removed_without_waiting_for_an_import_of_anothers_records(
    db: Database, world: World, server: psycopg.Connection
) -> None:
    mine, other = (db.host_elements.create(world.host.id, num, type="x", state="started") for num in range(2))
    with db.transaction():
        record = UsageRecord(mine.usage_id or 0, "5minutes", NOON - MINUTE, NOON, 1, 1, 1, 1, 1)
        assert db.usage.import_records([record], now=NOON).imported == 1
        server.execute("set lock_timeout = '1s'")
        server.execute("delete from host_elements where id = %s", [other.id])
    assert [component.id for component in db.host_elements.list_of_host(world.host.id)] == [mine.id]

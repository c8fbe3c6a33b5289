"""Moments and ages: things are due from exactly then on, and not a microsecond before."""

from collections.abc import Callable
from datetime import timedelta
from functools import partial

import psycopg
import pytest

from tests.conftest import World
from tests.helpers.dao_cases import MOMENT
from tests.helpers.host_cases import now
from tests.helpers.leased_cases import MICROSECOND, MINUTE
from tomato_dao import Database
from tomato_dao.rows import Topology, User

DAY = timedelta(days=1)
RESOURCES = ("memory", "diskspace", "traffic", "cputime")


def test_a_machine_is_looked_at_from_its_very_moment_on(db: Database, topology: Topology) -> None:
    machine = db.elements.create(topology.id, "repy")
    with db.transaction():
        at = now(db)
        db.elements.update(machine.id, {"next_sync_at": at + MICROSECOND})
        assert db.elements.claim_syncs(limit=1, lease=MINUTE) == []
        db.elements.update(machine.id, {"next_sync_at": at})
        assert [claim.id for claim in db.elements.claim_syncs(limit=1, lease=MINUTE)] == [machine.id]


@pytest.mark.parametrize(("step", "ahead"), [(0, DAY), (9, timedelta()), (10, -DAY)])
def test_a_timeout_asks_for_something_from_its_very_moment_on(
    db: Database, topology: Topology, step: int, ahead: timedelta
) -> None:
    with db.transaction():
        at = now(db) + ahead
        db.topologies.update(topology.id, {"timeout_step": step, "timeout_at": at + MICROSECOND})
        assert db.topologies.claim_timeouts(limit=1, lease=MINUTE) == []
        db.topologies.update(topology.id, {"timeout_at": at})
        assert [claim.id for claim in db.topologies.claim_timeouts(limit=1, lease=MINUTE)] == [topology.id]


def test_a_task_is_due_when_its_period_is_over(db: Database) -> None:
    with db.transaction():
        first = db.tasks.claim("accounting", MINUTE, lease=MINUTE)
        assert first
        db.tasks.finish("accounting", first.lease_until)
        assert db.tasks.claim("accounting", MICROSECOND, lease=MINUTE) is None
        assert db.tasks.claim("accounting", timedelta(), lease=MINUTE)


@pytest.fixture
def carol(db: Database, world: World) -> User:
    """Provide a user of the provider ldap, with a cached password."""
    return db.users.create("carol", origin="ldap", organization_id=world.organization.id, password_hash="secret")


def test_users_expire_at_exactly_that_age(db: Database, carol: User) -> None:
    with db.transaction():
        db.users.update(carol.id, {"password_at": now(db) - DAY, "last_login_at": now(db) - DAY})
        assert db.users.expire_passwords("ldap", DAY + MICROSECOND) == 0
        assert db.users.expire_passwords("ldap", DAY) == 1
        assert db.users.expire("ldap", DAY + MICROSECOND).removed == ()
        assert [contact.id for contact in db.users.expire("ldap", DAY).removed] == [carol.id]


@pytest.mark.parametrize("resource", RESOURCES)
def test_a_user_is_over_quota_with_the_whole_of_a_resource_and_not_with_a_bit_less(
    db: Database, world: World, carol: User, resource: str
) -> None:
    """Both have used a half of the other resources, and carol of all."""
    for user in (world.user, carol):
        db.quotas.set(user.id, **dict.fromkeys(RESOURCES, 0.5))
        db.quotas.update(user.id, {"used_at": MOMENT, **dict.fromkeys(map("used_{}".format, RESOURCES), 0.25)})  # type: ignore[typeddict-item]
    for used, changed in ((0.5 - 2**-40, []), (0.5, [world.user.id]), (0.5 - 2**-40, [world.user.id])):
        db.quotas.update(world.user.id, {f"used_{resource}": used})  # type: ignore[misc]
        assert [user.id for user in db.quotas.enforce(now=MOMENT)] == changed
    assert db.users.get(world.user.id).flags == []


@pytest.mark.parametrize("resource", RESOURCES)
def test_nobody_is_over_a_quota_of_nothing_without_using_anything(db: Database, world: World, resource: str) -> None:
    db.quotas.set(world.user.id, **{resource: 0})
    db.quotas.update(world.user.id, {"used_at": MOMENT})
    assert db.quotas.enforce(now=MOMENT) == []


def test_use_counts_in_the_month_that_begins_after_its_very_first_moment(db: Database, world: World) -> None:
    month = MOMENT.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    db.quotas.set(world.user.id, memory=1)
    for used_at, over in ((month, 0), (month + MICROSECOND, 1)):
        db.quotas.update(world.user.id, {"used_memory": 2, "used_at": used_at})
        assert len(db.quotas.enforce(now=MOMENT)) == over


def test_a_list_of_use_begins_after_one_moment_and_ends_with_another(
    db: Database, world: World, server: psycopg.Connection
) -> None:
    ends = [MOMENT + n * MICROSECOND for n in range(4)]
    for end in ends:
        server.execute(
            "insert into usage_records (usage_id, type, begin_at, end_at) values (%s, 'hour', %s, %s)",
            [world.host.usage_id, end, end],
        )
    listed: Callable[..., object] = partial(db.usage.list, world.host.usage_id or 0, "hour")
    assert [r.end_at for r in listed(since=ends[0], until=ends[2])] == ends[1:3]  # type: ignore[attr-defined]

"""Expiry by age: cached passwords and accounts, per login provider; a topology keeps an owner."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from functools import partial
from typing import Any

import psycopg
import pytest

from tests.conftest import World
from tests.helpers.dao_cases import BLOCKED, refused, until
from tests.helpers.topology_cases import owners
from tomato_dao import Database, InvalidValue, LastOwner, NotFound
from tomato_dao.rows import Contact, Topology, User

DAY = timedelta(days=1)


@pytest.fixture
def users(db: Database, server: psycopg.Connection, world: World) -> dict[str, User]:
    """Users of the provider ldap whose password and login are days old, and one who never logged in."""
    made = {}
    for name, days in (("old", 90), ("older", 100), ("fresh", 1), ("never", None)):
        user = db.users.create(name, origin="ldap", organization_id=world.organization.id, password_hash="secret")
        age = None if days is None else days * DAY
        server.execute(
            "update users set last_login_at = now() - %s::interval, password_at = now() - coalesce(%s, interval '90 days')"
            " where id = %s",
            [age, age, user.id],
        )
        made[name] = user
    return made


def left(db: Database) -> set[str]:
    return {u.name for u in db.users.list()}


def names(contacts: tuple[Contact, ...]) -> list[str]:
    return [c.name for c in contacts]


def test_cached_passwords_of_a_provider_are_forgotten_by_age(db: Database, users: dict[str, User]) -> None:
    assert db.users.expire_passwords("", timedelta()) == 0
    assert db.users.expire_passwords("ldap", 30 * DAY) == 3
    for name, user in users.items():
        found = db.users.get(user.id)
        assert (found.password_hash, found.password_at is None) == (("secret", False) if name == "fresh" else (None, True))
    assert db.users.expire_passwords("ldap", 30 * DAY) == 0


def test_a_cached_password_of_unknown_age_is_forgotten(db: Database, users: dict[str, User]) -> None:
    db.users.update(users["fresh"].id, {"password_at": None})
    assert db.users.expire_passwords("ldap", 1000 * DAY) == 1
    assert db.users.get(users["fresh"].id).password_hash is None


def test_accounts_of_a_provider_expire_by_their_last_login(db: Database, users: dict[str, User]) -> None:
    assert db.users.expire("", DAY).removed == ()
    gone = db.users.expire("ldap", 95 * DAY)
    assert gone.removed == (Contact(users["older"].id, "older", "ldap", "", "", False),)
    assert gone.kept == ()
    assert names(db.users.expire("ldap", 30 * DAY).removed) == ["old"]
    assert left(db) == {"alice", "fresh", "never"}
    with refused(NotFound, "quota", users["old"].id):
        db.quotas.get(users["old"].id)


def test_an_account_that_never_logs_in_expires_after_its_creation(db: Database, world: World) -> None:
    with db.transaction(), db.connection() as connection:
        user = db.users.create("eve", origin="ldap", organization_id=world.organization.id)
        assert connection.execute("select now()").fetchone() == (user.last_login_at,)
    assert names(db.users.expire("ldap", DAY).removed) == []
    assert names(db.users.expire("ldap", timedelta()).removed) == ["eve"]


def test_a_topologys_only_owner_is_left_and_reported(db: Database, world: World, users: dict[str, User]) -> None:
    topology = db.topologies.create("t", owner_id=users["old"].id)
    db.topology_permissions.set(topology.id, users["older"].id, "manager")
    db.topology_permissions.set(topology.id, users["fresh"].id, "user")
    expired = db.users.expire("ldap", 30 * DAY)
    assert (names(expired.removed), expired.kept) == (["older"], (Contact(users["old"].id, "old", "ldap", "", "", False),))
    db.topology_permissions.set(topology.id, users["fresh"].id, "owner")
    assert names(db.users.expire("ldap", 30 * DAY).removed) == ["old"]


def test_if_all_owners_expire_the_first_stays(db: Database, users: dict[str, User]) -> None:
    for owner, other in (("old", "older"), ("older", "old")):
        topology = db.topologies.create("t", owner_id=users[owner].id)
        db.topology_permissions.set(topology.id, users[other].id, "owner")
    expired = db.users.expire("ldap", 30 * DAY)
    assert (names(expired.removed), names(expired.kept)) == (["older"], ["old"])
    assert {p.user_id for t in db.topologies.list() for p in db.topology_permissions.list_of_topology(t.id)} == {
        users["old"].id
    }


def test_a_user_who_is_no_owner_expires_although_the_owner_expires_as_well(db: Database, users: dict[str, User]) -> None:
    topology = db.topologies.create("t", owner_id=users["older"].id)
    db.topology_permissions.set(topology.id, users["old"].id, "manager")
    expired = db.users.expire("ldap", 30 * DAY)
    assert (names(expired.removed), names(expired.kept)) == (["old"], ["older"])


@pytest.fixture
def owned(db: Database, users: dict[str, User]) -> Topology:
    """Provide a topology whose two owners are one who expires and one who does not."""
    topology = db.topologies.create("t", owner_id=users["old"].id)
    db.topology_permissions.set(topology.id, users["fresh"].id, "owner")
    return topology


def test_nobody_expires_where_another_owner_is_taken_away_at_that_moment(
    db: Database, server: psycopg.Connection, users: dict[str, User], owned: Topology
) -> None:
    with ThreadPoolExecutor(1) as thread:
        with db.transaction():
            db.topology_permissions.delete(owned.id, users["fresh"].id)
            expiry = thread.submit(db.users.expire, "ldap", 30 * DAY)
            until(server, BLOCKED, 1)
        with pytest.raises(LastOwner):
            expiry.result(60)
    assert left(db) == {"alice", *users}
    expired = db.users.expire("ldap", 30 * DAY)
    assert (names(expired.removed), names(expired.kept)) == (["older"], ["old"])


def test_an_owner_cannot_be_taken_away_where_another_expires_at_that_moment(
    db: Database, server: psycopg.Connection, users: dict[str, User], owned: Topology
) -> None:
    with ThreadPoolExecutor(1) as thread:
        with db.transaction():
            assert names(db.users.expire("ldap", 30 * DAY).removed) == ["old", "older"]
            removal = thread.submit(db.topology_permissions.delete, owned.id, users["fresh"].id)
            until(server, BLOCKED, 1)
        with refused(LastOwner, "topology permission", (owned.id, users["fresh"].id)):
            removal.result(60)
    assert owners(db, owned.id) == [users["fresh"].id]


def test_a_user_who_logs_in_at_that_moment_stays(db: Database, server: psycopg.Connection, users: dict[str, User]) -> None:
    with ThreadPoolExecutor(1) as thread:
        with db.transaction():
            db.users.touch_login(users["old"].id)
            expiry = thread.submit(db.users.expire, "ldap", 30 * DAY)
            until(server, BLOCKED, 1)
        assert names(expiry.result(60).removed) == ["older"]
    assert "old" in left(db)


def test_an_age_is_not_below_nothing(db: Database) -> None:
    calls: list[Any] = [db.users.expire, db.users.expire_passwords, partial(db.tasks.claim, lease=DAY)]
    for call in calls:
        for age in (-DAY, 60, None):
            with pytest.raises(InvalidValue, match="must be a timedelta of 0 or more, not "):
                call("ldap", age)


def test_nobody_expires_where_nobody_is(db: Database) -> None:
    assert db.users.expire("nowhere", timedelta()).removed == ()
    assert db.users.expire_passwords("nowhere", timedelta()) == 0

"""Topologies: owners, timeouts, lists, and what goes with a topology."""

from collections.abc import Callable, Sequence
from datetime import timedelta
from functools import partial
from typing import Any

import psycopg
import pytest
from msgspec.structs import fields
from psycopg import errors

from tests.conftest import World
from tests.helpers.dao_cases import (
    MOMENT,
    NOBODY,
    assert_threads_keep_each_others_attrs,
    assert_wrong_types_are_refused,
    refused,
    timed,
    usage_is_gone,
)
from tests.helpers.topology_cases import add_link, add_usage, owners
from tomato_dao import Database, InvalidValue, NotFound, WrongState
from tomato_dao.rows import ListedTopology, Topology, TopologyContact, TopologyPermission, User, replace


def plain(listed: Sequence[ListedTopology]) -> list[Topology]:
    """Listed topologies without what a list adds to them."""
    return [Topology(*(getattr(t, field.name) for field in fields(Topology))) for t in listed]


def test_a_new_topology_times_out_in_an_hour_without_a_warning(db: Database, world: World) -> None:
    made, now = timed(db, lambda: db.topologies.create("t", owner_id=world.user.id, site_id=world.site.id, attrs={"_x": [1]}))
    assert made == Topology(made.id, "t", world.site.id, now + timedelta(hours=1), 9, made.usage_id, {"_x": [1]})
    assert isinstance(made.usage_id, int)
    assert db.topologies.get(made.id) == made


def test_a_new_topology_has_its_owner(db: Database, world: World, topology: Topology) -> None:
    owner = TopologyPermission(topology.id, world.user.id, "owner")
    assert db.topology_permissions.get(topology.id, world.user.id) == owner
    assert db.topology_permissions.list_of_topology(topology.id) == [owner]


def test_a_topology_needs_an_owner_and_a_site_that_exist(db: Database, world: World, topology: Topology) -> None:
    with refused(NotFound, "user", NOBODY, f"^user {NOBODY} does not exist$") as caught:
        db.topologies.create("t", owner_id=NOBODY)
    assert isinstance(caught.value.__cause__, errors.ForeignKeyViolation)
    with refused(NotFound, "site", NOBODY):
        db.topologies.create("t", owner_id=world.user.id, site_id=NOBODY)
    with refused(NotFound, "site", NOBODY):
        db.topologies.update(topology.id, {"site_id": NOBODY})
    assert plain(db.topologies.list()) == [topology]


def test_topologies_can_share_a_name(db: Database, world: World, topology: Topology) -> None:
    assert db.topologies.create("t", owner_id=world.user.id).id != topology.id


def test_an_unknown_topology_is_not_found(db: Database) -> None:
    calls: list[Callable[[int], object]] = [
        db.topologies.get,
        db.topologies.full,
        lambda id: db.topologies.update(id, {"name": "x"}),
        lambda id: db.topologies.set_attrs(id, {"a": 1}),
        lambda id: db.topologies.renew(id, timedelta(hours=1)),
        db.topologies.delete,
    ]
    for call in calls:
        with refused(NotFound, "topology", NOBODY, f"^topology {NOBODY} does not exist$"):
            call(NOBODY)


def test_topologies_are_listed_in_pages_newest_first(db: Database, world: World, topology: Topology) -> None:
    listed = [topology, *(db.topologies.create(name, owner_id=world.user.id) for name in "cab")][::-1]
    assert plain(db.topologies.list()) == listed
    assert plain(db.topologies.list(limit=2)) == listed[:2]
    assert plain(db.topologies.list(after=listed[1].id, limit=1)) == listed[2:3]
    assert plain(db.topologies.list(after=listed[3].id)) == []


def test_topologies_of_a_user_are_those_with_an_explicit_permission(db: Database, world: World, bob: User) -> None:
    made = [db.topologies.create(name, owner_id=world.user.id) for name in "abcd"]
    for t, role in zip(made[:3], ("user", "manager", "owner"), strict=True):
        db.topology_permissions.set(t.id, bob.id, role)
    assert plain(db.topologies.list_of_user(bob.id)) == made[2::-1]
    assert plain(db.topologies.list_of_user(bob.id, after=made[2].id, limit=1)) == made[1:2]
    assert plain(db.topologies.list_of_user(bob.id, role="manager")) == made[2:0:-1]
    assert plain(db.topologies.list_of_user(bob.id, role="owner")) == made[2:3]
    assert plain(db.topologies.list_of_user(world.user.id, role="owner")) == made[::-1]
    with refused(InvalidValue, "topology", "role", "role must be user, manager or owner, not 'boss'"):
        db.topologies.list_of_user(bob.id, role="boss")
    assert plain(db.topologies.list_of_user(NOBODY)) == []


def test_topologies_of_an_organization_are_those_with_an_owner_in_it(db: Database, world: World, bob: User) -> None:
    made = [db.topologies.create(name, owner_id=world.user.id) for name in "abcd"]
    carol = db.users.create("carol", organization_id=bob.organization_id)
    for t, user, role in ((0, bob, "owner"), (0, carol, "owner"), (1, bob, "manager"), (2, bob, "user"), (3, carol, "owner")):
        db.topology_permissions.set(made[t].id, user.id, role)
    assert plain(db.topologies.list_of_organization(bob.organization_id)) == [made[3], made[0]]
    assert plain(db.topologies.list_of_organization(bob.organization_id, limit=1)) == [made[3]]
    assert plain(db.topologies.list_of_organization(bob.organization_id, after=made[3].id)) == [made[0]]
    assert plain(db.topologies.list_of_organization(world.organization.id)) == made[::-1]


def test_a_patch_of_a_topology_changes_only_what_it_names(db: Database, world: World, topology: Topology) -> None:
    patches: list[Any] = [{"name": ""}, {"site_id": world.site.id}, {"timeout_at": MOMENT}]
    patches += [{"timeout_step": step} for step in (0, 9, 10, 20)]
    for patch in patches:
        topology = replace(topology, **patch)
        assert db.topologies.update(topology.id, patch) == topology
    assert db.topologies.update(topology.id, {}) == topology == db.topologies.get(topology.id)
    assert db.topologies.update(topology.id, {"site_id": None}) == replace(topology, site_id=None)


def test_a_patch_of_a_topology_is_checked(db: Database, topology: Topology) -> None:
    with refused(InvalidValue, "topology", "owner", r"a patch cannot have 'owner', only name, "):
        db.topologies.update(topology.id, {"owner": 1})  # type: ignore[typeddict-unknown-key]
    values: list[tuple[str, object]] = [
        ("name", None),
        ("timeout_at", None),
        ("timeout_at", "now"),
        ("timeout_step", "9"),
        ("site_id", "lab"),
    ]
    assert_wrong_types_are_refused(db.topologies, "topology", topology.id, values)
    for step in (1, 32768, -1):
        with refused(InvalidValue, "topology", topology.id) as caught:
            db.topologies.update(topology.id, {"timeout_step": step})
        assert isinstance(caught.value.__cause__, psycopg.Error)
    assert db.topologies.get(topology.id) == topology


def test_attrs_of_a_topology_are_set_and_removed_at_once(db: Database, topology: Topology) -> None:
    assert db.topologies.set_attrs(topology.id, {"a": 1, "_notes": "x"}) == {"a": 1, "_notes": "x"}
    assert db.topologies.set_attrs(topology.id, {"b": None}, ["a", "missing"]) == {"_notes": "x", "b": None}
    assert db.topologies.get(topology.id) == replace(topology, attrs={"_notes": "x", "b": None})


def test_threads_keep_each_others_attrs_of_a_topology(db: Database, topology: Topology) -> None:
    assert_threads_keep_each_others_attrs(db.topologies, topology.id)


def test_a_warning_is_sent_only_for_what_is_renewed_for_more_than_a_day(db: Database, topology: Topology) -> None:
    day = timedelta(hours=24)
    for period, step in ((timedelta(minutes=1), 9), (day, 9), (day + timedelta(microseconds=1), 0), (30 * day, 0)):
        renewed, now = timed(db, partial(db.topologies.renew, topology.id, period))
        assert renewed == replace(topology, timeout_at=now + period, timeout_step=step)


def test_renewing_starts_the_timeout_steps_again(db: Database, topology: Topology) -> None:
    db.topologies.update(topology.id, {"timeout_at": MOMENT, "timeout_step": 20})
    assert db.topologies.renew(topology.id, timedelta(days=7)).timeout_step == 0


def test_a_period_is_a_timedelta(db: Database, topology: Topology) -> None:
    period: Any
    for period in (3600, 5.5, "1 hour", None):
        with pytest.raises(InvalidValue, match=r"^topology: "):
            db.topologies.renew(topology.id, period)
    assert db.topologies.get(topology.id) == topology


def test_a_timeout_after_the_year_9999_is_refused(db: Database, topology: Topology) -> None:
    with refused(InvalidValue, "topology", topology.id, r"instant_is_finite_and_of_years_1_to_9999"):
        db.topologies.renew(topology.id, timedelta(days=3_000_000))


def test_a_topology_goes_with_everything_in_it(
    db: Database, world: World, topology: Topology, server: psycopg.Connection
) -> None:
    elements, connection = add_link(db, topology.id)
    components = [
        db.host_elements.create(world.host.id, 1, type="kvmqm", state="started", element_id=elements[0].id),
        db.host_elements.create(world.host.id, 2, type="tinc", state="started", connection_id=connection.id),
        db.host_connections.create(world.host.id, 1, type="bridge", state="started", connection_id=connection.id),
        db.host_connections.create(world.host.id, 2, type="bridge", state="started", element_id=elements[2].id),
    ]
    db.elements.update(elements[0].id, {"host_element_id": components[0].id})
    db.connections.update(connection.id, {"host_connection1_id": components[2].id, "host_element1_id": components[1].id})
    used = [topology.usage_id, connection.usage_id, *(e.usage_id for e in elements)]
    for usage_id in used:
        add_usage(server, usage_id, "5minutes", MOMENT)
    kept = db.topologies.create("kept", owner_id=world.user.id)
    db.topologies.delete(topology.id)
    assert plain(db.topologies.list()) == plain(db.topologies.list_of_user(world.user.id)) == [kept]
    assert db.elements.list_of_topology(topology.id) == []
    assert db.connections.list_of_topology(topology.id) == []
    assert db.topology_permissions.list_of_topology(topology.id) == []
    assert usage_is_gone(server, *used)
    orphans = [replace(c, element_id=None, connection_id=None) for c in components]
    assert [*db.host_elements.list_of_host(world.host.id), *db.host_connections.list_of_host(world.host.id)] == orphans


def test_a_topology_stays_whole_while_one_of_its_elements_cannot_go(
    db: Database, world: World, topology: Topology, server: psycopg.Connection
) -> None:
    elements, connection = add_link(db, topology.id)
    db.elements.update(elements[3].id, {"state": "started"})
    with refused(
        WrongState,
        "topology",
        topology.id,
        f"only elements in the state created can be deleted.*element {elements[3].id} is started",
    ) as caught:
        db.topologies.delete(topology.id)
    assert isinstance(caught.value.__cause__, psycopg.Error)
    assert [e.id for e in db.elements.list_of_topology(topology.id)] == [e.id for e in elements]
    assert db.connections.list_of_topology(topology.id) == [connection]
    assert owners(db, topology.id) == [world.user.id]
    assert not usage_is_gone(server, topology.usage_id)
    db.elements.update(elements[3].id, {"state": "prepared"})
    db.topologies.delete(topology.id)
    assert plain(db.topologies.list()) == []


def test_contacts_of_a_topology_have_at_least_a_role(db: Database, world: World, bob: User) -> None:
    topology = db.topologies.create("t", owner_id=world.user.id)
    carol = db.users.create(
        "carol", origin="ldap", organization_id=world.organization.id, flags=["nomails", "global_topl_owner"]
    )
    db.users.update(bob.id, {"email": "bob@example.org", "realname": "Bob"})
    db.topology_permissions.set(topology.id, bob.id, "manager")
    assert carol.id not in [contact.id for contact in db.topologies.contacts(topology.id)]  # by flags alone
    db.topology_permissions.set(topology.id, carol.id, "user")
    contacts = [
        TopologyContact(world.user.id, "alice", "", "", "", False, "owner"),
        TopologyContact(bob.id, "bob", "", "Bob", "bob@example.org", False, "manager"),
        TopologyContact(carol.id, "carol", "ldap", "", "", True, "user"),
    ]
    for role, least in (("owner", 1), ("manager", 2), ("user", 3)):
        assert db.topologies.contacts(topology.id, role=role) == sorted(contacts[:least], key=lambda contact: contact.id)
    assert db.topologies.contacts(topology.id) == sorted(contacts, key=lambda contact: contact.id)
    assert db.topologies.contacts(NOBODY) == []
    with refused(InvalidValue, "topology", "role", "^topology: role must be user, manager or owner, not 'admin'$"):
        db.topologies.contacts(topology.id, role="admin")

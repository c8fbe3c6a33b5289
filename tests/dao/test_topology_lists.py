"""Lists of topologies: everything that a list page shows, and those that a user has access to."""

from datetime import timedelta
from itertools import product

import psycopg

from tests.conftest import World
from tests.helpers.dao_cases import MOMENT, NOBODY
from tests.helpers.topology_cases import add_link, add_usage
from tomato_dao import Database
from tomato_dao.rows import FullPermission, ListedTopology, Topology, UsageRecord, User, asdict


def test_a_list_holds_all_that_a_page_shows(
    db: Database, world: World, bob: User, topology: Topology, server: psycopg.Connection
) -> None:
    db.users.update(bob.id, {"realname": "Bob B.", "email": "bob@example.org", "flags": ["nomails"]})
    full = db.topologies.create("full", owner_id=world.user.id, site_id=world.site.id, attrs={"_notes": "ü"})
    db.topology_permissions.set(full.id, bob.id, "manager")
    elements, connection = add_link(db, full.id)
    db.elements.set_state_in_topology(full.id, types=["kvmqm"], states=["created"], state="started")
    add_usage(server, full.usage_id, "5minutes", MOMENT, memory=1e9)
    add_usage(server, full.usage_id, "hour", MOMENT + timedelta(hours=1))
    alice = FullPermission(full.id, world.user.id, "owner", "alice", "", "", "", nomails=False)
    shown = ListedTopology(
        **asdict(full),
        role="manager",
        state="started",
        site_name="lab",
        permissions=(
            alice,
            FullPermission(full.id, bob.id, "manager", "bob", "", "Bob B.", "bob@example.org", nomails=True),
        ),
        element_ids=[e.id for e in elements],
        connection_ids=[connection.id],
        usage=UsageRecord(full.usage_id or 0, "5minutes", MOMENT - timedelta(minutes=5), MOMENT, 5, 1e9, 2.0, 3.0, 0.25),
    )
    empty = ListedTopology(
        **asdict(topology),
        role=None,
        state="created",
        site_name=None,
        permissions=(FullPermission(topology.id, world.user.id, "owner", "alice", "", "", "", nomails=False),),
        element_ids=[],
        connection_ids=[],
        usage=None,
    )
    assert db.topologies.list(asking_user_id=bob.id) == [shown, empty]
    assert db.topologies.list_of_user(world.user.id, asking_user_id=bob.id) == [shown, empty]
    assert db.topologies.list_of_organization(world.organization.id, asking_user_id=bob.id) == [shown, empty]
    assert db.topologies.list_accessible(bob.id) == [shown]


def test_accessible_is_what_permission_and_flags_give_page_by_page(db: Database, world: World, bob: User) -> None:
    """Two organizations own topologies, one of them both; carol, of the first, has each kind of flag and a permission."""
    carol = db.users.create("carol", organization_id=world.organization.id)
    for owner in (world.user, bob, world.user, bob, bob, world.user):
        made = db.topologies.create(owner_id=owner.id)
    db.topology_permissions.set(made.id, bob.id, "owner")
    everything = [t.id for t in db.topologies.list()]
    db.topology_permissions.set(everything[2], carol.id, "user")
    db.topology_permissions.set(everything[0], carol.id, "manager")
    kinds = {"none": everything[0:3:2], "orga": [*everything[0:1], *everything[2:4], everything[5]], "global": everything}
    for (kind, ids), role in product(kinds.items(), ("user", "manager", "owner")):
        db.users.update(carol.id, {"flags": ["debug", *([] if kind == "none" else [f"{kind}_topl_{role}"])]})
        assert [t.id for t in db.topologies.list_accessible(carol.id)] == ids, kind
        for n in range(len(ids)):
            assert [t.id for t in db.topologies.list_accessible(carol.id, after=ids[n], limit=2)] == ids[n + 1 : n + 3], kind
        roles = {t.id: db.topology_permissions.role(t.id, carol.id) for t in db.topologies.list()}
        assert {t.id: t.role for t in db.topologies.list_accessible(carol.id)} == {id: roles[id] for id in ids}
    assert db.topologies.list_accessible(NOBODY) == []

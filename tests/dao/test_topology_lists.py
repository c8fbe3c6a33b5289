"""Lists of topologies: everything that a list page shows, and those that a user has access to."""

from collections import Counter
from datetime import timedelta
from itertools import product
from typing import Any

import psycopg
import pytest

from tests.conftest import World
from tests.helpers.dao_cases import MOMENT, NOBODY
from tests.helpers.topology_cases import add_link, add_usage
from tomato_dao import Database
from tomato_dao.rows import FullPermission, ListedTopology, Topology, UsageRecord, User, asdict


def run(db: Database, host_id: int, element_id: int) -> None:
    """Let an element run on a host."""
    made = db.host_elements.create(host_id, element_id, type="kvmqm", state="started", element_id=element_id)
    db.elements.update(element_id, {"host_element_id": made.id})


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


def test_whole_topologies_of_a_page_come_in_one_call(db: Database, world: World, bob: User) -> None:
    made = [db.topologies.create(owner_id=owner.id, site_id=world.site.id) for owner in (world.user, bob, world.user, bob)]
    for t in made[:3]:
        (machine, *_), connection = add_link(db, t.id)
        run(db, world.host.id, machine.id)
        db.host_connections.create(world.host.id, t.id, type="bridge", state="created", connection_id=connection.id)
    whole = [db.topologies.full(t.id, asking_user_id=bob.id) for t in reversed(made)]
    assert [len(t.elements) for t in whole] == [0, 4, 4, 4]
    asked: dict[str, Any] = {"asking_user_id": bob.id}
    lists = db.topologies
    assert lists.list_full(**asked) == whole
    assert lists.list_full(**asked, after=whole[1].id, limit=1) == whole[2:3]
    assert lists.list_full(**asked, user_id=bob.id, role="owner") == [whole[0], whole[2]]
    assert lists.list_full(**asked, organization_id=world.organization.id) == [whole[1], whole[3]]
    assert lists.list_full(**asked, accessible_to=bob.id) == [whole[0], whole[2]]


def test_a_full_topology_gives_the_hosts_of_connected_elements(db: Database, topology: Topology, world: World) -> None:
    """Three machines: the first is linked to the second directly, and to both others by a switch."""
    hosts = [
        db.hosts.create(
            name, address=name, rpcurl=name, site_id=db.sites.create(name, organization_id=world.organization.id).id
        )
        for name in "abc"
    ]
    machines = [db.elements.create(topology.id, "kvmqm") for _ in hosts]
    switch = db.elements.create(topology.id, "tinc_vpn")
    for machine in machines:
        port = db.elements.create(topology.id, "kvmqm_interface", parent_id=machine.id)
        db.connections.create(port.id, db.elements.create(topology.id, "tinc_endpoint", parent_id=switch.id).id)
    first, second = (db.elements.create(topology.id, "kvmqm_interface", parent_id=m.id) for m in machines[:2])
    db.connections.create(first.id, second.id)
    lone = db.elements.create(topology.id, "udp_endpoint")
    for machine, host in zip(machines[1:], hosts[1:], strict=True):
        run(db, host.id, machine.id)
    full = db.topologies.full(topology.id)

    def near(element_id: int) -> Counter[str]:
        return Counter(host.name for host in full.connected_hosts(element_id))

    assert near(machines[0].id) == {"b": 2, "c": 1}
    assert near(machines[1].id) == {"c": 1}
    assert near(machines[2].id) == near(first.id) == {"b": 1}
    assert near(second.id) == near(lone.id) == {}


KEPT = "select generic_plans, custom_plans from pg_prepared_statements where name like 'topologies.list%'"


def test_a_list_without_an_asking_user_is_planned_once(db: Database, topology: Topology) -> None:
    with db.transaction(), db.connection() as connection:
        for _ in range(10):
            db.topologies.list()
        assert connection.execute(KEPT).fetchall() == [(5, 5)]


@pytest.mark.slow
def test_lists_of_many_topologies_are_planned_once(
    db: Database, world: World, topology: Topology, server: psycopg.Connection
) -> None:
    server.execute("insert into topologies (name) select 'one of many' from generate_series(1, 60000)")
    server.execute("analyze topologies")
    with db.transaction(), db.connection() as connection:
        for _ in range(10):
            db.topologies.list(limit=3)
            db.topologies.list(limit=3, asking_user_id=world.user.id)
            db.topologies.list_full(limit=3)
            db.topologies.full(topology.id)
        assert connection.execute(KEPT).fetchall() == [(5, 5)] * 4

"""Two of each: a call is about the one that it names, and what is joined is of the same one."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Any

import pytest

from tests.conftest import World
from tests.helpers.dao_cases import MOMENT
from tests.helpers.host_cases import make_well, now
from tests.helpers.topology_cases import add_link
from tomato_dao import Database, NotFound
from tomato_dao.rows import Host, Topology, User, replace

MINUTE = timedelta(minutes=1)


@pytest.fixture
def far(db: Database, world: World, bob: User) -> Host:
    """Provide a host at a site of bob's organization."""
    site = db.sites.create("far", organization_id=bob.organization_id)
    return db.hosts.create("host2", address="10.0.0.2", rpcurl="rpc://host2", site_id=site.id)


@pytest.fixture
def topologies(db: Database, world: World, bob: User) -> tuple[Topology, Topology]:
    """One of alice's and one of bob's."""
    return db.topologies.create("a", owner_id=world.user.id), db.topologies.create("b", owner_id=bob.id)


@dataclass(frozen=True)
class Pair:
    """Two things of a DAO: by what each is named, and what to change in one of them."""

    dao: Any
    names: tuple[tuple[Any, ...], tuple[Any, ...]]
    patch: dict[str, Any]

    def get(self, name: tuple[Any, ...]) -> Any:
        """Return the row of that name."""
        is_place = len(name) == 1 and isinstance(name[0], str)
        return (self.dao.get_by_name if is_place else self.dao.get)(*name)


@pytest.fixture
def pairs(db: Database, world: World, bob: User, far: Host, topologies: tuple[Topology, Topology]) -> list[Pair]:
    """Two of each, in an order in which the first of each can be removed."""
    links = [add_link(db, topology.id) for topology in topologies]
    networks = [db.networks.create(kind).id for kind in "ab"]
    hosts = (world.host.id, far.id)
    for source in "ab":
        db.error_dumps.store(source, "1", group_id=source, at=MOMENT, description=None, software_version=None)
    made: list[tuple[Any, Iterable[Any], dict[str, Any]]] = [
        (db.templates, [db.templates.create("kvmqm", name).id for name in "ab"], {"preference": 5}),
        (db.profiles, [db.profiles.create("kvmqm", name).id for name in "ab"], {"ram": 5.0}),
        (db.network_instances, [db.network_instances.create(networks[0], h, "br0").id for h in hosts], {"bridge": "x"}),
        (db.networks, networks, {"label": "x"}),
        (db.connections, [connection.id for _, connection in links], {"state": "started"}),
        (db.elements, [elements[0].id for elements, _ in links], {"site_id": world.site.id}),
        (db.host_elements, [db.host_elements.create(h, 1, type="x", state="a").id for h in hosts], {"state": "b"}),
        (db.host_connections, [db.host_connections.create(h, 1, type="x", state="a").id for h in hosts], {"state": "b"}),
        (db.topologies, [topology.id for topology in topologies], {"timeout_step": 0}),
        (db.hosts, ["host1", "host2"], {"address": "x"}),
        (db.sites, ["lab", "far"], {"location": "x"}),
        (db.users, [world.user.id, bob.id], {"realname": "x"}),
        (db.organizations, ["uni", "org"], {"description": "x"}),
    ]
    pairs = [Pair(dao, ((one,), (other,)), patch) for dao, (one, other), patch in made]
    return [Pair(db.error_dumps, (("a", "1"), ("b", "1")), {"origin": "x"}), *pairs]


def test_only_the_one_that_is_named_is_changed(pairs: list[Pair]) -> None:
    for pair in pairs:
        for one, other in (pair.names, pair.names[::-1]):
            before, others = pair.get(one), pair.get(other)
            pair.dao.update(*one, pair.patch)
            assert pair.get(one) == replace(before, **pair.patch)
            assert pair.dao.set_attrs(*one, {str(one): 1}) == {**before.attrs, str(one): 1}
            assert pair.get(other) == others


def test_only_the_one_that_is_named_is_removed(pairs: list[Pair]) -> None:
    for pair in pairs:
        one, other = pair.names
        others = pair.get(other)
        pair.dao.delete(*one)
        assert pair.get(other) == others
        with pytest.raises(NotFound):
            pair.get(one)


def test_only_the_user_who_is_named_is_touched(db: Database, world: World, bob: User) -> None:
    calls: list[Callable[[int], object]] = [
        partial(db.users.add_flag, flag="debug"),
        partial(db.users.remove_flag, flag="debug"),
        db.users.touch_login,
        partial(db.quotas.update, patch={"used_memory": 5}),
        lambda id: db.quotas.set(id, memory=7),
    ]
    for call in calls:
        for user, other in ((world.user, bob), (bob, world.user)):
            before = db.users.get(other.id), db.quotas.get(other.id)
            call(user.id)
            assert (db.users.get(other.id), db.quotas.get(other.id)) == before


def test_a_name_finds_who_has_it_among_all_of_an_origin(db: Database, world: World, bob: User) -> None:
    elsewhere = db.users.create("bob", origin="idp", organization_id=world.organization.id)
    assert db.users.get_by_name("bob", "") == bob
    assert db.users.get_by_name("alice", "") == world.user
    assert db.users.get_by_name("bob", "idp") == elsewhere


def test_only_the_host_that_is_named_is_updated(db: Database, world: World, far: Host) -> None:
    for name, other in (("host1", "host2"), ("host2", "host1")):
        before = db.hosts.get_by_name(other)
        assert db.hosts.count_error(name) == 1
        assert db.hosts.update_availability(name) < 1
        assert db.hosts.get_by_name(other) == before


def test_only_the_topology_that_is_named_is_renewed(db: Database, topologies: tuple[Topology, Topology]) -> None:
    for one, other in (topologies, topologies[::-1]):
        before = db.topologies.get(other.id)
        db.topologies.renew(one.id, timedelta(days=3))
        assert db.topologies.get(other.id) == before


def test_only_the_machine_that_is_named_starts(db: Database, topologies: tuple[Topology, Topology]) -> None:
    one, other = (db.elements.create(topology.id, "kvmqm") for topology in topologies)
    db.elements.start_sync(one.id)
    assert db.elements.set_state_of_tree(one.id, "started") == [one.id]
    assert db.elements.get(other.id) == other


def test_a_candidate_counts_its_own_components(db: Database, world: World, far: Host) -> None:
    near = db.hosts.create("host3", address="10.0.0.3", rpcurl="rpc://host3", site_id=world.site.id)
    for n, host in enumerate((world.host, far, near)):
        make_well(db, host.name)
        for num in range(n):
            db.host_elements.create(host.id, num, type="x", state="started")
        for num in range(2 - n):
            db.host_connections.create(host.id, num, type="x", state="started")
    expected = {world.host.id: (0, 2), far.id: (1, 1), near.id: (2, 0)}
    assert {c.id: (c.elements, c.connections) for c in db.hosts.candidates()} == expected
    del expected[far.id]
    assert {c.id: (c.elements, c.connections) for c in db.hosts.candidates_of_site(world.site.id)} == expected


def test_contacts_are_notified_of_the_hosts_of_their_organization(db: Database, world: World, bob: User, far: Host) -> None:
    for user in (world.user, bob):
        db.users.add_flag(user.id, "orga_host_contact")
    for name, age in (("host1", 10), ("host2", 20)):
        db.hosts.update(name, {"problem_since": now(db) - age * MINUTE})
    notices = db.hosts.claim_problem_notices(limit=5, lease=MINUTE)
    assert [(n.host_id, [c.id for c in n.recipients]) for n in notices] == [
        (far.id, [bob.id]),
        (world.host.id, [world.user.id]),
    ]


def test_claims_tell_the_host_that_each_is_on(
    db: Database, world: World, far: Host, topologies: tuple[Topology, Topology]
) -> None:
    hosts = (world.host, far)
    for host, topology in zip(hosts, topologies, strict=True):
        machine = db.elements.create(topology.id, "kvmqm")
        component = db.host_elements.create(host.id, 5, type="x", state="started", element_id=machine.id)
        db.elements.update(machine.id, {"next_sync_at": MOMENT, "host_element_id": component.id})
        for dao in (db.host_elements, db.host_connections):
            dao.create(host.id, 6, type="x", state="started")
    expected = [(host.name, host.rpcurl) for host in hosts]
    claims: list[Callable[..., Sequence[Any]]] = [
        db.elements.claim_syncs,
        db.host_elements.claim_orphans,
        db.host_connections.claim_orphans,
    ]
    for claim in claims:
        assert [(c.host_name, c.rpcurl) for c in claim(limit=5, lease=MINUTE)] == expected


def test_topologies_have_their_own_owners_states_and_roles(
    db: Database, world: World, bob: User, topologies: tuple[Topology, Topology]
) -> None:
    for topology, state in zip(topologies, ("started", "prepared"), strict=True):
        db.elements.create(topology.id, "kvmqm", state=state)
        db.topologies.renew(topology.id, timedelta())
    listed = db.topologies.list(asking_user_id=bob.id)
    assert [(t.id, t.state, t.role) for t in listed] == [
        (topologies[1].id, "prepared", "owner"),
        (topologies[0].id, "started", None),
    ]
    assert [(t.id, t.state) for t in db.topologies.list_of_user(bob.id)] == [(topologies[1].id, "prepared")]
    for user, topology in zip((world.user, bob), topologies, strict=True):
        assert [p.user_id for p in db.topologies.full(topology.id).permissions] == [user.id]
        assert [r.user_id for r in db.topology_permissions.matrix(topology.id)] == [user.id]
    claims = db.topologies.claim_timeouts(limit=5, lease=MINUTE)
    assert [(c.id, [o.id for o in c.recipients]) for c in claims] == [
        (topologies[0].id, [world.user.id]),
        (topologies[1].id, [bob.id]),
    ]

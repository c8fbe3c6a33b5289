"""Every list is in the order that it promises, whatever the order in which its rows are stored."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from itertools import pairwise
from operator import attrgetter
from typing import Any

import psycopg
import pytest

from tests.conftest import World
from tests.helpers.dao_cases import MOMENT, refused
from tests.helpers.leased_cases import MINUTE
from tests.helpers.topology_cases import add_link, add_usage
from tomato_dao import Database, InvalidValue
from tomato_dao.rows import LinkMeasurement, User

DAY = timedelta(days=1)
# Tables, the columns that their lists are in the order of, and one that can be written as it is.
STORED = {
    "organizations": ("id", "attrs"), "sites": ("id", "attrs"), "hosts": ("id", "attrs"), "users": ("id", "attrs"),
    "templates": ("id", "attrs"), "profiles": ("id", "attrs"), "networks": ("id", "attrs"),
    "network_instances": ("id", "attrs"), "templates_on_hosts": ("host_id, template_id", "ready"),
    "topologies": ("id", "attrs"), "topology_permissions": ("topology_id, user_id", "role"), "elements": ("id", "attrs"),
    "connections": ("id", "attrs"), "host_elements": ("id", "attrs"), "host_connections": ("id", "attrs"),
    "tasks": ("name", "started_at"), "usage_records": ("usage_id, type, end_at", "memory"),
    "error_groups": ("group_id", "description"), "error_dumps": ("at, source, dump_id", "attrs"),
    "key_values": ("key", "value"), "link_measurements": ("type, end_at", "loss"),
}  # fmt: skip


@dataclass(frozen=True)
class Ids:
    """Ids of what lists are of."""

    organization: int
    site: int
    host: int
    user: int
    topology: int
    machine: int
    connection: int
    network: int
    template: int
    usage: int


@pytest.fixture
def testbed(db: Database, world: World, bob: User, server: psycopg.Connection) -> Ids:
    """Three or more rows for each list, stored in no order."""
    for name in ("carol", "dave"):
        db.users.create(name, organization_id=world.organization.id, flags=["debug", "global_topl_user"])
    for origin in ("ldap", "idp"):
        db.users.create("alice", origin=origin, organization_id=world.organization.id, flags=["debug"])
    for name in ("hall", "roof"):
        db.sites.create(name, organization_id=world.organization.id)
        db.hosts.create(name, address=name, rpcurl=name, site_id=world.site.id)
        db.organizations.create(name)
    hosts = [host.id for host in db.hosts.list()]
    templates = [db.templates.create("kvmqm", name).id for name in "cab"]
    networks = [db.networks.create(kind).id for kind in ("x/c", "x/a", "x/b")]
    for n, name in enumerate("cab"):
        at = MOMENT - n * MINUTE
        db.profiles.create("kvmqm", name)
        db.network_instances.create(networks[0], world.host.id, name)
        db.network_instances.create(networks[0], hosts[1 + n % 2], name)
        db.templates_on_hosts.set(world.host.id, templates[n], True)
        db.templates_on_hosts.set(hosts[n], templates[0], True)
        db.key_values.set(name, n)
        db.tasks.claim(name, MINUTE, lease=MINUTE)
        db.link_measurements.store(LinkMeasurement(world.site.id, world.site.id, "hour", at, at, 0, 0, 0, 1))
        db.error_dumps.store("host", name, group_id="g", at=at, description=None, software_version=None)
        db.error_dumps.store("host", name, group_id=name, at=at, description=None, software_version=None)
        db.error_dumps.store(name, name, group_id=f"group {name}", at=at, description=None, software_version=None)
    topologies = [db.topologies.create(name, owner_id=world.user.id).id for name in "hgfedcba"]
    for user in db.users.list():
        db.topology_permissions.set(topologies[0], user.id, "owner")
    (machine, *_), connection = add_link(db, topologies[0])
    for num in range(3):
        db.elements.create(topologies[0], "kvmqm_interface", parent_id=machine.id)
        add_link(db, topologies[0])
        add_usage(server, world.host.usage_id, "hour", MOMENT - num * MINUTE)
        for user in db.users.list():
            add_usage(server, user.usage_id, "hour", MOMENT - num * MINUTE)
        for organization in db.organizations.list():
            add_usage(server, organization.usage_id, "hour", MOMENT - num * MINUTE)
        for dao in (db.host_elements, db.host_connections):
            dao.create(world.host.id, 2 * num, type="x", state="started", element_id=machine.id)
            dao.create(world.host.id, 2 * num + 1, type="x", state="started", connection_id=connection.id)
    store_shuffled(server)
    return Ids(
        world.organization.id, world.site.id, world.host.id, world.user.id, topologies[0], machine.id, connection.id,
        networks[0], templates[0], world.host.usage_id or 0,
    )  # fmt: skip


def store_shuffled(server: psycopg.Connection) -> None:
    """Write each row anew, which stores it behind all others: first each second one, then the others, both backwards.

    So the rows are in their order neither forwards nor backwards, as some joins read them.
    """
    for table, (key, column) in STORED.items():
        of_one = ", ".join(f"one.{part}" for part in key.split(", "))
        server.execute(
            f"do $$ declare one record; begin"
            f" for one in select {key}, row_number() over (order by {key}) as n from {table}"
            f" order by (row_number() over (order by {key})) % 2, n desc loop"
            f" update {table} set {column} = {column} where ({key}) = ({of_one}); end loop; end $$"
        )


NEWEST_FIRST: dict[str, Callable[[Database, Ids], Sequence[Any]]] = {
    "topologies": lambda db, t: db.topologies.list(asking_user_id=t.user),
    "topologies of a user": lambda db, t: db.topologies.list_of_user(t.user, asking_user_id=t.user),
    "topologies of an organization": lambda db, t: db.topologies.list_of_organization(t.organization),
    "topologies that a user has access to": lambda db, t: db.topologies.list_accessible(t.user),
    "whole topologies": lambda db, _: db.topologies.list_full(),
}
LISTS: dict[str, tuple[str, Callable[[Database, Ids], Sequence[Any]]]] = {
    "organizations": ("id", lambda db, _: db.organizations.list()),
    "sites": ("id", lambda db, _: db.sites.list()),
    "sites of an organization": ("id", lambda db, t: db.sites.list_of_organization(t.organization)),
    "hosts": ("id", lambda db, _: db.hosts.list()),
    "hosts of a site": ("id", lambda db, t: db.hosts.list_of_site(t.site)),
    "users": ("id", lambda db, _: db.users.list()),
    "users of an organization": ("id", lambda db, t: db.users.list_of_organization(t.organization)),
    "users by flag": ("id", lambda db, _: db.users.list_by_flag("debug")),
    "users by name": ("id", lambda db, _: db.users.list_by_name("alice")),
    "templates": ("id", lambda db, _: db.templates.list()),
    "templates of a tech": ("id", lambda db, _: db.templates.list_of_tech("kvmqm")),
    "readiness of templates": ("template_id", lambda db, _: db.templates.list_readiness()),
    "profiles": ("id", lambda db, _: db.profiles.list()),
    "profiles of a tech": ("id", lambda db, _: db.profiles.list_of_tech("kvmqm")),
    "networks": ("id", lambda db, _: db.networks.list()),
    "networks of a kind": ("id", lambda db, _: db.networks.list_by_kind("x")),
    "network instances": ("id", lambda db, _: db.network_instances.list()),
    "network instances on a host": ("id", lambda db, t: db.network_instances.list_of_host(t.host)),
    "instances of a network": ("id", lambda db, t: db.network_instances.list_of_network(t.network)),
    "templates on a host": ("template_id", lambda db, t: db.templates_on_hosts.list_of_host(t.host)),
    "hosts with a template": ("host_id", lambda db, t: db.templates_on_hosts.list_of_template(t.template)),
    "permissions on a topology": ("user_id", lambda db, t: db.topology_permissions.list_of_topology(t.topology)),
    "permissions of a user": ("topology_id", lambda db, t: db.topology_permissions.list_of_user(t.user)),
    "roles on a topology": ("user_id", lambda db, t: db.topology_permissions.matrix(t.topology)),
    "elements of a topology": ("id", lambda db, t: db.elements.list_of_topology(t.topology)),
    "children of an element": ("id", lambda db, t: db.elements.list_children(t.machine)),
    "connections of a topology": ("id", lambda db, t: db.connections.list_of_topology(t.topology)),
    "host elements on a host": ("id", lambda db, t: db.host_elements.list_of_host(t.host)),
    "host elements of an element": ("id", lambda db, t: db.host_elements.list_of_element(t.machine)),
    "host elements of a connection": ("id", lambda db, t: db.host_elements.list_of_connection(t.connection)),
    "uses of a host's elements": ("id", lambda db, t: db.host_elements.list_uses_of_host(t.host)),
    "host connections on a host": ("id", lambda db, t: db.host_connections.list_of_host(t.host)),
    "host connections of an element": ("id", lambda db, t: db.host_connections.list_of_element(t.machine)),
    "host connections of a connection": ("id", lambda db, t: db.host_connections.list_of_connection(t.connection)),
    "uses of a host's connections": ("id", lambda db, t: db.host_connections.list_uses_of_host(t.host)),
    "tasks": ("name", lambda db, _: db.tasks.list()),
    "usage": ("end_at", lambda db, t: db.usage.list(t.usage, "hour")),
    "use by user": ("id", lambda db, _: db.usage.totals_by_user(MOMENT - DAY, MOMENT)),
    "use by organization": ("id", lambda db, _: db.usage.totals_by_organization(MOMENT - DAY, MOMENT)),
    "error dumps": ("at", lambda db, _: db.error_dumps.list_of_group("g")),
    "error dumps in full": ("at", lambda db, _: db.error_dumps.list_full_of_group("g")),
    "error groups": ("group_id", lambda db, _: db.error_groups.list()),
    "error groups with numbers": ("group_id", lambda db, _: db.error_groups.list_summaries()),
    "measurements": ("end_at", lambda db, t: db.link_measurements.list_between(t.site, t.site, "hour")),
    "keys": ("key", lambda db, _: db.key_values.list()),
}


def test_lists_are_in_their_order_however_their_rows_are_stored(unindexed: Database, testbed: Ids) -> None:
    for name, (key, call) in LISTS.items():
        listed = [attrgetter(key)(row) for row in call(unindexed, testbed)]
        assert listed == sorted(set(listed)), name
        assert len(listed) >= 3, name


def test_topologies_are_listed_newest_first_however_they_are_stored(unindexed: Database, testbed: Ids) -> None:
    for name, call in NEWEST_FIRST.items():
        listed = call(unindexed, testbed)
        assert [t.id for t in listed] == sorted({t.id for t in listed}, reverse=True), name
        assert len(listed) == 8, name
    oldest = unindexed.topologies.list()[-1]
    for ids in (oldest.element_ids, oldest.connection_ids, [p.user_id for p in oldest.permissions]):
        assert ids == sorted(set(ids))
        assert len(ids) >= 3


def test_an_export_is_in_the_order_of_ids_however_its_rows_are_stored(unindexed: Database, testbed: Ids) -> None:
    exported: Any = unindexed.topologies.export(testbed.topology)["topology"]
    for part in ("elements", "connections"):
        listed = [one["id"] for one in exported[part]]
        assert listed == sorted(listed)
        assert len(listed) >= 3
    for connection in exported["connections"]:
        assert connection["elements"] == sorted(connection["elements"])


def test_the_preferred_and_the_latest_are_found_however_rows_are_stored(
    unindexed: Database, testbed: Ids, server: psycopg.Connection
) -> None:
    """The oldest is preferred to others of an equal preference."""
    assert unindexed.templates.preferred("kvmqm").name == "c"
    assert unindexed.profiles.preferred("kvmqm").name == "c"
    assert unindexed.network_instances.of_kind(testbed.host, "x").bridge == "c"
    server.execute("update usage_records set memory = 7 where end_at = %s", [MOMENT])
    latest = unindexed.usage.latest(testbed.usage, "hour")
    assert latest
    assert latest.end_at == MOMENT


def test_contacts_are_ordered_by_id_however_users_are_stored(
    db: Database, unindexed: Database, testbed: Ids, server: psycopg.Connection
) -> None:
    users = db.users.list()
    for user in users[-2:]:
        db.topologies.create("lonely", owner_id=user.id)
    server.execute("update users set flags = '{global_host_contact}', last_login_at = now(), origin = id::text")
    db.topologies.update(testbed.topology, {"timeout_at": MOMENT})
    db.hosts.update("host1", {"problem_since": MOMENT})
    store_shuffled(server)
    everybody = [user.id for user in users]
    (notice,) = unindexed.hosts.claim_problem_notices(limit=5, lease=MINUTE)
    (claim,) = unindexed.topologies.claim_timeouts(limit=5, lease=MINUTE)
    assert [contact.id for contact in notice.recipients] == [contact.id for contact in claim.recipients] == everybody
    server.execute("update users set origin = 'idp', name = id::text")
    store_shuffled(server)
    expired = unindexed.users.expire("idp", timedelta())
    kept = [users[0].id, users[-2].id, users[-1].id]
    assert [contact.id for contact in expired.kept] == kept
    assert [contact.id for contact in expired.removed] == [id for id in everybody if id not in kept]


@pytest.mark.slow
def test_the_longest_due_is_claimed_first_however_rows_are_stored(
    db: Database, unindexed: Database, testbed: Ids, server: psycopg.Connection
) -> None:
    """The second of three is due first, then the first, then the third."""
    dues = [MOMENT - n * MINUTE for n in (2, 3, 1)]
    machines = [e.id for e in db.elements.list_of_topology(testbed.topology) if e.type == "kvmqm"][:3]
    orphans = [db.host_elements.create(testbed.host, 100 + n, type="x", state="x").id for n in range(3)]
    links = [db.host_connections.create(testbed.host, 100 + n, type="x", state="x").id for n in range(3)]
    topologies, hosts = ([row.id for row in rows][:3] for rows in (db.topologies.list()[::-1], db.hosts.list()))
    for table, column, ids in (
        ("elements", "next_sync_at", machines),
        ("host_elements", "orphan_lease_until", orphans),
        ("host_connections", "orphan_lease_until", links),
        ("topologies", "timeout_at", topologies),
        ("hosts", "resources_synced_at", hosts),
        ("hosts", "info_at", hosts),
        ("hosts", "problem_since", hosts),
    ):
        for id, due in zip(ids, dues, strict=True):
            server.execute(f"update {table} set {column} = %s where id = %s", [due, id])
    calls: list[tuple[Callable[..., Sequence[Any]], str, list[int]]] = [
        (unindexed.elements.claim_syncs, "id", machines),
        (unindexed.host_elements.claim_orphans, "id", orphans),
        (unindexed.host_connections.claim_orphans, "id", links),
        (unindexed.topologies.claim_timeouts, "id", topologies),
        (unindexed.hosts.claim_syncs, "id", hosts),
        (unindexed.hosts.claim_updates, "id", hosts),
        (unindexed.hosts.claim_problem_notices, "host_id", hosts),
    ]
    for claim, key, (first, second, third) in calls:
        store_shuffled(server)
        claimed = [getattr(one, key) for _ in range(3) for one in claim(limit=1, lease=MINUTE)]
        assert claimed == [second, first, third], claim


def test_claims_of_one_call_are_ordered_by_due_time_and_id(
    db: Database, unindexed: Database, testbed: Ids, server: psycopg.Connection
) -> None:
    """The last is due first, the others at one moment; a host that was never synced comes before."""
    machines = [e.id for e in db.elements.list_of_topology(testbed.topology) if e.type == "kvmqm"][:3]
    topologies, hosts = ([row.id for row in rows][:3] for rows in (db.topologies.list()[::-1], db.hosts.list()))
    orphans = [db.host_elements.create(testbed.host, 100 + n, type="x", state="x").id for n in range(3)]
    links = [db.host_connections.create(testbed.host, 100 + n, type="x", state="x").id for n in range(3)]
    for table, column, ids in (
        ("elements", "next_sync_at", machines),
        ("topologies", "timeout_at", topologies),
        ("hosts", "resources_synced_at", hosts[:2]),
        ("hosts", "info_at", hosts[:2]),
        ("hosts", "problem_since", hosts),
    ):
        server.execute(f"update {table} set {column} = %s where id = any(%s)", [MOMENT, ids])
        server.execute(f"update {table} set {column} = %s where id = %s", [MOMENT - MINUTE, ids[-1]])
    store_shuffled(server)
    limit: dict[str, Any] = {"limit": 5, "lease": MINUTE}
    first, second, third = machines
    assert [c.id for c in unindexed.elements.claim_syncs(**limit)] == [third, first, second]
    first, second, third = topologies
    assert [c.id for c in unindexed.topologies.claim_timeouts(**limit)][:3] == [third, first, second]
    first, second, third = hosts
    assert [c.host_id for c in unindexed.hosts.claim_problem_notices(**limit)] == [third, first, second]
    assert [c.id for c in unindexed.hosts.claim_syncs(**limit)] == [third, second, first]
    assert [c.id for c in unindexed.hosts.claim_updates(**limit)] == [third, second, first]
    assert [c.id for c in unindexed.host_elements.claim_orphans(**limit)] == orphans
    assert [c.id for c in unindexed.host_connections.claim_orphans(**limit)] == links


def test_the_first_of_two_elements_that_cannot_be_connected_is_named_however_they_are_stored(
    db: Database, unindexed: Database, testbed: Ids
) -> None:
    machines = [e.id for e in db.elements.list_of_topology(testbed.topology) if e.type == "kvmqm"]
    for low, high in pairwise(machines):
        with refused(InvalidValue, "element", low, f"element {low} is a kvmqm"):
            unindexed.connections.create(high, low)

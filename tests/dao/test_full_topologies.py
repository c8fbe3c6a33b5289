"""A topology in full: everything in it, exactly typed, and nothing of another."""

from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
from msgspec.structs import astuple

from tests.conftest import World
from tests.helpers.dao_cases import MOMENT
from tests.helpers.topology_cases import add_link, add_usage
from tomato_dao import Database
from tomato_dao.rows import (
    Element,
    FullConnection,
    FullElement,
    FullPermission,
    FullTopology,
    HostComponent,
    RunningHost,
    ServingComponent,
    Topology,
    UsageRecord,
    User,
    asdict,
)
from tomato_dao.sql.rows import Row


def add_template(server: psycopg.Connection, tech: str, name: str, preference: int) -> int:
    return inserted(
        server, "insert into templates (tech, name, preference) values (%s, %s, %s) returning id", [tech, name, preference]
    )


def add_profile(server: psycopg.Connection, tech: str, name: str, preference: int, cpus: float | None = None) -> int:
    return inserted(
        server,
        "insert into profiles (tech, name, preference, ram, cpus) values (%s, %s, %s, 512, %s) returning id",
        [tech, name, preference, cpus],
    )


def inserted(server: psycopg.Connection, sql: str, values: list[object]) -> int:
    row = server.execute(sql.encode(), values).fetchone()
    assert row
    id: int = row[0]
    return id


def full_element(element: Element, **more: Any) -> FullElement:
    """Return the element in full, with nothing beside what is given."""
    absent = dict.fromkeys(set(FullElement.__struct_fields__) - set(Element.__struct_fields__))
    return FullElement(**asdict(element), **{**absent, **more})


def typed(value: object) -> object:
    """Return a tree of rows with the type of every value beside it, since 1 == 1.0 == True."""
    if isinstance(value, Row):
        return type(value), [typed(v) for v in astuple(value)]
    if isinstance(value, tuple | list):
        return type(value), [typed(v) for v in value]
    return type(value), value


def test_an_empty_topology_in_full_is_empty(db: Database, world: World, topology: Topology) -> None:
    assert typed(db.topologies.full(topology.id)) == typed(
        FullTopology(
            **asdict(topology),
            role=None,
            state="created",
            site_name=None,
            permissions=(FullPermission(topology.id, world.user.id, "owner", "alice", "", "", "", nomails=False),),
            elements=(),
            connections=(),
            usage=None,
        )
    )


def test_a_topology_in_full_holds_everything_exactly_typed(
    db: Database, world: World, bob: User, server: psycopg.Connection
) -> None:
    t = db.topologies.create("t", owner_id=world.user.id, site_id=world.site.id, attrs={"n": 1, "x": 1.5, "big": 2**53 + 1})
    db.topology_permissions.set(t.id, bob.id, "manager")
    patch: Any = {"origin": "ldap", "realname": "Bob B.", "email": "bob@example.org", "flags": ["nomails"]}
    db.users.update(bob.id, patch)
    db.hosts.update("host1", {"info": {"fileserver_port": "8888"}, "info_at": MOMENT})
    template, profile = add_template(server, "kvmqm", "debian", 1), add_profile(server, "kvmqm", "normal", 1, 0.25)
    network = inserted(server, "insert into networks (kind) values (%s) returning id", ["internet"])
    instance = inserted(
        server,
        "insert into network_instances (network_id, host_id, bridge) values (%s, %s, 'br0') returning id",
        [network, world.host.id],
    )
    (vm, other, end1, end2), link = add_link(db, t.id)
    end3 = db.elements.create(
        t.id, "external_network_endpoint", state="default", network_id=network, network_instance_id=instance
    )
    he = db.host_elements.create(
        world.host.id, 7, type="kvmqm", state="started", element_id=vm.id, attrs={"vncport": 5900, "load": 2.0, "none": None}
    )
    serving = [
        db.host_connections.create(world.host.id, n, type="bridge", state="created", connection_id=id, attrs={"n": n})
        for n, id in ((1, link.id), (2, None), (3, link.id))
    ]
    db.host_connections.create(world.host.id, 4, type="bridge", state="created")
    vm = db.elements.update(
        vm.id,
        {
            "state": "started",
            "site_id": world.site.id,
            "profile_id": profile,
            "host_element_id": he.id,
            "rextfv_started_at": MOMENT,
            "next_sync_at": datetime(1999, 12, 31, 23, 59, 59, tzinfo=UTC),
        },
    )
    db.elements.set_attrs(vm.id, {"name": "vm ü", "_pos": {"x": 0.5, "y": 1}})
    vm = db.elements.get(vm.id)
    link = db.connections.update(
        link.id,
        {
            "state": "started",
            "host_element1_id": he.id,
            "host_connection1_id": serving[0].id,
            "host_connection2_id": serving[1].id,
        },
    )
    add_usage(server, t.usage_id, "5minutes", MOMENT, memory=1e15)
    ran = {"run_template_id": template, "run_template_name": "debian", "run_profile_id": profile, "run_profile_name": "normal"}
    resources = {"ram": 512.0, "cpus": 0.25}
    host = RunningHost(world.host.id, "host1", "10.0.0.1", world.site.id, "lab", ["unreachable"], 8888)
    expected = FullTopology(
        **asdict(t),
        role="manager",
        state="started",
        site_name="lab",
        permissions=(
            FullPermission(t.id, world.user.id, "owner", "alice", "", "", "", nomails=False),
            FullPermission(t.id, bob.id, "manager", "bob", "ldap", "Bob B.", "bob@example.org", nomails=True),
        ),
        elements=(
            full_element(vm, host_element_attrs=he.attrs, host=host, **ran, **resources),
            full_element(other, **ran, **resources),
            full_element(end1),
            full_element(end2),
            full_element(end3),
        ),
        connections=(
            FullConnection(
                **asdict(link),
                host=host,
                host_elements=(ServingComponent(**asdict(he), host_name="host1"),),
                host_connections=tuple(ServingComponent(**asdict(one), host_name="host1") for one in serving),
            ),
        ),
        usage=UsageRecord(t.usage_id or 0, "5minutes", MOMENT - timedelta(minutes=5), MOMENT, 5, 1e15, 2.0, 3.0, 0.25),
    )
    full = db.topologies.full(t.id, asking_user_id=bob.id)
    assert typed(full) == typed(expected)
    assert db.topologies.full(t.id, asking_user_id=bob.id, started_at=datetime(9000, 1, 1, tzinfo=UTC)) != full
    assert isinstance(full.connections[0].host_connections[0], HostComponent)


def test_times_in_full_keep_their_microseconds_and_zone(db: Database, topology: Topology) -> None:
    e = db.elements.create(topology.id, "repy")
    for moment in (
        MOMENT,
        datetime(1, 1, 1, tzinfo=UTC),
        datetime(9999, 12, 31, 23, 59, 59, 999999, tzinfo=UTC),
        datetime(2026, 10, 25, 0, 30, 0, 100000, tzinfo=UTC),
    ):
        db.elements.update(e.id, {"next_sync_at": moment})
        found = db.topologies.full(topology.id).elements[0].next_sync_at
        assert found
        assert (found, found.utcoffset()) == (moment, timedelta(0))


def test_numbers_in_full_can_be_infinite(db: Database, topology: Topology, server: psycopg.Connection) -> None:
    server.execute("insert into profiles (tech, name, ram, cpus, diskspace) values ('repy', 'x', 'infinity', 1e-300, 1e22)")
    db.elements.create(topology.id, "repy")
    found = db.topologies.full(topology.id).elements[0]
    assert (found.ram, found.cpus, found.diskspace) == (float("inf"), 1e-300, 1e22)


def test_a_machine_runs_with_its_own_template_and_profile_else_with_the_preferred(
    db: Database, topology: Topology, server: psycopg.Connection
) -> None:
    for name, preference in (("lower", -1), ("high", 5), ("as high but later", 5), ("low", 2)):
        add_template(server, "openvz", f"{name} template", preference)
        add_profile(server, "openvz", f"{name} profile", preference)
    template, profile = add_template(server, "openvz", "own", -9), add_profile(server, "openvz", "own", -9)
    add_template(server, "kvmqm", "foreign", 100)
    db.elements.create(topology.id, "openvz", template_id=template, profile_id=profile)
    db.elements.create(topology.id, "openvz", profile_id=profile)
    db.elements.create(topology.id, "openvz", template_id=template)
    db.elements.create(topology.id, "openvz")
    db.elements.create(topology.id, "repy")
    db.elements.create(topology.id, "kvmqm")
    assert [(e.run_template_name, e.run_profile_name) for e in db.topologies.full(topology.id).elements] == [
        ("own", "own"),
        ("high template", "own"),
        ("own", "high profile"),
        ("high template", "high profile"),
        (None, None),
        ("foreign", None),
    ]


def test_usage_in_full_is_the_latest_of_five_minutes(db: Database, world: World, server: psycopg.Connection) -> None:
    t, other = (db.topologies.create(name, owner_id=world.user.id) for name in "ab")
    for n, memory in ((0, 1), (2, 3), (1, 2)):
        add_usage(server, t.usage_id, "5minutes", MOMENT + timedelta(minutes=5 * n), memory)
    add_usage(server, t.usage_id, "hour", MOMENT + timedelta(days=1))
    add_usage(server, other.usage_id, "5minutes", MOMENT + timedelta(days=1))
    usage = db.topologies.full(t.id).usage
    assert usage
    assert (usage.usage_id, usage.type, usage.end_at, usage.memory) == (
        t.usage_id, "5minutes", MOMENT + timedelta(minutes=10), 3.0,
    )  # fmt: skip


def test_everything_in_full_is_in_the_order_of_ids(
    db: Database, unindexed: Database, world: World, bob: User, topology: Topology, server: psycopg.Connection
) -> None:
    """Each list's first row is written anew, which stores it behind the others."""
    db.topology_permissions.set(topology.id, bob.id, "user")
    links = [add_link(db, topology.id)[1] for _ in range(2)]
    serving = [
        db.host_connections.create(world.host.id, num, type="bridge", state="created", connection_id=links[0].id)
        for num in range(4)
    ]
    db.host_connections.update(serving[3].id, {"connection_id": None})
    db.connections.update(links[0].id, {"host_connection2_id": serving[3].id})
    server.execute("update topology_permissions set role = role where user_id = %s", [world.user.id])
    for table in ("elements", "connections", "host_connections"):
        server.execute(f"update {table} set attrs = attrs where id = (select min(id) from {table})")
    full = unindexed.topologies.full(topology.id)
    assert [p.user_id for p in full.permissions] == [world.user.id, bob.id]
    assert [e.id for e in full.elements] == [e.id for e in db.elements.list_of_topology(topology.id)]
    assert [c.id for c in full.connections] == [link.id for link in links]
    assert [c.id for c in full.connections[0].host_connections] == [c.id for c in serving]


def test_a_topology_in_full_holds_nothing_of_another(db: Database, world: World, topology: Topology) -> None:
    other = db.topologies.create("other", owner_id=world.user.id)
    add_link(db, other.id)
    elements, connection = add_link(db, topology.id)
    full = db.topologies.full(topology.id)
    assert [e.id for e in full.elements] == [e.id for e in elements]
    assert [(c.id, c.from_element_id, c.to_element_id) for c in full.connections] == [
        (connection.id, elements[2].id, elements[3].id)
    ]

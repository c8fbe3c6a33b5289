"""Topologies and the permissions on them: owners, timeouts, lists, the full tree, and what goes with a topology."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, fields, is_dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from threading import Barrier
from typing import Any

import psycopg
import pytest
from conftest import World
from dao_cases import (
    MOMENT,
    NOBODY,
    assert_threads_keep_each_others_attrs,
    assert_wrong_types_are_refused,
    at_once,
    refused,
    timed,
    usage_is_gone,
)
from psycopg import IsolationLevel, errors

from tomato_dao import Conflict, Database, InvalidValue, LastOwner, NotFound, WrongState
from tomato_dao.rows import (
    Connection,
    Element,
    FullConnection,
    FullElement,
    FullTopology,
    HostComponent,
    ListedTopology,
    Topology,
    TopologyPermission,
    UsageRecord,
    User,
)


@pytest.fixture
def topology(db: Database, world: World) -> Topology:
    """A topology that alice alone owns."""
    return db.topologies.create("t", owner_id=world.user.id)


@pytest.fixture
def bob(db: Database) -> User:
    """A user of another organization."""
    return db.users.create("bob", organization_id=db.organizations.create("org").id)


def plain(listed: Sequence[ListedTopology]) -> list[Topology]:
    """Listed topologies without what a list adds to them."""
    return [Topology(*(getattr(t, field.name) for field in fields(Topology))) for t in listed]


def add_link(db: Database, topology_id: int) -> tuple[list[Element], Connection]:
    """Two machines with an interface each, and the connection between these."""
    machines = [db.elements.create(topology_id, "kvmqm") for _ in range(2)]
    interfaces = [db.elements.create(topology_id, "kvmqm_interface", parent_id=m.id) for m in machines]
    connection = db.connections.create(interfaces[0].id, interfaces[1].id)
    return [db.elements.get(e.id) for e in (*machines, *interfaces)], connection


def add_usage(server: psycopg.Connection, usage_id: int | None, type: str, end_at: datetime, memory: float = 0) -> None:
    server.execute(
        "insert into usage_records (usage_id, type, begin_at, end_at, measurements, memory, diskspace, traffic, cputime)"
        " values (%s, %s, %s, %s, 5, %s, 2, 3, 0.25)",
        [usage_id, type, end_at - timedelta(minutes=5), end_at, memory],
    )


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
    """The element in full, with nothing beside what is given."""
    absent = dict.fromkeys(f.name for f in fields(FullElement) if f.name not in Element.__slots__)
    return FullElement(**asdict(element), **{**absent, **more})


def typed(value: object) -> object:
    """A tree of rows with the type of every value beside it, since 1 == 1.0 == True."""
    if is_dataclass(value):
        return type(value), [typed(getattr(value, f.name)) for f in fields(value)]
    if isinstance(value, tuple | list):
        return type(value), [typed(v) for v in value]
    return type(value), value


def owners(db: Database, topology_id: int) -> list[int]:
    return [p.user_id for p in db.topology_permissions.list_of_topology(topology_id) if p.role == "owner"]


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


def test_topologies_are_listed_in_pages_by_id(db: Database, world: World, topology: Topology) -> None:
    listed = [topology, *(db.topologies.create(name, owner_id=world.user.id) for name in "cab")]
    assert plain(db.topologies.list()) == listed
    assert plain(db.topologies.list(limit=2)) == listed[:2]
    assert plain(db.topologies.list(after=listed[1].id, limit=1)) == listed[2:3]
    assert plain(db.topologies.list(after=listed[3].id)) == []


def test_topologies_of_a_user_are_those_with_an_explicit_permission(db: Database, world: World, bob: User) -> None:
    made = [db.topologies.create(name, owner_id=world.user.id) for name in "abcd"]
    for t, role in zip(made[:3], ("user", "manager", "owner"), strict=True):
        db.topology_permissions.set(t.id, bob.id, role)
    assert plain(db.topologies.list_of_user(bob.id)) == made[:3]
    assert plain(db.topologies.list_of_user(bob.id, after=made[0].id, limit=1)) == made[1:2]
    assert plain(db.topologies.list_of_user(world.user.id)) == made
    assert plain(db.topologies.list_of_user(NOBODY)) == []


def test_topologies_of_an_organization_are_those_with_an_owner_in_it(db: Database, world: World, bob: User) -> None:
    made = [db.topologies.create(name, owner_id=world.user.id) for name in "abcd"]
    carol = db.users.create("carol", organization_id=bob.organization_id)
    for t, user, role in ((0, bob, "owner"), (0, carol, "owner"), (1, bob, "manager"), (2, bob, "user"), (3, carol, "owner")):
        db.topology_permissions.set(made[t].id, user.id, role)
    assert plain(db.topologies.list_of_organization(bob.organization_id)) == [made[0], made[3]]
    assert plain(db.topologies.list_of_organization(bob.organization_id, limit=1)) == [made[0]]
    assert plain(db.topologies.list_of_organization(bob.organization_id, after=made[0].id)) == [made[3]]
    assert plain(db.topologies.list_of_organization(world.organization.id)) == made


def test_a_patch_of_a_topology_changes_only_what_it_names(db: Database, world: World, topology: Topology) -> None:
    patches: list[Any] = [{"name": ""}, {"site_id": world.site.id}, {"timeout_at": MOMENT}]
    patches += [{"timeout_step": step} for step in (0, 9, 10, 20)]
    for patch in patches:
        topology = replace(topology, **patch)
        assert db.topologies.update(topology.id, patch) == topology
    assert db.topologies.update(topology.id, {}) == topology == db.topologies.get(topology.id)
    assert db.topologies.update(topology.id, {"site_id": None}) == replace(topology, site_id=None)


def test_a_patch_of_a_topology_is_checked(db: Database, topology: Topology) -> None:
    with refused(InvalidValue, "topology", "owner", r"a patch can't have 'owner', only name, "):
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


def test_a_role_is_set_and_set_again(db: Database, topology: Topology, bob: User) -> None:
    for role in ("user", "manager", "owner", "user"):
        given = TopologyPermission(topology.id, bob.id, role)
        assert db.topology_permissions.set(topology.id, bob.id, role) == given
        assert db.topology_permissions.get(topology.id, bob.id) == given


def test_a_role_is_one_of_three(db: Database, topology: Topology, bob: User) -> None:
    with refused(InvalidValue, "topology permission", (topology.id, bob.id), r"role is 'admin'") as caught:
        db.topology_permissions.set(topology.id, bob.id, "admin")
    assert isinstance(caught.value.__cause__, errors.CheckViolation)
    with pytest.raises(InvalidValue):
        db.topology_permissions.set(topology.id, bob.id, None)  # type: ignore[arg-type]


def test_a_role_needs_a_topology_and_a_user_that_exist(db: Database, topology: Topology, bob: User) -> None:
    with refused(NotFound, "topology", NOBODY, f"^topology {NOBODY} does not exist$"):
        db.topology_permissions.set(NOBODY, bob.id, "user")
    with refused(NotFound, "user", NOBODY, f"^user {NOBODY} does not exist$"):
        db.topology_permissions.set(topology.id, NOBODY, "user")


def test_a_role_that_nobody_gave_is_not_found(db: Database, topology: Topology, bob: User) -> None:
    for call in (db.topology_permissions.get, db.topology_permissions.delete):
        with refused(NotFound, "topology permission", (topology.id, bob.id)):
            call(topology.id, bob.id)


def test_roles_are_listed_by_user_and_by_topology(db: Database, world: World, bob: User) -> None:
    made = [db.topologies.create(name, owner_id=world.user.id).id for name in "cab"]
    given = [db.topology_permissions.set(id, bob.id, "user") for id in reversed(made)][::-1]
    assert db.topology_permissions.list_of_topology(made[0]) == [
        TopologyPermission(made[0], world.user.id, "owner"),
        TopologyPermission(made[0], bob.id, "user"),
    ]
    assert db.topology_permissions.list_of_user(bob.id) == given
    assert db.topology_permissions.list_of_user(bob.id, limit=2) == given[:2]
    assert db.topology_permissions.list_of_user(bob.id, after=made[1]) == given[2:]


def test_the_last_owner_cannot_be_removed(db: Database, world: World, topology: Topology, bob: User) -> None:
    db.topology_permissions.set(topology.id, bob.id, "manager")
    with refused(LastOwner, "topology permission", (topology.id, world.user.id), r"keeps its last owner") as caught:
        db.topology_permissions.delete(topology.id, world.user.id)
    assert isinstance(caught.value.__cause__, psycopg.Error)
    assert owners(db, topology.id) == [world.user.id]


def test_the_last_owner_cannot_be_lowered(db: Database, world: World, topology: Topology) -> None:
    for role in ("manager", "user"):
        with refused(LastOwner, "topology permission", (topology.id, world.user.id), r"keeps its last owner"):
            db.topology_permissions.set(topology.id, world.user.id, role)
    assert db.topology_permissions.set(topology.id, world.user.id, "owner").role == "owner"


def test_an_owner_can_go_while_another_stays(db: Database, world: World, topology: Topology, bob: User) -> None:
    db.topology_permissions.set(topology.id, bob.id, "owner")
    db.topology_permissions.delete(topology.id, world.user.id)
    assert owners(db, topology.id) == [bob.id]
    db.topology_permissions.set(topology.id, world.user.id, "owner")
    db.topology_permissions.set(topology.id, bob.id, "user")
    assert owners(db, topology.id) == [world.user.id]


def test_within_a_transaction_the_new_owner_comes_before_the_old_one_goes(
    db: Database, world: World, topology: Topology, bob: User
) -> None:
    with pytest.raises(LastOwner), db.transaction():
        db.topology_permissions.delete(topology.id, world.user.id)
    assert owners(db, topology.id) == [world.user.id]
    with db.transaction():
        db.topology_permissions.set(topology.id, bob.id, "owner")
        db.topology_permissions.delete(topology.id, world.user.id)
    assert owners(db, topology.id) == [bob.id]


def test_a_topology_without_owners_can_lose_its_users(
    db: Database, world: World, topology: Topology, server: psycopg.Connection
) -> None:
    with server.transaction():
        server.execute("alter table topology_permissions disable trigger user")
        server.execute("update topology_permissions set role = 'manager'")
        server.execute("alter table topology_permissions enable trigger user")
    db.topology_permissions.set(topology.id, world.user.id, "user")
    db.topology_permissions.delete(topology.id, world.user.id)
    assert db.topology_permissions.list_of_topology(topology.id) == []


@pytest.mark.parametrize("way", ["are removed", "are lowered", "are deleted as users"])
def test_of_two_owners_who_leave_at_the_same_moment_one_stays(db: Database, world: World, bob: User, way: str) -> None:
    leave: dict[str, Callable[[int, int], object]] = {
        "are removed": db.topology_permissions.delete,
        "are lowered": lambda topology_id, user_id: db.topology_permissions.set(topology_id, user_id, "user"),
        "are deleted as users": lambda _, user_id: db.users.delete(user_id),
    }
    for _ in range(10 if way != "are deleted as users" else 1):
        t = db.topologies.create("t", owner_id=world.user.id)
        db.topology_permissions.set(t.id, bob.id, "owner")
        results = at_once(*(partial(leave[way], t.id, user.id) for user in (world.user, bob)))
        assert [type(r) for r in results].count(LastOwner) == 1
        assert len(owners(db, t.id)) == 1


@pytest.mark.parametrize(
    ("isolation", "refusal"),
    [
        (IsolationLevel.READ_COMMITTED, LastOwner),
        (IsolationLevel.REPEATABLE_READ, Conflict),
        (IsolationLevel.SERIALIZABLE, Conflict),
    ],
)
def test_of_two_owners_who_have_seen_each_other_in_a_transaction_one_stays(
    db: Database, world: World, topology: Topology, bob: User, isolation: IsolationLevel, refusal: type[Exception]
) -> None:
    db.topology_permissions.set(topology.id, bob.id, "owner")
    both_have_seen = Barrier(2)

    def leave(user_id: int) -> None:
        with db.transaction(isolation=isolation):
            assert len(owners(db, topology.id)) == 2
            both_have_seen.wait(10)
            db.topology_permissions.delete(topology.id, user_id)

    results = at_once(partial(leave, world.user.id), partial(leave, bob.id))
    assert sorted(type(r).__name__ for r in results) == sorted([refusal.__name__, "NoneType"])
    assert len(owners(db, topology.id)) == 1


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
        WrongState, "topology", topology.id, f"only what is created can go.*element {elements[3].id} is started"
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


def test_an_empty_topology_in_full_is_empty(db: Database, world: World, topology: Topology) -> None:
    assert typed(db.topologies.full(topology.id)) == typed(
        FullTopology(
            **asdict(topology),
            permissions=(TopologyPermission(topology.id, world.user.id, "owner"),),
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
    expected = FullTopology(
        **asdict(t),
        permissions=(TopologyPermission(t.id, world.user.id, "owner"), TopologyPermission(t.id, bob.id, "manager")),
        elements=(
            full_element(vm, host_element_attrs=he.attrs, host_name="host1", host_site_name="lab", **ran, **resources),
            full_element(other, **ran, **resources),
            full_element(end1),
            full_element(end2),
            full_element(end3),
        ),
        connections=(FullConnection(**asdict(link), host_connections=tuple(serving)),),
        usage=UsageRecord(t.usage_id or 0, "5minutes", MOMENT - timedelta(minutes=5), MOMENT, 5, 1e15, 2.0, 3.0, 0.25),
    )
    full = db.topologies.full(t.id)
    assert typed(full) == typed(expected)
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


def test_a_topology_in_full_holds_nothing_of_another(db: Database, world: World, topology: Topology) -> None:
    other = db.topologies.create("other", owner_id=world.user.id)
    add_link(db, other.id)
    elements, connection = add_link(db, topology.id)
    full = db.topologies.full(topology.id)
    assert [e.id for e in full.elements] == [e.id for e in elements]
    assert [(c.id, c.from_element_id, c.to_element_id) for c in full.connections] == [
        (connection.id, elements[2].id, elements[3].id)
    ]

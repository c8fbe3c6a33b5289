"""Elements and connections: parents, states, ends, and what goes with what."""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
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
    usage_is_gone,
)
from psycopg import errors

from tomato_dao import Database, InvalidValue, NotFound, WrongState
from tomato_dao.rows import Connection, Element

CHILDREN = {
    "kvmqm_interface": "kvmqm",
    "openvz_interface": "openvz",
    "repy_interface": "repy",
    "tinc_endpoint": "tinc_vpn",
    "external_network_endpoint": "external_network",
}
INTERFACES = ("kvmqm_interface", "openvz_interface", "repy_interface")
ENDPOINTS = ("tinc_endpoint", "external_network_endpoint", "udp_endpoint")
PARENTLESS = ("kvmqm", "openvz", "repy", "tinc_vpn", "external_network", "udp_endpoint")


@dataclass(frozen=True)
class Net:
    """A topology with a machine, its two interfaces, the connection between these, and two free endpoints."""

    id: int
    machine: Element
    ends: tuple[Element, Element]
    connection: Connection
    free: tuple[Element, Element]


@pytest.fixture
def net(db: Database, world: World) -> Net:
    """A small topology of alice's."""
    id = db.topologies.create("t", owner_id=world.user.id).id
    machine = db.elements.create(id, "kvmqm")
    a, b = (db.elements.create(id, "kvmqm_interface", parent_id=machine.id) for _ in range(2))
    free = (db.elements.create(id, "udp_endpoint"), db.elements.create(id, "tinc_endpoint"))
    connection = db.connections.create(a.id, b.id)
    return Net(id, machine, (db.elements.get(a.id), db.elements.get(b.id)), connection, free)


def parent_of(db: Database, topology_id: int, type: str) -> int | None:
    return db.elements.create(topology_id, CHILDREN[type]).id if type in CHILDREN else None


def ids(db: Database, topology_id: int) -> list[int]:
    return [e.id for e in db.elements.list_of_topology(topology_id)]


def wait_for_a_blocked_statement(server: psycopg.Connection) -> None:
    deadline = time.monotonic() + 10
    waiting = "select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'"
    while server.execute(waiting).rowcount == 0:
        assert time.monotonic() < deadline


def test_a_new_element_has_defaults(net: Net) -> None:
    e = net.machine
    assert e == Element(
        e.id, net.id, "kvmqm", "created", None, None, None, None, None, None, None, None, None, None, e.usage_id, {}
    )
    assert isinstance(e.usage_id, int)


def test_an_element_keeps_what_it_is_given(db: Database, world: World, net: Net, server: psycopg.Connection) -> None:
    server.execute("insert into templates (id, tech, name) overriding system value values (41, 'kvmqm', 'x')")
    server.execute("insert into profiles (id, tech, name) overriding system value values (42, 'kvmqm', 'x')")
    server.execute("insert into networks (id, kind) overriding system value values (43, 'internet')")
    server.execute(
        "insert into network_instances (id, network_id, host_id, bridge) overriding system value values (44, 43, %s, 'br0')",
        [world.host.id],
    )
    references = {"site_id": world.site.id, "template_id": 41, "profile_id": 42, "network_id": 43, "network_instance_id": 44}
    given: dict[str, Any] = {"state": "prepared", **references, "attrs": {"name": "x"}}
    made = db.elements.create(net.id, "kvmqm", **given)
    assert made == replace(net.machine, id=made.id, usage_id=made.usage_id, **given)
    assert db.elements.get(made.id) == made
    for sql in ("delete from templates", "delete from profiles", "delete from network_instances", "delete from networks"):
        server.execute(sql)
    gone = dict.fromkeys(references.keys() - {"site_id"})
    assert db.elements.get(made.id) == replace(made, **gone)  # type: ignore[arg-type]


def test_every_type_of_element_can_be_created_where_it_belongs(db: Database, net: Net) -> None:
    for type in (*CHILDREN, *PARENTLESS):
        parent_id = parent_of(db, net.id, type)
        made = db.elements.create(net.id, type, parent_id=parent_id)
        assert (made.type, made.parent_id) == (type, parent_id)


def test_an_unknown_type_of_element_is_refused(db: Database, net: Net) -> None:
    for type in ("xen", "tinc", "Kvmqm", ""):
        with pytest.raises(InvalidValue, match=r"^element: ") as caught:
            db.elements.create(net.id, type)
        assert isinstance(caught.value.__cause__, errors.IntegrityError)


def test_an_element_that_was_not_made_has_no_key(db: Database, net: Net) -> None:
    with refused(InvalidValue, "element", None, r"type is 'xen'"):
        db.elements.create(net.id, "xen")


def test_states_are_those_of_the_type(db: Database, net: Net) -> None:
    for type in (*CHILDREN, *PARENTLESS):
        e = db.elements.create(net.id, type, parent_id=parent_of(db, net.id, type))
        for state in ("prepared", "started", "created"):
            assert db.elements.update(e.id, {"state": state}) == replace(e, state=state)
        for state in ("stopped", "", *(["default"] if type != "external_network_endpoint" else [])):
            with refused(InvalidValue, "element", e.id, f"a state is .*: state is '{state}'"):
                db.elements.update(e.id, {"state": state})
    assert db.elements.create(net.id, "external_network_endpoint", state="default").state == "default"


def test_an_interface_needs_a_parent(db: Database, net: Net) -> None:
    for type in INTERFACES:
        with pytest.raises(InvalidValue, match=r"^element: an interface needs a parent") as caught:
            db.elements.create(net.id, type)
        assert isinstance(caught.value.__cause__, errors.CheckViolation)


def test_a_tinc_or_external_network_endpoint_can_be_without_a_parent(db: Database, net: Net) -> None:
    for type in ENDPOINTS:
        assert db.elements.create(net.id, type).parent_id is None


def test_what_is_no_child_has_no_parent(db: Database, net: Net) -> None:
    for type in PARENTLESS:
        with pytest.raises(InvalidValue, match=r"^element: .*have none: parent_id is"):
            db.elements.create(net.id, type, parent_id=net.machine.id)


def test_a_parent_is_of_the_type_that_has_such_children(db: Database, net: Net) -> None:
    parents = {type: db.elements.create(net.id, type).id for type in CHILDREN.values()}
    for child, right in CHILDREN.items():
        for type, parent_id in parents.items():
            if type != right:
                with pytest.raises(
                    InvalidValue, match=f"^element: the parent must be of .*: parent_id is {parent_id}$"
                ) as caught:
                    db.elements.create(net.id, child, parent_id=parent_id)
                assert isinstance(caught.value.__cause__, errors.ForeignKeyViolation)


def test_a_parent_is_of_the_same_topology(db: Database, world: World, net: Net) -> None:
    other = db.topologies.create("other", owner_id=world.user.id)
    with pytest.raises(InvalidValue, match=r"^element: the parent must be of the same topology"):
        db.elements.create(other.id, "kvmqm_interface", parent_id=net.machine.id)
    with pytest.raises(InvalidValue, match=f"parent_id is {NOBODY}$"):
        db.elements.create(net.id, "kvmqm_interface", parent_id=NOBODY)


def test_what_an_element_refers_to_must_exist(db: Database, net: Net) -> None:
    with refused(NotFound, "topology", NOBODY, f"^topology {NOBODY} does not exist$") as caught:
        db.elements.create(NOBODY, "kvmqm")
    assert isinstance(caught.value.__cause__, errors.ForeignKeyViolation)
    for entity in ("site", "template", "profile", "network", "network instance", "host element"):
        reference: Any = {f"{entity.replace(' ', '_')}_id": NOBODY}
        with refused(NotFound, entity, NOBODY, f"^{entity} {NOBODY} does not exist$"):
            db.elements.update(net.machine.id, reference)
        if entity != "host element":
            with refused(NotFound, entity, NOBODY):
                db.elements.create(net.id, "kvmqm", **reference)


def test_an_unknown_element_or_connection_is_not_found(db: Database) -> None:
    for entity, dao in (("element", db.elements), ("connection", db.connections)):
        any_dao: Any = dao
        calls: list[Callable[[], object]] = [
            partial(any_dao.get, NOBODY),
            partial(any_dao.update, NOBODY, {"state": "started"}),
            partial(any_dao.set_attrs, NOBODY, {"a": 1}),
            partial(any_dao.delete, NOBODY),
        ]
        for call in calls:
            with refused(NotFound, entity, NOBODY, f"^{entity} {NOBODY} does not exist$"):
                call()


def test_elements_are_listed_in_pages_by_id(db: Database, world: World, net: Net) -> None:
    listed = [net.machine, *net.ends, *net.free]
    db.elements.create(db.topologies.create("other", owner_id=world.user.id).id, "repy")
    assert db.elements.list_of_topology(net.id) == listed
    assert db.elements.list_of_topology(net.id, limit=2) == listed[:2]
    assert db.elements.list_of_topology(net.id, after=listed[1].id, limit=2) == listed[2:4]
    assert db.elements.list_of_topology(net.id, after=listed[4].id) == []
    assert db.elements.list_children(net.machine.id) == [*net.ends]
    assert db.elements.list_children(net.free[0].id) == []


def test_a_patch_of_an_element_changes_only_what_it_names(db: Database, world: World, net: Net) -> None:
    he = db.host_elements.create(world.host.id, 1, type="kvmqm", state="started", element_id=net.machine.id)
    times = {"rextfv_started_at": MOMENT, "next_sync_at": MOMENT}
    patches: list[Any] = [{"host_element_id": he.id}, {"site_id": world.site.id}, times, {"state": "started"}]
    e = net.machine
    for patch in patches:
        e = replace(e, **patch)
        assert db.elements.update(e.id, patch) == e
    assert db.elements.update(e.id, {}) == e == db.elements.get(e.id)
    cleared = replace(e, next_sync_at=None, site_id=None, host_element_id=None)
    assert db.elements.update(e.id, {"next_sync_at": None, "site_id": None, "host_element_id": None}) == cleared


def test_a_patch_of_an_element_is_checked(db: Database, net: Net) -> None:
    for key in ("type", "topology_id", "parent_id", "connection_id", "attrs"):
        patch: Any = {key: None}
        with refused(InvalidValue, "element", key, f"a patch can't have '{key}', only state, "):
            db.elements.update(net.machine.id, patch)
    assert_wrong_types_are_refused(
        db.elements,
        "element",
        net.machine.id,
        [("state", None), ("state", 1), ("site_id", "1"), ("template_id", True), ("next_sync_at", 1e9)],
    )
    assert db.elements.get(net.machine.id) == net.machine


def test_attrs_are_set_and_removed_at_once(db: Database, net: Net) -> None:
    for dao, row in ((db.elements, net.machine), (db.connections, net.connection)):
        any_dao: Any = dao
        assert any_dao.set_attrs(row.id, {"a": 1, "b": 2}) == {"a": 1, "b": 2}
        assert any_dao.set_attrs(row.id, {"c": {"d": []}}, ["a", "missing"]) == {"b": 2, "c": {"d": []}}
        assert any_dao.get(row.id).attrs == {"b": 2, "c": {"d": []}}


def test_threads_keep_each_others_attrs(db: Database, net: Net) -> None:
    assert_threads_keep_each_others_attrs(db.elements, net.machine.id)
    assert_threads_keep_each_others_attrs(db.connections, net.connection.id)


def test_an_element_goes_in_state_created_and_an_interface_also_prepared(db: Database, net: Net) -> None:
    for type in (*CHILDREN, *PARENTLESS):
        for state in ("created", "prepared", "started", *(["default"] if type == "external_network_endpoint" else [])):
            e = db.elements.create(net.id, type, state=state, parent_id=parent_of(db, net.id, type))
            if state == "created" or (state == "prepared" and type in INTERFACES):
                db.elements.delete(e.id)
                assert e.id not in ids(db, net.id)
            else:
                rule = rf"^element: only what is created can go \(an interface also prepared\): element {e.id} is {state}$"
                with refused(WrongState, "element", e.id, rule) as caught:
                    db.elements.delete(e.id)
                assert isinstance(caught.value.__cause__, psycopg.Error)
                assert db.elements.get(e.id) == e


def test_an_element_takes_children_connections_and_usage_along(db: Database, net: Net, server: psycopg.Connection) -> None:
    outer = db.elements.create(net.id, "kvmqm_interface", parent_id=net.machine.id)
    uplink = db.connections.create(net.free[0].id, outer.id)
    gone: list[Element | Connection] = [net.machine, *net.ends, outer, net.connection, uplink]
    for usage_id in (row.usage_id for row in gone):
        server.execute(
            "insert into usage_records (usage_id, type, begin_at, end_at) values (%s, '5minutes', %s, %s)",
            [usage_id, MOMENT, MOMENT],
        )
    db.elements.delete(net.machine.id)
    assert db.elements.list_of_topology(net.id) == [*net.free]
    assert db.connections.list_of_topology(net.id) == []
    assert usage_is_gone(server, *(row.usage_id for row in gone))
    assert not usage_is_gone(server, net.free[0].usage_id)


def test_an_element_stays_while_a_child_cannot_go(db: Database, net: Net) -> None:
    db.elements.update(net.ends[1].id, {"state": "started"})
    before = db.elements.list_of_topology(net.id)
    with refused(WrongState, "element", net.machine.id, f"element {net.ends[1].id} is started"):
        db.elements.delete(net.machine.id)
    assert db.elements.list_of_topology(net.id) == before
    assert db.connections.list_of_topology(net.id) == [net.connection]


def test_one_end_takes_the_connection_along_and_frees_the_other_end(db: Database, net: Net) -> None:
    db.elements.delete(net.ends[0].id)
    with refused(NotFound, "connection", net.connection.id):
        db.connections.get(net.connection.id)
    assert db.elements.get(net.ends[1].id) == replace(net.ends[1], connection_id=None)
    assert db.connections.create(net.ends[1].id, net.free[0].id).from_element_id == net.ends[1].id


@pytest.mark.parametrize("dao", ["host_elements", "host_connections"])
def test_what_runs_on_a_host_for_an_element_or_connection_stays_as_an_orphan(
    db: Database, world: World, net: Net, dao: str
) -> None:
    components = getattr(db, dao)
    served = [{"element_id": net.machine.id}, {"element_id": net.ends[0].id}, {"connection_id": net.connection.id}]
    made = [components.create(world.host.id, n, type="x", state="started", **serves) for n, serves in enumerate(served)]
    other = components.create(world.host.id, 9, type="x", state="started", element_id=net.free[0].id)
    db.elements.delete(net.machine.id)
    assert components.list_of_host(world.host.id) == [*(replace(c, element_id=None, connection_id=None) for c in made), other]


def test_a_connection_has_defaults_and_begins_at_the_lower_id(net: Net) -> None:
    c = net.connection
    a, b = net.ends
    assert c == Connection(c.id, net.id, "bridge", "created", None, None, None, None, c.usage_id, {}, a.id, b.id)
    assert isinstance(c.usage_id, int)
    assert a.connection_id == b.connection_id == c.id


def test_a_connection_keeps_what_it_is_given(db: Database, net: Net) -> None:
    low, high = net.free
    made = db.connections.create(high.id, low.id, type="vpn", attrs={"bandwidth": 10.5})
    assert made == replace(
        net.connection, id=made.id, type="vpn", usage_id=made.usage_id, attrs={"bandwidth": 10.5},
        from_element_id=low.id, to_element_id=high.id,
    )  # fmt: skip
    assert db.connections.get(made.id) == made


def test_only_interfaces_and_endpoints_can_be_connected(db: Database, net: Net) -> None:
    for type in (*INTERFACES, *ENDPOINTS):
        e, other = (
            db.elements.create(net.id, type, parent_id=parent_of(db, net.id, type)),
            db.elements.create(net.id, "udp_endpoint"),
        )
        assert db.connections.create(e.id, other.id).from_element_id == e.id
    for type in ("kvmqm", "openvz", "repy", "tinc_vpn", "external_network"):
        e = db.elements.create(net.id, type)
        with pytest.raises(InvalidValue, match="only interfaces and endpoints can be connected"):
            db.connections.create(net.free[0].id, e.id)
        assert db.elements.get(net.free[0].id) == net.free[0]


def test_the_refusal_to_connect_names_the_element_that_cannot_be_connected(db: Database, net: Net) -> None:
    for ends in ((net.free[0].id, net.machine.id), (net.machine.id, net.free[0].id)):
        with refused(InvalidValue, "element", net.machine.id) as caught:
            db.connections.create(*ends)
        assert "Failing row" not in str(caught.value)


def test_both_ends_are_of_the_same_topology(db: Database, world: World, net: Net) -> None:
    foreign = db.elements.create(db.topologies.create("other", owner_id=world.user.id).id, "udp_endpoint")
    ends = (net.free[0].id, foreign.id)
    with refused(InvalidValue, "connection", ends, r"^a connection has two ends in one topology; "):
        db.connections.create(*ends)
    assert db.elements.get(foreign.id) == foreign


def test_an_element_is_not_connected_to_itself(db: Database, net: Net) -> None:
    id = net.free[0].id
    with refused(InvalidValue, "connection", (id, id)):
        db.connections.create(id, id)


def test_an_end_must_exist(db: Database, net: Net) -> None:
    for ends in ((net.free[0].id, NOBODY), (NOBODY, net.free[0].id)):
        with refused(NotFound, "element", NOBODY, f"^element {NOBODY} does not exist$"):
            db.connections.create(*ends)


def test_an_element_is_connected_once(db: Database, net: Net) -> None:
    end = net.ends[1].id
    for ends in ((end, net.free[0].id), (net.free[0].id, end)):
        with refused(WrongState, "element", end, f"^element {end} is connected already, by connection {net.connection.id}$"):
            db.connections.create(*ends)
    assert db.elements.get(net.free[0].id) == net.free[0]
    assert db.connections.list_of_topology(net.id) == [net.connection]


def test_threads_that_connect_one_element_make_one_connection(db: Database, net: Net) -> None:
    for _ in range(10):
        a, b, c, d = (db.elements.create(net.id, "udp_endpoint").id for _ in range(4))
        results = at_once(*(partial(db.connections.create, *ends) for ends in ((a, b), (c, a), (a, d), (b, a))))
        made = [r for r in results if isinstance(r, Connection)]
        assert len(made) == 1
        assert [type(r) for r in results].count(WrongState) == 3
        assert db.connections.get(made[0].id) == made[0]


def test_who_waits_for_an_end_that_gets_connected_is_refused(db: Database, net: Net, server: psycopg.Connection) -> None:
    a, b = net.free
    other = db.elements.create(net.id, "udp_endpoint")
    first_has_connected = Barrier(2)

    def first() -> Connection:
        with db.transaction():
            made = db.connections.create(a.id, b.id)
            first_has_connected.wait(10)
            wait_for_a_blocked_statement(server)
            return made

    def second() -> Connection:
        first_has_connected.wait(10)
        return db.connections.create(other.id, a.id)

    made, refusal = at_once(first, second)
    assert isinstance(made, Connection)
    assert isinstance(refusal, WrongState)
    assert refusal.key == a.id
    assert db.elements.get(other.id) == other


def test_connections_are_listed_in_pages_by_id(db: Database, world: World, net: Net) -> None:
    def link(topology_id: int) -> Connection:
        a, b = (db.elements.create(topology_id, "udp_endpoint").id for _ in range(2))
        return db.connections.create(b, a)

    listed = [net.connection, link(net.id), link(net.id)]
    link(db.topologies.create("other", owner_id=world.user.id).id)
    assert db.connections.list_of_topology(net.id) == listed
    assert db.connections.list_of_topology(net.id, limit=2) == listed[:2]
    assert db.connections.list_of_topology(net.id, after=listed[1].id) == listed[2:]


def test_a_patch_of_a_connection_changes_only_what_it_names(db: Database, world: World, net: Net) -> None:
    elements = [db.host_elements.create(world.host.id, n, type="x", state="started").id for n in range(2)]
    links = [db.host_connections.create(world.host.id, n, type="x", state="started").id for n in range(2)]
    patches: list[Any] = [
        {"host_element1_id": elements[0]},
        {"host_element2_id": elements[1], "host_connection1_id": links[0]},
        {"host_connection2_id": links[1]},
        {"type": "vpn"},
        {"state": "started"},
        {"host_connection1_id": None},
    ]
    c = net.connection
    for patch in patches:
        c = replace(c, **patch)
        assert db.connections.update(c.id, patch) == c
    assert db.connections.update(c.id, {}) == c == db.connections.get(c.id)


def test_a_patch_of_a_connection_is_checked(db: Database, net: Net) -> None:
    id = net.connection.id
    patch: Any = {"from_element_id": net.free[0].id}
    with refused(InvalidValue, "connection", "from_element_id", r"only type, state, "):
        db.connections.update(id, patch)
    assert_wrong_types_are_refused(
        db.connections,
        "connection",
        id,
        [("type", None), ("state", 1), ("host_element1_id", "1"), ("host_connection2_id", 1.0)],
    )
    with refused(InvalidValue, "connection", id, r"created or started: state is 'prepared'"):
        db.connections.update(id, {"state": "prepared"})
    for key in ("host_element1_id", "host_element2_id", "host_connection1_id", "host_connection2_id"):
        patch = {key: NOBODY}
        with refused(NotFound, key[:-4].replace("_", " "), NOBODY):
            db.connections.update(id, patch)
    assert db.connections.get(id) == net.connection


def test_a_connection_goes_and_its_ends_stay(db: Database, net: Net, server: psycopg.Connection) -> None:
    db.connections.update(net.connection.id, {"state": "started"})
    db.connections.delete(net.connection.id)
    assert db.connections.list_of_topology(net.id) == []
    assert db.elements.list_children(net.machine.id) == [replace(e, connection_id=None) for e in net.ends]
    assert usage_is_gone(server, net.connection.usage_id)


def attach(element: Element, connection: Connection) -> str:
    return f"update elements set connection_id = {connection.id} where id = {element.id}"


def detach(element: Element) -> str:
    return f"update elements set connection_id = null where id = {element.id}"


def execute_all(connection: psycopg.Connection[Any], statements: list[str]) -> None:
    with connection.transaction():
        for sql in statements:
            connection.execute(sql.encode())


def wrong_ends(net: Net) -> list[list[str]]:
    """Statements that would leave a connection with other than two ends."""
    return [
        [f"insert into connections (topology_id) values ({net.id})"],
        [attach(net.free[0], net.connection)],
        [detach(net.ends[0])],
        [detach(net.ends[0]), detach(net.ends[1])],
        [
            f"insert into elements (topology_id, type, connection_id) values ({net.id}, 'udp_endpoint', {net.connection.id})",
        ],
        [
            f"with made as (insert into connections (topology_id) values ({net.id}) returning id)"
            f" update elements e set connection_id = m.id from made m where e.id = {net.ends[0].id}"
        ],
    ]


def test_a_connection_has_exactly_two_ends_whatever_sql_says(db: Database, net: Net, server: psycopg.Connection) -> None:
    for statements in wrong_ends(net):
        with pytest.raises(psycopg.Error, match="would not have exactly two ends") as caught:
            execute_all(server, statements)
        assert caught.value.sqlstate == "TD002"
        with db.connection() as connection, pytest.raises(psycopg.Error, match="would not have exactly two ends"):
            execute_all(connection, statements)
    assert db.connections.list_of_topology(net.id) == [net.connection]


def test_a_transaction_ends_with_exactly_two_ends_or_not_at_all(db: Database, net: Net) -> None:
    for statements in wrong_ends(net):
        rule = r"^connection: a connection has exactly two ends: connection \d+ would not have exactly two ends$"
        with refused(InvalidValue, "connection", None, rule) as caught, db.transaction(), db.connection() as connection:
            execute_all(connection, statements)
        assert isinstance(caught.value.__cause__, psycopg.Error)
        assert db.elements.list_children(net.machine.id) == [*net.ends]


def test_ends_can_change_within_a_transaction(db: Database, net: Net) -> None:
    with db.transaction(), db.connection() as connection:
        execute_all(connection, [detach(net.ends[0]), attach(net.free[0], net.connection)])
    changed = db.connections.get(net.connection.id)
    assert (changed.from_element_id, changed.to_element_id) == (net.ends[1].id, net.free[0].id)


def test_two_transactions_that_replace_the_same_end_leave_two_ends(db: Database, net: Net) -> None:
    both_are_in = Barrier(2)

    def swap_in(element: Element) -> None:
        with db.transaction(), db.connection() as connection:
            execute_all(connection, [attach(element, net.connection)])
            both_are_in.wait(10)
            execute_all(connection, [detach(net.ends[0])])

    results = at_once(*(partial(swap_in, element) for element in net.free))
    assert sorted(type(r).__name__ for r in results) == ["InvalidValue", "NoneType"]
    kept = net.free[results.index(None)]
    changed = db.connections.get(net.connection.id)
    assert (changed.from_element_id, changed.to_element_id) == (net.ends[1].id, kept.id)


def test_an_end_of_another_topology_is_refused_whatever_sql_says(db: Database, world: World, net: Net) -> None:
    foreign = db.elements.create(db.topologies.create("other", owner_id=world.user.id).id, "udp_endpoint")
    with db.connection() as connection, pytest.raises(errors.ForeignKeyViolation, match="elements_connection_id_fkey"):
        execute_all(connection, [attach(foreign, net.connection)])

"""Connections: two ends of one topology, whatever anybody tries."""

from functools import partial
from threading import Barrier
from typing import Any

import psycopg
import pytest
from psycopg import errors

from tests.conftest import World
from tests.helpers.dao_cases import BLOCKED, NOBODY, assert_wrong_types_are_refused, at_once, refused, until, usage_is_gone
from tests.helpers.element_cases import ENDPOINTS, INTERFACES, Net, parent_of
from tomato_dao import Database, InvalidValue, NotFound, WrongState
from tomato_dao.rows import Connection, Element, replace

EMULATION: dict[str, Any] = {"emulation": True, "bandwidth_to": 10000, "bandwidth_from": 10000}


def test_a_connection_has_defaults_and_begins_at_the_lower_id(net: Net) -> None:
    c = net.connection
    a, b = net.ends
    assert c == Connection(c.id, net.id, "bridge", "created", None, None, None, None, c.usage_id, EMULATION, a.id, b.id)
    assert isinstance(c.usage_id, int)
    assert a.connection_id == b.connection_id == c.id


def test_a_connection_keeps_what_it_is_given(db: Database, net: Net) -> None:
    low, high = net.free
    made = db.connections.create(high.id, low.id, type="vpn", attrs={"bandwidth_to": 10.5, "x": 1})
    assert made == replace(
        net.connection, id=made.id, type="vpn", usage_id=made.usage_id, attrs={**EMULATION, "bandwidth_to": 10.5, "x": 1},
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


def test_a_task_that_waits_for_an_end_that_gets_connected_is_refused(
    db: Database, net: Net, server: psycopg.Connection
) -> None:
    a, b = net.free
    other = db.elements.create(net.id, "udp_endpoint")
    first_has_connected = Barrier(2)

    def first() -> Connection:
        with db.transaction():
            made = db.connections.create(a.id, b.id)
            first_has_connected.wait(60)
            until(server, BLOCKED, 1)
            return made

    def second() -> Connection:
        first_has_connected.wait(60)
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
            both_are_in.wait(60)
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

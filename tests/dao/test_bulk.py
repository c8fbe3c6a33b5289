"""Many elements in one statement: created together, and given a state together."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg
import pytest

from tests.conftest import World
from tests.helpers.dao_cases import BLOCKED, NOBODY, refused, until
from tomato_dao import Database, InvalidValue, NotFound
from tomato_dao.patches import NewElement
from tomato_dao.rows import Element, Topology

pytestmark = pytest.mark.slow

MACHINES = ["kvmqm", "openvz", "repy"]


@pytest.fixture
def tree(db: Database, topology: Topology) -> list[Element]:
    """Provide a machine, a switch with an endpoint, and the machine's two interfaces."""
    machine, switch = db.elements.create_many(topology.id, [{"type": "kvmqm"}, {"type": "tinc_vpn"}])
    below: list[NewElement] = [
        {"type": "tinc_endpoint", "parent_id": switch.id},
        {"type": "kvmqm_interface", "parent_id": machine.id, "state": "prepared"},
        {"type": "kvmqm_interface", "parent_id": machine.id},
    ]
    return [machine, switch, *db.elements.create_many(topology.id, below)]


def states(db: Database, elements: list[Element]) -> list[str]:
    return [db.elements.get(e.id).state for e in elements]


def test_many_are_created_in_the_order_that_they_are_given(
    db: Database, server: psycopg.Connection, world: World, topology: Topology
) -> None:
    server.execute("insert into templates (tech, name) values ('kvmqm', 'x')")
    server.execute("insert into profiles (tech, name) values ('kvmqm', 'x')")
    server.execute("insert into networks (kind) values ('internet')")
    server.execute("insert into network_instances (network_id, host_id, bridge) values (3, %s, 'br0')", [world.host.id])
    full: NewElement = {
        "type": "kvmqm",
        "state": "started",
        "parent_id": None,
        "site_id": world.site.id,
        "template_id": 1,
        "profile_id": 2,
        "network_id": 3,
        "network_instance_id": 4,
        "attrs": {"name": "vm0", "list": [1.5, None]},
    }
    rest: list[NewElement] = [{"type": MACHINES[n % 3], "attrs": {"n": n}} for n in range(500)]
    made = db.elements.create_many(topology.id, [full, *rest])
    assert [e.id for e in made] == sorted(e.id for e in made)
    assert list(made) == list(db.elements.list_of_topology(topology.id))
    given: dict[str, Any] = dict(full)
    assert {key: getattr(made[0], key) for key in given} == given
    assert [(e.type, e.state, e.attrs) for e in made[1:]] == [
        (MACHINES[n % 3], "created", {"n": n, "name": f"{e.type}{e.id}"}) for n, e in enumerate(made[1:])
    ]
    assert len({e.usage_id for e in made}) == 501
    assert db.elements.create_many(topology.id, []) == []


@pytest.mark.parametrize(
    ("wrong", "kind", "entity", "key"),
    [
        ({"type": "kvmqm", "colour": "red"}, InvalidValue, "element", "colour"),
        ({"type": 5}, InvalidValue, "element", "type"),
        ({"state": "created"}, InvalidValue, "element", "type"),
        ({"type": "kvmqm", "attrs": [1]}, InvalidValue, "element", "attrs"),
        ({"type": "kvmqm", "site_id": "lab"}, InvalidValue, "element", "site_id"),
        ({"type": "vax"}, InvalidValue, "element", None),
        ({"type": "x" * 65}, InvalidValue, "element", None),
        ({"type": "kvmqm", "state": "running"}, InvalidValue, "element", None),
        ({"type": "kvmqm", "state": "n" + "ä" * 64}, InvalidValue, "element", None),
        ({"type": "kvmqm_interface"}, InvalidValue, "element", None),
        ({"type": "kvmqm", "site_id": NOBODY}, NotFound, "site", NOBODY),
    ],
)
def test_if_one_cannot_be_none_is_created(
    db: Database, topology: Topology, wrong: Any, kind: type[Any], entity: str, key: object
) -> None:
    with refused(kind, entity, key, "^element 2 of the list"):
        db.elements.create_many(topology.id, [{"type": "kvmqm"}, {"type": "openvz"}, wrong, wrong])
    assert db.elements.list_of_topology(topology.id) == []


def test_the_first_invalid_element_is_recognised_by_its_parent_too(
    db: Database, topology: Topology, tree: list[Element]
) -> None:
    machine, switch = tree[0].id, tree[1].id
    elements: list[NewElement] = [
        {"type": "tinc_endpoint", "parent_id": switch},
        {"type": "kvmqm_interface", "parent_id": switch},
        {"type": "kvmqm_interface", "parent_id": machine},
    ]
    with refused(InvalidValue, "element", None, "^element 1 of the list: the parent must be in the same topology"):
        db.elements.create_many(topology.id, elements)


def test_none_is_created_in_a_topology_that_is_not_there(db: Database) -> None:
    with refused(NotFound, "topology", NOBODY):
        db.elements.create_many(NOBODY, [{"type": "kvmqm"}])


def test_elements_of_some_types_and_states_get_another_state(
    db: Database, world: World, topology: Topology, tree: list[Element]
) -> None:
    other = db.topologies.create("other", owner_id=world.user.id)
    db.elements.create(other.id, "kvmqm")
    machine, switch, endpoint, _, created = (e.id for e in tree)
    change = db.elements.set_state_in_topology
    assert sorted(change(topology.id, "started", types=["kvmqm", "tinc_endpoint"], states=["created"])) == [machine, endpoint]
    assert states(db, tree) == ["started", "created", "started", "prepared", "created"]
    both = ["created", "prepared"]
    assert sorted(change(topology.id, "prepared", types=["kvmqm_interface", "tinc_vpn"], states=both)) == [switch, created]
    assert states(db, tree) == ["started", "prepared", "started", "prepared", "prepared"]
    assert change(topology.id, "created", types=[], states=["started"]) == []
    assert change(NOBODY, "created", types=["kvmqm"], states=["started"]) == []
    assert [e.state for e in db.elements.list_of_topology(other.id)] == ["created"]


def test_an_element_with_all_its_descendants_gets_a_state(db: Database, tree: list[Element]) -> None:
    machine, switch, endpoint, _, created = (e.id for e in tree)
    assert db.elements.set_state_of_tree(machine, "prepared") == [machine, created]
    assert states(db, tree) == ["prepared", "created", "created", "prepared", "prepared"]
    assert db.elements.set_state_of_tree(machine, "prepared") == []
    assert db.elements.set_state_of_tree(endpoint, "started") == [endpoint]
    assert db.elements.set_state_of_tree(switch, "started") == [switch]
    with refused(NotFound, "element", NOBODY):
        db.elements.set_state_of_tree(NOBODY, "started")


def test_a_state_that_does_not_exist_is_refused_for_all(db: Database, topology: Topology, tree: list[Element]) -> None:
    with refused(InvalidValue, "element", tree[0].id, "a state is created, prepared or started"):
        db.elements.set_state_of_tree(tree[0].id, "default")
    with pytest.raises(InvalidValue, match="a state is created, prepared or started"):
        db.elements.set_state_in_topology(topology.id, "running", types=["kvmqm"], states=["created"])
    assert states(db, tree) == ["created", "created", "created", "prepared", "created"]


def test_a_change_of_many_waits_for_others_and_looks_again(
    db: Database, server: psycopg.Connection, topology: Topology
) -> None:
    first, second = db.elements.create_many(topology.id, [{"type": "kvmqm"}] * 2)
    db.elements.update(first.id, {"state": "prepared"})  # which puts it behind the other
    with ThreadPoolExecutor(1) as thread:
        with db.transaction():
            db.elements.update(first.id, {"state": "created"})
            change = thread.submit(
                db.elements.set_state_in_topology, topology.id, "started", types=["kvmqm"], states=["created", "prepared"]
            )
            until(server, BLOCKED, 1)
            db.elements.update(second.id, {"state": "started"})
        assert change.result(60) == [first.id]
    assert {e.state for e in db.elements.list_of_topology(topology.id)} == {"started"}

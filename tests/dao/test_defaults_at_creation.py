"""Defaults at creation and import: names, sites and attrs of link emulation."""

from functools import partial
from typing import Any

import pytest

from tests.conftest import World
from tests.helpers.dao_cases import at_once
from tomato_dao import Database
from tomato_dao.rows import Element, Topology

EMULATION = {"emulation": True, "bandwidth_to": 10000, "bandwidth_from": 10000}


def export_of(elements: list[dict[str, Any]], connections: list[dict[str, Any]] | None = None, **attrs: Any) -> Any:
    topology = {"attrs": attrs, "elements": elements, "connections": connections or []}
    return {"file_information": {"version": 3}, "topology": topology}


def names(elements: Any) -> list[object]:
    return [e.attrs.get("name") for e in elements]


def test_a_topology_without_name_is_called_by_its_id(db: Database, world: World) -> None:
    made = db.topologies.create(owner_id=world.user.id)
    assert made.name == db.topologies.get(made.id).name == f"Topology #{made.id}"
    imported = db.topologies.import_(export_of([]), owner_id=world.user.id).topology_id
    assert db.topologies.get(imported).name == f"Topology #{imported}"
    assert db.topologies.create("mine", owner_id=world.user.id).name == "mine"


@pytest.mark.parametrize("many", [True, False])
def test_an_element_without_name_is_called_by_its_type_and_id(db: Database, topology: Topology, many: bool) -> None:
    types = ["kvmqm", "openvz", "repy", "tinc_vpn", "external_network"]
    made: Any = (
        db.elements.create_many(topology.id, [{"type": type} for type in types])
        if many
        else [db.elements.create(topology.id, type, attrs={"name": ""}) for type in types]
    )
    assert names(made) == [f"{e.type}{e.id}" for e in made]
    assert db.elements.create(topology.id, "kvmqm", attrs={"name": "mine", "x": 1}).attrs == {"name": "mine", "x": 1}
    assert db.elements.create(topology.id, "udp_endpoint").attrs == {}


def test_an_interface_without_name_gets_the_lowest_that_is_free_in_its_machine(db: Database, topology: Topology) -> None:
    machine, other = (db.elements.create(topology.id, "kvmqm").id for _ in range(2))

    def add(name: str | None = None, parent_id: int = machine) -> Element:
        attrs = {} if name is None else {"name": name}
        return db.elements.create(topology.id, "kvmqm_interface", parent_id=parent_id, attrs=attrs)

    assert names([add(), add("eth2"), add("lan"), add(), add(), add(parent_id=other)]) == [
        "eth0", "eth2", "lan", "eth1", "eth3", "eth0",
    ]  # fmt: skip
    first = db.elements.list_children(machine)[0]
    db.elements.delete(first.id)
    made = db.elements.create_many(topology.id, [{"type": "kvmqm_interface", "parent_id": machine}] * 3)
    assert names(made) == ["eth0", "eth4", "eth5"]


def test_interfaces_that_come_at_once_get_names_of_their_own(db: Database, topology: Topology) -> None:
    machine = db.elements.create(topology.id, "openvz").id
    add = partial(db.elements.create, topology.id, "openvz_interface", parent_id=machine)
    at_once(*[add] * 4)
    assert sorted(map(str, names(db.elements.list_children(machine)))) == ["eth0", "eth1", "eth2", "eth3"]


def test_a_machine_without_site_has_its_topologys(db: Database, world: World) -> None:
    other = db.sites.create("other", organization_id=world.organization.id)
    topology = db.topologies.create("t", owner_id=world.user.id, site_id=other.id)
    for type in ("kvmqm", "openvz", "repy"):
        made = db.elements.create(topology.id, type)
        assert made.site_id == other.id
        assert db.elements.create(topology.id, type, site_id=world.site.id).site_id == world.site.id
    assert db.elements.create(topology.id, "tinc_vpn").site_id is None
    db.elements.update(made.id, {"site_id": None})
    assert db.elements.get(made.id).site_id is None


def test_an_import_has_the_same_defaults(db: Database, world: World) -> None:
    """Names that are given are free for nobody, wherever they stand."""
    elements = [
        {"id": 1, "type": "openvz", "attrs": {}},
        {"id": 2, "type": "openvz_interface", "parent": 1, "attrs": {}},
        {"id": 3, "type": "openvz_interface", "parent": 1, "attrs": {"name": "eth0"}},
        {"id": 4, "type": "openvz_interface", "parent": 1},
        {"id": 5, "type": "udp_endpoint", "attrs": {}},
    ]
    connections = [
        {"id": 1, "type": "bridge", "elements": [2, 5], "attrs": {"bandwidth_to": 5, "delay_to": 1}},
    ]
    made = db.topologies.import_(export_of(elements, connections, name="t", site="lab"), owner_id=world.user.id)
    full = db.topologies.full(made.topology_id)
    assert [e.id for e in full.elements] == [made.element_ids[n] for n in range(1, 6)]
    machine = full.elements[0]
    assert machine.site_id == world.site.id
    assert names(full.elements) == [f"openvz{machine.id}", "eth1", "eth0", "eth2", None]
    assert full.connections[0].attrs == {**EMULATION, "bandwidth_to": 5, "delay_to": 1}


def test_a_new_connection_has_link_emulation(db: Database, topology: Topology) -> None:
    a, b, c, d = (db.elements.create(topology.id, "udp_endpoint").id for _ in range(4))
    assert db.connections.create(a, b).attrs == EMULATION
    assert db.connections.create(c, d, attrs={"emulation": False, "x": 1}).attrs == {**EMULATION, "emulation": False, "x": 1}


def test_an_export_names_the_template_and_profile_that_an_element_runs_with(db: Database, topology: Topology) -> None:
    own = db.templates.create("kvmqm", "own", preference=1)
    db.templates.create("kvmqm", "preferred", preference=2)
    db.templates.create("repy", "other", preference=3)
    db.profiles.create("kvmqm", "normal")
    with_own = db.elements.create(topology.id, "kvmqm", template_id=own.id)
    without = db.elements.create(topology.id, "kvmqm", attrs={"template": "unknown"})
    db.elements.create(topology.id, "openvz")
    db.elements.create(topology.id, "tinc_vpn")
    elements: Any = db.topologies.export(topology.id)["topology"]
    found = [(e["attrs"].get("template"), e["attrs"].get("profile")) for e in elements["elements"]]
    assert found == [("own", "normal"), ("preferred", "normal"), (None, None), (None, None)]
    run_with = [(e.run_template_name, e.run_profile_name) for e in db.topologies.full(topology.id).elements]
    assert run_with == found
    assert [e["id"] for e in elements["elements"]][:2] == [with_own.id, without.id]

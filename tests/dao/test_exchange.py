"""Import and export of topologies in the frontend's format."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.conftest import CHECKOUT, World
from tomato_dao import Database, InvalidValue, NotFound

pytestmark = pytest.mark.slow

# The keys that an export leaves out at any depth.
LEFT_OUT = [
    "usage", "debug", "bridge", "capture_port", "capture_pid", "websocket_pid", "websocket_port", "vmid", "vncpid", "vncport",
    "vncpassword", "host", "host_info", "host_fileserver_port", "peers", "pubkey", "path", "port", "topology", "state",
    "custom_template", "timeout", "ipspy_pid", "last_sync", "info_sync_date", "rextfv_supported", "rextfv_status",
    "rextfv_max_size", "diskspace", "ram", "cpus", "restricted",
]  # fmt: skip
# The attributes that an export adds to an element without them.
EXPECTED: dict[str, dict[str, Any]] = {
    "kvmqm": {"site": None}, "openvz": {"site": None}, "repy": {"site": None}, "tinc_vpn": {"mode": "switch"},
    "tinc_endpoint": {"mode": "switch"}, "external_network": {"samenet": False}, "udp_endpoint": {"connect": ""},
}  # fmt: skip
EMULATION = {"emulation": True, "bandwidth_to": 10000, "bandwidth_from": 10000}
SAMPLES = sorted((CHECKOUT / "demo" / "topologies").glob("*.json"))


def export_of(*elements: dict[str, Any], connections: list[dict[str, Any]] | None = None, **attrs: Any) -> dict[str, Any]:
    topology = {"attrs": {"name": "t", **attrs}, "elements": list(elements), "connections": connections or []}
    return {"file_information": {"version": 3}, "topology": topology}


def element(id: int, type: str = "openvz", parent: int | None = None, **attrs: Any) -> dict[str, Any]:
    return {"id": id, "type": type, "parent": parent, "attrs": attrs}


def two_linked_machines() -> dict[str, Any]:
    return export_of(
        element(40, "openvz_interface", 30, name="eth0"),
        element(10, "kvmqm", name="a"),
        element(30, "openvz", name="b"),
        element(20, "kvmqm_interface", 10, name="eth0"),
        connections=[{"id": 7, "type": "fixed_bridge", "elements": [40, 20], "attrs": {"delay_to": 1.5}}],
    )


def add_names(server: psycopg.Connection) -> None:
    server.execute("insert into templates (tech, name) values ('openvz', 'debian'), ('kvmqm', 'debian')")
    server.execute("insert into profiles (tech, name) values ('openvz', 'normal')")


def test_elements_are_made_in_the_order_of_their_old_ids(db: Database, world: World) -> None:
    made = db.topologies.import_(two_linked_machines(), owner_id=world.user.id)
    new = [made.element_ids[old] for old in (10, 20, 30, 40)]
    assert new == sorted(new)
    assert [e.type for e in db.topologies.full(made.topology_id).elements] == [
        "kvmqm",
        "kvmqm_interface",
        "openvz",
        "openvz_interface",
    ]


def test_parents_ends_types_and_attrs_are_kept(db: Database, world: World) -> None:
    made = db.topologies.import_(two_linked_machines(), owner_id=world.user.id)
    full = db.topologies.full(made.topology_id)
    elements = {e.id: e for e in full.elements}
    assert elements[made.element_ids[20]].parent_id == made.element_ids[10]
    assert elements[made.element_ids[40]].attrs == {"name": "eth0"}
    (connection,) = full.connections
    assert (connection.type, connection.attrs) == ("fixed_bridge", {**EMULATION, "delay_to": 1.5})
    assert (connection.from_element_id, connection.to_element_id) == (made.element_ids[20], made.element_ids[40])
    assert made.connection_ids == {7: connection.id}
    assert [(p.user_id, p.role) for p in full.permissions] == [(world.user.id, "owner")]


def test_a_topology_of_nothing_has_no_ids(db: Database, world: World) -> None:
    made = db.topologies.import_(export_of(), owner_id=world.user.id)
    assert (made.element_ids, made.connection_ids, made.reported) == ({}, {}, [])


def test_known_names_become_references_and_come_back_as_names(db: Database, world: World, server: psycopg.Connection) -> None:
    add_names(server)
    original = export_of(element(1, name="a", template="debian", profile="normal", site="lab"), site="lab")
    made = db.topologies.import_(original, owner_id=world.user.id)
    assert made.reported == []
    (imported,) = db.elements.list_of_topology(made.topology_id)
    assert imported.attrs == {"name": "a"}
    assert imported.site_id == world.site.id
    assert imported.template_id is not None
    assert imported.profile_id is not None
    assert db.topologies.get(made.topology_id).site_id == world.site.id
    topology = db.topologies.export(made.topology_id)["topology"]
    assert topology == {**original["topology"], "elements": [{**original["topology"]["elements"][0], "id": imported.id}]}


def test_unknown_names_stay_in_attrs_and_are_reported(db: Database, world: World) -> None:
    original = export_of(element(1, name="a", template="gone", profile=None, site=7), site="nowhere")
    made = db.topologies.import_(original, owner_id=world.user.id)
    assert made.reported == [
        'topology: unknown site "nowhere"',
        "element 1: unknown site 7",
        'element 1: unknown template "gone"',
    ]
    (imported,) = db.elements.list_of_topology(made.topology_id)
    assert imported.attrs == {"name": "a", "template": "gone", "profile": None, "site": 7}
    assert db.topologies.get(made.topology_id).attrs == {"site": "nowhere"}


def test_a_number_names_nothing_even_where_a_name_has_its_digits(
    db: Database, world: World, server: psycopg.Connection
) -> None:
    server.execute("insert into templates (tech, name) values ('openvz', '5'), ('openvz', 'true')")
    server.execute("insert into profiles (tech, name) values ('openvz', '5')")
    db.sites.create("5", organization_id=world.organization.id)
    original = export_of(element(1, name="a", template=5, profile=5, site=5), element(2, name="b", template=True), site=5)
    made = db.topologies.import_(original, owner_id=world.user.id)
    assert made.reported == [
        "element 1: unknown profile 5",
        "element 1: unknown site 5",
        "element 1: unknown template 5",
        "element 2: unknown template true",
        "topology: unknown site 5",
    ]
    first, second = db.elements.list_of_topology(made.topology_id)
    assert (first.template_id, first.profile_id, first.site_id, second.template_id) == (None,) * 4
    assert first.attrs == {"name": "a", "template": 5, "profile": 5, "site": 5}
    assert second.attrs == {"name": "b", "template": True}
    assert db.topologies.get(made.topology_id).site_id is None


def test_a_template_of_another_tech_is_unknown(db: Database, world: World, server: psycopg.Connection) -> None:
    add_names(server)
    made = db.topologies.import_(export_of(element(1, "kvmqm", profile="normal")), owner_id=world.user.id)
    assert made.reported == ['element 1: unknown profile "normal"']


def test_an_export_leaves_out_what_belongs_to_the_installation(db: Database, world: World) -> None:
    vm = element(1, name="a", vncport=5900, inner={"host": "h", "kept": [{"pubkey": "k", "x": 1}]}, children=[2], ram=1)
    made = db.topologies.import_(export_of(vm, _initialized=True, _notes="n", timeout=3), owner_id=world.user.id)
    topology = db.topologies.export(made.topology_id)["topology"]
    assert isinstance(topology, dict)
    assert topology["attrs"] == {"name": "t", "_notes": "n", "site": None}
    assert topology["elements"] == [
        {
            "id": made.element_ids[1],
            "type": "openvz",
            "parent": None,
            "attrs": {"name": "a", "inner": {"kept": [{"x": 1}]}, "site": None},
        }
    ]


def test_no_key_that_an_export_must_leave_out_gets_out_at_any_depth(db: Database, world: World) -> None:
    def at_every_depth(keys: Iterable[str]) -> dict[str, Any]:
        secrets = dict.fromkeys(keys, "secret")
        return {**secrets, "kept": 1, "inner": {**secrets, "kept": [{**secrets, "kept": 2}, [{**secrets, "kept": 3}]]}}

    ends = [element(n, "udp_endpoint", **at_every_depth([*LEFT_OUT, "children", "connection"])) for n in (1, 2)]
    connection = {"id": 3, "type": "bridge", "elements": [1, 2], "attrs": {**EMULATION, **at_every_depth(LEFT_OUT)}}
    original = export_of(*ends, connections=[connection], **at_every_depth(LEFT_OUT))
    made = db.topologies.import_(original, owner_id=world.user.id)
    assert db.topologies.get(made.topology_id).attrs == at_every_depth(LEFT_OUT)
    assert db.elements.get(made.element_ids[1]).attrs == ends[0]["attrs"]
    assert db.connections.get(made.connection_ids[3]).attrs == connection["attrs"]

    topology: Any = db.topologies.export(made.topology_id)["topology"]
    kept = at_every_depth([])
    assert topology["attrs"] == {**kept, "name": "t", "site": None}
    assert [e["attrs"] for e in topology["elements"]] == [{**kept, "connect": ""}] * 2
    assert [c["attrs"] for c in topology["connections"]] == [{**EMULATION, **kept}]


def test_a_connection_keeps_what_only_elements_leave_out(db: Database, world: World) -> None:
    attrs = {"children": 1, "connection": 2, "_initialized": True}
    connection = {"id": 3, "type": "bridge", "elements": [1, 2], "attrs": {**EMULATION, **attrs}}
    ends = [element(n, "udp_endpoint", _initialized=True) for n in (1, 2)]
    made = db.topologies.import_(export_of(*ends, connections=[connection], **attrs), owner_id=world.user.id)
    topology: Any = db.topologies.export(made.topology_id)["topology"]
    assert topology["connections"][0]["attrs"] == {**EMULATION, **attrs}
    assert topology["elements"][0]["attrs"] == {"_initialized": True, "connect": ""}
    assert topology["attrs"] == {"name": "t", "children": 1, "connection": 2, "site": None}


@pytest.mark.parametrize("nums", [(1, 2), (2, 1)], ids=["from the first end", "from the other end"])
def test_reported_attributes_count_before_requested_ones(db: Database, world: World, nums: tuple[int, int]) -> None:
    original = export_of(
        element(1, "udp_endpoint", name="a", mac="old", _pos=1),
        element(2, "udp_endpoint"),
        connections=[{"id": 3, "type": "bridge", "elements": [1, 2], "attrs": {"delay_to": 1, "delay_from": 2, "_x": 3}}],
    )
    made = db.topologies.import_(original, owner_id=world.user.id)
    for id, num, mac in zip(made.element_ids.values(), nums, ("new", None), strict=True):
        told: dict[str, Any] = {"id": num, "attrs": {"mac": mac, "port": 1} if mac else {}}
        there = db.host_elements.create(world.host.id, num, element_id=id, type="udp_tunnel", state="started", attrs=told)
        db.elements.update(id, {"host_element_id": there.id})
    said: dict[str, Any] = {"attrs": {"delay_to": 5, "bridge": "br0", "to_do": 7}}
    link = db.host_connections.create(
        world.host.id, 1, connection_id=made.connection_ids[3], type="bridge", state="started", attrs=said
    )  # fmt: skip
    db.connections.update(made.connection_ids[3], {"host_connection1_id": link.id})
    topology: Any = db.topologies.export(made.topology_id)["topology"]
    assert topology["elements"][0]["attrs"] == {"name": "a", "mac": "new", "_pos": 1, "connect": ""}
    turned = {"delay_to": 1, "delay_from": 5} if nums[0] > nums[1] else {"delay_to": 5, "delay_from": 2}
    assert topology["connections"][0]["attrs"] == {**EMULATION, **turned, "_x": 3, "to_do": 7}


def test_an_export_ignores_the_attrs_of_host_components(db: Database, world: World) -> None:
    made = db.topologies.import_(export_of(element(1, "udp_endpoint", name="a")), owner_id=world.user.id)
    id = made.element_ids[1]
    there = db.host_elements.create(world.host.id, 1, element_id=id, type="x", state="started", attrs={"attrs": [1]})
    db.elements.update(id, {"host_element_id": there.id})
    topology: Any = db.topologies.export(made.topology_id)["topology"]
    assert topology["elements"][0]["attrs"] == {"name": "a", "connect": ""}


def test_a_key_that_means_nothing_is_reported(db: Database, world: World) -> None:
    odd = {**element(1), "colour": "red", "info_sync_date": 0}
    assert db.topologies.import_(export_of(odd), owner_id=world.user.id).reported == ["element 1: ignored colour"]


@pytest.mark.parametrize("path", SAMPLES, ids=lambda p: p.stem)
def test_our_samples_come_out_as_they_went_in(db: Database, world: World, path: Path) -> None:
    assert_round_trip(db, world, path.read_text("utf-8"))


def test_real_exports_come_out_as_they_went_in(db: Database, world: World, shared_topologies: list[Path]) -> None:
    for path in shared_topologies:
        assert_round_trip(db, world, path.read_bytes())


def assert_round_trip(db: Database, world: World, text: str | bytes) -> None:
    """An export of the import equals the export of an import of that export, and the original but for ids and left-outs."""
    made = db.topologies.import_(text, owner_id=world.user.id)
    first = db.topologies.export(made.topology_id)["topology"]
    original = json.loads(text)["topology"]
    left_out = {"custom_template", "info_sync_date"}
    assert isinstance(first, dict)
    assert first["attrs"] == {"site": None, **original["attrs"]}
    expected = [
        {
            "id": made.element_ids[e["id"]],
            "type": e["type"],
            "parent": made.element_ids[e["parent"]] if e["parent"] else None,
            "attrs": EXPECTED.get(e["type"], {}) | {k: v for k, v in e["attrs"].items() if k not in left_out},
        }
        for e in sorted(original["elements"], key=lambda e: e["id"])
    ]
    assert first["elements"] == expected
    assert first["connections"] == [
        {
            "id": made.connection_ids[c["id"]],
            "type": c["type"],
            "elements": sorted(made.element_ids[end] for end in c["elements"]),
            "attrs": {**EMULATION, **c["attrs"]},
        }
        for c in sorted(original["connections"], key=lambda c: c["id"])
    ]


BAD = {
    "not JSON": ("{", "is not valid JSON: .*line 1"),
    "NaN": ('{"topology": NaN}', "NaN is not JSON"),
    "an infinite number": ('{"topology": 1e999}', "out of range"),
    "not UTF-8": (b"\xff\xfe{", "can't be read|not valid"),
    "a list": ([], "the export must be an object"),
    "no version": ({"topology": {}}, "file_information must be an object, not missing"),
    "another version": ({"file_information": {"version": 4}, "topology": {}}, "version is 4; only version 3"),
    "no topology": ({"file_information": {"version": 3}}, "topology must be an object, not missing"),
    "elements no list": (
        {"file_information": {"version": 3}, "topology": {"elements": {}}},
        "topology.elements must be a list",
    ),
    "a name that is no text": (export_of(name=5), "topology.attrs.name must be a string"),
    "an element without id": (export_of({"type": "openvz"}), r"elements\[0\].id must be a whole number"),
    "a huge id": (export_of(element(2**63)), r"elements\[0\].id must be a whole number"),
    "an element without type": (export_of({"id": 1}), r"elements\[0\].type must be a string"),
    "an unknown type": (export_of(element(1, "vmware")), r"elements\[0\].type is 'vmware', which is no type"),
    "attrs no object": (export_of({"id": 1, "type": "openvz", "attrs": []}), r"elements\[0\].attrs must be an object"),
    "two elements of one id": (export_of(element(1), element(1)), r"elements\[1\].id is 1, as is topology.elements\[0\].id"),
    "a dangling parent": (export_of(element(2, "openvz_interface", 9)), r"elements\[0\].parent is 9, which is no element"),
    "a parent of the wrong type": (
        export_of(element(1, "kvmqm"), element(2, "openvz_interface", 1)),
        r"elements\[1\].parent is a kvmqm, which can't have a openvz_interface",
    ),
    "an interface without parent": (export_of(element(2, "openvz_interface")), r"elements\[0\].parent is missing"),
    "a machine with a parent": (export_of(element(1), element(2, "openvz", 1)), r"elements\[1\].parent is a openvz"),
    "a dangling end": (
        export_of(element(1, "udp_endpoint"), connections=[{"id": 1, "type": "bridge", "elements": [1, 2]}]),
        r"connections\[0\].elements has 2, which is no element",
    ),
    "one end": (
        export_of(element(1, "udp_endpoint"), connections=[{"id": 1, "type": "bridge", "elements": [1]}]),
        r"connections\[0\].elements must be the ids of two elements",
    ),
    "both ends the same": (
        export_of(element(1, "udp_endpoint"), connections=[{"id": 1, "type": "bridge", "elements": [1, 1]}]),
        r"connections\[0\].elements has 1, which topology.connections\[0\] connects already",
    ),
    "a machine as end": (
        export_of(element(1, "udp_endpoint"), element(2), connections=[{"id": 1, "type": "bridge", "elements": [1, 2]}]),
        "only interfaces and endpoints can be connected",
    ),
    "a NUL in a text": (export_of(element(1, note="a\0b")), r"u0000"),
    "a lone surrogate": (export_of(element(1, note="\ud800")), "surrogates not allowed"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_wrong_export_is_refused_with_the_place_and_nothing_is_imported(
    db: Database, world: World, server: psycopg.Connection, case: str
) -> None:
    export, message = BAD[case]
    with pytest.raises(InvalidValue, match=message):
        db.topologies.import_(export, owner_id=world.user.id)  # type: ignore[arg-type]
    assert db.topologies.list() == []
    assert server.execute("select count(*) from usage_statistics").fetchone() == (3,)  # the world's own


def test_an_unknown_owner_imports_nothing(db: Database, world: World) -> None:
    with pytest.raises(NotFound, match="user 999 does not exist"):
        db.topologies.import_(two_linked_machines(), owner_id=999)
    assert db.topologies.list() == []


def test_an_export_of_nothing_is_not_found(db: Database) -> None:
    with pytest.raises(NotFound, match="topology 1 does not exist"):
        db.topologies.export(1)


# A whole float comes back as an integer of the same digits, which Python holds to be another number beyond 2**53.
fractions = st.floats(allow_nan=False, allow_infinity=False).filter(lambda f: not f.is_integer())
texts = st.text(st.characters(codec="utf-8", exclude_characters="\0"))
values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | fractions | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts.map("_{}".format), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(attrs=st.dictionaries(texts.map("_{}".format), values, max_size=4), name=texts)
def test_any_attrs_survive(db: Database, world: World, attrs: dict[str, Any], name: str) -> None:
    attrs.pop("_initialized", None)
    attrs["name"] = name = name or "unnamed"
    made = db.topologies.import_(export_of(element(1, **attrs), **attrs), owner_id=world.user.id)
    topology = db.topologies.export(made.topology_id)["topology"]
    assert isinstance(topology, dict)
    assert topology["attrs"] == {**attrs, "name": name, "site": None}
    assert isinstance(topology["elements"], list)
    assert isinstance(topology["elements"][0], dict)
    assert topology["elements"][0]["attrs"] == {**attrs, "site": None}

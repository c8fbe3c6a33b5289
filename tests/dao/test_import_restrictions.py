"""Importing a topology: a restricted template, profile or kind of network is only for users with the flag for it."""

from typing import Any

import psycopg
import pytest

from tests.conftest import World
from tomato_dao import Database

VM = {"id": 1, "type": "openvz", "attrs": {"name": "a", "template": "secret", "profile": "large"}}
NETWORK = {"id": 2, "type": "external_network", "attrs": {"name": "b", "kind": "openflow"}}
ENDPOINT = {"id": 3, "type": "external_network_endpoint", "parent": 2, "attrs": {"name": "c", "kind": "openflow/kl"}}
EXPORT: dict[str, Any] = {
    "file_information": {"version": 3},
    "topology": {"attrs": {"name": "t"}, "elements": [VM, NETWORK, ENDPOINT], "connections": []},
}
TEMPLATE = 'element 1: restricted template "secret": the user lacks the flag restricted_templates'
PROFILE = 'element 1: restricted profile "large": the user lacks the flag restricted_profiles'
KINDS = [
    'element 2: restricted kind "openflow": the user lacks the flag restricted_networks',
    'element 3: restricted kind "openflow/kl": the user lacks the flag restricted_networks',
]


@pytest.fixture(autouse=True)
def restricted(world: World, server: psycopg.Connection) -> None:
    """Provide a restricted template, profile and kind of network, and others of their names that are not."""
    server.execute(
        "insert into templates (tech, name, restricted) values ('openvz', 'secret', true), ('repy', 'secret', false)"
    )
    server.execute("insert into profiles (tech, name, restricted) values ('openvz', 'large', true), ('repy', 'large', false)")
    server.execute(
        "insert into networks (kind, restricted, preference) values"
        " ('openflow/kl', true, 2), ('openflow/open', false, 1), ('openflow2', false, 9)"
    )


def test_a_user_without_the_flags_gets_nothing_restricted(db: Database, world: World) -> None:
    made = db.topologies.import_(EXPORT, owner_id=world.user.id)
    assert made.reported == [PROFILE, TEMPLATE, *KINDS]
    vm, network, endpoint = db.elements.list_of_topology(made.topology_id)
    assert (vm.template_id, vm.profile_id) == (None, None)
    assert vm.attrs == VM["attrs"]
    assert (network.network_id, network.attrs, endpoint.attrs) == (None, NETWORK["attrs"], ENDPOINT["attrs"])


@pytest.mark.parametrize(
    ("flag", "reported"),
    [
        ("restricted_templates", [PROFILE, *KINDS]),
        ("restricted_profiles", [TEMPLATE, *KINDS]),
        ("restricted_networks", [PROFILE, TEMPLATE]),
        ("global_admin", [PROFILE, TEMPLATE, *KINDS]),
    ],
)
def test_each_flag_is_for_its_own_kind_of_resource(db: Database, world: World, flag: str, reported: list[str]) -> None:
    db.users.add_flag(world.user.id, flag)
    made = db.topologies.import_(EXPORT, owner_id=world.user.id)
    assert made.reported == reported
    vm = db.elements.list_of_topology(made.topology_id)[0]
    assert (vm.template_id is not None) == (flag == "restricted_templates")
    assert (vm.profile_id is not None) == (flag == "restricted_profiles")


def test_unrestricted_resources_are_for_all(db: Database, world: World, server: psycopg.Connection) -> None:
    server.execute("update templates set restricted = false")
    server.execute("update profiles set restricted = false")
    server.execute("update networks set restricted = kind = 'openflow/open'")
    assert db.topologies.import_(EXPORT, owner_id=world.user.id).reported == []


def test_a_kind_of_its_own_counts_before_those_below_it(db: Database, world: World, server: psycopg.Connection) -> None:
    server.execute("insert into networks (kind, restricted) values ('openflow', false)")
    assert db.topologies.import_(EXPORT, owner_id=world.user.id).reported == [PROFILE, TEMPLATE, KINDS[1]]
    server.execute("update networks set restricted = true where kind = 'openflow'")
    server.execute("update networks set restricted = false where kind = 'openflow/kl'")
    assert db.topologies.import_(EXPORT, owner_id=world.user.id).reported == [PROFILE, TEMPLATE, KINDS[0]]


def test_a_number_is_no_kind_of_network(db: Database, world: World, server: psycopg.Connection) -> None:
    server.execute("insert into networks (kind, restricted) values ('5', true)")
    network: dict[str, Any] = {**NETWORK, "attrs": {"name": "b", "kind": 5}}
    made = db.topologies.import_({**EXPORT, "topology": {**EXPORT["topology"], "elements": [network]}}, owner_id=world.user.id)
    assert made.reported == []


def test_a_kind_is_a_networks_on_external_networks_alone(db: Database, world: World) -> None:
    machine: dict[str, Any] = {**VM, "attrs": {"name": "a", "kind": "openflow"}}
    made = db.topologies.import_({**EXPORT, "topology": {**EXPORT["topology"], "elements": [machine]}}, owner_id=world.user.id)
    assert made.reported == []

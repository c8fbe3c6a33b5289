"""A connection's type where no host connection tells it: by what it links."""

from tomato_dao import Database
from tomato_dao.rows import Topology

CASES = [
    (["udp_endpoint", "udp_endpoint"], None, "bridge"),
    (["udp_endpoint", "external_network_endpoint"], None, "fixed_bridge"),
    (["external_network_endpoint", "external_network_endpoint"], None, "fixed_bridge"),
    (["udp_endpoint", "external_network_endpoint"], "bridge", "bridge"),
    (["udp_endpoint", "udp_endpoint"], "fixed_bridge", "fixed_bridge"),
]


def test_a_new_connection_is_a_fixed_bridge_at_an_external_network(db: Database, topology: Topology) -> None:
    for types, given, expected in CASES:
        a, b = (db.elements.create(topology.id, type) for type in types)
        made = db.connections.create(a.id, b.id) if given is None else db.connections.create(a.id, b.id, type=given)
        assert db.connections.get(made.id) == made
        assert made.type == expected, types

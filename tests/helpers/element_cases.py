"""Helpers that the tests of elements and connections share."""

from dataclasses import dataclass

from tomato_dao import Database
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


def parent_of(db: Database, topology_id: int, type: str) -> int | None:
    return db.elements.create(topology_id, CHILDREN[type]).id if type in CHILDREN else None

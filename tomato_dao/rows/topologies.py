"""Topologies, their elements and connections."""

from datetime import datetime

from ..sql.rows import Row
from .json import JsonObject
from .places import HostComponent
from .usage import UsageRecord


class Topology(Row, frozen=True):
    """An experiment; timeout_step is 0 (initial), 9 (warned), 10 (stopped) or 20 (destroyed)."""

    id: int
    name: str
    site_id: int | None
    timeout_at: datetime
    timeout_step: int
    usage_id: int | None
    attrs: JsonObject


class TopologyPermission(Row, frozen=True):
    """A user's role on a topology: user, manager or owner."""

    topology_id: int
    user_id: int
    role: str


class FullPermission(TopologyPermission, frozen=True):
    """A user's role on a topology, with the user's name and address; nomails: whether the user has the flag of this name."""

    name: str
    origin: str
    realname: str
    email: str
    nomails: bool


class ListedTopology(Topology, frozen=True):
    """A topology as lists show it, with its permissions and the ids of its elements and connections, each ordered by id.

    role: the effective role of the asking user, or None. state: the highest state of its elements (created if it has none).
    usage: the latest 5-minute usage (None if nothing is used).
    """

    role: str | None
    state: str
    site_name: str | None
    permissions: tuple[FullPermission, ...]
    element_ids: list[int]
    connection_ids: list[int]
    usage: UsageRecord | None


class TopologyRole(Row, frozen=True):
    """A user's effective and explicit role on a topology: user, manager, owner or None."""

    topology_id: int
    user_id: int
    explicit_role: str | None
    role: str | None


class Element(Row, frozen=True):
    """A virtual machine, its interface, a switch, an external network, or an endpoint."""

    id: int
    topology_id: int
    type: str
    state: str
    parent_id: int | None
    connection_id: int | None
    host_element_id: int | None
    site_id: int | None
    template_id: int | None
    profile_id: int | None
    network_id: int | None
    network_instance_id: int | None
    rextfv_started_at: datetime | None
    next_sync_at: datetime | None
    usage_id: int | None
    attrs: JsonObject


class Connection(Row, frozen=True):
    """A link between two elements; from_element_id is the lower of their ids."""

    id: int
    topology_id: int
    type: str
    state: str
    host_connection1_id: int | None
    host_connection2_id: int | None
    host_element1_id: int | None
    host_element2_id: int | None
    usage_id: int | None
    attrs: JsonObject
    from_element_id: int
    to_element_id: int


class ConnectionEnd(Row, frozen=True):
    """An element and its connection."""

    id: int
    topology_id: int
    type: str
    connection_id: int | None


class RunningHost(Row, frozen=True):
    """A host that runs an element, with its problems; fileserver_port: None if the host reports none."""

    id: int
    name: str
    address: str
    site_id: int
    site_name: str
    problems: list[str]
    fileserver_port: int | None


class ServingComponent(HostComponent, frozen=True):
    """A component on a host that serves a connection, with the host's name."""

    host_name: str


class FullElement(Element, frozen=True):
    """An element with its main host element's attrs, the host that runs it, and the template and profile that it runs with.

    The run_template and run_profile fields are the element's own, or else the preferred ones of its tech. ram and diskspace
    are in MB, cpus is a fraction.
    """

    host_element_attrs: JsonObject | None
    host: RunningHost | None
    run_template_id: int | None
    run_template_name: str | None
    run_profile_id: int | None
    run_profile_name: str | None
    ram: float | None
    cpus: float | None
    diskspace: float | None


class FullConnection(Connection, frozen=True):
    """A connection with its two ends, the host of its first host connection, and the components that serve it."""

    host: RunningHost | None
    host_elements: tuple[ServingComponent, ...]
    host_connections: tuple[ServingComponent, ...]


def _is_port_of_switch(element: Element) -> bool:
    return element.type == "tinc_endpoint" and element.parent_id is not None


class FullTopology(Topology, frozen=True):
    """A topology with everything in it.

    role: the effective role of the asking user, or None. state: the highest state of its elements (created if it has none).
    usage: the latest 5-minute usage (None if nothing is used).
    """

    role: str | None
    state: str
    site_name: str | None
    permissions: tuple[FullPermission, ...]
    elements: tuple[FullElement, ...]
    connections: tuple[FullConnection, ...]
    usage: UsageRecord | None

    def connected_hosts(self, element_id: int) -> list[RunningHost]:
        """Return the hosts of the elements that an element, or one of its children, is connected to.

        A switch stands for the elements at its other ports, an interface for its machine. Elements that do not run have no
        host. A host occurs once per such element, so `Counter(host.id for host in …)` counts them as bonuses for
        `hosts.candidates`.
        """
        elements = {e.id: e for e in self.elements}
        ends = {c.id: (elements[c.from_element_id], elements[c.to_element_id]) for c in self.connections}
        far: list[FullElement] = []
        for port in self.elements:
            if element_id in (port.id, port.parent_id) and port.connection_id is not None:
                (end,) = (e for e in ends[port.connection_id] if e.id != port.id)
                if not _is_port_of_switch(end):
                    far.append(end)
                else:
                    others = [e for e in self.elements if e.parent_id == end.parent_id and e.connection_id and e.id != end.id]
                    beyond = [e for other in others for e in ends[other.connection_id or 0] if e.id != other.id]
                    far += [e for e in beyond if not _is_port_of_switch(e)]
        hosts = [e.host or (elements[e.parent_id].host if e.parent_id else None) for e in far]
        return [host for host in hosts if host is not None]


class ExportedTopology(Row, frozen=True):
    """Parts of an export: elements and connections as the export's own objects."""

    name: str
    attrs: JsonObject
    site_name: str | None
    elements: list[JsonObject]
    connections: list[JsonObject]


class ImportedTopology(Row, frozen=True):
    """Result of an import: old id → new id of elements and connections, and what could not be turned into a reference."""

    topology_id: int
    element_ids: dict[int, int]
    connection_ids: dict[int, int]
    reported: list[str]

"""Topologies and what they are made of."""

from datetime import datetime

from ..sql.rows import Row
from .json import JsonObject
from .places import HostComponent
from .usage import UsageRecord


class Topology(Row, frozen=True):
    """One experiment; timeout_step is 0 (initial), 9 (warned), 10 (stopped) or 20 (destroyed)."""

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
    """A user's role on a topology, with who the user is; nomails: the flag of that name, for who sends mail."""

    name: str
    origin: str
    realname: str
    email: str
    nomails: bool


class ListedTopology(Topology, frozen=True):
    """A topology as a list shows it, with its permissions and the ids of its elements and connections, each by id.

    role: the effective one of who asks (None: none). state: the highest of its elements (created where it has none). usage:
    the latest 5-minute usage (None where it uses nothing now).
    """

    role: str | None
    state: str
    site_name: str | None
    permissions: tuple[FullPermission, ...]
    element_ids: list[int]
    connection_ids: list[int]
    usage: UsageRecord | None


class TopologyRole(Row, frozen=True):
    """A user's effective role on a topology, and the explicit one: user, manager, owner, or None."""

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
    """An element and what it is connected by."""

    id: int
    topology_id: int
    type: str
    connection_id: int | None


class FullElement(Element, frozen=True):
    """An element with its main host element's attrs, where that runs, and what it would run with.

    run_template_… and run_profile_… are the element's own or else the preferred one of its tech; ram and diskspace in MB,
    cpus a fraction.
    """

    host_element_attrs: JsonObject | None
    host_name: str | None
    host_site_name: str | None
    run_template_id: int | None
    run_template_name: str | None
    run_profile_id: int | None
    run_profile_name: str | None
    ram: float | None
    cpus: float | None
    diskspace: float | None


class FullConnection(Connection, frozen=True):
    """A connection with its two ends and the host connections that serve it."""

    host_connections: tuple[HostComponent, ...]


class FullTopology(Topology, frozen=True):
    """A topology with everything in it, and its latest 5-minute usage (None where it uses nothing now)."""

    permissions: tuple[TopologyPermission, ...]
    elements: tuple[FullElement, ...]
    connections: tuple[FullConnection, ...]
    usage: UsageRecord | None


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

"""What queries return: a frozen dataclass per shape of row, its fields the query's columns in order.

Times are `datetime` in UTC; usage is in bytes and CPU seconds, a profile's ram and diskspace in MB (DOMAIN.md, units).
A JSON number beyond 64 bits arrives as a float.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TypeAlias, Union

# Union, since a quoted alias could not be part of another one.
Json: TypeAlias = Union["dict[str, Json]", "list[Json]", str, int, float, bool, None]
JsonObject: TypeAlias = dict[str, Json]
# What may be given as JSON.
JsonIn: TypeAlias = Union["Mapping[str, JsonIn]", "Sequence[JsonIn]", str, int, float, bool, datetime, None]


@dataclass(frozen=True, slots=True)
class Organization:
    """Who owns sites and users."""

    id: int
    name: str
    description: str
    homepage_url: str
    image_url: str
    description_text: str
    usage_id: int | None
    attrs: JsonObject


@dataclass(frozen=True, slots=True)
class Site:
    """A place with hosts; longitude and latitude in degrees."""

    id: int
    name: str
    organization_id: int
    description: str
    location: str
    longitude: float
    latitude: float
    description_text: str
    attrs: JsonObject


@dataclass(frozen=True, slots=True)
class Host:
    """A machine that runs elements; what it reports is in `info` (sizes in KiB)."""

    id: int
    name: str
    address: str
    rpcurl: str
    site_id: int
    enabled: bool
    availability: float
    component_errors: int
    info: Json
    info_at: datetime | None
    element_types: Json
    connection_types: Json
    networks: Json
    resources_synced_at: datetime | None
    accounting_at: datetime | None
    dumps_fetched_at: datetime | None
    problem_since: datetime | None
    problem_mailed_at: datetime | None
    description_text: str
    usage_id: int | None
    attrs: JsonObject


@dataclass(frozen=True, slots=True)
class User:
    """An account; origin says which login provider it is from."""

    id: int
    name: str
    origin: str
    organization_id: int
    realname: str
    email: str
    flags: list[str]
    password_hash: str | None
    password_at: datetime | None
    last_login_at: datetime | None
    usage_id: int | None
    attrs: JsonObject


@dataclass(frozen=True, slots=True)
class Quota:
    """What a user may use a month, and has used in this one (bytes, CPU seconds)."""

    user_id: int
    monthly_memory: float
    monthly_diskspace: float
    monthly_traffic: float
    monthly_cputime: float
    used_memory: float
    used_diskspace: float
    used_traffic: float
    used_cputime: float
    used_at: datetime
    continuous_factor: float


@dataclass(frozen=True, slots=True)
class Topology:
    """One experiment; timeout_step is 0 (initial), 9 (warned), 10 (stopped) or 20 (destroyed)."""

    id: int
    name: str
    site_id: int | None
    timeout_at: datetime
    timeout_step: int
    usage_id: int | None
    attrs: JsonObject


@dataclass(frozen=True, slots=True)
class TopologyPermission:
    """A user's role on a topology: user, manager or owner."""

    topology_id: int
    user_id: int
    role: str


@dataclass(frozen=True, slots=True)
class Element:
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


@dataclass(frozen=True, slots=True)
class Connection:
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


@dataclass(frozen=True, slots=True)
class ConnectionEnd:
    """An element and what it is connected by."""

    id: int
    topology_id: int
    type: str
    connection_id: int | None


@dataclass(frozen=True, slots=True)
class HostComponent:
    """What a host runs for an element or a connection: a host element or a host connection.

    num is the host's own number for it. Where element_id and connection_id are None it is an orphan.
    """

    id: int
    host_id: int
    num: int
    element_id: int | None
    connection_id: int | None
    type: str
    state: str
    usage_id: int | None
    attrs: JsonObject


@dataclass(frozen=True, slots=True)
class UsageRecord:
    """Measured use from begin_at to end_at: memory, diskspace and traffic in bytes, cputime in CPU seconds."""

    usage_id: int
    type: str
    begin_at: datetime
    end_at: datetime
    measurements: int
    memory: float
    diskspace: float
    traffic: float
    cputime: float


@dataclass(frozen=True, slots=True)
class FullElement:
    """An element with its main host element's attrs, where that runs, and what it would run with.

    run_template_… and run_profile_… are the element's own or else the preferred one of its tech; ram and diskspace in MB,
    cpus a fraction.
    """

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


@dataclass(frozen=True, slots=True)
class FullConnection:
    """A connection with its two ends and the host connections that serve it."""

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
    host_connections: tuple[HostComponent, ...]


@dataclass(frozen=True, slots=True)
class FullTopology:
    """A topology with everything in it, and its latest 5-minute usage."""

    id: int
    name: str
    site_id: int | None
    timeout_at: datetime
    timeout_step: int
    usage_id: int | None
    attrs: JsonObject
    permissions: tuple[TopologyPermission, ...]
    elements: tuple[FullElement, ...]
    connections: tuple[FullConnection, ...]
    usage: UsageRecord | None


@dataclass(frozen=True, slots=True)
class ExportedTopology:
    """What an export is made of: elements and connections as the export's own objects."""

    name: str
    attrs: JsonObject
    site_name: str | None
    elements: list[JsonObject]
    connections: list[JsonObject]


@dataclass(frozen=True, slots=True)
class ImportedTopology:
    """What an import made: old id → new id of elements and connections, and what could not be turned into a reference."""

    topology_id: int
    element_ids: dict[int, int]
    connection_ids: dict[int, int]
    reported: list[str]


@dataclass(frozen=True, slots=True)
class ImportedUsage:
    """What became of the records of an import; see Usage.import_records."""

    imported: int
    known: int
    unknown: int
    ahead: int
    late: int


@dataclass(frozen=True, slots=True)
class AggregatedUsage:
    """What a roll-up did; see Usage.aggregate."""

    ran: bool
    written: int
    pruned: int
    late: int
    waiting: int


@dataclass(frozen=True, slots=True)
class UsageTotal:
    """The use of a user or an organization in a period, from begin_at to end_at as far as it has records."""

    id: int
    begin_at: datetime
    end_at: datetime
    measurements: int
    memory: float
    diskspace: float
    traffic: float
    cputime: float


@dataclass(frozen=True, slots=True)
class CombinedLinks:
    """What combining link measurements did; see Links.combine."""

    ran: bool
    written: int
    pruned: int

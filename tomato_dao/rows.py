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
class FullHost:
    """A host with what is wrong with it, and its load: 0 to 1, None where nothing is known of it."""

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
    problems: list[str]
    load: float | None


@dataclass(frozen=True, slots=True)
class HostCandidate:
    """A host that could run something: its load (0 to 1), how many components it runs, and how good a choice it is."""

    id: int
    name: str
    site_id: int
    load: float
    elements: int
    connections: int
    score: float


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
class Contact:
    """A user who is to be told; nomails: the flag of that name, for who sends mail."""

    id: int
    name: str
    origin: str
    realname: str
    email: str
    nomails: bool


@dataclass(frozen=True, slots=True)
class ExpiredUsers:
    """Who was removed, and who is left though expired: a topology has no other owner."""

    removed: tuple[Contact, ...]
    kept: tuple[Contact, ...]


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
class ListedTopology:
    """A topology with the role of who asks (None: none) and the highest state of its elements (None where it has none)."""

    id: int
    name: str
    site_id: int | None
    timeout_at: datetime
    timeout_step: int
    usage_id: int | None
    attrs: JsonObject
    role: str | None
    state: str | None


@dataclass(frozen=True, slots=True)
class TopologyPermission:
    """A user's role on a topology: user, manager or owner."""

    topology_id: int
    user_id: int
    role: str


@dataclass(frozen=True, slots=True)
class TopologyRole:
    """What a user may effectively do on a topology, and by explicit permission: user, manager, owner, or None."""

    topology_id: int
    user_id: int
    explicit_role: str | None
    role: str | None


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
class HostUse:
    """What a host runs, and for which topology: None for an orphan."""

    id: int
    num: int
    type: str
    state: str
    element_id: int | None
    connection_id: int | None
    topology_id: int | None
    topology_name: str | None


@dataclass(frozen=True, slots=True)
class Template:
    """A disk image; torrent_data is base64."""

    id: int
    tech: str
    name: str
    preference: int
    label: str
    subtype: str
    restricted: bool
    kblang: str
    torrent_data: str
    attrs: JsonObject


@dataclass(frozen=True, slots=True)
class TemplateReadiness:
    """How many hosts have a template ready, of how many hosts."""

    template_id: int
    ready: int
    hosts: int


@dataclass(frozen=True, slots=True)
class TemplateOnHost:
    """Whether a host has a template ready, and since when that is so."""

    host_id: int
    template_id: int
    ready: bool
    changed_at: datetime


@dataclass(frozen=True, slots=True)
class Profile:
    """Resource limits of a virtual machine: ram and diskspace in MB, cpus a fraction; None where nothing is said."""

    id: int
    tech: str
    name: str
    preference: int
    label: str
    restricted: bool
    ram: float | None
    cpus: float | None
    diskspace: float | None
    attrs: JsonObject


@dataclass(frozen=True, slots=True)
class Network:
    """A kind of external network, as “internet” or “internet/uni”."""

    id: int
    kind: str
    preference: int
    label: str
    restricted: bool
    attrs: JsonObject


@dataclass(frozen=True, slots=True)
class NetworkInstance:
    """A network on a host."""

    id: int
    network_id: int | None
    host_id: int
    bridge: str
    attrs: JsonObject


@dataclass(frozen=True, slots=True)
class LinkMeasurement:
    """Quality between two sites from begin_at to end_at: loss a fraction, delays in milliseconds.

    In what is read site_a_id is the lower of the two.
    """

    site_a_id: int
    site_b_id: int
    type: str
    begin_at: datetime
    end_at: datetime
    loss: float
    delay_avg: float
    delay_stddev: float
    measurements: int


@dataclass(frozen=True, slots=True)
class KeyValue:
    """A note of the backend's."""

    key: str
    value: Json


@dataclass(frozen=True, slots=True)
class ErrorGroup:
    """A kind of error; removed_dumps counts those that were dropped or removed by hand."""

    group_id: str
    description: str
    removed_dumps: int


@dataclass(frozen=True, slots=True)
class ErrorGroupSummary:
    """A kind of error: how often it came (with what is gone by now), and what the dumps that are kept say.

    last_at is None where no dump is left.
    """

    group_id: str
    description: str
    removed_dumps: int
    count: int
    last_at: datetime | None
    sources: list[str]
    origins: list[str]
    versions: list[Json]


@dataclass(frozen=True, slots=True)
class ErrorDump:
    """An error report without its data; data_available says whether there is such."""

    source: str
    dump_id: str
    group_id: str
    at: datetime
    description: Json
    origin: str
    software_version: Json
    data_available: bool
    attrs: JsonObject


@dataclass(frozen=True, slots=True)
class FullErrorDump:
    """An error report with its data: base64 of a zlib stream, as it came."""

    source: str
    dump_id: str
    group_id: str
    at: datetime
    description: Json
    origin: str
    software_version: Json
    data_available: bool
    attrs: JsonObject
    data: str | None


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
class HostSyncClaim:
    """A host to be synced; it is its claimer's until lease_until."""

    id: int
    name: str
    address: str
    rpcurl: str
    site_id: int
    resources_synced_at: datetime | None
    lease_until: datetime


@dataclass(frozen=True, slots=True)
class ProblemNoticeClaim:
    """A notice of a host's problems to be sent; it is its claimer's until lease_until.

    kind: "announce", "again" or "resolved" (then problems is empty). problem_since: when the problem was first seen.
    """

    host_id: int
    host_name: str
    kind: str
    problems: list[str]
    problem_since: datetime
    recipients: tuple[Contact, ...]
    lease_until: datetime


@dataclass(frozen=True, slots=True)
class TimeoutClaim:
    """A topology whose owners are to be warned, or that is to be stopped or destroyed (action: warn, stop, destroy)."""

    id: int
    name: str
    timeout_at: datetime
    timeout_step: int
    action: str
    owners: tuple[Contact, ...]
    lease_until: datetime


@dataclass(frozen=True, slots=True)
class ElementSyncClaim:
    """A machine that is to be looked at, and where it runs; None where it has no host element."""

    id: int
    topology_id: int
    type: str
    state: str
    host_element_id: int | None
    host_element_num: int | None
    host_name: str | None
    rpcurl: str | None
    rextfv_started_at: datetime | None
    next_sync_at: datetime
    attrs: JsonObject
    lease_until: datetime


@dataclass(frozen=True, slots=True)
class OrphanClaim:
    """A host element or host connection that serves nothing, to be removed from its host."""

    id: int
    host_id: int
    host_name: str
    rpcurl: str
    num: int
    type: str
    state: str
    attrs: JsonObject
    lease_until: datetime


@dataclass(frozen=True, slots=True)
class TaskClaim:
    """A task that is this worker's until then."""

    name: str
    started_at: datetime
    lease_until: datetime


@dataclass(frozen=True, slots=True)
class Task:
    """A task: when it was last begun, and until when it is some worker's (None: it was finished)."""

    name: str
    started_at: datetime
    lease_until: datetime | None


@dataclass(frozen=True, slots=True)
class Counts:
    """How many there are of everything; elements also by their types and states."""

    organizations: int
    sites: int
    hosts: int
    users: int
    topologies: int
    elements: int
    elements_by_type: dict[str, int]
    elements_by_state: dict[str, int]
    connections: int
    host_elements: int
    host_connections: int
    templates: int
    profiles: int
    networks: int
    network_instances: int
    error_groups: int
    error_dumps: int
    key_values: int
    link_measurements: int
    usage_records: int


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

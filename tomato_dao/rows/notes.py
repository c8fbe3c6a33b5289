"""The backend's notes and error reports, and counts of everything."""

from datetime import datetime

from ..sql.rows import Row
from .json import Json, JsonObject


class KeyValue(Row, frozen=True):
    """A value that the backend keeps under a key."""

    key: str
    value: Json


class ErrorGroup(Row, frozen=True):
    """A kind of error; removed_dumps counts the dumps that were dropped or deleted."""

    group_id: str
    description: str
    removed_dumps: int


class ErrorGroupSummary(ErrorGroup, frozen=True):
    """A kind of error: its number of occurrences (including dropped dumps), and a summary of the remaining dumps.

    last_at: None if no dump is left. sources, origins, versions, descriptions: distinct values. data_available: whether any
    dump has data.
    """

    count: int
    last_at: datetime | None
    sources: list[str]
    origins: list[str]
    versions: list[Json]
    descriptions: list[Json]
    data_available: bool


class ErrorDump(Row, frozen=True):
    """An error report without its data; data_available says whether there are any."""

    source: str
    dump_id: str
    group_id: str
    at: datetime
    description: Json
    origin: str
    software_version: Json
    data_available: bool
    attrs: JsonObject


class FullErrorDump(ErrorDump, frozen=True):
    """An error report with its data: base64 of a zlib stream, as received."""

    data: str | None


class Counts(Row, frozen=True):
    """Counts of all objects, elements also by type and by state.

    topologies_active: topologies whose latest usage is above 0, disk space aside. users_active: users who logged in within
    30 days. host_cpus, host_memory and host_diskspace (KiB, root and data) are sums of what hosts report, disabled hosts
    included. host_load (0 to 1, of the hosts that report one) and host_availability (0 to 1) are averages, None without
    hosts.
    """

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
    topologies_active: int
    users_active: int
    host_cpus: float
    host_memory: float
    host_diskspace: float
    host_load: float | None
    host_availability: float | None

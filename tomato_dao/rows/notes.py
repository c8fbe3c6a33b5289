"""The backend's notes and error reports, and counts of everything."""

from datetime import datetime

from ..sql.rows import Row
from .json import Json, JsonObject


class KeyValue(Row, frozen=True):
    """A note of the backend's."""

    key: str
    value: Json


class ErrorGroup(Row, frozen=True):
    """A kind of error; removed_dumps counts those that were dropped or removed by hand."""

    group_id: str
    description: str
    removed_dumps: int


class ErrorGroupSummary(ErrorGroup, frozen=True):
    """A kind of error: how often it came (with what is gone by now), and what the dumps that are kept say.

    last_at is None where no dump is left. sources, origins, versions and descriptions: each once. data_available: whether any
    of the dumps has data.
    """

    count: int
    last_at: datetime | None
    sources: list[str]
    origins: list[str]
    versions: list[Json]
    descriptions: list[Json]
    data_available: bool


class ErrorDump(Row, frozen=True):
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


class FullErrorDump(ErrorDump, frozen=True):
    """An error report with its data: base64 of a zlib stream, as it came."""

    data: str | None


class Counts(Row, frozen=True):
    """Counts of everything; elements also by their types and states."""

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

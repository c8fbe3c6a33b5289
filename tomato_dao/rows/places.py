"""Organizations, sites and hosts, and what hosts run."""

from dataclasses import dataclass
from datetime import datetime

from .json import Json, JsonObject


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
class FullHost(Host):
    """A host with what is wrong with it, and its load: 0 to 1, None where nothing is known of it."""

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

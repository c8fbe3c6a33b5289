"""Organizations, sites and hosts, and the components that hosts run."""

from datetime import datetime

from ..sql.rows import Row
from .json import Json, JsonObject


class Organization(Row, frozen=True):
    """An owner of sites, and the home of users."""

    id: int
    name: str
    description: str
    homepage_url: str
    image_url: str
    description_text: str
    usage_id: int | None
    attrs: JsonObject


class Site(Row, frozen=True):
    """A place with hosts; longitude and latitude in degrees, None if unknown."""

    id: int
    name: str
    organization_id: int
    description: str
    location: str
    longitude: float | None
    latitude: float | None
    description_text: str
    attrs: JsonObject


class FullSite(Site, frozen=True):
    """A site with the name of its organization."""

    organization_name: str


class Host(Row, frozen=True):
    """A machine that runs elements; `info` is what it reports (sizes in KiB)."""

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


class FullHost(Host, frozen=True):
    """A host with its problems, its load (0 to 1, None if unknown), and the names of its site and organization."""

    problems: list[str]
    load: float | None
    site_name: str
    organization_name: str


class HostCandidate(Row, frozen=True):
    """A host that could run an element: its load (0 to 1), how many components it runs, and its score (higher is better)."""

    id: int
    name: str
    site_id: int
    load: float
    elements: int
    connections: int
    score: float


class HostComponent(Row, frozen=True):
    """A host element or host connection: a component on a host that serves an element or a connection.

    num is the host's own number for it. A component without element_id and connection_id is an orphan.
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


class HostUse(Row, frozen=True):
    """A component on a host with its topology (None for an orphan)."""

    id: int
    num: int
    type: str
    state: str
    element_id: int | None
    connection_id: int | None
    topology_id: int | None
    topology_name: str | None

"""Templates, profiles and networks, and which hosts have them."""

from dataclasses import dataclass
from datetime import datetime

from .json import JsonObject


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

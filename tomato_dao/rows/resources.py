"""Templates, profiles and networks, and which hosts have them."""

from datetime import datetime

from ..sql.rows import Row
from .json import JsonObject


class Resource(Row, frozen=True):
    """A template, profile, network or network instance, as type says.

    attrs: its own with all that is known of it, by the names that frontends use: tech, name, preference, label, subtype,
    restricted, kblang, ram, cpus, diskspace, kind, network (its kind), host (its name), bridge.
    """

    id: int
    type: str
    attrs: JsonObject


class Template(Row, frozen=True):
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


class FullTemplate(Template, frozen=True):
    """A disk image, and how many hosts have it ready, of how many that have a row for it."""

    ready: int
    hosts: int


class ListedTemplate(Row, frozen=True):
    """A disk image without its torrent data: torrent_data_md5 is the MD5 of that text, in hexadecimal digits."""

    id: int
    tech: str
    name: str
    preference: int
    label: str
    subtype: str
    restricted: bool
    kblang: str
    torrent_data_md5: str
    attrs: JsonObject


class TemplateOfHost(ListedTemplate, frozen=True):
    """A disk image, and whether a host has it ready, and since when that is so; None where the host says nothing of it."""

    ready: bool | None
    changed_at: datetime | None


class TemplateReadiness(Row, frozen=True):
    """Readiness of a template: how many hosts have it ready, of how many that have a row for it."""

    template_id: int
    ready: int
    hosts: int


class TemplateOnHost(Row, frozen=True):
    """State of a template on a host: ready or not, and since when."""

    host_id: int
    template_id: int
    ready: bool
    changed_at: datetime


class Profile(Row, frozen=True):
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


class Network(Row, frozen=True):
    """A kind of external network, as “internet” or “internet/uni”."""

    id: int
    kind: str
    preference: int
    label: str
    restricted: bool
    attrs: JsonObject


class NetworkInstance(Row, frozen=True):
    """A network on a host."""

    id: int
    network_id: int | None
    host_id: int
    bridge: str
    attrs: JsonObject

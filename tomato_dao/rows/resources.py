"""Templates, profiles and networks, and the hosts that have them."""

from datetime import datetime

from ..sql.rows import Row
from .json import JsonObject


class Resource(Row, frozen=True):
    """A template, profile, network or network instance, as its type says.

    attrs: its own attrs and its fields, under the names that frontends use: tech, name, preference, label, subtype,
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
    """A disk image, with how many hosts have it ready, and how many have a row for it."""

    ready: int
    hosts: int


class ListedTemplate(Row, frozen=True):
    """A disk image without its torrent data; torrent_data_md5 is the MD5 of that text in hexadecimal digits."""

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
    """A disk image, whether a host has it ready, and since when (None if the host has no row for it)."""

    ready: bool | None
    changed_at: datetime | None


class TemplateReadiness(Row, frozen=True):
    """Readiness of a template: the hosts that have it ready, and those that have a row for it."""

    template_id: int
    ready: int
    hosts: int


class TemplateOnHost(Row, frozen=True):
    """The state of a template on a host: ready or not, and since when."""

    host_id: int
    template_id: int
    ready: bool
    changed_at: datetime


class Profile(Row, frozen=True):
    """Resource limits of a virtual machine: ram and diskspace in MB, cpus as a fraction; None means no limit is set."""

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
    """A kind of external network, such as “internet” or “internet/uni”."""

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

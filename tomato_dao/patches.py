"""Patches: the fields that each `update()` accepts, as TypedDicts. Absent keys stay unchanged; None sets a column to null."""

from collections.abc import Mapping
from datetime import datetime
from functools import cache
from types import UnionType
from typing import TypedDict, TypeGuard, get_args, get_origin

from .errors import InvalidValue
from .printable import quoted
from .rows import JsonIn


class OrganizationPatch(TypedDict, total=False):
    """Fields that `Organizations.update()` accepts."""

    name: str
    description: str
    homepage_url: str
    image_url: str
    description_text: str


class SitePatch(TypedDict, total=False):
    """Fields that `Sites.update()` accepts; longitude and latitude in degrees, None if unknown."""

    name: str
    organization_id: int
    description: str
    location: str
    longitude: float | None
    latitude: float | None
    description_text: str


class HostPatch(TypedDict, total=False):
    """Fields that `Hosts.update()` accepts; availability is a fraction (0 to 1)."""

    name: str
    address: str
    rpcurl: str
    site_id: int
    enabled: bool
    availability: float
    component_errors: int
    info: JsonIn
    info_at: datetime | None
    element_types: JsonIn
    connection_types: JsonIn
    networks: JsonIn
    resources_synced_at: datetime | None
    accounting_at: datetime | None
    dumps_fetched_at: datetime | None
    problem_since: datetime | None
    problem_mailed_at: datetime | None
    description_text: str


class UserPatch(TypedDict, total=False):
    """Fields that `Users.update()` accepts; `add_flag` and `remove_flag` change single flags."""

    name: str
    origin: str
    organization_id: int
    realname: str
    email: str
    flags: list[str]
    password_hash: str | None
    password_at: datetime | None
    last_login_at: datetime | None


class QuotaPatch(TypedDict, total=False):
    """Fields that `Quotas.update()` accepts, in bytes and CPU seconds."""

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


class SettingsPatch(TypedDict, total=False):
    """Fields that `db.settings.update()` accepts: durations in whole seconds, quotas in bytes and CPU seconds."""

    host_update_interval: int
    resource_sync_interval: int
    availability_half_life: int
    topology_timeout_initial: int
    topology_timeout_default: int
    topology_timeout_maximum: int
    topology_timeout_warning: int
    topology_timeout_options: list[int]
    quota_memory: float
    quota_diskspace: float
    quota_traffic: float
    quota_cputime: float
    quota_continuous_factor: float
    error_dump_interval: int


class TopologyPatch(TypedDict, total=False):
    """Fields that `Topologies.update()` accepts; timeout_step is 0, 9, 10 or 20 (docs/domain.md#timeouts)."""

    name: str
    site_id: int | None
    timeout_at: datetime
    timeout_step: int


class ElementPatch(TypedDict, total=False):
    """Fields that `Elements.update()` accepts. Type, topology, parent and connection of an element never change."""

    state: str
    host_element_id: int | None
    site_id: int | None
    template_id: int | None
    profile_id: int | None
    network_id: int | None
    network_instance_id: int | None
    rextfv_started_at: datetime | None
    next_sync_at: datetime | None


class _Typed(TypedDict):
    type: str


class NewElement(_Typed, total=False):
    """An element for `Elements.create_many()`; only its type is required."""

    state: str
    parent_id: int | None
    site_id: int | None
    template_id: int | None
    profile_id: int | None
    network_id: int | None
    network_instance_id: int | None
    attrs: Mapping[str, JsonIn]


class ConnectionPatch(TypedDict, total=False):
    """Fields that `Connections.update()` accepts. The ends of a connection never change."""

    type: str
    state: str
    host_connection1_id: int | None
    host_connection2_id: int | None
    host_element1_id: int | None
    host_element2_id: int | None


class HostComponentPatch(TypedDict, total=False):
    """Fields that `HostComponents.update()` accepts."""

    num: int
    element_id: int | None
    connection_id: int | None
    type: str
    state: str


class TemplatePatch(TypedDict, total=False):
    """Fields that `Templates.update()` accepts."""

    tech: str
    name: str
    preference: int
    label: str
    subtype: str
    restricted: bool
    kblang: str
    torrent_data: str


class ProfilePatch(TypedDict, total=False):
    """Fields that `Profiles.update()` accepts: ram and diskspace in MB, cpus as a fraction."""

    tech: str
    name: str
    preference: int
    label: str
    restricted: bool
    ram: float | None
    cpus: float | None
    diskspace: float | None


class NetworkPatch(TypedDict, total=False):
    """Fields that `Networks.update()` accepts."""

    kind: str
    preference: int
    label: str
    restricted: bool


class NetworkInstancePatch(TypedDict, total=False):
    """Fields that `NetworkInstances.update()` accepts; a network_id of None means no network."""

    network_id: int | None
    host_id: int
    bridge: str


class ErrorGroupPatch(TypedDict, total=False):
    """Fields that `ErrorGroups.update()` accepts."""

    description: str


class ErrorDumpPatch(TypedDict, total=False):
    """Fields that `ErrorDumps.update()` accepts. Group and time of a dump never change."""

    description: JsonIn
    origin: str
    software_version: JsonIn
    data: str | None
    data_available: bool


def checked(kind: type, entity: str, patch: Mapping[str, object]) -> dict[str, JsonIn]:
    """Return the patch if its keys and the types of its values are valid. Raises InvalidValue.

    Types are checked here because the server would silently turn 5 into '5' for a text column.
    """
    if not isinstance(patch, Mapping):
        raise InvalidValue(f"{entity}: a patch must be a dict, not {type(patch).__name__}", entity=entity)
    types = _types(kind)
    made: dict[str, JsonIn] = {}
    for key, value in patch.items():
        if key not in types:
            raise InvalidValue(f"{entity}: a patch cannot have {quoted(key)}, only {', '.join(types)}", entity=entity, key=key)
        accepted = types[key]
        if not _is_of(value, accepted):
            names = " or ".join(t.__name__ for t in accepted)
            given = "None" if value is None else type(value).__name__
            raise InvalidValue(f"{entity}: {key} is {names}, not {given}", entity=entity, key=key)
        if isinstance(value, datetime) and value.tzinfo is None:
            raise InvalidValue(f"{entity}: {key} must be a datetime with a time zone", entity=entity, key=key)
        if isinstance(value, list) and accepted:
            (item,) = get_args(kind.__annotations__[key])
            if not all(_is_of(part, (item,)) for part in value):
                raise InvalidValue(f"{entity}: {key} must be a list of {item.__name__}", entity=entity, key=key)
        made[key] = value
    return made


def _is_of(value: object, accepted: tuple[type, ...]) -> TypeGuard[JsonIn]:
    """Return whether a value is an instance of one of the classes. An empty tuple accepts any value: the server checks JSON."""
    return not accepted or (isinstance(value, accepted) and (not isinstance(value, bool) or bool in accepted))


@cache
def _types(kind: type) -> dict[str, tuple[type, ...]]:
    """Return the classes that each key accepts; an empty tuple for any JSON."""
    return {key: () if hint is JsonIn else _classes(hint) for key, hint in kind.__annotations__.items()}


def _classes(hint: type | UnionType) -> tuple[type, ...]:
    if isinstance(hint, UnionType):
        return tuple(c for part in get_args(hint) for c in _classes(part))
    return (int, float) if hint is float else (get_origin(hint) or hint,)

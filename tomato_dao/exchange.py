"""The frontend's format of a topology, version 3: the check of imports, and the keys that exports omit."""

import json
import math
from dataclasses import dataclass

from .errors import InvalidValue
from .printable import printable, quoted
from .rows import ExportedTopology, Json, JsonIn, JsonObject

VERSION = 3
# Keys that an export omits at any depth (docs/domain.md#import-and-export), …
LEFT_OUT = frozenset(
    [
        "usage",
        "debug",
        "bridge",
        "capture_port",
        "capture_pid",
        "websocket_pid",
        "websocket_port",
        "vmid",
        "vncpid",
        "vncport",
        "vncpassword",
        "host",
        "host_info",
        "host_fileserver_port",
        "peers",
        "pubkey",
        "path",
        "port",
        "topology",
        "state",
        "custom_template",
        "timeout",
        "ipspy_pid",
        "last_sync",
        "info_sync_date",
        "rextfv_supported",
        "rextfv_status",
        "rextfv_max_size",
        "diskspace",
        "ram",
        "cpus",
        "restricted",
    ]
)
# … of elements, and of the topology's attrs.
LEFT_OUT_OF_ELEMENTS = frozenset({"children", "connection"})
LEFT_OUT_OF_TOPOLOGY = frozenset({"_initialized"})
# Types without a parent, and the parents of the others (docs/domain.md#topologies).
_ALONE = frozenset({"kvmqm", "openvz", "repy", "tinc_vpn", "external_network"})
_PARENTS = {
    "kvmqm_interface": "kvmqm",
    "openvz_interface": "openvz",
    "repy_interface": "repy",
    "tinc_endpoint": "tinc_vpn",
    "external_network_endpoint": "external_network",
    "udp_endpoint": None,
}
# The attributes that frontends expect of an element, and their defaults.
_EXPECTED: dict[str, JsonObject] = {
    "kvmqm": {"site": None},
    "openvz": {"site": None},
    "repy": {"site": None},
    "tinc_vpn": {"mode": "switch"},
    "tinc_endpoint": {"mode": "switch"},
    "external_network": {"samenet": False},
    "udp_endpoint": {"connect": ""},
}


@dataclass(frozen=True, slots=True)
class ParsedTopology:
    """An export that has been checked: elements as (id, type, parent, attrs), connections as (id, type, ends, attrs)."""

    name: str
    site: str | None
    attrs: JsonObject
    elements: list[JsonIn]
    connections: list[JsonIn]
    reported: list[str]


def parse(export: Json | bytes) -> ParsedTopology:
    """Check an export, given as JSON text or parsed. Raises InvalidValue, with the place of the fault."""
    document = _decode(export) if isinstance(export, str | bytes) else export
    root = _object(document, "the export")
    version = _object(root.get("file_information"), "file_information").get("version")
    if version != VERSION or isinstance(version, bool):
        raise _wrong("file_information.version", f"is {quoted(version)}; only version {VERSION} can be imported")
    topology = _object(root.get("topology"), "topology")
    attrs = dict(_object(topology.get("attrs", {}), "topology.attrs"))
    name = attrs.pop("name", "")
    if not isinstance(name, str):
        raise _wrong("topology.attrs.name", f"must be a string, not {quoted(name)}")
    site = attrs.get("site")
    reported: list[str] = []
    if isinstance(site, str):
        del attrs["site"]
    elif site is not None:
        reported.append(f"topology: unknown site {printable(json.dumps(site))}")
    elements = _elements(topology, reported)
    connections = _connections(topology, {e["id"]: str(e["type"]) for e in elements}, reported)
    return ParsedTopology(name, site if isinstance(site, str) else None, attrs, list(elements), list(connections), reported)


def build(topology: ExportedTopology) -> JsonObject:
    """Return the export of a topology, without the omitted keys.

    Raises InvalidValue if it is nested too deeply.
    """
    try:
        return _built(topology)
    except RecursionError as error:
        raise _wrong(f"topology {topology.name}", "has attributes that are nested too deeply to be exported") from error


def _built(topology: ExportedTopology) -> JsonObject:
    attrs: JsonObject = {k: v for k, v in topology.attrs.items() if k not in LEFT_OUT_OF_TOPOLOGY}
    if topology.site_name is not None or "site" not in attrs:
        attrs["site"] = topology.site_name
    elements: list[Json] = [_without(_complete(e), LEFT_OUT | LEFT_OUT_OF_ELEMENTS) for e in topology.elements]
    connections: list[Json] = [_without(c, LEFT_OUT) for c in topology.connections]
    return {
        "file_information": {"version": VERSION},
        "topology": {
            "attrs": {**_object(_without(attrs, LEFT_OUT), "attrs"), "name": topology.name},
            "elements": elements,
            "connections": connections,
        },
    }


def _complete(element: JsonObject) -> Json:
    expected = _EXPECTED.get(str(element["type"]), {})
    return element | {"attrs": expected | _object(element["attrs"], "attrs")}


def _elements(topology: JsonObject, reported: list[str]) -> list[dict[str, Json]]:
    items = _items(topology, "elements", reported, {"id", "type", "parent", "attrs"})
    _unique_ids(items)
    types = {item["id"]: str(item["type"]) for _, item in items}
    for place, item in items:
        type_, parent = str(item["type"]), item.setdefault("parent", None)
        if type_ not in _ALONE and type_ not in _PARENTS:
            raise _wrong(f"{place}.type", f"is {quoted(type_)}, which is no type of element")
        if parent is None:
            if type_.endswith("_interface"):
                raise _wrong(f"{place}.parent", f"is missing: a {type_} is part of a {_PARENTS[type_]}")
        elif not _is_id(parent) or parent not in types:
            raise _wrong(f"{place}.parent", f"is {quoted(parent)}, which is no element of this export")
        elif types[parent] != _PARENTS.get(type_):
            raise _wrong(f"{place}.parent", f"is a {types[parent]}, which can't have a {type_}")
    return [item for _, item in items]


def _connections(topology: JsonObject, types: dict[Json, str], reported: list[str]) -> list[dict[str, Json]]:
    items = _items(topology, "connections", reported, {"id", "type", "elements", "attrs"})
    _unique_ids(items)
    connected: dict[Json, str] = {}
    for place, item in items:
        ends = item.pop("elements", None)
        if not isinstance(ends, list) or len(ends) != 2:
            raise _wrong(f"{place}.elements", f"must be the ids of two elements, not {quoted(ends)}")
        for end in ends:
            if not _is_id(end) or end not in types:
                raise _wrong(f"{place}.elements", f"has {quoted(end)}, which is no element of this export")
            if types[end] in _ALONE:
                raise _wrong(f"{place}.elements", f"has {end}, a {types[end]}: only interfaces and endpoints can be connected")
            if end in connected:
                raise _wrong(f"{place}.elements", f"has {end}, which {connected[end]} connects already")
            connected[end] = place
        item["ends"] = ends
    return [item for _, item in items]


def _items(topology: JsonObject, key: str, reported: list[str], known: set[str]) -> list[tuple[str, JsonObject]]:
    """Return the objects of a list with their places. Unknown keys are reported."""
    found = topology.get(key, [])
    if not isinstance(found, list):
        raise _wrong(f"topology.{key}", f"must be a list, not {_kind(found)}")
    items = []
    for n, value in enumerate(found):
        place = f"topology.{key}[{n}]"
        item = dict(_object(value, place))
        if not _is_id(item.get("id")):
            raise _wrong(f"{place}.id", f"must be a whole number below 2**63, not {quoted(item.get('id'))}")
        if not isinstance(item.get("type"), str):
            raise _wrong(f"{place}.type", f"must be a string, not {quoted(item.get('type'))}")
        item["attrs"] = _object(item.get("attrs", {}), f"{place}.attrs")
        ignored = sorted(item.keys() - known - LEFT_OUT - LEFT_OUT_OF_ELEMENTS)
        reported += [f"{key[:-1]} {item['id']}: ignored {printable(name)}" for name in ignored]
        items.append((place, {k: item[k] for k in item if k in known}))
    return items


def _unique_ids(items: list[tuple[str, JsonObject]]) -> None:
    places: dict[Json, str] = {}
    for place, item in items:
        if item["id"] in places:
            raise _wrong(f"{place}.id", f"is {item['id']}, as is {places[item['id']]}.id")
        places[item["id"]] = place


def _is_id(value: Json) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and -(2**63) <= value < 2**63


def _without(value: Json, keys: frozenset[str]) -> Json:
    if isinstance(value, dict):
        return {k: _without(v, keys) for k, v in value.items() if k not in keys}
    if isinstance(value, list):
        return [_without(v, keys) for v in value]
    return value


def _decode(text: str | bytes) -> Json:
    try:
        decoded: Json = json.loads(text, parse_constant=_refuse_constant, parse_float=_finite)
    except json.JSONDecodeError as error:
        raise _wrong("the export", f"is not valid JSON: {printable(error)}") from error
    except (UnicodeDecodeError, RecursionError, ValueError) as error:
        raise _wrong("the export", f"can't be read as JSON: {error}") from error
    return decoded


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is not JSON")


def _finite(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        raise ValueError(f"{text} is out of range")
    return number


def _object(value: object, place: str) -> JsonObject:
    if not isinstance(value, dict):
        raise _wrong(place, f"must be an object, not {_kind(value)}")
    return value


def _kind(value: object) -> str:
    return "missing" if value is None else type(value).__name__


def _wrong(place: str, what: str) -> InvalidValue:
    return InvalidValue(f"{place} {what}", entity="topology", key=place)

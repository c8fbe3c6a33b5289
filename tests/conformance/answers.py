"""Answers of the old backend, and the DAOs' answers to the same questions, in the shape of the old ones.

Each function yields (id, answer). Times are seconds since 1970 there. Where an old answer holds what no database keeps (whether
a template's file is there), it is left out of both.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from tomato_dao import Ambiguous, Database, NotFound
from tomato_dao.rows import Connection, FullConnection, FullElement, FullTopology, HostComponent, RunningHost, User

Answers = Iterator[tuple[str, Any]]
USES = ("cputime", "diskspace", "memory", "traffic")
# The values that the old backend showed where an element had none.
DEFAULTS: dict[str, dict[str, Any]] = {
    "tinc_vpn": {"mode": "switch"}, "tinc_endpoint": {"mode": "switch", "peers": []}, "external_network": {"samenet": False},
    "udp_endpoint": {"connect": ""},
}  # fmt: skip
MACHINES = ("kvmqm", "openvz", "repy")
PROBLEMS = {  # ours → the old words; what a host itself reports is the same in both
    "not enabled": "Manually disabled",
    "unreachable": "Host unreachable",
    "resources: not synced for 1500 s": "Host is not synchronized",
    "no info": "Node info is missing",
    "clock: off by more than 300 s": "Node clock is out of sync",
}


@dataclass
class Loaded:
    """The database that the dump was loaded into, and rows that many answers need."""

    db: Database
    started_at: datetime | None = None  # when the old backend had started

    def __post_init__(self) -> None:
        self.users = {user.id: user for user in self.db.users.list(limit=1000)}
        self.sites = {site.id: site for site in self.db.sites.list(limit=1000)}
        self.organizations = {one.id: one for one in self.db.organizations.list(limit=1000)}
        self.hosts = {host.id: host for host in self.db.hosts.list(started_at=self.started_at, limit=1000)}
        whole = self.db.topologies.list_full(started_at=self.started_at, limit=1000)
        self.topologies = {one.id: one for one in reversed(whole)}

    def components(self, kind: str, part: int, dao: Any) -> list[list[Any]]:
        """Return what hosts run for a part: names of hosts and their numbers."""
        found: Sequence[HostComponent] = getattr(dao, f"list_of_{kind}")(part)
        return sorted([self.hosts[c.host_id].name, c.num] for c in found)


def seconds(moment: datetime | None) -> float | None:
    return None if moment is None else moment.timestamp()


def user_id(user: User) -> str:
    return f"{user.name}@{user.origin}"


def usage(here: Loaded, usage_id: int | None) -> dict[str, list[dict[str, Any]]]:
    """All records of an object."""
    assert usage_id is not None
    history = here.db.usage.history(usage_id)
    told = {"5minutes": history.five_minutes, "hour": history.hour, "day": history.day, "month": history.month}
    return {kind: [record_of(record) for record in records] for kind, records in (told | {"year": history.year}).items()}


def record_of(record: Any) -> dict[str, Any]:
    return {
        "begin": seconds(record.begin_at), "end": seconds(record.end_at), "measurements": record.measurements,
        "type": record.type, "usage": {use: getattr(record, use) for use in USES},
    }  # fmt: skip


def roles(here: Loaded) -> Answers:
    for id in here.topologies:
        found = {role.user_id: role.role for role in here.db.topology_permissions.matrix(id)}
        yield str(id), {str(user): found.get(user) or "null" for user in here.users}


def component_roles(here: Loaded) -> Answers:
    for topology in here.topologies.values():
        for connection in topology.connections:
            found = {user: here.db.topology_permissions.role(topology.id, user) for user in here.users}
            yield str(connection.id), {str(user): role or "null" for user, role in found.items()}


def lists(here: Loaded) -> Answers:
    for id in here.users:
        yield str(id), [topology.id for topology in here.db.topologies.list_of_user(id, limit=1000)]


def host_info(host: RunningHost | None) -> dict[str, Any]:
    if host is None:
        return dict.fromkeys(("address", "fileserver_port", "problems", "site"))
    return {
        "address": host.address, "fileserver_port": host.fileserver_port, "problems": host.problems, "site": host.site_name,
    }  # fmt: skip


def element_info(here: Loaded, topology: FullTopology, e: FullElement) -> dict[str, Any]:
    db = here.db
    attrs: dict[str, Any] = dict(e.attrs)
    if e.host_element_attrs is not None:
        said_there: Any = e.host_element_attrs["attrs"]
        attrs |= said_there
    attrs |= {name: attrs.get(name, default) for name, default in DEFAULTS.get(e.type, {}).items()}
    info = {
        "id": e.id, "type": e.type, "topology": e.topology_id, "parent": e.parent_id, "state": e.state,
        "connection": e.connection_id, "attrs": attrs,
        "children": sorted(c.id for c in topology.elements if c.parent_id == e.id),
        "debug": {
            "host_elements": here.components("element", e.id, db.host_elements),
            "host_connections": here.components("element", e.id, db.host_connections),
        },
    }  # fmt: skip
    if e.type in MACHINES:
        attrs |= {
            "template": e.run_template_name, "profile": e.run_profile_name, "host": e.host and e.host.name,
            "host_info": host_info(e.host), "site": None if e.site_id is None else here.sites[e.site_id].name,
        }  # fmt: skip
        info["info_sync_date"] = e.attrs.get("last_sync", 0)
    if e.type == "external_network":
        attrs["restricted"] = db.networks.get_by_kind(attrs.get("kind", "internet")).restricted
    return info


def connection_info(here: Loaded, topology: FullTopology, c: FullConnection) -> dict[str, Any]:
    attrs: dict[str, Any] = dict(c.attrs)
    main = next((served for served in c.host_connections if served.id == c.host_connection1_id), None)
    if main is not None and (turned := is_turned(here, topology, c)) is not None:
        said_there: Any = main.attrs["attrs"]
        attrs |= {turned_name(name) if turned else name: value for name, value in said_there.items()}
    attrs |= {"host": c.host and c.host.name, "host_info": host_info(c.host)}
    return {
        "id": c.id, "type": c.type, "state": c.state, "attrs": attrs, "elements": [c.from_element_id, c.to_element_id],
        "debug": {
            "host_elements": sorted([s.host_name, s.num] for s in c.host_elements),
            "host_connections": sorted([s.host_name, s.num] for s in c.host_connections),
        },
    }  # fmt: skip


def is_turned(here: Loaded, topology: FullTopology, c: Connection) -> bool | None:
    """Return whether the host's connection runs from the other end; None where that can't be known."""
    ends = {e.id: e.host_element_id for e in topology.elements if e.id in (c.from_element_id, c.to_element_id)}
    first, last = ends[c.from_element_id], c.host_element1_id or ends[c.to_element_id]
    if first is None or last is None:
        return None
    return here.db.host_elements.get(first).num >= here.db.host_elements.get(last).num


def turned_name(name: str) -> str:
    if name.endswith("_from"):
        return name.removesuffix("_from") + "_to"
    return name.removesuffix("_to") + "_from" if name.endswith("_to") else name


def infos(here: Loaded, unmoved: Loaded) -> Answers:
    """unmoved: what was loaded, at its own time."""
    for id, t in here.topologies.items():
        yield str(id), {
            "id": id, "attrs": t.attrs | {"name": t.name, "site": t.site_name},
            "permissions": {f"{p.name}@{p.origin}": p.role for p in t.permissions},
            "usage": record_of(t.usage) if t.usage else None, "state_max": t.state,
            "timeout": seconds(unmoved.topologies[id].timeout_at),
            "elements": by_id(element_info(here, t, e) for e in t.elements),
            "connections": by_id(connection_info(here, t, c) for c in t.connections),
        }  # fmt: skip


def by_id(items: Any) -> dict[str, Any]:
    """Return a list of things with ids, whose order says nothing."""
    found = {}
    for item in items:
        for name in ("children",):
            if name in item:
                item = item | {name: sorted(item[name])}
        if "debug" in item:
            item = item | {"debug": {kind: sorted(map(list, told)) for kind, told in item["debug"].items()}}
        found[str(item["id"])] = item
    return found


def exports(here: Loaded) -> Answers:
    for id in here.topologies:
        topology: Any = here.db.topologies.export(id)["topology"]
        yield str(id), topology | {name: by_id(topology[name]) for name in ("elements", "connections")}


def hosts(here: Loaded) -> Answers:
    kinds = {network.id: network.kind for network in here.db.networks.list(limit=1000)}
    for host in here.hosts.values():
        offered: set[str] = set()
        for instance in here.db.network_instances.list_of_host(host.id):
            kind = kinds[instance.network_id or 0]
            offered |= {kind, kind.partition("/")[0]}
        yield host.name, {
            "availability": host.availability, "errors": host.component_errors, "id": host.id, "kinds": sorted(offered),
            "load": host.load, "problems": [PROBLEMS.get(problem, problem) for problem in host.problems],
        }  # fmt: skip


def selected(here: Loaded, query: dict[str, Any]) -> dict[str, Any]:
    """Return the answer to one query of select_stale."""
    ids = {host.name: host.id for host in here.hosts.values()}
    sites = {site.name: site.id for site in here.sites.values()}
    wanted: dict[str, Any] = {
        "element_types": query.get("elementTypes", ()), "connection_types": query.get("connectionTypes", ()),
        "network_kinds": query.get("networkKinds", ()),
        "host_bonuses": {ids[name]: bonus for name, bonus in query.get("hostPrefs", {}).items()},
    }  # fmt: skip
    if "site" in query:
        found = here.db.hosts.candidates_of_site(sites[query["site"]], **wanted)
    else:
        bonuses = {sites[name]: bonus for name, bonus in query.get("sitePrefs", {}).items()}
        found = here.db.hosts.candidates(site_bonuses=bonuses, **wanted)
    return {"best": found[0].name if found else None, "prefs": {host.name: host.score for host in found}}


def users(here: Loaded) -> Answers:
    for id, user in here.users.items():
        q = here.db.quotas.get(id)
        monthly, used = ({use: getattr(q, f"{kind}_{use}") for use in USES} for kind in ("monthly", "used"))
        info = {
            "name": user.name, "origin": user.origin, "id": user_id(user), "realname": user.realname, "email": user.email,
            "organization": here.organizations[user.organization_id].name, "flags": list(user.flags),
            "quota": {
                "monthly": monthly, "used": used, "used_time": seconds(q.used_at), "continous_factor": q.continuous_factor,
            },
        }  # fmt: skip
        yield str(id), {
            "info": said(info | dict(user.attrs)), "flags": list(user.flags), "str": user_id(user),
            "factor": max(used[use] / monthly[use] for use in USES), "usage": usage(here, user.usage_id),
        }  # fmt: skip


def orgas(here: Loaded) -> Answers:
    for one in here.organizations.values():
        names = ("name", "description", "description_text", "homepage_url", "image_url")
        yield one.name, {"info": {name: getattr(one, name) for name in names}, "usage": usage(here, one.usage_id)}


def sites(here: Loaded) -> Answers:
    for site in here.sites.values():
        place = {"longitude": site.longitude, "latitude": site.latitude}
        more: Any = site.attrs.get("geolocation", {})
        yield site.name, {
            "name": site.name, "description": site.description, "description_text": site.description_text,
            "location": site.location, "organization": here.organizations[site.organization_id].name,
            "geolocation": {name: degrees for name, degrees in place.items() if degrees is not None} | more,
        }  # fmt: skip


def host_usage(here: Loaded) -> Answers:
    for host in here.hosts.values():
        yield host.name, usage(here, host.usage_id)


def topology_usage(here: Loaded) -> Answers:
    for id, topology in here.topologies.items():
        yield str(id), usage(here, topology.usage_id)


def said(attrs: dict[str, Any]) -> dict[str, Any]:
    """Return the attrs of a resource or user, where one that says the default says nothing."""
    defaults = {"label": "", "subtype": "", "restricted": False, "kblang": "en-us", "realname": "", "email": ""}
    return {name: value for name, value in attrs.items() if value is not None and value != defaults.get(name)}


def resources(here: Loaded) -> Answers:
    db = here.db
    ready = {one.template_id: {"ready": one.ready, "total": one.hosts} for one in db.templates.list_readiness(limit=1000)}
    networks = {network.id: network.kind for network in db.networks.list(limit=1000)}
    for t in db.templates.list(limit=1000):
        names = ("tech", "name", "preference", "label", "subtype", "restricted", "kblang")
        attrs = dict(t.attrs) | {name: getattr(t, name) for name in names} | {"ready": {"hosts": ready[t.id]}}
        attrs["torrent_data_hash"] = t.torrent_data_md5
        yield str(t.id), {"id": t.id, "type": "template", "attrs": said(attrs)}
    for p in db.profiles.list(limit=1000):
        limits = ("tech", "name", "preference", "label", "restricted", "ram", "cpus", "diskspace")
        yield str(p.id), {"id": p.id, "type": "profile", "attrs": said(dict(p.attrs) | {n: getattr(p, n) for n in limits})}
    for n in db.networks.list(limit=1000):
        own = {name: getattr(n, name) for name in ("kind", "preference", "label", "restricted")}
        yield str(n.id), {"id": n.id, "type": "network", "attrs": said(dict(n.attrs) | own)}
    for i in db.network_instances.list(limit=1000):
        kind = networks[i.network_id or 0]
        own = {"bridge": i.bridge, "host": here.hosts[i.host_id].name, "kind": kind, "network": kind}
        yield str(i.id), {"id": i.id, "type": "network_instance", "attrs": said(dict(i.attrs) | own)}


def preferred(here: Loaded) -> Answers:
    for tech in MACHINES:
        yield tech, {"profile": here.db.profiles.preferred(tech).id, "template": here.db.templates.preferred(tech).id}


def network_instance(here: Loaded, question: str) -> Any:
    """Return the answer to one question, a host's name and a kind."""
    name, kind = question.split(" ")
    try:
        return here.db.network_instances.of_kind(here.db.hosts.get_by_name(name).id, kind).id
    except NotFound:
        return "UserError"


def get_user(here: Loaded, question: str) -> Any:
    """Return the answer to one question, a name with or without origin."""
    name, with_origin, origin = question.partition("@")
    try:
        return here.db.users.get_by_name(name, origin if with_origin else None).id
    except Ambiguous:
        return "ambiguous"
    except NotFound:
        return None


def errordumps(here: Loaded) -> Answers:
    for group in here.db.error_groups.list(limit=1000):
        for dump in here.db.error_dumps.list_of_group(group.group_id):
            yield f"{dump.source} {dump.dump_id}", {
                "source": dump.source, "dump_id": dump.dump_id, "group_id": dump.group_id, "timestamp": seconds(dump.at),
                "group_description": group.description, "description": dump.description, "type": dump.origin,
                "software_version": dump.software_version, "data_available": dump.data_available,
            }  # fmt: skip


def statistics(db: Database) -> dict[str, Any]:
    c = db.statistics.counts()
    return {
        "usage": {
            "connections": c.connections, "elements": c.elements, "element_types": c.elements_by_type,
            "topologies": c.topologies, "topologies_active": c.topologies_active, "users": c.users,
            "users_active_30days": c.users_active,
        },
        "resources": {
            "hosts": c.hosts, "cpus": c.host_cpus, "memory": str(int(c.host_memory)), "diskspace": str(int(c.host_diskspace)),
            "load": c.host_load, "availability": c.host_availability,
        },
    }  # fmt: skip


def timeouts(db: Database) -> dict[str, list[int]]:
    """Return the ids of topologies that are due, by what is to be done."""
    due: dict[str, list[int]] = {"warn": [], "stop": [], "destroy": []}
    for claim in db.topologies.claim_timeouts(limit=1000, lease=timedelta(minutes=1)):
        due[claim.action].append(claim.id)
    return {step: sorted(ids) for step, ids in due.items()}

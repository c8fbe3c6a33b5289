"""Templates, profiles, networks and their instances: names, preferences, kinds, and which host has what."""

import hashlib
from dataclasses import dataclass
from functools import partial
from typing import Any

import psycopg
import pytest

from tests.conftest import World
from tests.helpers.dao_cases import (
    NOBODY,
    assert_threads_keep_each_others_attrs,
    assert_wrong_types_are_refused,
    at_once,
    refused,
)
from tomato_dao import AlreadyExists, Database, InvalidValue, NotFound
from tomato_dao.database import QUERIES
from tomato_dao.rows import Host, ListedTemplate, Network, NetworkInstance, Profile, Template, asdict, replace


@dataclass(frozen=True)
class Resource:
    """A template, a profile, a network or a network instance, with what is common to their DAOs."""

    dao: Any
    entity: str
    row: Any
    patch: dict[str, Any]


@pytest.fixture
def resources(db: Database, world: World) -> list[Resource]:
    """One of each, and a patch that names all that can be changed."""
    network = db.networks.create("internet")
    common = {"name": "new", "preference": 5, "label": "Ü", "restricted": True}
    return [
        Resource(
            db.templates,
            "template",
            db.templates.create("kvmqm", "debian"),
            common | {"tech": "openvz", "subtype": "linux", "kblang": "de", "torrent_data": "ZA=="},
        ),
        Resource(
            db.profiles,
            "profile",
            db.profiles.create("kvmqm", "small"),
            common | {"tech": "repy", "ram": 512.0, "cpus": 0.25, "diskspace": 10240.0},
        ),
        Resource(
            db.networks,
            "network",
            network,
            {"kind": "openflow", "preference": -1, "label": "Ü", "restricted": True},
        ),
        Resource(
            db.network_instances,
            "network instance",
            db.network_instances.create(network.id, world.host.id, "br0"),
            {"network_id": db.networks.create("other").id, "host_id": add_host(db, world, "host3").id, "bridge": "br1"},
        ),
    ]


def another(db: Database, world: World, entity: str, name: str) -> Any:
    if entity in ("template", "profile"):
        return getattr(db, f"{entity}s").create("kvmqm", name)
    if entity == "network":
        return db.networks.create(name)
    return db.network_instances.create(db.networks.get_by_kind("internet").id, world.host.id, name)


def add_host(db: Database, world: World, name: str) -> Host:
    return db.hosts.create(name, address=name, rpcurl=name, site_id=world.site.id)


def listed(row: Any) -> Any:
    """Return the row as a list has it: a template without its torrent data, but with what a host says to have of it."""
    if not isinstance(row, Template):
        return row
    fields = asdict(row)
    digest = hashlib.md5(fields.pop("torrent_data").encode()).hexdigest()  # noqa: S324 (as the hosts do)
    return ListedTemplate(**fields, torrent_data_md5=digest)


def test_a_resource_keeps_what_it_is_given(db: Database, world: World) -> None:
    template = db.templates.create(
        "openvz",
        "debian-12",
        preference=-3,
        label="Debian ü",
        subtype="linux",
        restricted=True,
        kblang="de",
        torrent_data="ZDg6",
        attrs={"_icon": "x"},
    )
    assert template == Template(
        template.id, "openvz", "debian-12", -3, "Debian ü", "linux", True, "de", "ZDg6", {"_icon": "x"}
    )  # fmt: skip
    assert db.templates.get(template.id) == template == db.templates.get_by_name("openvz", "debian-12")
    profile = db.profiles.create(
        "repy", "big", preference=2, label="Big", restricted=True, ram=50, cpus=0.25, diskspace=1e4, attrs={"a": [None]}
    )
    assert profile == Profile(profile.id, "repy", "big", 2, "Big", True, 50.0, 0.25, 1e4, {"a": [None]})
    assert type(profile.ram) is float
    assert db.profiles.get(profile.id) == profile == db.profiles.get_by_name("repy", "big")
    network = db.networks.create("internet/uni", preference=7, label="Uni", restricted=True, attrs={"a": 1})
    assert network == Network(network.id, "internet/uni", 7, "Uni", True, {"a": 1})
    assert db.networks.get(network.id) == network == db.networks.get_by_kind("internet/uni")
    instance = db.network_instances.create(network.id, world.host.id, "vmbr0", attrs={"b": 2})
    assert instance == NetworkInstance(instance.id, network.id, world.host.id, "vmbr0", {"b": 2})
    assert db.network_instances.get(instance.id) == instance


def test_omitted_values_have_defaults(resources: list[Resource]) -> None:
    template, profile, network, instance = (resource.row for resource in resources)
    assert template == Template(template.id, "kvmqm", "debian", 0, "", "", False, "en-us", "", {})
    assert profile == Profile(profile.id, "kvmqm", "small", 0, "", False, None, None, None, {})
    assert network == Network(network.id, "internet", 0, "", False, {})
    assert instance.attrs == {}


def test_an_unknown_resource_is_not_found(db: Database, world: World, resources: list[Resource]) -> None:
    for r in resources:
        for call in (r.dao.get, r.dao.delete, lambda id, r=r: r.dao.update(id, {}), lambda id, r=r: r.dao.set_attrs(id, {})):
            with refused(NotFound, r.entity, NOBODY, f"^{r.entity} {NOBODY} does not exist$"):
                call(NOBODY)
    with refused(NotFound, "template", ("openvz", "debian")):
        db.templates.get_by_name("openvz", "debian")
    with refused(NotFound, "profile", ("openvz", "small")):
        db.profiles.get_by_name("openvz", "small")
    with refused(NotFound, "network", "inter"):
        db.networks.get_by_kind("inter")


def test_a_name_is_taken_once_per_tech(db: Database) -> None:
    for entity in ("template", "profile"):
        dao = getattr(db, f"{entity}s")
        dao.create("kvmqm", "x")
        moved = dao.create("kvmqm", "y")
        dao.create("openvz", "x")
        with refused(AlreadyExists, entity, ("kvmqm", "x"), f"^{entity} with tech 'kvmqm', name 'x' already exists$"):
            dao.create("kvmqm", "x")
        with pytest.raises(AlreadyExists, match="name 'x'"):
            dao.update(moved.id, {"name": "x"})
        with refused(InvalidValue, entity, "x", f"^{entity}: a tech is kvmqm, openvz or repy: tech is 'xen'$"):
            dao.create("xen", "x")
        with refused(InvalidValue, entity, moved.id, f"^{entity}: a tech is kvmqm, openvz or repy: tech is 'xen'$"):
            dao.update(moved.id, {"tech": "xen"})
        with pytest.raises(AlreadyExists, match=f"^{entity} with tech 'openvz', the same name already exists$"):
            dao.update(dao.get_by_name("kvmqm", "x").id, {"tech": "openvz"})
        assert dao.update(moved.id, {"tech": "openvz"}) == dao.get_by_name("openvz", "y")


def test_a_kind_is_taken_once_and_a_bridge_once_per_host(db: Database, world: World, resources: list[Resource]) -> None:
    network, instance = resources[2].row, resources[3].row
    with refused(AlreadyExists, "network", "internet", "^network with kind 'internet' already exists$"):
        db.networks.create("internet")
    with refused(AlreadyExists, "network", "internet"):
        db.networks.update(db.networks.get_by_kind("other").id, {"kind": "internet"})
    with refused(AlreadyExists, "network instance", (world.host.id, "br0")):
        db.network_instances.create(network.id, world.host.id, "br0")
    host = add_host(db, world, "host2")
    there = db.network_instances.create(network.id, host.id, "br0")
    assert there.id != instance.id
    with pytest.raises(AlreadyExists, match=r"^network instance with host_id .*bridge already exists$"):
        db.network_instances.update(there.id, {"host_id": world.host.id})


def test_a_network_instance_needs_a_host_and_a_network(db: Database, world: World, resources: list[Resource]) -> None:
    network, instance = resources[2].row, resources[3].row
    with refused(NotFound, "host", NOBODY, f"^host {NOBODY} does not exist$"):
        db.network_instances.create(network.id, NOBODY, "br1")
    with refused(NotFound, "network", NOBODY):
        db.network_instances.create(NOBODY, world.host.id, "br1")
    with refused(NotFound, "network", NOBODY):
        db.network_instances.update(instance.id, {"network_id": NOBODY})
    with refused(NotFound, "host", NOBODY):
        db.network_instances.update(instance.id, {"host_id": NOBODY})
    assert db.network_instances.update(instance.id, {"network_id": None}) == replace(instance, network_id=None)


def test_resources_are_listed_in_pages_by_id(db: Database, world: World, resources: list[Resource]) -> None:
    for r in resources:
        rows = [*r.dao.list(), *(listed(another(db, world, r.entity, name)) for name in "cab")]
        assert listed(r.row) in rows
        assert r.dao.list() == rows
        assert r.dao.list(limit=2) == rows[:2]
        assert r.dao.list(after=rows[1].id, limit=2) == rows[2:4]
        assert r.dao.list(after=rows[-1].id) == []


def test_a_listed_template_has_the_md5_of_its_current_data(db: Database) -> None:
    template = db.templates.create("kvmqm", "debian", torrent_data="ZDg6")
    assert db.templates.list() == [listed(template)]
    updated = db.templates.update(template.id, {"torrent_data": "ü"})
    assert db.templates.list_of_tech("kvmqm") == [listed(updated)]
    assert db.templates.list()[0].torrent_data_md5 == "c03410a5204b21cd8229ff754688d743"


def test_resources_are_listed_by_what_they_are_of(db: Database, world: World, resources: list[Resource]) -> None:
    for r in resources[:2]:
        rows = [listed(r.dao.create("repy", name)) for name in "cab"]
        assert r.dao.list_of_tech("repy") == rows
        assert r.dao.list_of_tech("repy", after=rows[0].id, limit=1) == rows[1:2]
        assert r.dao.list_of_tech("openvz") == []
    network, instance = resources[2].row, resources[3].row
    host, other = add_host(db, world, "host2"), db.networks.get_by_kind("other")
    here = [instance, *(db.network_instances.create(other.id, world.host.id, bridge) for bridge in "ba")]
    there = db.network_instances.create(network.id, host.id, "br0")
    assert db.network_instances.list_of_host(world.host.id) == here
    assert db.network_instances.list_of_host(world.host.id, after=instance.id, limit=1) == here[1:2]
    assert db.network_instances.list_of_network(network.id) == [instance, there]
    assert db.network_instances.list_of_network(network.id, after=instance.id) == [there]
    assert db.network_instances.list_of_network(network.id, limit=1) == [instance]


def test_a_patch_changes_what_it_names_and_nothing_else(resources: list[Resource]) -> None:
    for r in resources:
        row = r.row
        for key, value in r.patch.items():
            row = replace(row, **{key: value})
            assert r.dao.update(row.id, {key: value}) == row
        assert r.dao.update(row.id, {}) == row == r.dao.get(row.id)
        assert r.dao.update(row.id, {key: getattr(r.row, key) for key in r.patch}) == r.row


def test_invalid_keys_and_values_of_a_patch_are_refused(db: Database, resources: list[Resource]) -> None:
    for r in resources:
        for key in ("id", "attrs", "colour"):
            with refused(InvalidValue, r.entity, key, f"a patch cannot have '{key}', only "):
                r.dao.update(r.row.id, {key: 1})
    template, profile, network, instance = (resource.row.id for resource in resources)
    assert_wrong_types_are_refused(
        db.templates, "template", template, [("name", 5), ("preference", True), ("restricted", 1), ("torrent_data", None)]
    )
    assert_wrong_types_are_refused(db.profiles, "profile", profile, [("ram", "512"), ("cpus", True), ("label", None)])
    assert_wrong_types_are_refused(db.networks, "network", network, [("kind", None), ("preference", 1.5)])
    assert_wrong_types_are_refused(db.network_instances, "network instance", instance, [("bridge", None), ("network_id", "1")])


def test_a_profile_limits_to_no_less_than_nothing(db: Database) -> None:
    profile = db.profiles.create("repy", "x")
    for column in ("ram", "cpus", "diskspace"):
        with refused(InvalidValue, "profile", profile.id, f"the value must be a number of 0 or more: {column} is -1"):
            db.profiles.update(profile.id, {column: -1})  # type: ignore[misc]
    assert db.profiles.get(profile.id) == profile


def test_attrs_are_set_and_removed_at_once_and_threads_keep_each_others(resources: list[Resource]) -> None:
    for r in resources:
        assert r.dao.set_attrs(r.row.id, {"a": 1, "b": 2}) == {"a": 1, "b": 2}
        assert r.dao.set_attrs(r.row.id, {}, ["a", "b"]) == {}
        assert_threads_keep_each_others_attrs(r.dao, r.row.id)


def test_threads_that_create_one_resource_make_one(db: Database, world: World, resources: list[Resource]) -> None:
    for r in resources:
        results = at_once(*[partial(another, db, world, r.entity, "new")] * 4)
        assert [type(result) for result in results].count(AlreadyExists) == 3
        assert r.dao.list()[-1] in map(listed, results)


def test_the_highest_preference_is_preferred_and_of_equal_ones_the_oldest(db: Database) -> None:
    for entity in ("template", "profile"):
        dao = getattr(db, f"{entity}s")
        with refused(NotFound, f"{entity} of tech", "kvmqm", f"^{entity} of tech 'kvmqm' does not exist$"):
            dao.preferred("kvmqm")
        lowest = dao.create("kvmqm", "b", preference=-1)
        assert dao.preferred("kvmqm") == lowest
        first = dao.create("kvmqm", "d", preference=5)
        dao.create("kvmqm", "a", preference=5)
        dao.create("openvz", "a", preference=9)
        assert dao.preferred("kvmqm") == first
        dao.delete(first.id)
        assert dao.preferred("kvmqm").name == "a"


def test_a_fresh_installation_gets_the_default_profiles_once(db: Database) -> None:
    assert sorted(at_once(*[db.profiles.create_defaults] * 4), key=str) == [0, 0, 0, 3]
    assert db.profiles.create_defaults() == 0
    made = [(p.tech, p.name, p.label, p.preference, p.ram, p.cpus, p.diskspace) for p in db.profiles.list()]
    assert sorted(made) == [
        ("kvmqm", "normal", "Normal", 10, 512, 1, 10240),
        ("openvz", "normal", "Normal", 10, 512, None, 10240),
        ("repy", "normal", "Normal", 10, 50, 0.25, None),
    ]


@pytest.mark.parametrize("name", ["normal", "tiny"])
def test_a_tech_that_has_any_profile_gets_no_default_one(db: Database, name: str) -> None:
    own = db.profiles.create("openvz", name, ram=2048, label="ours")
    assert db.profiles.create_defaults() == 2
    assert [p for p in db.profiles.list() if p.tech == "openvz"] == [own]


KINDS = {
    "internet": ["internet", "internet/a", "internet/a/b", "internet/", "internet/ü"],
    "internet/a": ["internet/a", "internet/a/b"],
    "internet/a/b": ["internet/a/b"],
    "inter%": ["inter%", "inter%/x"],
    "inter_et": ["inter_et/x"],
    "Internet": ["Internet/x"],
    "a\\": ["a\\/x"],
    "": ["/x"],
    "zzz": [],
}
OTHERS = ["internet-2", "internet0", "internets/x", "internet.x", "internet!", "openflow"]


def test_a_kind_is_also_found_by_what_stands_before_its_slash(db: Database, world: World) -> None:
    kinds = sorted({kind for kinds in KINDS.values() for kind in kinds}) + OTHERS
    for n, kind in enumerate(kinds):
        db.network_instances.create(db.networks.create(kind, preference=n).id, world.host.id, f"br{n}")
    for kind, satisfied in KINDS.items():
        expected = sorted(satisfied, key=kinds.index, reverse=True)
        assert [n.kind for n in db.networks.list_by_kind(kind)] == expected
        if expected:
            best = db.network_instances.of_kind(world.host.id, kind)
            assert best.network_id == db.networks.get_by_kind(expected[0]).id
        else:
            with refused(NotFound, "network instance", (world.host.id, kind)):
                db.network_instances.of_kind(world.host.id, kind)


def test_an_instance_of_a_kind_is_one_of_that_host_and_of_a_network(db: Database, world: World) -> None:
    host = add_host(db, world, "host2")
    first, second = (db.networks.create(kind, preference=3) for kind in ("internet/b", "internet/a"))
    assert db.networks.list_by_kind("internet") == [first, second]
    db.network_instances.create(first.id, host.id, "br0")
    instances = [db.network_instances.create(n.id, world.host.id, f"br{n.id}") for n in (second, first)]
    assert db.network_instances.of_kind(world.host.id, "internet") == instances[1]
    db.network_instances.update(instances[1].id, {"network_id": None})
    assert db.network_instances.of_kind(world.host.id, "internet") == instances[0]
    db.network_instances.delete(instances[0].id)
    with refused(NotFound, "network instance", (world.host.id, "internet")):
        db.network_instances.of_kind(world.host.id, "internet")


def test_kinds_are_found_by_an_index_whatever_the_kind(server: psycopg.Connection) -> None:
    server.execute("insert into networks (kind) select format('kind%s/%s', n % 1000, n) from generate_series(1, 10000) n")
    server.execute("analyze networks")
    server.execute("set plan_cache_mode = force_generic_plan")
    server.pgconn.prepare(b"by_kind", QUERIES["networks.list_by_kind"].sql.encode())
    plan = "\n".join(line for (line,) in server.execute("explain execute by_kind('kind5')"))
    assert "Seq Scan" not in plan, plan
    assert plan.count("Index Cond") == 2, plan


def test_references_to_a_deleted_resource_become_null(db: Database, world: World, resources: list[Resource]) -> None:
    t = db.topologies.create("t", owner_id=world.user.id)
    template, profile, network, instance = (resource.row for resource in resources)
    machine = db.elements.create(t.id, "kvmqm", template_id=template.id, profile_id=profile.id)
    external = db.elements.create(t.id, "external_network", network_id=network.id)
    endpoint = db.elements.create(t.id, "external_network_endpoint", parent_id=external.id, network_instance_id=instance.id)
    db.templates_on_hosts.set(world.host.id, template.id, True)
    db.templates.delete(template.id)
    db.profiles.delete(profile.id)
    db.networks.delete(network.id)
    assert db.network_instances.get(instance.id) == replace(instance, network_id=None)
    db.network_instances.delete(instance.id)
    assert db.elements.get(machine.id) == replace(machine, template_id=None, profile_id=None)
    assert db.elements.get(external.id) == replace(external, network_id=None)
    assert db.elements.get(endpoint.id) == replace(endpoint, network_instance_id=None)
    assert db.templates_on_hosts.list_of_host(world.host.id) == []

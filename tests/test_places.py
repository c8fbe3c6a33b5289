"""Organizations, sites and hosts: names, references, patches, attrs."""

from collections.abc import Iterable
from dataclasses import astuple, dataclass, replace
from datetime import UTC, datetime, timedelta, timezone
from functools import partial
from typing import Any

import psycopg
import pytest
from conftest import World
from dao_cases import (
    MOMENT,
    NOBODY,
    assert_threads_keep_each_others_attrs,
    assert_wrong_types_are_refused,
    at_once,
    refused,
    usage_is_gone,
)
from psycopg import errors

from tomato_dao import AlreadyExists, Database, InvalidValue, NotEmpty, NotFound
from tomato_dao.rows import FullHost, Host, Organization, Site


@dataclass(frozen=True)
class Place:
    """An organization, a site or a host, with what is common to their DAOs."""

    dao: Any
    entity: str
    row: Any
    longest_name: int


@pytest.fixture
def places(db: Database, world: World) -> list[Place]:
    """The world's organization, site and host."""
    return [
        Place(db.organizations, "organization", world.organization, 50),
        Place(db.sites, "site", world.site, 50),
        Place(db.hosts, "host", world.host, 255),
    ]


def another(db: Database, world: World, entity: str, name: str) -> Any:
    if entity == "organization":
        return db.organizations.create(name)
    if entity == "site":
        return db.sites.create(name, organization_id=world.organization.id)
    return db.hosts.create(name, address="10.0.0.2", rpcurl=f"rpc://{name}", site_id=world.site.id)


def test_an_organization_keeps_what_it_is_given(db: Database) -> None:
    made = db.organizations.create(
        "uni",
        description="a university",
        homepage_url="https://uni.example",
        image_url="https://uni.example/logo.png",
        description_text="<b>ü</b>",
        attrs={"_color": "red", "big": 2**63 - 1},
    )
    assert made == Organization(
        made.id,
        "uni",
        "a university",
        "https://uni.example",
        "https://uni.example/logo.png",
        "<b>ü</b>",
        made.usage_id,
        {"_color": "red", "big": 2**63 - 1},
    )
    assert isinstance(made.usage_id, int)
    assert db.organizations.get(made.id) == made


def test_a_site_keeps_what_it_is_given(db: Database, world: World) -> None:
    made = db.sites.create(
        "hall",
        organization_id=world.organization.id,
        description="a hall",
        location="Berlin",
        longitude=13.4,
        latitude=-52,
        description_text="text",
        attrs={"floor": 3},
    )
    assert made == Site(made.id, "hall", world.organization.id, "a hall", "Berlin", 13.4, -52.0, "text", {"floor": 3})
    assert type(made.latitude) is float
    assert db.sites.get(made.id) == made


def test_a_host_keeps_what_it_is_given(db: Database, world: World) -> None:
    made = db.hosts.create(
        "h2",
        address="h2.example",
        rpcurl="rpc",
        site_id=world.site.id,
        enabled=False,
        description_text="text",
        attrs={"a": [1]},
    )
    assert (made.name, made.address, made.rpcurl, made.site_id) == ("h2", "h2.example", "rpc", world.site.id)
    assert (made.enabled, made.description_text, made.attrs) == (False, "text", {"a": [1]})
    assert db.hosts.get(made.id) == made


def test_a_new_host_has_defaults(world: World) -> None:
    h = world.host
    assert h == Host(
        h.id, "host1", "10.0.0.1", "ssl+jsonrpc://10.0.0.1:8003", world.site.id, True, 1.0, 0, {}, None, {}, {}, [],
        None, None, None, None, None, "", h.usage_id, {},
    )  # fmt: skip
    assert isinstance(h.usage_id, int)


def test_a_new_organization_and_a_new_site_have_defaults(world: World) -> None:
    o, s = world.organization, world.site
    assert o == Organization(o.id, "uni", "", "", "", "", o.usage_id, {})
    assert s == Site(s.id, "lab", o.id, "", "", 0.0, 0.0, "", {})


def test_a_place_is_found_by_id_and_by_name(places: list[Place]) -> None:
    for place in places:
        assert place.dao.get(place.row.id) == place.row
        assert place.dao.get_by_name(place.row.name) == place.row


def test_an_unknown_place_is_not_found(places: list[Place]) -> None:
    for place in places:
        with refused(NotFound, place.entity, NOBODY, f"^{place.entity} {NOBODY} does not exist$"):
            place.dao.get(NOBODY)
        with refused(NotFound, place.entity, "x"):
            place.dao.get_by_name("x")
        with refused(NotFound, place.entity, "x"):
            place.dao.update("x", {"name": "y"})
        with refused(NotFound, place.entity, "x"):
            place.dao.set_attrs("x", {"a": 1})
        with refused(NotFound, place.entity, "x", f"^{place.entity} 'x' does not exist$"):
            place.dao.delete("x")


def test_what_can_be_no_id_is_refused(places: list[Place]) -> None:
    for place in places:
        for id in ("1", 1.5, 2**63):
            with refused(InvalidValue, place.entity, "id"):
                place.dao.get(id)


def test_a_name_is_taken_once(db: Database, world: World, places: list[Place]) -> None:
    for place in places:
        name = place.row.name
        with refused(AlreadyExists, place.entity, name, f"^{place.entity} with name '{name}' already exists$") as caught:
            another(db, world, place.entity, name)
        assert isinstance(caught.value.__cause__, errors.UniqueViolation)


def test_a_place_is_not_renamed_to_a_name_that_is_taken(db: Database, world: World, places: list[Place]) -> None:
    for place in places:
        another(db, world, place.entity, "other")
        with refused(AlreadyExists, place.entity, "other", f"^{place.entity} with name 'other' already exists$"):
            place.dao.update(place.row.name, {"name": "other"})
        assert place.dao.get(place.row.id) == place.row


def test_a_place_can_be_renamed(places: list[Place]) -> None:
    for place in places:
        assert place.dao.update(place.row.name, {"name": "new"}) == replace(place.row, name="new")
        assert place.dao.get_by_name("new").id == place.row.id
        with refused(NotFound, place.entity, place.row.name):
            place.dao.get_by_name(place.row.name)


def test_a_name_has_a_longest_length(db: Database, world: World, places: list[Place]) -> None:
    for place in places:
        longest = "ü" * place.longest_name
        assert another(db, world, place.entity, longest).name == longest
        with refused(InvalidValue, place.entity, longest + "x", f"at most {place.longest_name} characters") as caught:
            another(db, world, place.entity, longest + "x")
        assert isinstance(caught.value.__cause__, errors.CheckViolation)


def test_a_name_has_no_slash(db: Database, world: World, places: list[Place]) -> None:
    for place in places:
        with refused(InvalidValue, place.entity, "a/b", "no “/”: name is 'a/b'"):
            another(db, world, place.entity, "a/b")
        with refused(InvalidValue, place.entity, place.row.name, "no “/”: name is 'a/b'"):
            place.dao.update(place.row.name, {"name": "a/b"})


def test_a_text_that_postgresql_cannot_hold_is_refused(db: Database, world: World, places: list[Place]) -> None:
    for place in places:
        for text in ("a\0b", "a\ud800b"):
            with pytest.raises(InvalidValue, match=f"^{place.entity}: "):
                another(db, world, place.entity, text)
            with pytest.raises(InvalidValue, match=f"^{place.entity}: "):
                place.dao.set_attrs(place.row.name, {"key": text})
        assert place.dao.get(place.row.id) == place.row


def ids(rows: Iterable[Any]) -> list[int]:
    return [row.id for row in rows]


def test_places_are_listed_in_pages_by_id(db: Database, world: World, places: list[Place]) -> None:
    for place in places:
        made = ids([place.row, *(another(db, world, place.entity, name) for name in "cab")])
        assert ids(place.dao.list()) == made
        assert ids(place.dao.list(limit=2)) == made[:2]
        assert ids(place.dao.list(after=made[1], limit=2)) == made[2:]
        assert place.dao.list(after=made[3]) == []


def test_lists_have_whole_rows(db: Database, world: World) -> None:
    assert (db.organizations.list(), db.sites.list()) == ([world.organization], [world.site])
    (listed,) = db.hosts.list()
    assert db.hosts.list_of_site(world.site.id) == [listed]
    assert isinstance(listed, FullHost)
    assert astuple(listed) == (*astuple(world.host), ["unreachable"], None)


def test_a_page_of_less_than_nothing_is_refused(places: list[Place]) -> None:
    for place in places:
        with pytest.raises(InvalidValue, match=f"^{place.entity}: LIMIT must not be negative$"):
            place.dao.list(limit=-1)


def test_sites_are_listed_by_organization(db: Database, world: World) -> None:
    org = db.organizations.create("org")
    first, second = (db.sites.create(name, organization_id=org.id) for name in "ba")
    assert db.sites.list_of_organization(world.organization.id) == [world.site]
    assert db.sites.list_of_organization(org.id, limit=1) == [first]
    assert db.sites.list_of_organization(org.id, after=first.id) == [second]


def test_hosts_are_listed_by_site(db: Database, world: World) -> None:
    hall = db.sites.create("hall", organization_id=world.organization.id)
    first, second = (db.hosts.create(name, address=name, rpcurl=name, site_id=hall.id) for name in "ba")
    assert ids(db.hosts.list_of_site(world.site.id)) == [world.host.id]
    assert ids(db.hosts.list_of_site(hall.id, limit=1)) == [first.id]
    assert ids(db.hosts.list_of_site(hall.id, after=first.id)) == [second.id]


def test_a_patch_changes_only_what_it_names(places: list[Place]) -> None:
    for place in places:
        changed = place.dao.update(place.row.name, {"description_text": "text"})
        assert changed == replace(place.row, description_text="text")
        assert place.dao.update(place.row.name, {}) == changed
        assert place.dao.get(place.row.id) == changed


def test_every_column_of_a_patch_is_changed(db: Database, world: World) -> None:
    hall = db.sites.create("hall", organization_id=world.organization.id)
    org = db.organizations.create("org")
    patches: list[tuple[Any, Any, dict[str, Any]]] = [
        (
            db.organizations,
            world.organization,
            {"name": "n", "description": "d", "homepage_url": "h", "image_url": "i", "description_text": "t"},
        ),
        (
            db.sites,
            world.site,
            {
                "name": "n",
                "organization_id": org.id,
                "description": "d",
                "location": "l",
                "longitude": 180,
                "latitude": -90.0,
                "description_text": "t",
            },
        ),
        (
            db.hosts,
            world.host,
            {
                "name": "n",
                "address": "a",
                "rpcurl": "r",
                "site_id": hall.id,
                "enabled": False,
                "availability": 0.25,
                "component_errors": 3,
                "info": {"uptime": "12.5", "problems": ["ä"]},
                "info_at": MOMENT,
                "element_types": {"kvmqm": {"caps": None}},
                "connection_types": {"bridge": 1},
                "networks": [["internet", "br0"]],
                "resources_synced_at": MOMENT + timedelta(microseconds=1),
                "accounting_at": datetime(1, 1, 1, tzinfo=UTC),
                "dumps_fetched_at": datetime(9999, 12, 31, 23, 59, 59, 999999, tzinfo=UTC),
                "problem_since": MOMENT.astimezone(timezone(timedelta(hours=5, minutes=30))),
                "problem_mailed_at": MOMENT,
                "description_text": "t",
            },
        ),
    ]
    for dao, row, patch in patches:
        assert dao.update(row.name, patch) == replace(row, **patch) == dao.get(row.id)


def test_none_clears_what_may_be_absent(db: Database, world: World) -> None:
    db.hosts.update("host1", {"problem_since": MOMENT, "problem_mailed_at": MOMENT})
    assert db.hosts.update("host1", {"problem_since": None}).problem_since is None
    assert db.hosts.get_by_name("host1").problem_mailed_at == MOMENT


def test_a_patch_with_an_unknown_key_is_refused(places: list[Place]) -> None:
    for place in places:
        for key in ("colour", "id", "usage_id", "attrs"):
            with refused(InvalidValue, place.entity, key, f"a patch can't have '{key}', only name, "):
                place.dao.update(place.row.name, {"description_text": "text", key: 1})
        assert place.dao.get(place.row.id) == place.row


def test_a_value_of_a_wrong_type_is_refused(db: Database, world: World) -> None:
    assert_wrong_types_are_refused(db.organizations, "organization", "uni", [("name", 5), ("description", b"text")])
    assert_wrong_types_are_refused(
        db.sites, "site", "lab", [("organization_id", "1"), ("longitude", "13.4"), ("latitude", True)]
    )
    assert_wrong_types_are_refused(
        db.hosts,
        "host",
        "host1",
        [
            ("enabled", 1),
            ("component_errors", True),
            ("component_errors", 1.0),
            ("info_at", "2026-01-01"),
            ("info_at", 1e9),
            ("address", None),
        ],
    )


def test_a_number_out_of_its_range_is_refused(db: Database, world: World) -> None:
    for place, key, value in (
        ("site", "longitude", 180.5),
        ("site", "latitude", -91),
        ("host", "availability", 1.01),
        ("host", "availability", -0.1),
        ("host", "component_errors", -1),
    ):
        name, dao = getattr(world, place).name, getattr(db, f"{place}s")
        with refused(InvalidValue, place, name, f"^{place}: {key} = {value} breaks the rule {place}s_{key}_check$") as caught:
            dao.update(name, {key: value})
        assert isinstance(caught.value.__cause__, errors.CheckViolation)


def test_a_value_that_its_column_cannot_hold_is_refused(db: Database, world: World) -> None:
    patches: tuple[Any, ...] = (
        {"component_errors": 2**31},
        {"availability": float("nan")},
        {"info": {"load": float("inf")}},
        {"info": None},
        {"info": {1, 2}},
        {"site_id": 2**63},
    )
    for patch in patches:
        with pytest.raises(InvalidValue, match=r"^host: "):
            db.hosts.update("host1", patch)
    assert db.hosts.get_by_name("host1") == world.host


def test_an_rpcurl_is_taken_once(db: Database, world: World) -> None:
    url = world.host.rpcurl
    with refused(AlreadyExists, "host", url, "^host with rpcurl '.*' already exists$"):
        db.hosts.create("host2", address="10.0.0.2", rpcurl=url, site_id=world.site.id)
    db.hosts.create("host2", address="10.0.0.1", rpcurl="rpc://2", site_id=world.site.id)
    with refused(AlreadyExists, "host", url):
        db.hosts.update("host2", {"rpcurl": url})


def test_a_site_needs_an_organization_that_exists(db: Database, world: World) -> None:
    with refused(NotFound, "organization", NOBODY, f"^organization {NOBODY} does not exist$") as caught:
        db.sites.create("hall", organization_id=NOBODY)
    assert isinstance(caught.value.__cause__, errors.ForeignKeyViolation)
    with refused(NotFound, "organization", NOBODY):
        db.sites.update("lab", {"organization_id": NOBODY})


def test_a_host_needs_a_site_that_exists(db: Database, world: World) -> None:
    with refused(NotFound, "site", NOBODY, f"^site {NOBODY} does not exist$"):
        db.hosts.create("host2", address="10.0.0.2", rpcurl="rpc://2", site_id=NOBODY)
    with refused(NotFound, "site", NOBODY):
        db.hosts.update("host1", {"site_id": NOBODY})


def test_attrs_are_set_and_removed_at_once(places: list[Place]) -> None:
    for place in places:
        name = place.row.name
        assert place.dao.set_attrs(name, {"a": 1, "b": {"c": None}}) == {"a": 1, "b": {"c": None}}
        assert place.dao.set_attrs(name, {"d": 0.5}, ["a", "missing"]) == {"b": {"c": None}, "d": 0.5}
        assert place.dao.set_attrs(name, {}, ("b",)) == {"d": 0.5}
        assert place.dao.get_by_name(name) == replace(place.row, attrs={"d": 0.5})


def test_a_single_text_is_no_list_of_keys_to_remove(places: list[Place]) -> None:
    for place in places:
        place.dao.set_attrs(place.row.name, {"a": 1, "b": 2, "ab": 3})
        with refused(InvalidValue, place.entity, "remove"):
            place.dao.set_attrs(place.row.name, {}, "ab")
        assert place.dao.get(place.row.id).attrs == {"a": 1, "b": 2, "ab": 3}


def test_attrs_are_always_an_object(places: list[Place]) -> None:
    for place in places:
        for attrs in ([1], "text", 5):
            with pytest.raises(InvalidValue):
                place.dao.set_attrs(place.row.name, attrs)
        assert place.dao.get(place.row.id).attrs == {}


def test_threads_keep_each_others_attrs(places: list[Place]) -> None:
    for place in places:
        assert_threads_keep_each_others_attrs(place.dao, place.row.name)


def test_threads_that_create_one_name_make_one_place(db: Database, world: World, places: list[Place]) -> None:
    for place in places:
        results = at_once(*[partial(another, db, world, place.entity, "new")] * 4)
        assert sorted(type(r).__name__ for r in results).count("AlreadyExists") == 3
        assert place.dao.get_by_name("new") in results


def test_an_organization_with_sites_or_users_cannot_go(db: Database, world: World) -> None:
    with_site, with_user = db.organizations.create("with site"), db.organizations.create("with user")
    db.sites.create("hall", organization_id=with_site.id)
    db.users.create("bob", organization_id=with_user.id)
    with refused(NotEmpty, "organization", "with site", "^organization 'with site' can't go: it still has sites$") as caught:
        db.organizations.delete("with site")
    assert isinstance(caught.value.__cause__, errors.IntegrityError)
    with refused(NotEmpty, "organization", "with user", "^organization 'with user' can't go: it still has users$"):
        db.organizations.delete("with user")


def test_a_site_with_hosts_cannot_go(db: Database, world: World) -> None:
    with refused(NotEmpty, "site", "lab", "^site 'lab' can't go: it still has hosts$"):
        db.sites.delete("lab")
    assert db.sites.get_by_name("lab") == world.site


@pytest.mark.parametrize("what", ["host elements", "host connections"])
def test_a_host_with_components_cannot_go(db: Database, world: World, what: str) -> None:
    components = getattr(db, what.replace(" ", "_"))
    made = components.create(world.host.id, 1, type="kvmqm", state="started")
    with refused(NotEmpty, "host", "host1", f"^host 'host1' can't go: it still has {what}$"):
        db.hosts.delete("host1")
    components.delete(made.id)
    db.hosts.delete("host1")
    assert db.hosts.list() == []


def test_an_empty_place_goes_with_its_usage(db: Database, world: World, server: psycopg.Connection) -> None:
    org = db.organizations.create("org")
    db.hosts.delete("host1")
    db.sites.delete("lab")
    db.organizations.delete("org")
    assert (db.hosts.list(), db.sites.list(), db.organizations.list()) == ([], [], [world.organization])
    assert usage_is_gone(server, org.usage_id, world.host.usage_id)
    assert not usage_is_gone(server, world.organization.usage_id)


def test_who_prefers_a_site_loses_the_preference_when_it_goes(db: Database, world: World) -> None:
    hall = db.sites.create("hall", organization_id=world.organization.id)
    t = db.topologies.create("t", owner_id=world.user.id, site_id=hall.id)
    e = db.elements.create(t.id, "kvmqm", site_id=hall.id)
    db.sites.delete("hall")
    assert db.topologies.get(t.id) == replace(t, site_id=None)
    assert db.elements.get(e.id) == replace(e, site_id=None)


def test_a_host_takes_its_network_instances_and_images_along(db: Database, world: World, server: psycopg.Connection) -> None:
    e = db.elements.create(db.topologies.create("t", owner_id=world.user.id).id, "external_network_endpoint")
    server.execute("insert into networks (kind) values ('internet')")
    server.execute(
        "insert into network_instances (network_id, host_id, bridge) select id, %s, 'br0' from networks", [world.host.id]
    )
    server.execute("update elements e set network_instance_id = i.id from network_instances i")
    server.execute("insert into templates (tech, name) values ('repy', 'x')")
    server.execute("insert into templates_on_hosts (host_id, template_id) select %s, id from templates", [world.host.id])
    assert db.elements.get(e.id).network_instance_id is not None
    db.hosts.delete("host1")
    for table in ("network_instances", "templates_on_hosts"):
        assert server.execute(f"select from {table}").fetchall() == []
    assert db.elements.get(e.id) == e

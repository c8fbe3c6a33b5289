"""Values that organizations, sites and hosts keep: what they are given, what a patch changes, what is refused."""

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from psycopg import errors

from tests.conftest import World
from tests.helpers.dao_cases import MOMENT, assert_wrong_types_are_refused, refused
from tomato_dao import AlreadyExists, Database, InvalidValue
from tomato_dao.rows import Host, Organization, Site, replace


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


def test_a_site_whose_place_is_not_known_has_none(db: Database, world: World) -> None:
    assert (world.site.longitude, world.site.latitude) == (None, None)
    moved = db.sites.update(world.site.name, {"longitude": 0, "latitude": 47.5})
    assert (moved.longitude, moved.latitude) == (0.0, 47.5)
    assert db.sites.update(world.site.name, {"longitude": None, "latitude": None}) == world.site


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
    assert s == Site(s.id, "lab", o.id, "", "", None, None, "", {})


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
    for place, key, value, rule in (
        ("site", "longitude", 180.5, "a longitude is in degrees, from -180 to 180"),
        ("site", "latitude", -91, "a latitude is in degrees, from -90 to 90"),
        ("host", "availability", 1.01, "an availability is a fraction, from 0 to 1"),
        ("host", "availability", -0.1, "an availability is a fraction, from 0 to 1"),
        ("host", "component_errors", -1, "the value must be a number of 0 or more"),
    ):
        name, dao = getattr(world, place).name, getattr(db, f"{place}s")
        with refused(InvalidValue, place, name, f"^{place}: {rule}: {key} is {value}$") as caught:
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

"""Hosts and users as people read them: by the names of site and host, by name and origin; and one host with all of it."""

from datetime import timedelta

import pytest

from tests.conftest import World
from tests.helpers.dao_cases import MOMENT, refused
from tomato_dao import Database, InvalidValue, NotFound
from tomato_dao.rows import FullHost, User


@pytest.fixture
def hosts(db: Database, world: World) -> list[FullHost]:
    """Six hosts at two sites of two organizations, by site and name."""
    far = db.sites.create("a far site", organization_id=db.organizations.create("other").id)
    for name in ("c", "a", "b"):
        db.hosts.create(f"{name} here", address=name, rpcurl=f"here {name}", site_id=world.site.id)
        db.hosts.create(f"{name} there", address=name, rpcurl=f"there {name}", site_id=far.id)
    db.hosts.delete(world.host.name)
    return sorted(db.hosts.list(), key=lambda host: (host.site_name, host.name))


def test_hosts_are_listed_by_site_and_name_in_pages(db: Database, world: World, hosts: list[FullHost]) -> None:
    assert [h.name for h in hosts] == ["a there", "b there", "c there", "a here", "b here", "c here"]
    assert db.hosts.list_alphabetically() == hosts
    assert db.hosts.list_alphabetically(limit=2) == hosts[:2]
    seen: list[FullHost] = []
    while page := db.hosts.list_alphabetically(after=(seen[-1].site_name, seen[-1].name) if seen else None, limit=4):
        seen += page
    assert seen == hosts
    assert db.hosts.list_alphabetically(site_id=world.site.id, limit=2) == hosts[3:5]
    assert db.hosts.list_alphabetically(organization_id=world.organization.id) == hosts[3:]
    assert db.hosts.list_alphabetically(organization_id=0) == []


def test_hosts_of_an_organization_are_those_of_its_sites(db: Database, world: World, hosts: list[FullHost]) -> None:
    by_id = sorted(hosts[3:], key=lambda host: host.id)
    organization = world.organization.id
    assert db.hosts.list_of_organization(organization) == by_id == list(db.hosts.iterate(organization_id=organization))
    assert db.hosts.list_of_organization(organization, after=by_id[0].id, limit=1) == by_id[1:2]


def test_one_host_has_the_figures_of_the_lists(db: Database, world: World) -> None:
    host = db.hosts.full(world.host.name)
    assert [host] == db.hosts.list() == db.hosts.list_of_site(world.site.id)
    assert (host.site_name, host.organization_name) == (world.site.name, world.organization.name)
    assert host.problems
    assert host.load is None
    db.hosts.update(host.name, {"info_at": MOMENT, "info": {}})
    started_at = MOMENT + timedelta(days=365_000)
    assert db.hosts.full(host.name).problems != db.hosts.full(host.name, started_at=started_at).problems
    assert [db.hosts.full(host.name, started_at=started_at)] == db.hosts.list(started_at=started_at)
    with refused(NotFound, "host", "nowhere"):
        db.hosts.full("nowhere")


def test_users_are_listed_by_name_and_origin_in_pages(db: Database, world: World) -> None:
    organization = world.organization.id
    for name, origin in (("bob", ""), ("alice", "idp"), ("Zoe", ""), ("bob", "idp")):
        db.users.create(name, origin=origin, organization_id=organization, flags=["debug"] if origin else [])
    db.users.create("eve", organization_id=db.organizations.create("other").id)
    users = sorted(db.users.list(), key=lambda user: (user.name.lower(), user.origin))
    assert sorted(db.users.list_alphabetically(), key=lambda user: (user.name.lower(), user.origin)) == users
    seen: list[User] = []
    while page := db.users.list_alphabetically(after=(seen[-1].name, seen[-1].origin) if seen else None, limit=2):
        seen += page
    assert seen == db.users.list_alphabetically()
    lower = [(user.name, user.origin) for user in seen if user.name != "Zoe"]  # whose place the database's collation tells
    assert lower == [("alice", ""), ("alice", "idp"), ("bob", ""), ("bob", "idp"), ("eve", "")]
    flagged = [user for user in seen if user.flags]
    assert db.users.list_alphabetically(flag="debug") == flagged
    assert db.users.list_alphabetically(organization_id=organization, flag="debug", limit=1) == flagged[:1]


def test_half_of_a_place_in_an_order_is_refused(db: Database) -> None:
    with pytest.raises(InvalidValue):
        db.users.list_alphabetically(after=("alice", None))  # type: ignore[arg-type]
    with pytest.raises(InvalidValue):
        db.hosts.list_alphabetically(after=("site", None))  # type: ignore[arg-type]

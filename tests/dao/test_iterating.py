"""Iterating over everything: no row is left out where there are more than a page of them, as a loop over `list` would."""

import inspect
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

import pytest

from tests.conftest import World
from tests.helpers.dao_cases import MOMENT, refused
from tomato_dao import Database, InvalidValue, dao


def paged(db: Database) -> dict[str, Any]:
    """Return the DAOs with a `list` that gives pages."""
    daos = {name: one for name, one in vars(db).items() if hasattr(one, "list")}
    return {name: one for name, one in daos.items() if "limit" in inspect.signature(one.list).parameters}


@pytest.fixture
def many(db: Database, world: World, monkeypatch: pytest.MonkeyPatch) -> Database:
    """Provide a database with seven or more rows for each list, where a page has two."""
    monkeypatch.setattr(dao, "PAGE", 2)
    network = db.networks.create("internet")
    for n, name in enumerate("gfedcba"):
        organization = db.organizations.create(name)
        db.sites.create(name, organization_id=organization.id)
        db.hosts.create(name, address=name, rpcurl=name, site_id=world.site.id)
        db.users.create(name, organization_id=world.organization.id, flags=["debug"] if n % 2 else [])
        db.topologies.create(name, owner_id=world.user.id)
        db.templates.create("kvmqm" if n % 2 else "repy", name)
        db.profiles.create("kvmqm" if n % 2 else "repy", name)
        db.networks.create(name)
        db.network_instances.create(network.id, world.host.id, name)
        db.key_values.set(name, n)
        db.error_dumps.store("host", name, group_id=name, at=MOMENT, description=None, software_version=None)
    return db


def test_each_dao_whose_list_gives_pages_iterates_over_all_of_them(many: Database) -> None:
    assert len(paged(many)) >= 12
    for name, one in paged(many).items():
        rows = one.list(limit=1000)
        assert len(rows) >= 7, name
        assert list(one.iterate()) == rows, name


def test_every_filtered_list_has_a_filtered_iteration(many: Database, world: World) -> None:
    users, site, host = many.users, world.site, world.host
    page: dict[str, Any] = {"limit": 1000}
    organization = world.organization.id
    network = many.networks.get_by_kind("internet").id
    cases: list[tuple[Callable[[], object], Sequence[object]]] = [
        (lambda: users.iterate(organization_id=organization), users.list_of_organization(organization, **page)),
        (lambda: users.iterate(flag="debug"), users.list_by_flag("debug", **page)),
        (lambda: users.iterate(organization_id=organization, flag="debug"), users.list_by_flag("debug", **page)),
        (lambda: many.sites.iterate(organization_id=organization), many.sites.list_of_organization(organization, **page)),
        (lambda: many.hosts.iterate(site_id=site.id), many.hosts.list_of_site(site.id, **page)),
        (lambda: many.templates.iterate(tech="repy"), many.templates.list_of_tech("repy", **page)),
        (lambda: many.profiles.iterate(tech="repy"), many.profiles.list_of_tech("repy", **page)),
        (lambda: many.network_instances.iterate(host_id=host.id), many.network_instances.list_of_host(host.id, **page)),
        (
            lambda: many.network_instances.iterate(network_id=network, host_id=host.id),
            many.network_instances.list_of_network(network, **page),
        ),
        (lambda: many.resources.iterate("profile"), many.resources.list("profile", **page)),
    ]
    for iterate, rows in cases:
        assert rows
        assert list(iterate()) == rows  # type: ignore[call-overload]
    assert list(many.hosts.iterate(site_id=0)) == []


def test_hosts_are_iterated_over_with_what_they_can_be_blamed_for(many: Database) -> None:
    host = many.hosts.list()[0]
    many.hosts.update(host.name, {"info_at": MOMENT, "info": {}})
    started_at = MOMENT + timedelta(days=365_000)
    assert next(many.hosts.iterate()).problems != next(many.hosts.iterate(started_at=started_at)).problems
    assert list(many.hosts.iterate(started_at=started_at)) == many.hosts.list(started_at=started_at)


def test_topologies_are_iterated_over_with_the_role_of_who_asks(many: Database, world: World) -> None:
    assert {t.role for t in many.topologies.iterate(asking_user_id=world.user.id)} == {"owner"}
    assert {t.role for t in many.topologies.iterate()} == {None}


def test_topologies_can_be_iterated_over_in_part(many: Database, world: World) -> None:
    topologies, alice = many.topologies, world.user.id
    page: dict[str, Any] = {"limit": 1000}
    other = many.users.get_by_name("a")
    for t in topologies.list(limit=3):
        many.topology_permissions.set(t.id, other.id, "manager")
    cases: list[tuple[Any, Any]] = [
        (topologies.iterate(user_id=alice), topologies.list_of_user(alice, **page)),
        (topologies.iterate(user_id=other.id, role="manager"), topologies.list_of_user(other.id, **page)),
        (
            topologies.iterate(organization_id=world.organization.id),
            topologies.list_of_organization(world.organization.id, **page),
        ),
        (topologies.iterate(accessible_to=alice, asking_user_id=alice), topologies.list_accessible(alice, **page)),
    ]
    for iterated, rows in cases:
        assert rows
        assert list(iterated) == rows
    assert list(topologies.iterate(user_id=other.id, role="owner")) == []
    choices: list[dict[str, Any]] = [{"user_id": alice}, {"organization_id": world.organization.id}]
    for choice in choices:
        with refused(InvalidValue, "topology", "accessible_to", "cannot be combined with user_id or organization_id"):
            topologies.iterate(accessible_to=alice, **choice)


def test_rows_deleted_while_iterating_do_not_end_the_iteration(many: Database) -> None:
    seen = []
    for note in many.key_values.iterate():
        many.key_values.delete(note.key)
        seen.append(note.key)
    assert seen == list("abcdefg")
    assert list(many.key_values.iterate()) == []


def test_resources_of_no_type_are_refused_when_iterated_over(db: Database) -> None:
    with refused(InvalidValue, "resource", "type"):
        list(db.resources.iterate("x"))


def test_each_list_that_gives_pages_says_so(db: Database) -> None:
    silent = []
    for name, one in vars(db).items():
        for method, call in inspect.getmembers(one, inspect.ismethod):
            if method.startswith("list") and "limit" in inspect.signature(call).parameters:
                words = ["page", "`iterate`"] if method == "list" else ["page"]
                silent += [f"{name}.{method}: {word}" for word in words if word not in (inspect.getdoc(call) or "")]
    assert silent == []

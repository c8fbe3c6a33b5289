"""Organizations, sites and hosts refer to each other: what must exist, what cannot go, what goes along."""

import psycopg
import pytest
from psycopg import errors

from tests.conftest import World
from tests.helpers.dao_cases import NOBODY, ids, refused, usage_is_gone
from tomato_dao import Database, NotEmpty, NotFound
from tomato_dao.rows import replace


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


def test_an_organization_with_sites_or_users_cannot_go(db: Database, world: World) -> None:
    with_site, with_user = db.organizations.create("with site"), db.organizations.create("with user")
    db.sites.create("hall", organization_id=with_site.id)
    db.users.create("bob", organization_id=with_user.id)
    with refused(
        NotEmpty, "organization", "with site", "^organization 'with site' cannot be deleted: it still has sites$"
    ) as caught:
        db.organizations.delete("with site")
    assert isinstance(caught.value.__cause__, errors.IntegrityError)
    with refused(NotEmpty, "organization", "with user", "^organization 'with user' cannot be deleted: it still has users$"):
        db.organizations.delete("with user")


def test_a_site_with_hosts_cannot_go(db: Database, world: World) -> None:
    with refused(NotEmpty, "site", "lab", "^site 'lab' cannot be deleted: it still has hosts$"):
        db.sites.delete("lab")
    assert db.sites.get_by_name("lab") == world.site


@pytest.mark.parametrize("what", ["host elements", "host connections"])
def test_a_host_with_components_cannot_go(db: Database, world: World, what: str) -> None:
    components = getattr(db, what.replace(" ", "_"))
    made = components.create(world.host.id, 1, type="kvmqm", state="started")
    with refused(NotEmpty, "host", "host1", f"^host 'host1' cannot be deleted: it still has {what}$"):
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


def test_preferences_for_a_deleted_site_are_lost(db: Database, world: World) -> None:
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

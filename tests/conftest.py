"""Fixtures that tests share: a database of their own, a small world in it, and real exports where they are at hand."""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from tests.helpers.element_cases import Net
from tests.helpers.role_cases import roles_while_testing
from tomato_dao import Database, NotAllowed, connect
from tomato_dao.ops import roles
from tomato_dao.ops.scratch import with_database
from tomato_dao.rows import Host, Organization, Site, Topology, User

pytest_plugins = [
    "tomato_dao.testing",
    "tests.fixtures.clusters",
    "tests.fixtures.lasting",
    "tests.fixtures.loops",
    "tests.fixtures.operations",
    "tests.fixtures.servers",
    "tests.fixtures.sick",
    "tests.fixtures.untested",
]
CHECKOUT = Path(__file__).parents[1]
SHARED = CHECKOUT.parent / "shared" / "data"


@dataclass(frozen=True)
class World:
    """One of each thing that others need."""

    organization: Organization
    site: Site
    host: Host
    user: User


@pytest.fixture(scope="session")
def tomato_server_url(tomato_server_url: str) -> Iterator[str]:
    """Provide the plugin's server, with the roles of db/roles while tests run there."""
    with roles_while_testing(tomato_server_url):
        yield tomato_server_url


@pytest.fixture(scope="session")
def tomato_template(tomato_template: str, tomato_server_url: str) -> str:
    """Provide the plugin's template, with the roles of db/roles where the tests' user may make them."""
    with suppress(NotAllowed):
        roles.make_roles(with_database(tomato_server_url, tomato_template))
    return tomato_template


@pytest.fixture(scope="session")
def has_roles(tomato_template: str, tomato_server_url: str) -> bool:
    """Return whether the server has the roles of db/roles."""
    with psycopg.connect(with_database(tomato_server_url, "postgres")) as connection:
        return connection.execute("select to_regrole(%s) is not null", [roles.APP]).fetchone() == (True,)


@pytest.fixture
def app_url(tomato_url: str, has_roles: bool) -> str:
    """Provide the URL of the test's database for what a worker may do."""
    if not has_roles:
        pytest.skip("the tests' user may not make roles")
    return acting_as(roles.APP, tomato_url)


@pytest.fixture
def reader_url(tomato_url: str, has_roles: bool) -> str:
    """Provide the URL of the test's database for what may only read: bin/dump."""
    if not has_roles:
        pytest.skip("the tests' user may not make roles")
    return acting_as(roles.READER, tomato_url)


def acting_as(role: str, url: str) -> str:
    """Return a URL whose sessions have the privileges of a role, whatever way the server lets users in."""
    return make_conninfo(url, options=f"-c role={role}")


@pytest.fixture
def db(tomato_url: str, has_roles: bool, request: pytest.FixtureRequest) -> Iterator[Database]:
    """Provide a Database on a migrated, empty database, with the privileges of a worker, or as_owner."""
    is_owner = not has_roles or request.node.get_closest_marker("as_owner")
    with connect(tomato_url if is_owner else acting_as(roles.APP, tomato_url), pool_size=4) as db:
        yield db


@pytest.fixture
def unindexed(tomato_url: str) -> Iterator[Database]:
    """A Database that reads rows in the order in which they are stored, where an index or join would happen to order them."""
    options = "-c enable_indexscan=off -c enable_indexonlyscan=off -c enable_bitmapscan=off -c enable_mergejoin=off"
    options += " -c enable_sort=off"  # so that “distinct” does not sort either
    with connect(make_conninfo(tomato_url, options=options), pool_size=1) as db:
        yield db


@pytest.fixture
def world(db: Database) -> World:
    """Provide an organization with a site, a host and a user."""
    organization = db.organizations.create("uni")
    site = db.sites.create("lab", organization_id=organization.id)
    host = db.hosts.create("host1", address="10.0.0.1", rpcurl="ssl+jsonrpc://10.0.0.1:8003", site_id=site.id)
    user = db.users.create("alice", organization_id=organization.id)
    return World(organization, site, host, user)


@pytest.fixture
def server(tomato_url: str) -> Iterator[psycopg.Connection]:
    """Provide a connection of its own to the test's database, in autocommit mode."""
    with psycopg.connect(tomato_url, autocommit=True) as connection:
        yield connection


@pytest.fixture
def topology(db: Database, world: World) -> Topology:
    """Provide a topology that alice alone owns."""
    return db.topologies.create("t", owner_id=world.user.id)


@pytest.fixture
def bob(db: Database) -> User:
    """Provide a user of another organization."""
    return db.users.create("bob", organization_id=db.organizations.create("org").id)


@pytest.fixture
def net(db: Database, topology: Topology) -> Net:
    """Provide a small topology of alice's."""
    machine = db.elements.create(topology.id, "kvmqm")
    a, b = (db.elements.create(topology.id, "kvmqm_interface", parent_id=machine.id) for _ in range(2))
    free = (db.elements.create(topology.id, "udp_endpoint"), db.elements.create(topology.id, "tinc_endpoint"))
    connection = db.connections.create(a.id, b.id)
    return Net(topology.id, machine, (db.elements.get(a.id), db.elements.get(b.id)), connection, free)


@pytest.fixture(params=[True, False], ids=["prepared", "as it is"])
def prepare(request: pytest.FixtureRequest) -> bool:
    """Choose whether statements are prepared, or sent as they are."""
    return bool(request.param)


@pytest.fixture
def single(tomato_url: str) -> Iterator[Database]:
    """Provide a Database of one connection that the server shows as “single”."""
    with connect(tomato_url, pool_size=1, application_name="single", timeout=5) as db:
        yield db


@pytest.fixture
def shared_topologies() -> list[Path]:
    """Provide the real topology exports, where they stand beside the checkout."""
    found = sorted((SHARED / "topologies").glob("*.json"))
    if not found:
        pytest.skip("the real topology exports are not at ../shared/data/topologies")
    return found

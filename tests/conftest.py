"""What tests share: a database of their own, a small world in it, and real exports where they are at hand."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest

from tomato_dao import Database
from tomato_dao.rows import Host, Organization, Site, User

pytest_plugins = ["tomato_dao.testing", "untested"]

CHECKOUT = Path(__file__).parents[1]
SHARED = CHECKOUT.parent / "shared" / "data"


@dataclass(frozen=True)
class World:
    """One of each thing that others need."""

    organization: Organization
    site: Site
    host: Host
    user: User


@pytest.fixture
def db(tomato_db: Database) -> Database:
    """A Database on a migrated, empty database."""
    return tomato_db


@pytest.fixture
def world(db: Database) -> World:
    """An organization with a site, a host and a user."""
    organization = db.organizations.create("uni")
    site = db.sites.create("lab", organization_id=organization.id)
    host = db.hosts.create("host1", address="10.0.0.1", rpcurl="ssl+jsonrpc://10.0.0.1:8003", site_id=site.id)
    user = db.users.create("alice", organization_id=organization.id)
    return World(organization, site, host, user)


@pytest.fixture
def server(tomato_url: str) -> Iterator[psycopg.Connection]:
    """A connection of its own to the test's database, in autocommit mode."""
    with psycopg.connect(tomato_url, autocommit=True) as connection:
        yield connection


@pytest.fixture
def shared_topologies() -> list[Path]:
    """The real topology exports, where they stand beside the checkout."""
    found = sorted((SHARED / "topologies").glob("*.json"))
    if not found:
        pytest.skip("the real topology exports are not at ../shared/data/topologies")
    return found

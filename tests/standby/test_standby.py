"""A standby: what needs the primary refuses it by name, what only reads works there."""

import io
from collections.abc import Iterator
from datetime import timedelta

import pytest

import tomato_dao
from tests.helpers.standby_cases import Pair, primary_and_standby
from tests.helpers.transfer_cases import dumped
from tests.ops.test_doctor import doctor
from tomato_dao import NotAllowed, Unavailable, WrongSchema, connect
from tomato_dao.ops.databases import create_database
from tomato_dao.ops.migrate import migrate

pytestmark = pytest.mark.slow
NAME = "tomato"


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    """Provide a primary and its standby, with a migrated database that has an organization."""
    with primary_and_standby(tmp_path_factory.mktemp("primary")) as pair:
        create_database(pair.primary.url(NAME))
        migrate(pair.primary.url(NAME))
        with connect(pair.primary.url(NAME), pool_size=1) as db:
            db.organizations.create("uni")
        pair.caught_up()
        yield pair


def test_a_lock_and_a_listener_refuse_a_standby(pair: Pair) -> None:
    with connect(pair.standby.url(NAME), pool_size=1) as db:
        with pytest.raises(Unavailable, match="is a standby, and locks need the primary"), db.exclusive("topology", 1):
            pass
        with pytest.raises(Unavailable, match="is a standby, and listeners need the primary"):
            db.listen("topologies")


def test_locks_and_listeners_use_the_primary_of_several_servers(pair: Pair) -> None:
    with connect(pair.url(NAME), pool_size=1) as db, connect(pair.primary.url(NAME), pool_size=1) as other:
        with db.exclusive("topology", 1), pytest.raises(tomato_dao.Busy), other.exclusive("topology", 1):
            pass
        with db.listen("topologies", timeout=60) as listener:
            owner = other.users.create("alice", organization_id=other.organizations.get_by_name("uni").id)
            other.topologies.delete(other.topologies.create("t", owner_id=owner.id).id)
            assert next(listener).change == "deleted"


def test_claims_and_writes_say_that_a_standby_takes_none(pair: Pair) -> None:
    with connect(pair.standby.url(NAME), pool_size=1) as db:
        for write in (
            lambda: db.hosts.claim_syncs(limit=1, lease=timedelta(minutes=1)),
            lambda: db.organizations.create("x"),
            lambda: db.usage.aggregate(),
        ):
            with pytest.raises(
                NotAllowed, match="this server is a standby, which accepts no writes: set DATABASE_URL to the primary"
            ):
                write()
        with pytest.raises(NotAllowed, match="this server is a standby"), db.transaction():
            db.organizations.create("x")
        assert [organization.name for organization in db.organizations.list()] == ["uni"]


def test_a_dump_of_a_standby_is_that_of_the_primary(pair: Pair) -> None:
    pair.caught_up()
    with connect(pair.standby.url(NAME), pool_size=2) as standby, connect(pair.primary.url(NAME)) as primary:
        assert dumped(standby) == dumped(standby, jobs=2) == dumped(primary)
        tomato_dao.load(primary, io.BytesIO(dumped(standby)), replace=True)
        with primary.connection() as connection:
            connection.execute("create unlogged table volatile (id int primary key)")
        pair.caught_up()
        dumped(primary)
        with pytest.raises(WrongSchema, match="the table volatile is unlogged, and a standby has no rows of it"):
            dumped(standby)
        with primary.connection() as connection:
            connection.execute("drop table volatile")
    pair.caught_up()


def test_the_doctor_examines_a_standby(pair: Pair) -> None:
    done = doctor(pair.standby.url(NAME))
    assert "a standby, which is read-only" in done.stdout
    assert "not available" not in done.stdout.replace("not available because pg_stat_statements", ""), done.stdout

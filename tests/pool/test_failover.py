"""A server that turns read-only under open sessions: the pool looks for the writable one where the URL says to."""

from collections.abc import Iterator

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

from tests.conftest import CHECKOUT
from tests.helpers.own_servers import start_anew
from tests.helpers.read_only_cases import admit, hosts, set_read_only, stored, turn_read_only
from tests.helpers.session_cases import names
from tests.ops.test_commands import run
from tomato_dao import NotAllowed, Unavailable, connect
from tomato_dao.ops import embedded
from tomato_dao.ops.leftovers import claim
from tomato_dao.ops.scratch import scratch_database, with_database

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def first_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Provide the URL of a server of its own."""
    directory = tmp_path_factory.mktemp("first")
    try:
        yield start_anew(directory)
    finally:
        embedded.remove(directory)


@pytest.fixture(scope="module")
def both(first_server: str, tomato_server_url: str, tomato_template: str) -> Iterator[tuple[str, str]]:
    """Provide the URLs of a database on each of two servers, of one name; the first one knows the second one's user."""
    with (
        scratch_database(first_server) as first,
        psycopg.connect(with_database(tomato_server_url, "postgres"), autocommit=True) as admin,
    ):
        name = conninfo_to_dict(first)["dbname"]
        admit(first, admin)
        claim(admin, str(name))  # or it is taken for one that a killed process left
        admin.execute(f'create database "{name}" template "{tomato_template}"'.encode())
        try:
            yield first, with_database(tomato_server_url, str(name))
        finally:
            admin.execute(f'drop database "{name}" with (force)'.encode())


@pytest.fixture
def pair(both: tuple[str, str]) -> Iterator[tuple[str, str]]:
    """Provide the same; the first server can be written to again afterwards."""
    yield both
    set_read_only(both[0], None)
    for url in both:
        with psycopg.connect(url, options="-c default_transaction_read_only=off", autocommit=True) as connection:
            connection.execute("delete from organizations")


@pytest.mark.parametrize("settings", [{"target_session_attrs": "read-write"}, {}], ids=["read-write", "several hosts"])
def test_writes_go_to_the_writable_server_once_theirs_turned_read_only(
    pair: tuple[str, str], settings: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    with connect(hosts(pair, **settings), pool_size=3, timeout=10) as db:
        db.organizations.create("before")
        turn_read_only(pair[0], db)
        for n in range(4):
            db.organizations.create(f"after{n}")
        with db.transaction():
            db.organizations.create("in a transaction")
        assert stored(pair[0]) == {"before"}
        assert stored(pair[1]) == {"after0", "after1", "after2", "after3", "in a transaction"}
        assert caplog.text.count("leaves a server that has become read-only") == 1


def test_a_transaction_on_a_server_that_turned_read_only_is_unavailable_and_succeeds_elsewhere(pair: tuple[str, str]) -> None:
    def work() -> None:
        with db.transaction():
            assert names(db) == []
            db.organizations.create("made")

    with connect(hosts(pair, target_session_attrs="read-write"), pool_size=2, timeout=10) as db:
        turn_read_only(pair[0], db)
        with pytest.raises(Unavailable, match="become read-only, and a writable one is being looked for"):
            work()
        work()
        assert stored(pair[1]) == {"made"}


def test_intended_read_only_sessions_stay_not_allowed(pair: tuple[str, str]) -> None:
    with connect(hosts(pair, options="-c default_transaction_read_only=on"), pool_size=1) as reader:
        for _ in range(2):
            with pytest.raises(NotAllowed):
                reader.organizations.create("x")
        assert len(reader._pool._all) == 1
    with connect(hosts(pair, target_session_attrs="read-write"), pool_size=1) as db:

        def write() -> None:
            with db.transaction(read_only=True):
                db.organizations.create("x")

        with pytest.raises(NotAllowed):
            write()
        assert len(db._pool._all) == 1
    with connect(pair[0], pool_size=1) as db:
        turn_read_only(pair[0], db)
        with pytest.raises(NotAllowed):  # the URL names no other server
            db.organizations.create("x")


def test_the_query_command_stays_read_only_on_several_hosts(pair: tuple[str, str]) -> None:
    done = run([str(CHECKOUT / "bin" / "query"), "key_values.set", "key=a", "value=1"], hosts(pair))
    assert (done.returncode, "pass --write" in done.stderr) == (2, True), done.stderr

"""Clusters whose own databases are of other encodings: those that we make are of UTF8 all the same."""

from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from tests.fixtures.operations import organizations
from tomato_dao import connect
from tomato_dao.ops import backup, embedded
from tomato_dao.ops.embedded_server import EmbeddedServer
from tomato_dao.ops.migrate import migrate
from tomato_dao.ops.restore import restore
from tomato_dao.ops.roles import make_roles
from tomato_dao.ops.scratch import drop_database, scratch_database, with_database
from tomato_dao.server import schema
from tomato_dao.server.target import server_of

pytestmark = pytest.mark.slow


@pytest.fixture(params=["LATIN1", pytest.param("SQL_ASCII", marks=pytest.mark.long)])
def cluster(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """Provide the URL of a database that is not there yet, in a cluster of that encoding."""
    server = EmbeddedServer.of(tmp_path / "cluster")
    with server.lock():
        server._private(server.data)
        server.initdb(server.data, f"--encoding={request.param}", "--locale=C", "--no-sync")
    try:
        yield embedded.start(tmp_path / "cluster")
    finally:
        embedded.remove(tmp_path / "cluster")


def test_only_the_encoding_of_the_database_itself_matters(cluster: str, saved: Path) -> None:
    assert migrate(cluster) == schema.known()
    make_roles(cluster)
    with connect(cluster, pool_size=1) as db:
        db.organizations.create("uni", description="Zürich €")
    kept = restore(backup.back_up(cluster), cluster)
    assert kept
    drop_database(with_database(cluster, kept))
    with connect(cluster, pool_size=1) as db:
        assert db.organizations.get_by_name("uni").description == "Zürich €"
    server = server_of(cluster)
    with psycopg.connect(server) as connection:
        assert connection.info.parameter_status("server_encoding") != "UTF8"
    with scratch_database(server, template="tomato") as copy:  # as the plugin does for each test
        assert organizations(copy) == ["uni"]

"""Messages say what to do next, whatever it is that fails."""

import os
import stat
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from secrets import token_hex
from time import monotonic

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

import tomato_dao
from tests.conftest import acting_as
from tests.helpers.transfer_cases import by_hand, organization
from tomato_dao import Database, NotAllowed, TomatoError, Unavailable, connect
from tomato_dao.ops import embedded, embedded_server
from tomato_dao.ops.backup import back_up
from tomato_dao.ops.databases import create_database
from tomato_dao.ops.private import make_private
from tomato_dao.ops.scratch import with_database
from tomato_dao.server.probe import probe

FULL_DISK = """
create function fill_disk() returns bool language plpgsql as $$
begin
  raise exception 'could not extend file "base/5/1259": No space left on device' using errcode = 'disk_full';
end $$;
alter table organizations add constraint organizations_disk check (name = 'uni' or fill_disk());
"""


@pytest.fixture
def role(server: psycopg.Connection) -> Iterator[str]:
    """Provide a role that may log in, and nothing else."""
    name = f"tomato_test_{token_hex(4)}"
    server.execute(f"create role {name} login")
    yield name
    server.execute(f"drop role {name}")


@pytest.mark.as_owner
def test_a_full_disk_of_the_server_is_named_with_what_became_of_the_database(db: Database, server: psycopg.Connection) -> None:
    db.organizations.create("uni")
    server.execute(FULL_DISK)
    with pytest.raises(Unavailable, match=r"^organization: the server's disk is full \(could not extend .*\), and nothing was"):
        db.organizations.create("org")
    for options in ({"replace": True}, {"merge": True}):
        with pytest.raises(
            Unavailable,
            match=rf"^the server's disk is full \(could not extend .*\): the database {server.info.dbname} on .* is unchanged",
        ):
            tomato_dao.load(db, by_hand(db, [organization(5)]), **options)  # type: ignore[arg-type]
    assert [found.name for found in db.organizations.list()] == ["uni"]


def test_a_backup_by_a_worker_names_the_owner(app_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BACKUP_DIR", str(tmp_path / "backups"))
    with pytest.raises(
        NotAllowed, match=r"may not read all of .*: set OWNER_DATABASE_URL to connect as its owner, tomato_owner$"
    ):
        back_up(app_url)
    assert list(tmp_path.iterdir()) == []


def test_a_database_that_is_closed_for_a_restore_is_waited_for(tomato_url: str, server: psycopg.Connection) -> None:
    name = server.info.dbname
    server.close()
    with psycopg.connect(with_database(tomato_url, "postgres"), autocommit=True) as other, ThreadPoolExecutor(1) as threads:
        other.execute(f"alter database {name} allow_connections false")
        try:
            with pytest.raises(Unavailable, match=r"a restore is replacing it, .*: try again in a moment$"):
                probe(make_conninfo(tomato_url, password="unused"))
            waiting = threads.submit(probe, tomato_url, 20)
            with pytest.raises(TimeoutError):
                waiting.result(0.1)
        finally:
            other.execute(f"alter database {name} allow_connections true")
        waiting.result(20).close()


@contextmanager
def let_in_by(server: psycopg.Connection, role: str, method: str) -> Iterator[None]:
    """Provide a role is let in through the socket by one method only."""
    if not server.info.host.startswith("/"):
        pytest.skip("peer authentication is of sockets in the file system, and the server's URL names a TCP port")
    (file,) = server.execute("show hba_file").fetchone() or ("",)
    path = Path(file)
    if not os.access(path, os.W_OK):
        pytest.skip("the server's pg_hba.conf is not ours to change")
    before = path.read_text()
    path.write_text(f"local all {role} {method}\n{before}")
    try:
        server.execute("select pg_reload_conf()")
        yield
    finally:
        path.write_text(before)
        server.execute("select pg_reload_conf()")


def test_peer_authentication_is_explained(tomato_url: str, server: psycopg.Connection, role: str) -> None:
    url = make_conninfo(tomato_url, user=role)
    with let_in_by(server, role, "peer"):
        deadline = monotonic() + 10
        said = ""
        while "Peer" not in said and monotonic() < deadline:  # the server reads the file when it comes to it
            try:
                probe(url).close()
            except Unavailable as error:
                said = str(error)
    assert "lets in only who has the same name in the operating system as in the database" in said
    assert "sudo -u postgres createuser --createdb " in said
    assert "postgresql://user:password@localhost/database" in said


def test_a_role_that_does_not_exist_is_not_taken_for_a_server_that_does_not_run(tomato_url: str) -> None:
    with pytest.raises(Unavailable, match="put an existing user into DATABASE_URL") as refused:
        probe(make_conninfo(tomato_url, user="nobody_here"))
    assert "check that the server is running" not in str(refused.value)


def test_a_user_who_may_not_create_a_database_learns_who_can_and_how(tomato_url: str, role: str) -> None:
    url = acting_as(role, with_database(tomato_url, f"absent_{token_hex(4)}"))
    with pytest.raises(
        NotAllowed, match=r'may not create databases; a superuser .*: create database "absent_.*alter role ".*" createdb$'
    ):
        create_database(url)


def test_a_data_directory_that_cannot_be_written_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setattr(embedded_server, "ROOT_HOME", tmp_path / "file" / "home")
    with pytest.raises(Unavailable, match=r"^the embedded server can't write .*/file.*: Not a directory; .* in DATABASE_URL$"):
        embedded.start(tmp_path / "file" / "var")


@pytest.mark.parametrize("umask", [0, 0o022, 0o777], ids=oct)
def test_directories_that_we_make_are_private_under_any_umask(tmp_path: Path, umask: int) -> None:
    (tmp_path / "there").mkdir(0o755)
    made = [tmp_path / "there" / "a", tmp_path / "there" / "a" / "b", tmp_path / "there" / "a" / "b" / "c"]
    before = os.umask(umask)
    try:
        make_private(made[-1])
        make_private(made[-1])
    finally:
        os.umask(before)
    assert [stat.S_IMODE(path.stat().st_mode) for path in made] == [0o700] * 3
    assert stat.S_IMODE((tmp_path / "there").stat().st_mode) == 0o755


def test_a_user_without_an_origin_is_found_without_one(db: Database) -> None:
    made = db.users.create("alice", organization_id=db.organizations.create("uni").id)
    assert db.users.get_by_name("alice") == made


def test_a_dict_in_place_of_a_row_is_refused_with_advice(db: Database) -> None:
    for call, name in (
        (db.usage.import_records, "UsageRecord"),
        (db.link_measurements.store_all, "LinkMeasurement"),
        (lambda rows: db.link_measurements.store(rows[0]), "LinkMeasurement"),
    ):
        with pytest.raises(TomatoError, match=rf"expected a {name}, not a dict: {name}\(\*\*record\) creates one"):
            call([{"usage_id": 1}])  # type: ignore[list-item]


def test_a_lost_session_is_reported_once(tomato_url: str, server: psycopg.Connection, caplog: pytest.LogCaptureFixture) -> None:
    def lose(connection: psycopg.Connection) -> None:
        with connection.transaction():
            server.execute("select pg_terminate_backend(%s::int, 5000)", [connection.info.backend_pid])
            raise LookupError

    with connect(tomato_url, pool_size=1) as db, db.connection() as leased, pytest.raises(LookupError):
        lose(leased)
    with probe(tomato_url) as own, pytest.raises(LookupError):
        lose(own)
    assert [record.name for record in caplog.records if record.name.startswith("psycopg")] == []
    with psycopg.connect(tomato_url, autocommit=True) as others, pytest.raises(LookupError):
        lose(others)
    assert [record.name for record in caplog.records if record.name.startswith("psycopg")] != []

"""The embedded server: started once, shared, private, in any path."""

import os
import re
import shlex
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from time import monotonic

import psycopg
import pytest

from tests.conftest import CHECKOUT
from tomato_dao import Unavailable, WrongSchema
from tomato_dao.ops import embedded, embedded_command, embedded_server, programs
from tomato_dao.ops.databases import create_database
from tomato_dao.ops.embedded_server import MEMORY, SOCKET_NAME, EmbeddedServer
from tomato_dao.ops.embedded_server import tests_dir as data_of_tests

pytestmark = pytest.mark.slow

START = "from tomato_dao.ops import embedded; print(embedded.start())"


@pytest.fixture
def data_dir(tmp_path: Path) -> Iterator[Path]:
    """Provide a data directory in a path with a space, whose server is gone at the end."""
    path = tmp_path / "data dir"
    yield path
    embedded.remove(path)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Provide a data directory for all tests to which it doesn't matter that others started its server before."""
    path = tmp_path_factory.mktemp("made")
    path.chmod(0o755)
    embedded.start(path)
    yield path
    embedded.remove(path)


def answers(url: str) -> bool:
    settings = url.replace("/tomato?", "/postgres?")
    with psycopg.connect(settings) as connection:
        return connection.execute("select 1").fetchone() == (1,)


def test_processes_that_start_it_at_once_share_one_server(data_dir: Path) -> None:
    environment = {**os.environ, "TOMATO_DATA_DIR": str(data_dir)}

    def start(_: int) -> str:
        command = [sys.executable, "-c", START]
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout.strip()

    with ThreadPoolExecutor(4) as threads:
        urls = set(threads.map(start, range(4)))
    assert len(urls) == 1
    assert answers(urls.pop())


def test_it_keeps_its_data_when_stopped(made: Path) -> None:
    url = embedded.start(made)
    with psycopg.connect(url.replace("/tomato?", "/postgres?"), autocommit=True) as connection:
        connection.execute("create table kept (x int)")
    assert embedded.stop(made)
    assert not embedded.stop(made)
    with psycopg.connect(embedded.start(made).replace("/tomato?", "/postgres?")) as connection:
        assert connection.execute("select count(*) from kept").fetchone() == (0,)


def test_only_its_user_can_enter_data_and_socket(made: Path) -> None:
    embedded.start(made)
    server = EmbeddedServer.of(made)
    for private in (server.data, server.socket_dir()):
        assert stat.S_IMODE(private.stat().st_mode) == 0o700
    assert stat.S_IMODE(made.stat().st_mode) == 0o755
    assert server.data.stat().st_uid != 0


def test_a_path_that_is_too_long_for_a_socket_works(tmp_path: Path) -> None:
    deep = tmp_path.joinpath(*["a-rather-long-directory-name"] * 4)
    try:
        url = embedded.start(deep)
        assert answers(url)
        assert len(os.fsencode(EmbeddedServer.of(deep).socket_dir() / SOCKET_NAME)) <= 107
    finally:
        embedded.remove(deep)


def test_a_data_directory_of_another_major_version_is_named(made: Path) -> None:
    embedded.start(made)
    embedded.stop(made)
    version = EmbeddedServer.of(made).data / "PG_VERSION"
    version.write_text("16\n")
    with pytest.raises(WrongSchema, match=r"is of PostgreSQL 16, the embedded server is 18"):
        embedded.start(made)
    version.write_text("18\n")


def test_a_start_that_was_killed_halfway_is_made_good(data_dir: Path) -> None:
    server = EmbeddedServer.of(data_dir)
    half = server.home / "data.new"
    half.mkdir(parents=True)
    (half / "PG_VERSION").write_text("18\n")
    assert answers(embedded.start(data_dir))


def test_a_socket_directory_of_somebody_else_is_refused(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    server = EmbeddedServer.of(data_dir)
    server.home.mkdir(parents=True)
    (server.home / "run").mkdir()
    (server.home / "run").chmod(0o777)
    with pytest.raises(Unavailable, match=r"run must be a directory of user \d+ with mode 0700"):
        embedded.start(data_dir)


def test_a_server_whose_socket_was_tidied_away_is_found_again(made: Path) -> None:
    url = embedded.start(made)
    shutil.rmtree(EmbeddedServer.of(made).socket_dir())
    assert embedded.start(made) == url
    assert answers(url)
    shutil.rmtree(EmbeddedServer.of(made).socket_dir())
    assert embedded.stop(made)


def test_the_environment_of_other_servers_does_not_lead_astray(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    others = {"PGHOSTADDR": "127.0.0.9", "PGHOST": "nowhere.invalid", "PGPORT": "5555", "PGUSER": "nobody", "PGDATABASE": "x"}
    for name, value in others.items():
        monkeypatch.setenv(name, value)
    assert answers(embedded.start(made))


def test_a_narrow_umask_does_not_keep_it_from_starting(data_dir: Path) -> None:
    before = os.umask(0o077)
    try:
        assert answers(embedded.start(data_dir))
    finally:
        os.umask(before)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root's server is run by another user")
def test_root_can_start_it_from_a_checkout_below_a_closed_directory(
    data_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed = programs.binaries()
    package = installed.parents[1]
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    for part in package.parent.glob(f"{package.name}*"):
        (closed / part.name).symlink_to(part)
    monkeypatch.setattr(programs, "binaries", lambda: closed / installed.relative_to(package.parent))
    with tempfile.TemporaryDirectory() as directory:
        Path(directory).chmod(0o755)
        home = Path(directory) / "tomato-dao"
        for module in (programs, embedded):
            monkeypatch.setattr(module, "ROOT_HOME", home)
        (home / "postgresql-new" / "half").mkdir(parents=True)  # what a process that was killed has left
        try:
            assert answers(embedded.start(data_dir))
            (copy,) = home.glob("postgresql-*")
            assert not (copy / "half").exists()
        finally:
            embedded.remove(data_dir)
        assert not home.exists()


USE = """
import os, sys
from tomato_dao.ops import embedded
with embedded.started_for_tests() as url:
    print(url, flush=True)
    sys.stdin.read()
"""


def user(data_dir: Path) -> "subprocess.Popen[str]":
    """Return a process that uses the tests' server until its input ends."""
    command = [sys.executable, "-c", USE]
    environment = {**os.environ, "TOMATO_DATA_DIR": str(data_dir)}
    return subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def url_of(process: "subprocess.Popen[str]") -> str:
    assert process.stdout
    return process.stdout.readline().strip()


@pytest.fixture
def for_tests(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[EmbeddedServer]:
    """Provide the tests' server of that data directory."""
    monkeypatch.setenv("TOMATO_DATA_DIR", str(data_dir))
    yield EmbeddedServer.of(data_of_tests())
    embedded.remove(data_of_tests())


def test_the_last_user_of_the_tests_server_removes_it(data_dir: Path, for_tests: EmbeddedServer) -> None:
    with user(data_dir) as first, user(data_dir) as second:
        url = url_of(first)
        assert url_of(second) == url
        assert stat.S_IMODE(for_tests.data.stat().st_mode) == 0o700
        first.communicate()
        assert answers(url)
        second.communicate()
    assert not for_tests.data.exists()
    assert not for_tests.running()


def test_leftovers_of_killed_tests_are_used_and_removed_by_the_next(data_dir: Path, for_tests: EmbeddedServer) -> None:
    with user(data_dir) as first, user(data_dir) as second:
        url = url_of(first)
        url_of(second)
        first.kill()
        second.kill()
    assert answers(url)
    with embedded.started_for_tests() as again:
        assert (again, answers(again)) == (url, True)
    assert not for_tests.data.exists()


def test_data_of_a_killed_tests_server_is_made_anew(data_dir: Path, for_tests: EmbeddedServer) -> None:
    with user(data_dir) as first:
        with psycopg.connect(url_of(first).replace("/tomato?", "/postgres?"), autocommit=True) as connection:
            connection.execute("create database kept")
        first.kill()
    os.kill(int((for_tests.data / "postmaster.pid").read_text().split()[0]), signal.SIGKILL)
    deadline = monotonic() + 60
    while for_tests.running():
        assert monotonic() < deadline
    with embedded.started_for_tests() as url, psycopg.connect(url.replace("/tomato?", "/postgres?")) as connection:
        assert connection.execute("select count(*) from pg_database where datname = 'kept'").fetchone() == (0,)


@pytest.mark.parametrize("room", [0, 2**62])
def test_the_data_of_tests_is_in_memory_where_there_is_room(
    data_dir: Path, for_tests: EmbeddedServer, monkeypatch: pytest.MonkeyPatch, room: int
) -> None:
    monkeypatch.setattr(embedded_server, "_ROOM", room)
    with embedded.started_for_tests() as url:
        assert answers(url)
        data = for_tests.data.resolve()
        assert data.is_relative_to(MEMORY) == (room == 0)
    assert not data.exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make what is somebody else's")
def test_data_of_another_user_in_memory_are_left_alone(data_dir: Path, for_tests: EmbeddedServer, tmp_path: Path) -> None:
    with user(data_dir) as first:
        url_of(first)
        planted = for_tests.data.resolve()
        first.kill()
    for_tests.discard()
    sleeping = subprocess.Popen(["/bin/sleep", "60"], user=for_tests._owner())
    try:
        planted.mkdir(mode=0o777)
        (planted / "PG_VERSION").write_text("18\n")
        (planted / "postmaster.pid").write_text(f"{sleeping.pid}\n{planted}\n")
        os.chown(planted, 1, 1)
        for_tests.data.symlink_to(planted)
        os.lchown(for_tests.data, for_tests._owner(), -1)
        with embedded.started_for_tests() as url:
            assert answers(url)
            assert for_tests.data.resolve() != planted
        assert (planted / "PG_VERSION").exists()
        assert sleeping.poll() is None
    finally:
        sleeping.kill()
        sleeping.wait()
        shutil.rmtree(planted)


def command(data_dir: Path, *arguments: str, url: str = "") -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "TOMATO_DATA_DIR": str(data_dir), "DATABASE_URL": url}
    program: list[str | Path] = [CHECKOUT / "bin" / "embedded", *arguments]
    return subprocess.run(program, env=environment, capture_output=True, text=True, timeout=300, check=False)


def test_status_says_if_the_server_runs_and_where(made: Path) -> None:
    url = embedded.start(made)
    done = command(made, "status")
    state, *lines = done.stdout.splitlines()
    assert (done.returncode, done.stderr) == (0, "")
    assert re.fullmatch(r"running: PostgreSQL 18\.\d+", state)
    shown = dict(line.split(maxsplit=1) for line in lines)
    assert shown["URL"] == url
    assert Path(shown["log"]).is_file()
    assert (Path(shown["data"].removeprefix("directory  ")) / "PG_VERSION").is_file()
    assert "DATABASE_URL is set" in command(made, "status", url="postgresql://elsewhere/x").stdout
    embedded.stop(made)
    stopped = command(made, "status")
    assert (stopped.returncode, stopped.stdout.splitlines()[0]) == (1, "not running: PostgreSQL 18")
    assert url in stopped.stdout


def test_status_creates_nothing(tmp_path: Path) -> None:
    done = command(tmp_path / "data", "status")
    assert (done.returncode, done.stdout.splitlines()[0]) == (1, "not running, without data so far")
    assert not (tmp_path / "data").exists()


def test_psql_opens_the_embedded_servers_database(made: Path) -> None:
    url = embedded.start(made)
    create_database(url)
    query = ["psql", "--no-psqlrc", "-At", "-c", "select current_user, current_database()"]
    done = command(made, *query, url="postgresql://elsewhere/x")
    assert (done.returncode, done.stdout) == (0, "tomato|tomato\n"), done.stderr
    assert command(made, "psql", "-c", "nonsense").returncode == 1
    with psycopg.connect(url, dbname="postgres", autocommit=True) as connection:
        connection.execute("drop database tomato")
    refused = command(made, *query)
    assert (refused.returncode, refused.stdout) == (1, "")
    assert refused.stderr.endswith('database "tomato" does not exist; make migrate creates it\n')


def test_without_a_psql_of_its_own_it_says_which_command_to_type(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = embedded.start(made)
    create_database(url)
    monkeypatch.setenv("TOMATO_DATA_DIR", str(made))
    monkeypatch.setattr(programs, "binaries", lambda: tmp_path)
    with pytest.raises(Unavailable) as refused:
        embedded_command.main("bin/embedded", ["psql"])
    *_, psql, given = shlex.split(str(refused.value))
    assert (psql, given) == ("psql", url)

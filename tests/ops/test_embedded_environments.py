"""The embedded server where others would not start: after a kill that nobody reaps, in strange paths, for a nameless user."""

import ctypes
import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from time import monotonic

import psycopg
import pytest

from tests.conftest import CHECKOUT
from tests.ops.test_embedded import answers
from tomato_dao import Unavailable
from tomato_dao.ops import embedded, programs
from tomato_dao.ops.databases import create_database
from tomato_dao.ops.embedded_server import EmbeddedServer

pytestmark = pytest.mark.slow

STRANGE = """o@d, "q" $(x) `y` 's'"""
NAMELESS = 54321
# Adopts the server, as a container's first process does, and never reaps it.
KEEPER = """
import ctypes, sys
from pathlib import Path
from tomato_dao.ops import embedded
assert ctypes.CDLL(None).prctl(36, 1, 0, 0, 0) == 0  # PR_SET_CHILD_SUBREAPER
print(embedded.start(Path(sys.argv[1])), flush=True)
sys.stdin.read()
"""


@pytest.fixture
def data_dir(tmp_path: Path) -> Iterator[Path]:
    """Provide a data directory whose server is gone at the end."""
    yield tmp_path / "data"
    embedded.remove(tmp_path / "data")


def process_of(data_dir: Path) -> int:
    return int((EmbeddedServer.of(data_dir).data / "postmaster.pid").read_text().split()[0])


def kill(process: int) -> None:
    """Kill a process, which stays as a zombie."""
    os.kill(process, signal.SIGKILL)
    deadline = monotonic() + 20
    while "Z" not in Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]:
        assert monotonic() < deadline


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "prctl"), reason="only Linux has processes that adopt others")
def test_a_killed_server_that_nobody_reaps_is_replaced_at_once(data_dir: Path) -> None:
    command = [sys.executable, "-c", KEEPER, str(data_dir)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as keeper:
        assert keeper.stdout
        url = keeper.stdout.readline().strip()
        create_database(url)
        with closing(psycopg.connect(url, autocommit=True)) as session:  # whose end the next server has to wait for
            session.execute("select 1")
            killed = process_of(data_dir)
            kill(killed)
            began = monotonic()
            assert embedded.start(data_dir) == url
            assert answers(url)
        kill(process_of(data_dir))
        assert not embedded.stop(data_dir)
        embedded.remove(data_dir)
        assert monotonic() - began < 30
        keeper.communicate()


def test_a_process_that_has_the_number_of_the_last_server_keeps_none_from_starting(data_dir: Path) -> None:
    url = embedded.start(data_dir)
    file = EmbeddedServer.of(data_dir).data / "postmaster.pid"
    text = file.read_text()
    embedded.stop(data_dir)
    file.write_text(text.replace(text.split()[0], str(os.getpid()), 1))
    assert not embedded.stop(data_dir)
    file.write_text(text.replace(text.split()[0], str(os.getpid()), 1))
    assert answers(embedded.start(data_dir))
    # The message quotes this start's log, not an earlier one's.
    embedded.stop(data_dir)
    server = EmbeddedServer.of(data_dir)
    with (server.home / "run" / "log").open("a") as log:
        log.write("FATAL: yesterday\n")
    with (server.data / "postgresql.conf").open("a") as configuration:
        configuration.write("nonsense = 1\n")
    with pytest.raises(Unavailable, match=r"did not start in .*nonsense") as failed:
        embedded.start(data_dir)
    assert "yesterday" not in str(failed.value)
    assert url


def as_user(uid: int, directory: Path, work: Callable[[], None]) -> None:
    """Do some work in a child that is this user, without a home, and fail with what it raised."""
    told = directory / "told"
    child = os.fork()
    if not child:
        try:
            os.setgroups([])
            os.setresgid(uid, uid, uid)
            os.setresuid(uid, uid, uid)
            os.environ.pop("HOME", None)
            work()
            told.write_text("fine")
        except BaseException:  # noqa: BLE001 (the parent tells of it)
            told.write_text(traceback.format_exc())
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    assert told.read_text() == "fine", told.read_text()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_a_process_that_may_no_longer_read_its_checkout_names_its_commands(tmp_path: Path) -> None:
    """As a service does that root has started and that has become another user since."""
    place = tmp_path / "closed"
    shutil.copytree(CHECKOUT / "tomato_dao", place / "tomato_dao", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(CHECKOUT / "db", place / "db")
    shutil.copy(CHECKOUT / "Makefile", place)
    place.chmod(0o700)
    code = f"""
import os
from tomato_dao.server.commands import command_line
os.setresuid({NAMELESS}, {NAMELESS}, {NAMELESS})
print(command_line("migrate"))
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=place, capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("make migrate\n", "")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become a user that is not there")
def test_a_nameless_user_without_a_home_starts_it_from_and_in_a_strange_path(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(KeyError):
        pwd.getpwuid(NAMELESS)
    installed = programs.binaries()
    package = installed.parents[1]
    with tempfile.TemporaryDirectory(prefix="tomato") as name:
        place = Path(name, STRANGE)
        shutil.copytree(
            installed.parent, place / package.name / installed.parent.name, ignore=shutil.ignore_patterns("include")
        )
        shutil.copytree(package.with_name(f"{package.name}.libs"), place / f"{package.name}.libs")
        for path in [Path(name), *Path(name).rglob("*")]:
            os.chown(path, NAMELESS, NAMELESS)
        moved = place / package.name / installed.parent.name / "bin"
        monkeypatch.setattr(programs, "binaries", lambda: moved)

        def work() -> None:
            data_dir = place / "data"
            url = embedded.start(data_dir)
            assert answers(url)
            assert embedded.stop(data_dir)
            assert answers(embedded.start(data_dir))
            embedded.remove(data_dir)

        as_user(NAMELESS, Path(name), work)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_a_place_that_can_not_be_written_is_named() -> None:
    def work() -> None:
        with pytest.raises(Unavailable, match=r"can't write .*closed.*; set TOMATO_DATA_DIR to another directory"):
            embedded.start(Path(name, "closed", "data"))

    with tempfile.TemporaryDirectory() as name:
        Path(name, "closed").mkdir(mode=0o700)
        Path(name, "told").touch()
        for path in (Path(name), Path(name, "told")):
            os.chown(path, NAMELESS, NAMELESS)
        as_user(NAMELESS, Path(name), work)

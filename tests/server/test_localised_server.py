"""A server that speaks German: it is waited for all the same, since no word of its refusals decides."""

import os
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from logging import WARNING
from pathlib import Path
from time import monotonic, sleep

import psycopg
import pytest

from tomato_dao import Unavailable
from tomato_dao.ops.databases import create_database
from tomato_dao.ops.scratch import with_database
from tomato_dao.server.probe import probe

pytestmark = pytest.mark.slow

PROGRAMS = Path("/usr/lib/postgresql/15/bin")
WORDS = Path("/usr/share/locale/de/LC_MESSAGES/postgres-15.mo")
PORT = 54329


class German:
    """A PostgreSQL 15 that allows few connections, and whose messages are German."""

    def __init__(self, directory: Path) -> None:
        self._data = directory / "data"
        self._as_user: list[str] = []
        self._environment = {"PATH": os.environ["PATH"], "LOCPATH": str(directory), "LC_ALL": "C"}
        if os.geteuid() == 0:
            self._as_user = ["setpriv", "--reuid=postgres", "--regid=postgres", "--init-groups"]
            shutil.chown(directory, "postgres")
        self._run("localedef", "-i", "de_DE", "-f", "UTF-8", str(directory / "de_DE.UTF-8"))
        self._run(
            str(PROGRAMS / "initdb"), "-D", str(self._data), "-U", "postgres", "--auth=trust", "-N", "-E", "UTF8", "--locale=C"
        )
        with (self._data / "postgresql.conf").open("a") as conf:
            conf.write(
                f"port = {PORT}\nlisten_addresses = ''\nunix_socket_directories = '{directory}'\nfsync = off\n"
                "max_connections = 6\nsuperuser_reserved_connections = 1\nmax_wal_senders = 0\nlc_messages = 'de_DE.UTF-8'\n"
            )
        self.url = f"postgresql://postgres@/postgres?host={directory}&port={PORT}"
        self.start()

    def start(self) -> None:
        """Start it, and wait until it is there."""
        self._run(str(PROGRAMS / "pg_ctl"), "-D", str(self._data), "-l", str(self._data / "log"), "-w", "start")

    def stop(self, mode: str, *options: str) -> None:
        """Stop it."""
        self._run(str(PROGRAMS / "pg_ctl"), "-D", str(self._data), "-m", mode, *options, "stop")

    def is_running(self) -> bool:
        """Return whether the server still runs."""
        return (self._data / "postmaster.pid").exists()

    def session(self) -> psycopg.Connection | None:
        """Return a session; None where there is none to be had."""
        try:
            return psycopg.connect(self.url)
        except psycopg.OperationalError:
            return None

    def _run(self, *command: str) -> None:
        done = subprocess.run([*self._as_user, *command], cwd="/", env=self._environment, capture_output=True, check=False)
        assert done.returncode == 0, done.stderr + done.stdout


@pytest.fixture(scope="module")
def german(tmp_path_factory: pytest.TempPathFactory) -> Iterator[German]:
    """Provide the server."""
    if not (PROGRAMS.is_dir() and WORDS.exists() and shutil.which("localedef") and shutil.which("setpriv")):
        pytest.skip("there is no PostgreSQL 15 of Debian's with its German messages, or no localedef")
    directory = Path("/tmp", f"tomato-german-{os.getpid()}")  # noqa: S108 (its user has to reach it)
    directory.mkdir(mode=0o755)
    try:
        server = German(directory)
        yield server
        server.stop("immediate")
    finally:
        shutil.rmtree(directory)


def until(condition: Callable[[], bool]) -> None:
    deadline = monotonic() + 20
    while not condition():
        assert monotonic() < deadline
        sleep(0.01)


def waits(url: str, caplog: pytest.LogCaptureFixture, meanwhile: Callable[[], None]) -> str:
    """Do something once a connection is waited for, and return what was said of that; the connection has to come then."""
    told = threading.Event()
    caplog.clear()
    with ThreadPoolExecutor(1) as thread, caplog.at_level(WARNING, "tomato_dao"):
        caplog.handler.addFilter(lambda _: (told.set(), True)[1])  # type: ignore[func-returns-value]
        opening = thread.submit(probe, url, 60)
        assert told.wait(10)
        assert not opening.done()
        meanwhile()
        opening.result(60).close()
    return caplog.text


def test_a_server_at_its_limit_is_waited_for_in_any_language(german: German, caplog: pytest.LogCaptureFixture) -> None:
    with ExitStack() as held:
        while (session := german.session()) is not None:
            held.enter_context(session)
        assert "tut mir leid, schon zu viele Verbindungen" in waits(german.url, caplog, held.close)


def test_a_server_that_shuts_down_and_starts_again_is_waited_for_in_any_language(
    german: German, caplog: pytest.LogCaptureFixture
) -> None:
    last = german.session()
    assert last is not None
    german.stop("smart", "-W")
    until(lambda: german.session() is None)

    def restart() -> None:
        last.close()
        until(lambda: not german.is_running())
        german.start()

    assert "das Datenbanksystem f" in waits(german.url, caplog, restart)


def test_a_database_that_is_missing_is_made_in_any_language(german: German) -> None:
    url = with_database(german.url, "fehlt")
    with pytest.raises(Unavailable, match="existiert nicht"):
        probe(url, 0.1)
    began = monotonic()
    create_database(url, 30)
    probe(url).close()
    assert monotonic() - began < 20

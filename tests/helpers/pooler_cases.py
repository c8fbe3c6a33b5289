"""A PgBouncer of a test's own."""

import os
import pwd
import re
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict


@contextmanager
def pgbouncer(url: str, *settings: str, mode: str = "transaction", sessions: int = 3) -> Iterator[str]:
    """Provide the URL of a database behind a pooler of its own, that holds so many sessions; settings: more lines."""
    program = _program()
    place = {name: str(value) for name, value in conninfo_to_dict(url).items()}
    with tempfile.TemporaryDirectory(prefix="pgbouncer") as directory:
        user = _pooler_user(place.get("host", ""))
        identity: dict[str, int] = {}
        if user:
            os.chown(directory, user.pw_uid, user.pw_gid)
            identity = {"user": user.pw_uid, "group": user.pw_gid}
        names = ("host", "port", "dbname", "user", "password")
        target = " ".join(f"{name}={place[name]}" for name in names if place.get(name))
        lines = [
            "[databases]",
            f"{place['dbname']} = {target}",
            "[pgbouncer]",
            f"pool_mode = {mode}",
            f"default_pool_size = {sessions}",
            "max_client_conn = 1000",
            "auth_type = any",
            "listen_addr =",
            "listen_port = 6432",
            f"unix_socket_dir = {directory}",
            *(["max_prepared_statements = 0"] if keeps_statements() else []),
            *settings,
        ]
        config = Path(directory) / "pgbouncer.ini"
        config.write_text("\n".join(lines) + "\n", "utf-8")
        with (Path(directory) / "log").open("w") as log:
            process = subprocess.Popen([program, str(config)], stdout=log, stderr=log, cwd=directory, **identity)  # type: ignore[call-overload]
        try:
            pooled = f"postgresql://tomato@/{place['dbname']}?host={directory}&port=6432"
            deadline = monotonic() + 60
            while not _answers(pooled):
                assert process.poll() is None, (Path(directory) / "log").read_text()
                assert monotonic() < deadline, (Path(directory) / "log").read_text()
            yield pooled
        finally:
            process.terminate()
            process.wait(60)


def keeps_statements() -> bool:
    """Return whether the pooler can keep prepared statements, as PgBouncer does from 1.21 on."""
    said = subprocess.run([_program(), "--version"], capture_output=True, text=True, check=True).stdout
    return tuple(int(n) for n in re.findall(r"\d+", said)[:2]) >= (1, 21)


def _program() -> str:
    program = shutil.which("pgbouncer") or shutil.which("/usr/sbin/pgbouncer")
    if program is None:
        pytest.skip("pgbouncer is neither on PATH nor at /usr/sbin/pgbouncer")
    return program


def _answers(url: str) -> bool:
    try:
        psycopg.connect(url, connect_timeout=2).close()
    except psycopg.OperationalError:
        return threading.Event().wait(0.02)
    return True


def _pooler_user(host: str) -> pwd.struct_passwd | None:
    """Return the user who runs the pooler, which refuses root: one who may enter the server's socket directory."""
    if os.geteuid() != 0:
        return None
    if host.startswith("/") and (owner := Path(host).stat().st_uid) != 0:
        return pwd.getpwuid(owner)
    return pwd.getpwnam("nobody")

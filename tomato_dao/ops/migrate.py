"""Migrations: dbmate applies db/migrations while a table lock excludes other migrating processes."""

import logging
import os
import re
import sys
from collections.abc import Iterable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path
from shlex import quote

import psycopg

from ..errors import Busy, InvalidValue, NotFound, TomatoError, Unavailable, WrongSchema, WrongState, from_driver
from ..printable import printable, quoted
from ..server import arguments, rolling, schema
from ..server.commands import checkout, command_line
from ..server.planted import refuse_planted
from ..server.poolers import warn_owner
from ..server.probe import database_name, probe
from ..server.target import target_of
from . import distributed, rollout
from .backup import back_up, holds_rows
from .cli import Parser, interrupted_as
from .databases import create_database
from .dbmate import dbmate
from .migration_lock import LockSessionLostError, migrating, tries
from .privileges import restore_privileges
from .urls import owner_url, owner_url_for

logger = logging.getLogger(__name__)

_GLANCE = "set local lock_timeout = '200ms'"  # a running migration may lock the table that is read
_RECORD_HASHES = """
update schema_migrations m
set sha256 = f.sha256
from unnest(%s::text[], %s::text[]) f (version, sha256)
where m.version = f.version and m.sha256 is null
"""
# The author of the migration completes the header; `make check` refuses an incomplete one.
_TEMPLATE = """-- migrate:up
-- compatible: {version} (older code that goes on working; otherwise: breaks: why, and backfill: NAME of db/backfills)


-- migrate:down

"""
_HAS_HASHES = "select from pg_attribute where attrelid = to_regclass('schema_migrations') and attname = 'sha256'"
# Invalid indexes: a failed "create index concurrently" leaves one, which "if not exists" would accept as the index.
_INVALID = """
select i.indexrelid::regclass::text
from pg_index i
join pg_class c on c.oid = i.indexrelid
where not i.indisvalid and c.relnamespace = 'public'::regnamespace
"""


def migrate(url: str | None = None, timeout: float = 0, *, contract: bool = False, save: bool = True) -> list[str]:
    """Apply all pending migrations, creating the database first if it does not exist, and return their versions.

    Only one process migrates at a time; others wait for it. See docs/guides/migrations.md.

    Args:
        url: The owner's URL (default: OWNER_DATABASE_URL, else DATABASE_URL, else the embedded server).
        timeout: Seconds to wait for a server that is full or out of reach.
        contract: Apply contract migrations even if workers that they no longer support are connected. Otherwise such a
            migration and the later ones stay pending, and a warning says why.
        save: First back up a database that has rows, unless BACKUP is “no”.

    Raises:
        WrongSchema: The schema is newer, was never released, has objects of other owners, or a migration was edited after
            it was applied.
        NotAllowed: The user may not migrate the database.
        WrongState: An earlier attempt left an invalid index.
        Unavailable: The server or dbmate is missing.
        TomatoError: A migration failed; the message has dbmate's output, the schema version reached and how to restore the
            backup.
    """
    url = url or owner_url()
    arguments.seconds("timeout", timeout)
    create_database(url, timeout)
    if _is_current(url, timeout):
        return []
    before: list[str] = []
    try:
        with migrating(url, timeout) as (connection, owner):
            before = _applied(connection)
            if schema.compare(before).equal:
                return []  # another process has applied them meanwhile
            schema.refuse_unknown(before, connection.info.dbname)
            with connection.transaction(force_rollback=True):  # see _applied
                schema.refuse_edited(connection)
            steps = rollout.steps(connection, contract=contract)
            if (first := next(steps, None)) is None:
                return []
            _dbmate_with_backup(url, connection, owner, "migrate", chain([first], steps), save=save)
            return [version for version in schema.applied(connection) if version not in before]
    except LockSessionLostError as lost:
        return _complete(url, timeout, before, lost)


def _is_current(url: str, timeout: float) -> bool:
    """Return whether a database has this code's schema. Waits while a running migration locks the table of versions.

    Raises the errors of `migrate` if the database must not be migrated.
    """
    try:
        for patience in tries(url, timeout):
            with probe(url, patience) as connection, suppress(Busy), connection.transaction():
                connection.execute(_GLANCE)
                refuse_planted(connection)
                before = schema.applied(connection)
                if schema.compare(before).equal:
                    schema.refuse_edited(connection)
                    return True
                schema.refuse_unknown(before, connection.info.dbname)
                warn_owner(connection)
                return False
    except psycopg.Error as error:
        raise from_driver(error) from error
    raise AssertionError("tries until it returns or raises")


def migrate_for(url: str, timeout: float) -> None:
    """Migrate the database of a worker's URL as its owner, with OWNER_DATABASE_URL if that is set.

    A newer schema that supports this code stays unchanged.
    """
    owner = owner_url_for(url)
    names = [database_name(owner), database_name(url)]
    if names[0] != names[1]:
        raise InvalidValue(f"OWNER_DATABASE_URL names the database {names[0]}, but {names[1]} is to be migrated")
    try:
        migrate(owner, timeout)
    except WrongSchema:
        with probe(owner, timeout) as connection:
            if not schema.compare(schema.applied(connection)).unknown:
                raise
            rolling.check_worker(connection)


def roll_back(url: str | None = None) -> str:
    """Undo the latest migration, after a backup as in `migrate`, and return its version.

    Raises NotFound if no migration is applied, and WrongSchema if the schema is newer or was never released.
    """
    url = url or owner_url()
    with migrating(url, 0) as (connection, owner):
        applied = _applied(connection)
        if not applied:
            raise NotFound(f"the database {connection.info.dbname} has no migration to undo")
        schema.refuse_unknown(applied, connection.info.dbname)
        _dbmate_with_backup(url, connection, owner, "rollback")
        return applied[-1]


def _complete(url: str, timeout: float, before: list[str], lost: LockSessionLostError) -> list[str]:
    """Complete a migration whose lock session was lost after dbmate had applied all versions. Return these.

    The remaining steps after dbmate are done here. Otherwise raises Unavailable with the schema version.
    """
    with migrating(url, timeout) as (connection, _):
        after = _applied(connection)
        if schema.compare(after).equal:
            logger.warning("%s; all is applied nevertheless", lost)
            _settle(connection)
            return [version for version in after if version not in before]
    stands = "the schema is as it was" if after == before else f"the schema is at {after[-1]}"
    raise Unavailable(f"{lost}; {stands}: {command_line('migrate')} goes on from there") from lost


def _applied(connection: psycopg.Connection) -> list[str]:
    """Return the result of `schema.applied` without keeping a lock.

    The transaction stays open while dbmate works, and the first migration alters the table that was read. A rollback to a
    savepoint releases its locks.
    """
    with connection.transaction(force_rollback=True):
        return schema.applied(connection)


def _settle(connection: psycopg.Connection) -> None:
    """Store the hashes of the files that dbmate has just applied, and update functions and privileges accordingly."""
    if connection.execute(_HAS_HASHES).fetchone() is not None:  # the first migration creates the column
        paths = schema.files()
        connection.execute(_RECORD_HASHES, [[*map(schema.version_of, paths)], [*map(schema.file_hash, paths)]])
    restore_privileges(connection)
    if distributed.distributed(connection):
        with connection.transaction():
            distributed.install(connection)  # a migration may have replaced some of these functions


def _dbmate_with_backup(
    url: str,
    connection: psycopg.Connection,
    owner: str | None,
    command: str,
    steps: Iterable[str | None] = (None,),
    *,
    save: bool = True,
) -> None:
    """Back up, then run dbmate's command for each step. Each step's target version is requested after the previous step."""
    if invalid := _invalid(connection):
        raise WrongState(f"nothing was migrated in {connection.info.dbname}: {invalid}")
    saved = None
    if save and os.environ.get("BACKUP") != "no" and holds_rows(connection):
        try:
            saved = back_up(url)
        except TomatoError as error:
            raise TomatoError(
                f"nothing was migrated, because the backup failed: {error} (BACKUP=no migrates without one)"
            ) from error
        logger.info("saved %s", printable(saved, None))
    before = _applied(connection)
    try:
        for upto in steps:
            dbmate(target_of(connection), command, role=owner, upto=upto)
    except TomatoError as error:
        with suppress(TomatoError, psycopg.Error), probe(url) as another:  # this connection's transaction is rolled back
            _settle(another)
        way_back = (
            f"; the database before is in {saved}: “{command_line('restore')} {quote(str(saved))}” restores it" if saved else ""
        )
        raise TomatoError(f"{error}; {_how_far(url, connection, before)}{way_back}") from error
    _settle(connection)


def _how_far(url: str, connection: psycopg.Connection, before: list[str]) -> str:
    """Return the schema version after dbmate failed, read on a new connection if this one was lost as well."""
    try:
        return _stands(connection, before)
    except (TomatoError, psycopg.Error):
        logger.debug("the session that keeps others from migrating was lost", exc_info=True)
    try:
        with probe(url) as another:
            return _stands(another, before)
    except (TomatoError, psycopg.Error):
        status = command_line("migrate status")
        return f"the connection was lost, and the last migration may or may not be committed: {status} lists what was applied"


def _stands(connection: psycopg.Connection, before: list[str]) -> str:
    after, invalid = schema.applied(connection), _invalid(connection)
    far = "the schema is unchanged" if after == before else f"the schema is at {after[-1]}, as before that migration"
    return f"{far}; {invalid}" if invalid else far


def _invalid(connection: psycopg.Connection) -> str:
    """Describe the invalid indexes of failed builds and the remedy, or return an empty string."""
    found = [f"{schema.invalid_index(name)}: {schema.drop_invalid_index(name)}" for (name,) in connection.execute(_INVALID)]
    return "; ".join([*found, f"then {command_line('migrate')}"]) if found else ""


def _status() -> None:
    with probe(owner_url()) as connection:
        refuse_planted(connection)
        applied, edited = schema.applied(connection), schema.edited(connection)
        names = {schema.version_of(path): path.stem for path in schema.files()}
        differs = schema.compare(applied)
        states = {**dict.fromkeys(differs.unknown, "unknown"), **dict.fromkeys(differs.pending, "pending")}
        for version in sorted({*names, *applied}):
            state = states.get(version, "applied")
            print(f"{'edited ' if names.get(version) in edited else state}  {printable(names.get(version, version))}")
        if differs.unreleased:
            schema.refuse_unknown(applied, connection.info.dbname)
        schema.refuse_edited(connection)


def _new(name: str) -> Path:
    """Create an empty migration with this name. Needs a checkout."""
    if not re.fullmatch("[a-z][a-z0-9_]*", name):
        raise InvalidValue(f"a migration's name must consist of a-z, 0-9 and _, such as host_owner, not {quoted(name)}")
    if checkout() is None:
        raise InvalidValue("new migrations are written in a checkout of tomato-dao")
    path = schema.DB_DIR / "migrations" / f"{datetime.now(UTC):%Y%m%d%H%M%S}_{name}.sql"
    path.write_text(_TEMPLATE.format(version=rolling.migrations()[-1].oldest), "utf-8")
    return path


def _migrate(*, contract: bool) -> None:
    applied = migrate(contract=contract)
    for version in applied:
        print(f"applied {version}")
    with probe(owner_url()) as connection:
        current, pending = schema.applied(connection)[-1], schema.compare(schema.applied(connection)).pending
    print(f"the schema is {current}{'' if applied or pending else ', nothing to do'}")
    if pending:
        sys.exit(rollout.STOPPED)


def main(prog: str, arguments: Sequence[str]) -> None:
    """Run `tomato-dao migrate [status | rollback | new NAME]`."""
    parser = Parser(
        prog=prog,
        description="Migrate the database of OWNER_DATABASE_URL or DATABASE_URL (else the embedded server's) to this version's "
        "schema.",
    )
    parser.add_argument(
        "--contract",
        action="store_true",
        help="apply contract migrations even if workers of older code are connected, whose calls will fail; without it, "
        f"migrating stops before them (exit code {rollout.STOPPED})",
    )
    commands = parser.add_subparsers(dest="command")
    commands.add_parser("status", help="list the migrations: applied, pending, edited since, unknown to this code")
    commands.add_parser("rollback", help="undo the latest migration")
    commands.add_parser("new", help="create a file for a new migration").add_argument("name")
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    if options.command == "status":
        _status()
    elif options.command == "rollback":
        print(f"undid {roll_back()}")
    elif options.command == "new":
        print(_new(options.name))
    else:
        with interrupted_as(f"{command_line('migrate status')} lists what was applied"):
            _migrate(contract=options.contract)

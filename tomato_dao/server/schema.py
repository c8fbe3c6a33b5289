"""The schema that this code needs, defined by its migrations, and the check that a database has it."""

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import psycopg

from ..errors import NotAllowed, WrongSchema, from_driver
from ..sql import pins
from .commands import command_line

_PACKAGE = Path(__file__).parents[1]
# A wheel contains db/ inside the package; in a checkout it is beside the package.
DB_DIR = _PACKAGE / "db" if (_PACKAGE / "db").is_dir() else _PACKAGE.parent / "db"

_MIGRATION = re.compile(r"\d+_[a-z0-9_]+\.sql")  # the file names that dbmate and “migrate new” use
# Our table is recognized by its column of hashes, since other programs have tables of this name.
_ELSEWHERE = """
select c.relnamespace::regnamespace::text
from pg_class c
join pg_attribute a on a.attrelid = c.oid and a.attname = 'sha256'
where c.relname = 'schema_migrations' and c.relkind = 'r'
"""


# Reading a view, or a table with policies, would run code of its owner. (All types are PostgreSQL's own.)
_IS_PLAIN = """
select c.relkind = 'r' and not c.relrowsecurity
from pg_catalog.pg_class c
where c.oid = pg_catalog.to_regclass('schema_migrations')::oid
"""


def recreate() -> str:
    """Return the remedy for a database whose schema was never released."""
    return (
        f"recreate it: drop the database ({command_line('embedded remove')} removes the embedded server with all its data), "
        f"then run {command_line('migrate')}; to keep its rows, first write them with {command_line('dump')} of the tomato-dao "
        "that created it, and load them afterwards"
    )


def invalid_index(name: str) -> str:
    """Describe an invalid index. name: quoted for SQL."""
    return f"index {name} is invalid (an earlier build failed, or one is still running)"


def drop_invalid_index(name: str) -> str:
    """Return the remedy for an invalid index: drop it, and the failed migration creates it again."""
    return f"if none is running, drop index concurrently {name}"


def undo_edit() -> str:
    """Return the remedy for a migration that was edited after it was applied."""
    return (
        f"restore the file, and make the change in a new migration ({command_line('migrate new')}); if the file "
        f"was never released, recreate the database instead ({command_line('embedded remove')} removes the embedded server "
        "with all its data)"
    )


@dataclass(frozen=True, slots=True)
class Comparison:
    """Differences between the migrations of a database or dump and this code's: versions, oldest first.

    unknown: versions that this code does not have. unreleased: those of them that belong to a schema that was never released.
    pending: versions of this code that are missing.
    """

    unknown: list[str]
    unreleased: list[str]
    pending: list[str]

    @property
    def equal(self) -> bool:
        """True if there is no difference."""
        return not self.unknown and not self.pending


def compare(versions: Sequence[str]) -> Comparison:
    """Compare the versions of migrations with those of this code.

    Released migrations are never removed, and later ones have later versions. So an unknown version before this code's newest
    one was never released, and an unknown version after it belongs to a newer tomato-dao.
    """
    need = known()
    unknown = [version for version in versions if version not in need]
    return Comparison(
        unknown=unknown,
        unreleased=[version for version in unknown if version < need[-1]],
        pending=[version for version in need if version not in versions],
    )


def known() -> list[str]:
    """Return the versions of this code's migrations, oldest first."""
    return [version_of(path) for path in files()]


def version_of(path: Path) -> str:
    """Return the version with which a migration's file name begins."""
    return path.name.partition("_")[0]


def files(directory: Path | None = None) -> list[Path]:
    """Return this code's migrations, or those of another directory, oldest first. Other files are ignored."""
    return sorted(path for path in (directory or DB_DIR / "migrations").iterdir() if _MIGRATION.fullmatch(path.name))


def strays(directory: Path) -> list[Path]:
    """Return the visible files among migrations that are none: copies, and files with another kind of name."""
    found = set(files(directory))
    return [path for path in sorted(directory.glob("[!.]*.sql")) if path not in found]


def file_hash(path: Path) -> str:
    """Return the SHA-256 of a migration's file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def applied(connection: psycopg.Connection) -> list[str]:
    """Return the versions of a database's applied migrations, oldest first. A database never migrated has none."""
    try:
        is_ours = connection.execute(_IS_PLAIN).fetchone()
        if is_ours is None:
            _refuse_elsewhere(connection)
            return []
        if is_ours != (True,):
            raise WrongSchema(
                f"schema_migrations in the database {connection.info.dbname} is not a table as dbmate creates it: drop it"
            )
        return [str(row[0]) for row in connection.execute("select version from schema_migrations order by version")]
    except psycopg.errors.InsufficientPrivilege as error:
        raise NotAllowed(
            f"the user {connection.info.user} may not read the database {connection.info.dbname}: connect as another user "
            f"(once {command_line('roles')} has run: tomato_app, tomato_reader or tomato_owner)"
        ) from error
    except psycopg.Error as error:
        raise from_driver(error) from error


def _refuse_elsewhere(connection: psycopg.Connection) -> None:
    """Raise WrongSchema if the tables are in another schema, created by sessions with another search_path."""
    if found := connection.execute(_ELSEWHERE).fetchone():
        raise WrongSchema(
            f"the tables of the database {connection.info.dbname} are in the schema {found[0]}, and tomato-dao only uses "
            f"{pins.SCHEMA}: rename {found[0]} to {pins.SCHEMA}, after dropping or renaming that one"
        )


def refuse_unknown(versions: Sequence[str], database: str) -> None:
    """Raise WrongSchema, with their origin and the remedy, if a database has versions that this code does not have."""
    differs = compare(versions)
    if strange := differs.unreleased:
        raise WrongSchema(f"the database {database} has a schema that was never released ({strange[0]} …): {recreate()}")
    if unknown := differs.unknown:
        raise WrongSchema(
            f"the database {database} has migrations that this code does not know ({', '.join(unknown)}): "
            "it belongs to a newer tomato-dao; install that version"
        )


def edited(connection: psycopg.Connection) -> list[str]:
    """Return the names of a database's migrations whose files have changed since they were applied.

    Migrations that were applied without `migrate` have no hash and are not compared.
    """
    if not applied(connection):
        return []
    # through jsonb, since a database of another schema may lack the column
    found = connection.execute("select m.version, pg_catalog.to_jsonb(m) ->> 'sha256' from schema_migrations m")
    hashes: dict[str, str | None] = dict(found.fetchall())
    return [path.stem for path in files() if hashes.get(version_of(path)) not in (None, file_hash(path))]


def refuse_edited(connection: psycopg.Connection) -> None:
    """Raise WrongSchema, with their names, if migrations were edited after they were applied to a database."""
    if names := edited(connection):
        raise WrongSchema(
            f"the database {connection.info.dbname}: {', '.join(names)} was edited after it was applied: {undo_edit()}"
        )


def check(connection: psycopg.Connection, migrations: Sequence[str] | None = None) -> None:
    """Raise WrongSchema, with the differences and the remedy, if a database's migrations are not this code's.

    migrations: the versions that the database must have instead of this code's.
    """
    have, need = applied(connection), known()
    if migrations is not None:
        if have != list(migrations):
            raise WrongSchema(
                f"the database {connection.info.dbname} has different migrations from the older schema {max(migrations)}"
            )
        return
    where = f"the database {connection.info.dbname}"
    refuse_unknown(have, connection.info.dbname)
    if pending := compare(have).pending:
        raise WrongSchema(
            f"{where} lacks {len(pending)} of {len(need)} migrations ({pending[0]} is next): run {command_line('migrate')}"
        )

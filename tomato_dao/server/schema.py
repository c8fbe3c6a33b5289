"""Which schema this code needs (its migrations), and whether a database has it."""

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
# A wheel carries db/ inside the package; in a checkout it stands beside it.
DB_DIR = _PACKAGE / "db" if (_PACKAGE / "db").is_dir() else _PACKAGE.parent / "db"

_MIGRATION = re.compile(r"\d+_[a-z0-9_]+\.sql")  # as dbmate, and “migrate new”, name them
# Ours is known by its hashes: other programs have tables of that name.
_ELSEWHERE = """
select c.relnamespace::regnamespace::text
from pg_class c
join pg_attribute a on a.attrelid = c.oid and a.attname = 'sha256'
where c.relname = 'schema_migrations' and c.relkind = 'r'
"""


# Reading a view, or a table with policies, would run what its owner has put there. (All types are PostgreSQL's own.)
_IS_PLAIN = """
select c.relkind = 'r' and not c.relrowsecurity
from pg_catalog.pg_class c
where c.oid = pg_catalog.to_regclass('schema_migrations')::oid
"""


def recreate() -> str:
    """Return the advice for a database whose schema was never released."""
    return (
        f"recreate it: drop the database ({command_line('embedded remove')} removes the embedded server with all its data), "
        f"then run {command_line('migrate')}; to keep its rows, first write them with {command_line('dump')} of the tomato-dao "
        "that created it, and load them afterwards"
    )


def invalid_index(name: str) -> str:
    """Return what is wrong with an index that no query can use. name: quoted as SQL needs it."""
    return f"index {name} is invalid (an earlier build failed, or one is still running)"


def drop_invalid_index(name: str) -> str:
    """Return the advice for an invalid index: the migration that failed makes it anew."""
    return f"if none is running, drop index concurrently {name}"


def undo_edit() -> str:
    """Return the advice for a migration that was edited after it was applied."""
    return (
        f"restore the file, and make the change in a new migration ({command_line('migrate new')}); if the file "
        f"was never released, recreate the database instead ({command_line('embedded remove')} removes the embedded server "
        "with all its data)"
    )


@dataclass(frozen=True, slots=True)
class Comparison:
    """Difference between the migrations of a database or a dump and from this code's: versions, oldest first.

    unknown: those that are not this code's. unreleased: of these, the ones of a schema that was never released. pending:
    this code's that are missing.
    """

    unknown: list[str]
    unreleased: list[str]
    pending: list[str]

    @property
    def equal(self) -> bool:
        """True where nothing differs."""
        return not self.unknown and not self.pending


def compare(versions: Sequence[str]) -> Comparison:
    """Compare versions of migrations with those of this code.

    Released migrations stay, and later ones have later versions: an unknown version before this code's newest one was never
    released, an unknown version after it is a newer tomato-dao's.
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
    """Return the version that a migration's file name begins with."""
    return path.name.partition("_")[0]


def files(directory: Path | None = None) -> list[Path]:
    """Return this code's migrations, oldest first, or those of another directory; what else lies there is none of ours."""
    return sorted(path for path in (directory or DB_DIR / "migrations").iterdir() if _MIGRATION.fullmatch(path.name))


def strays(directory: Path) -> list[Path]:
    """Return what lies among migrations and is none, but for hidden files: a copy, or one whose name is not a migration's."""
    found = set(files(directory))
    return [path for path in sorted(directory.glob("[!.]*.sql")) if path not in found]


def file_hash(path: Path) -> str:
    """Return the SHA-256 of a migration's file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def applied(connection: psycopg.Connection) -> list[str]:
    """Return the versions of the migrations that a database has, oldest first; none where it was never migrated."""
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
    """Raise WrongSchema if the tables are in another schema: sessions with another search_path may have put them there."""
    if found := connection.execute(_ELSEWHERE).fetchone():
        raise WrongSchema(
            f"the tables of the database {connection.info.dbname} are in the schema {found[0]}, and tomato-dao only uses "
            f"{pins.SCHEMA}: rename {found[0]} to {pins.SCHEMA}, after dropping or renaming that one"
        )


def refuse_unknown(versions: Sequence[str], database: str) -> None:
    """Raise WrongSchema if a database has versions that are not this code's, saying whose they are and what to do."""
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

    Those that were applied without `migrate` have no hash, and are not compared.
    """
    if not applied(connection):
        return []
    # by way of jsonb, since a database of another schema may not have the column
    found = connection.execute("select m.version, pg_catalog.to_jsonb(m) ->> 'sha256' from schema_migrations m")
    hashes: dict[str, str | None] = dict(found.fetchall())
    return [path.stem for path in files() if hashes.get(version_of(path)) not in (None, file_hash(path))]


def refuse_edited(connection: psycopg.Connection) -> None:
    """Raise WrongSchema if migrations were edited after they were applied to a database, naming them."""
    if names := edited(connection):
        raise WrongSchema(
            f"the database {connection.info.dbname}: {', '.join(names)} was edited after it was applied: {undo_edit()}"
        )


def check(connection: psycopg.Connection, migrations: Sequence[str] | None = None) -> None:
    """Raise WrongSchema where a database's migrations are not this code's, saying which and what to do.

    migrations: the versions that it has to have instead of this code's.
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

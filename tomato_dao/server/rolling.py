"""Rolling upgrades: schemas that a worker may use beside its own.

These are newer schemas that still support its code, and its own schema before a contract migration.

A migration made after the last release declares in its header which older code still works after it: `-- compatible: VERSION`
(code of that schema version and later) or `-- breaks: why` (only code that knows the migration). One that raises the oldest
supported version is a *contract migration*: new code works before and after it. It may require a backfill of db/backfills to be
finished first, `-- backfill: NAME`. The database stores the oldest supported version in a comment on schema_migrations:
everybody can read it, only the owner can change it, backups keep it, and dumps omit it.
"""

import logging
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import psycopg

from ..errors import WrongSchema
from . import schema

logger = logging.getLogger(__name__)

_FIELD = re.compile(r"^-- (compatible|breaks|backfill): *(.*?) *$", re.MULTILINE)
_OLDEST = re.compile(r"oldest supported schema version: (\d+)")
_COMMENT = "select pg_catalog.obj_description(pg_catalog.to_regclass('schema_migrations')::oid, 'pg_class')"
_LONGEST_NAME = 63  # maximum bytes of an application_name; the server truncates longer ones
_told: set[tuple[str, str]] = set()  # databases, with the schema versions for which a warning was logged


@dataclass(frozen=True, slots=True)
class Migration:
    """A migration and its header.

    compatible, breaks, backfill: the fields of the header, or None. oldest: the oldest schema version whose code works after
    it. is_contract: whether it raised that version.
    """

    path: Path
    compatible: str | None
    breaks: str | None
    backfill: str | None
    oldest: str
    is_contract: bool

    @property
    def version(self) -> str:
        """The version, with which its file name begins."""
        return schema.version_of(self.path)


def header(path: Path) -> dict[str, str]:
    """Return the fields of a migration's header: the comments before its first statement, before or after “-- migrate:up”."""
    lines = path.read_text("utf-8").splitlines()
    end = next((n for n, line in enumerate(lines) if line.strip() and not line.startswith("--")), len(lines))
    return dict(_FIELD.findall("\n".join(lines[:end])))


def migrations(directory: Path | None = None) -> list[Migration]:
    """Return this code's migrations, or those of another directory, oldest first.

    Migrations without a header belong to the first release, which supports no older code.
    """
    found: list[Migration] = []
    oldest = ""
    for path in schema.files(directory):
        fields = header(path)
        compatible, breaks = fields.get("compatible"), fields.get("breaks")
        before = oldest
        oldest = schema.version_of(path) if compatible is None else max(oldest, compatible)
        is_contract = (compatible, breaks) != (None, None) and oldest != before
        found.append(Migration(path, compatible, breaks, fields.get("backfill"), oldest, is_contract))
    return found


def oldest_supported(connection: psycopg.Connection) -> str | None:
    """Return the oldest schema version whose code a database supports, or None if it is not recorded."""
    (comment,) = connection.execute(_COMMENT).fetchone() or (None,)
    found = _OLDEST.search(comment or "")
    return found[1] if found else None


def comment_for(version: str) -> str:
    """Return the statement with which a migration records the oldest supported schema version."""
    return f"comment on table schema_migrations is 'oldest supported schema version: {version}';"


def waits_for_contract(pending: Sequence[str]) -> bool:
    """Return whether code can work without these of its migrations: all of them must be contract migrations."""
    contracts = {migration.version for migration in migrations() if migration.is_contract}
    return contracts.issuperset(pending)


def check_worker(connection: psycopg.Connection) -> None:
    """Raise WrongSchema unless this code's workers may use a database's schema. Warn once about a newer schema."""
    have = schema.applied(connection)
    differs = schema.compare(have)
    if differs.unknown and not differs.unreleased and not differs.pending:
        _check_newer(connection, have[-1])
    elif differs.unknown or not have or not waits_for_contract(differs.pending):
        schema.check(connection)


def _check_newer(connection: psycopg.Connection, theirs: str) -> None:
    ours, database = schema.known()[-1], connection.info.dbname
    oldest = oldest_supported(connection)
    if oldest is None or oldest > ours:
        supports = (
            f"supports code of schema version {oldest} and later" if oldest else "does not say which older code it supports"
        )
        raise WrongSchema(
            f"the database {database} has schema version {theirs}, which {supports}; this code is of schema version {ours}: "
            "it belongs to a newer tomato-dao; install that version"
        )
    if (database, theirs) not in _told:
        _told.add((database, theirs))
        logger.warning(
            "the database %s has schema version %s; this code, of schema version %s, is still supported: upgrade it soon",
            database, theirs, ours,
        )  # fmt: skip


def marked(application_name: str) -> str:
    """Return a worker's application_name, which ends with the schema version of its code."""
    mark = f"/{schema.known()[-1]}"
    while sum(len(character) for character in _shown(application_name)) > _LONGEST_NAME - len(mark):
        application_name = application_name[:-1]
    return application_name + mark


def _shown(name: str) -> list[str]:
    """Return a name as the server shows it, with bytes beyond ASCII escaped."""
    return [chr(byte) if 32 <= byte < 127 else f"\\x{byte:02x}" for byte in name.encode(errors="replace")]


def older_workers(connection: psycopg.Connection, oldest: str) -> Iterator[str]:
    """Yield a line for each kind of session of workers whose code is older than a schema version."""
    found = connection.execute(
        """
        select a.application_name, count(*)
        from pg_stat_activity a
        where a.datname = current_database() and substring(a.application_name from '/([0-9]{14})$') < %s
        group by 1
        order by 1
        """,
        [oldest],
    )
    for name, sessions in found:
        yield f"{name} ({sessions})"

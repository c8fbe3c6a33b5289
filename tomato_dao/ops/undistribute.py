"""`tomato-dao undistribute`: move distributed usage records back to the coordinator."""

from collections.abc import Sequence
from time import monotonic

import psycopg

from ..errors import WrongState, from_driver
from ..printable import printable
from ..server import schema
from ..server.commands import command_line
from ..server.planted import refuse_planted
from ..server.probe import probe
from ..transfer import limits
from . import distributed
from .cli import Parser, duration, interrupted_as
from .distribute import begin, busy, size
from .distributed import TABLES
from .migration_lock import make_migration_lock
from .urls import owner_url

# PostgreSQL 18 names not-null constraints; Citus rebuilds each table under another name.
_NAMES = """
select format('alter table %%s rename constraint %%I to %%I', c.oid::regclass, k.conname, n.named)
from pg_constraint k
inner join pg_class c on c.oid = k.conrelid
inner join pg_attribute a on a.attrelid = c.oid and k.conkey = array[a.attnum]
cross join lateral (select concat_ws('_', c.relname, a.attname, 'not_null') as named) n
where k.contype = 'n' and c.oid = any(%s::regclass[]) and k.conname <> n.named
"""


def undistribute(url: str | None = None, *, dry_run: bool = False) -> list[str]:
    """Move distributed usage records back, and return a line for each step (with dry_run, each planned step).

    url: the owner's URL (default: OWNER_DATABASE_URL, else DATABASE_URL, else the embedded server). Afterwards the schema is
    that of the migrations. An interrupted run is continued.

    Raises WrongState if nothing is distributed, WrongSchema if the schema is not this code's, Unavailable if a worker does not
    answer, and Busy if other sessions lock the tables.
    """
    with probe(url or owner_url(), application_name="tomato-dao undistribute") as connection:
        refuse_planted(connection)
        schema.check(connection)
        there = distributed.distributed(connection)
        if there:
            distributed.check_citus(connection)
        elif not distributed.has_trigger(connection) and distributed.has_foreign_key(connection, validated=True):
            raise WrongState(f"the usage records of the database {printable(connection.info.dbname)} are not distributed")
        if dry_run:
            return [f"{size(connection, there)} come back to the coordinator's disk; writers of usage wait meanwhile"]
        try:
            make_migration_lock(connection)
            start = monotonic()
            with connection.transaction():
                begin(connection)
                distributed.stop_writers(connection, "exclusive")
                connection.execute("set local citus.multi_shard_modify_mode = sequential")  # or one table per transaction
                for table in reversed(there):
                    connection.execute("select undistribute_table(%s::regclass)", [table])
                for (rename,) in connection.execute(_NAMES, [list(TABLES)]).fetchall():
                    connection.execute(rename.encode())
                distributed.restore_functions(connection)
                distributed.restore_foreign_key(connection)
            waited = f"writers of usage waited {duration(monotonic() - start)}"
            _validate(connection)
        except psycopg.errors.LockNotAvailable as error:
            raise busy("undistribute") from error
        except psycopg.Error as error:
            raise from_driver(error) from error
        return [f"{', '.join(TABLES)} are the coordinator's again; {waited}"]


def _validate(connection: psycopg.Connection) -> None:
    """Validate the foreign key while others write, after deleting the records of removed objects."""
    with connection.transaction():
        limits.lift(connection)
        distributed.validate_foreign_key(connection)
        connection.execute(f"analyze {', '.join(TABLES)}".encode())


def main(prog: str, arguments: Sequence[str]) -> None:
    """Run `tomato-dao undistribute [--dry-run]`."""
    parser = Parser(
        prog=prog,
        description="Bring distributed usage records back to the coordinator, the server of OWNER_DATABASE_URL or "
        "DATABASE_URL. Writers of usage records wait meanwhile.",
    )
    parser.add_argument("--dry-run", action="store_true", help="check what can be checked, and tell what would be done")
    options = parser.parse_args(arguments)
    with interrupted_as(f"the same command goes on where it was: {command_line('undistribute')}"):
        print("\n".join(undistribute(dry_run=options.dry_run)))

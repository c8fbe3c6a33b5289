"""`tomato-dao distribute`: move usage records to the workers of a Citus cluster."""

import argparse
from collections.abc import Sequence
from time import monotonic

import psycopg

from ..errors import Busy, InvalidValue, from_driver
from ..server import schema
from ..server.commands import command_line
from ..server.planted import refuse_planted
from ..server.probe import probe
from ..sql.wording import counted
from ..transfer import limits
from ..transfer.distributed import ACCOUNTING
from . import distributed
from .cli import Parser, duration, interrupted_as, megabytes
from .distributed import FOREIGN_KEY, KEY, TABLES
from .migration_lock import lock_migrations, make_migration_lock
from .urls import owner_url

_SHARDS = 4  # for each worker: each shard that is asked costs time, and no worker can hold less than one
_MOST_SHARDS = 1024
_SPEED = 30_000_000  # bytes of usage_records per second, as measured in docs/guides/scale.md
_PATIENCE = "5s"  # for locks behind which other sessions queue


def distribute(url: str | None = None, *, shards: int | None = None, dry_run: bool = False) -> list[str]:
    """Distribute usage records with Citus, and return a line for each step (with dry_run, each planned step).

    url: the owner's URL (default: OWNER_DATABASE_URL, else DATABASE_URL, else the embedded server). shards: the number of parts
    of each table, which are spread over the workers. An interrupted run is continued.

    Raises WrongSchema without a suitable version of Citus or with another schema than this code's, Unavailable if a worker does
    not answer, WrongState without workers, and Busy if other sessions lock the tables.
    """
    if shards is not None and not 1 <= shards <= _MOST_SHARDS:
        raise InvalidValue(f"shards: a number from 1 to {_MOST_SHARDS}, not {shards}")
    with probe(url or owner_url(), application_name="tomato-dao distribute") as connection:
        refuse_planted(connection)
        schema.check(connection)
        workers = distributed.check_citus(connection)
        done = [f"{counted(len(workers), 'worker')}: {', '.join(workers)}"]
        shards = shards or _SHARDS * len(workers)
        there = distributed.distributed(connection)
        if dry_run:
            return done + _plan(connection, there, shards)
        try:
            make_migration_lock(connection)
            if not distributed.has_trigger(connection):
                _replace_foreign_key(connection)
                done.append(f"a trigger stands in for the constraint {FOREIGN_KEY}")
            if len(there) < len(TABLES):
                done.append(_move(connection, there, shards))
            else:
                with connection.transaction():
                    begin(connection)
                    distributed.install(connection)
                done.append("the tables are distributed, and the functions are those of this version")
            distributed.let_owner_migrate(connection)
            _tidy(connection)
        except psycopg.errors.LockNotAvailable as error:
            raise busy("distribute") from error
        except psycopg.Error as error:
            raise from_driver(error) from error
        return done


def _plan(connection: psycopg.Connection, there: list[str], shards: int) -> list[str]:
    """Return the steps that `distribute` would take."""
    plan = []
    if not distributed.has_trigger(connection):
        plan.append(f"drop {FOREIGN_KEY}, which Citus can't keep; a trigger removes records instead (all wait for a moment)")
    left = [table for table in TABLES if table not in there]
    if left:
        plan.append(f"distribute {', '.join(left)} by {KEY} in {counted(shards, 'shard')} each: {size(connection, left)}")
        (bytes_,) = connection.execute("select pg_total_relation_size('usage_records')").fetchone() or (0,)
        plan.append(f"writers of usage wait meanwhile, about {duration(bytes_ / _SPEED + 1)}; reads and all else go on")
    plan.append("install the functions for distributed records, and free the coordinator's disk")
    return plan


def _replace_foreign_key(connection: psycopg.Connection) -> None:
    """Replace the foreign key by the trigger. All sessions wait for a moment, which must be short."""
    with connection.transaction():
        begin(connection)
        connection.execute(f"set local lock_timeout = '{_PATIENCE}'".encode())
        distributed.replace_foreign_key(connection)


def _move(connection: psycopg.Connection, there: list[str], shards: int) -> str:
    """Distribute the remaining tables and install the functions, all or nothing. Report how long writers waited."""
    start = monotonic()
    with connection.transaction():
        begin(connection)
        distributed.stop_writers(connection, "exclusive")
        distributed.install(connection)  # first: a function that returns its rows prevents distribution
        for table in TABLES:
            if table not in there:
                count, beside = (shards, "none") if table == TABLES[0] else (None, TABLES[0])
                connection.execute(
                    "select create_distributed_table(%s::regclass, %s, shard_count => %s, colocate_with => %s)",
                    [table, KEY, count, beside],
                )
    return f"{', '.join(TABLES)} are distributed; writers of usage waited {duration(monotonic() - start)}"


def _tidy(connection: psycopg.Connection) -> None:
    """Remove the moved rows from the coordinator's disk, and analyze all tables."""
    for table in TABLES:
        if connection.execute("select pg_relation_size(%s::regclass) > 0", [table]).fetchone() == (True,):
            with connection.transaction():
                begin(connection)
                connection.execute(f"set local lock_timeout = '{_PATIENCE}'".encode())
                connection.execute("select truncate_local_data_after_distributing_table(%s::regclass)", [table])
    with connection.transaction():
        begin(connection)
        connection.execute(f"analyze {', '.join(TABLES)}".encode())


def begin(connection: psycopg.Connection) -> None:
    """Begin a transaction without timeouts that excludes migrations and accounting."""
    limits.lift(connection)
    connection.execute("set local client_min_messages = warning")
    lock_migrations(connection)
    connection.execute("select pg_advisory_xact_lock(%s)", [ACCOUNTING])


def size(connection: psycopg.Connection, tables: list[str]) -> str:
    """Format the total size of tables, including the workers' parts of distributed ones."""
    measure = "citus_total_relation_size" if distributed.distributed(connection) else "pg_total_relation_size"
    query = f"select coalesce(sum({measure}(t::regclass)), 0)::bigint from unnest(%s::text[]) t"  # noqa: S608 (one of two)
    (found,) = connection.execute(query.encode(), [tables]).fetchone() or (0,)
    return megabytes(found)


def busy(command: str) -> Busy:
    """Return the error for tables that other sessions lock."""
    return Busy(f"others keep the tables locked, as a dump or a long transaction does: run {command_line(command)} again later")


def main(prog: str, arguments: Sequence[str]) -> None:
    """Run `tomato-dao distribute [--dry-run] [--shards N]`."""
    parser = Parser(
        prog=prog,
        description="Distribute usage records over the workers of the Citus cluster whose coordinator is the server of "
        "OWNER_DATABASE_URL or DATABASE_URL. Writers of usage records wait meanwhile; reads go on.",
    )
    parser.add_argument("--dry-run", action="store_true", help="check what can be checked, and tell what would be done")
    parser.add_argument("--shards", type=_number, metavar="N", help=f"parts of each table (default: {_SHARDS} for each worker)")
    options = parser.parse_args(arguments)
    with interrupted_as(f"the same command goes on where it was: {command_line('distribute')}"):
        print("\n".join(distribute(shards=options.shards, dry_run=options.dry_run)))


def _number(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= _MOST_SHARDS:
        raise argparse.ArgumentTypeError(f"must be a number from 1 to {_MOST_SHARDS}, not {text!r}")
    return int(text)

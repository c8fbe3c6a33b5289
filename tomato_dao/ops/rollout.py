"""Order of a rolling deployment: expand migrations first, and a contract migration once no worker needs the old schema."""

import logging
from collections.abc import Iterator

import psycopg

from ..printable import one_line, printable
from ..server import rolling, schema
from ..server.commands import command_line
from ..server.rolling import Migration
from . import backfills

logger = logging.getLogger(__name__)

STOPPED = 3  # the exit code of “migrate” if it stopped before a contract migration


def steps(connection: psycopg.Connection, *, contract: bool = False) -> Iterator[str]:
    """Yield the target versions of successive migration steps, until all are applied or one has to wait.

    The caller applies each step before requesting the next. A contract migration waits until its backfill is finished and,
    unless `contract` is true, until no worker is connected whose code it no longer supports. A warning gives the reason.
    """
    found = {migration.version: migration for migration in rolling.migrations()}
    before: list[str] | None = None
    while (pending := _pending(connection)) and pending != before:
        first, *others = (found[version] for version in pending)
        if pending == [*found]:
            yield pending[-1]  # a new database has no rows, and no worker can use it
        elif first.is_contract and (reason := _obstacle(connection, first, contract=contract)):
            logger.warning("stopped before the contract migration %s: %s", first.path.stem, reason)
            return
        else:
            later = next((n for n, migration in enumerate(others) if migration.is_contract), len(others))
            yield pending[later]
        before = pending


def next_contract(connection: psycopg.Connection) -> Migration | None:
    """Return the next pending migration if it is a contract migration of a database in use."""
    pending = _pending(connection)
    found = [migration for migration in rolling.migrations() if migration.version in pending]
    return found[0] if found and found[0].is_contract else None


def _pending(connection: psycopg.Connection) -> list[str]:
    with connection.transaction(force_rollback=True):  # keep no lock: migrations alter these tables meanwhile
        return schema.compare(schema.applied(connection)).pending


def _obstacle(connection: psycopg.Connection, migration: Migration, *, contract: bool) -> str:
    """Return the reason why a contract migration has to wait and the remedy, or an empty string."""
    with connection.transaction(force_rollback=True):
        if migration.backfill and not backfills.is_done(connection, migration.backfill):
            return (
                f"the backfill {migration.backfill} is not finished: run {command_line('backfill')} {migration.backfill}, then "
                f"{command_line('migrate')}"
            )
        connection.execute("select pg_stat_clear_snapshot()")
        older = [printable(line) for line in rolling.older_workers(connection, migration.oldest)]
    if older and not contract:
        return (
            f"workers with older code than it supports ({migration.oldest}) are connected: {one_line(', '.join(older))}; "
            f"end them, then run {command_line('migrate')}, or continue despite them with {command_line('migrate --contract')}"
        )
    return ""

"""The order of a rolling deployment: expand migrations first, a contract migration when nothing needs what it removes."""

import logging
from collections.abc import Iterator

import psycopg

from ..printable import one_line, printable
from ..server import rolling, schema
from ..server.commands import command_line
from ..server.rolling import Migration
from . import backfills

logger = logging.getLogger(__name__)

STOPPED = 3  # the exit code of “migrate” where it stopped before a contract migration


def steps(connection: psycopg.Connection, *, contract: bool = False) -> Iterator[str]:
    """Yield the versions up to which to migrate, one after the other, until all are applied or one has to wait.

    The caller applies each before asking for the next. A contract migration waits until its backfill is finished and,
    unless `contract` is true, until no worker is connected whose code it no longer supports; a warning says so.
    """
    found = {migration.version: migration for migration in rolling.migrations()}
    before: list[str] | None = None
    while (pending := _pending(connection)) and pending != before:
        first, *others = (found[version] for version in pending)
        if pending == [*found]:
            yield pending[-1]  # of a new database, which holds no rows, and which no worker can use
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
    with connection.transaction(force_rollback=True):  # keep no lock: what is applied meanwhile alters these tables
        return schema.compare(schema.applied(connection)).pending


def _obstacle(connection: psycopg.Connection, migration: Migration, *, contract: bool) -> str:
    """Return why a contract migration has to wait and what to do; empty if it can be applied."""
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

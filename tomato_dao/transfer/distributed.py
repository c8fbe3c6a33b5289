"""Exact dumps of, and loads into, tables that Citus distributes over several servers.

There is no snapshot of several servers. A dump is consistent nevertheless:

- An advisory lock keeps runs of the accounting out, so that only imports change the distributed tables. These only insert
  records, each with its arrival, on one worker.
- After the coordinator's snapshot is taken, the dump waits until the workers have applied the commits that it sees.
- Records are read before arrivals, so every record that is not yet rolled up has its arrival. An arrival may lack its record,
  which the importer then sends again.
- Records of identities that the snapshot does not contain are omitted.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from time import sleep
from typing import LiteralString

import psycopg
from psycopg import sql

from ..errors import Unavailable
from ..server.backoff import pauses
from .catalog import Reference, Table

KEY = "usage_id"  # the distribution column of all of them
ACCOUNTING = 504446936933  # the lock of aggregate_usage; a shared lock prevents runs
_LOOKS = 120  # checks for the end of prepared transactions, every half second
_PREPARED = """
select success, result
from run_command_on_workers($$
  select coalesce(string_agg(gid, ' '), '') from pg_prepared_xacts
  where gid like 'citus\\_%' and database = current_database()
$$)
"""
# The rule that a foreign key enforced on a single server: the identities that exist.
_REFERENCES = {"usage_records": ("usage_id", "usage_statistics", "id")}
# SET LOCAL is propagated to the workers, which write the lines.
SETTINGS: LiteralString = "set local citus.propagate_set_commands = 'local'"


@contextmanager
def without_accounting(connection: psycopg.Connection) -> Iterator[None]:
    """Wait for the current run of the accounting, and prevent further ones, which return without having run."""
    connection.execute("select pg_advisory_lock_shared(%s)", [ACCOUNTING])
    try:
        yield
    finally:
        if not connection.closed:
            connection.execute("select pg_advisory_unlock_shared(%s)", [ACCOUNTING])


def await_commits(connection: psycopg.Connection) -> None:
    """Wait until the workers have applied the coordinator's commits. Raises Unavailable if they do not."""
    first: set[str] | None = None
    for pause in islice(pauses(0.05, 0.5), _LOOKS):
        found: set[str] = set()
        for answered, result in connection.execute(_PREPARED).fetchall():
            if not answered:
                raise Unavailable(f"a worker does not answer: {result}")
            found |= set(result.split())
        first = found if first is None else first & found
        if not first:
            return
        sleep(pause)
    raise Unavailable("transactions stay prepared on workers; select recover_prepared_transactions(); and try again")


def known_rows(table: Table) -> sql.Composable:
    """Return the condition for the rows of a distributed table, called t, whose references exist."""
    if table.name not in _REFERENCES:
        return sql.SQL("true")
    column, other, key = map(sql.Identifier, _REFERENCES[table.name])
    return sql.SQL("t.{} in (select o.{} from {} o)").format(column, key, other)


def references(tables: list[Table]) -> list[Reference]:
    """Return the foreign keys that distributed tables lack, and that a query has to check."""
    found = [(table.name, *_REFERENCES[table.name]) for table in tables if table.distributed and table.name in _REFERENCES]
    return [Reference("", name, (column,), other, (key,)) for name, column, other, key in found]


def forget_notes(connection: psycopg.Connection) -> None:
    """Delete the notes of removed objects, since after a load their ids may belong to other objects."""
    if connection.execute("select to_regclass('public.usage_removed') is not null").fetchone() == (True,):
        connection.execute("truncate public.usage_removed")

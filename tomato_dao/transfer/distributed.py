"""Tables that are distributed over several servers by Citus: what makes a dump of them, and a load into them, exact.

There is no snapshot of several servers. A dump of one moment comes about all the same:

- Runs of the accounting are kept out by their advisory lock, so that nothing but imports changes the distributed tables. These
  only insert records, each with its arrival, on one worker.
- The coordinator's snapshot is taken, and the commits that it has seen are waited for on the workers.
- Records are read before arrivals: whatever record is there has its arrival, if it has not been taken up. An arrival may come
  without its record, which the importer then brings again.
- Records of identities that the snapshot does not know are left out.
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

KEY = "usage_id"  # by which all are distributed
_ACCOUNTING = 504446936933  # of aggregate_usage, which a shared lock keeps from running
_LOOKS = 120  # for prepared transactions to end, half a second between two
_PREPARED = """
select success, result
from run_command_on_workers($$
  select coalesce(string_agg(gid, ' '), '') from pg_prepared_xacts
  where gid like 'citus\\_%' and database = current_database()
$$)
"""
# What a foreign key kept while the table was one server's: which rows of the identities are there.
_REFERENCES = {"usage_records": ("usage_id", "usage_statistics", "id")}
# SET LOCAL reaches the workers, too, which write the lines.
SETTINGS: LiteralString = "set local citus.propagate_set_commands = 'local'"


@contextmanager
def without_accounting(connection: psycopg.Connection) -> Iterator[None]:
    """Keep runs of the accounting from starting, once the one that is at work has ended; they return without having run."""
    connection.execute("select pg_advisory_lock_shared(%s)", [_ACCOUNTING])
    try:
        yield
    finally:
        if not connection.closed:
            connection.execute("select pg_advisory_unlock_shared(%s)", [_ACCOUNTING])


def await_commits(connection: psycopg.Connection) -> None:
    """Wait until the workers have committed what the coordinator had. Raises Unavailable where they don't."""
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
    """Return the condition for the rows of a distributed table, called t, that refer to something."""
    if table.name not in _REFERENCES:
        return sql.SQL("true")
    column, other, key = map(sql.Identifier, _REFERENCES[table.name])
    return sql.SQL("t.{} in (select o.{} from {} o)").format(column, key, other)


def references(tables: list[Table]) -> list[Reference]:
    """Return the foreign keys that distributed tables would have, and that are to be held against the rows by a query."""
    found = [(table.name, *_REFERENCES[table.name]) for table in tables if table.distributed and table.name in _REFERENCES]
    return [Reference("", name, (column,), other, (key,)) for name, column, other, key in found]


def forget_notes(connection: psycopg.Connection) -> None:
    """Empty the notes of what was removed, which a load replaces: an id may stand for something else now."""
    if connection.execute("select to_regclass('public.usage_removed') is not null").fetchone() == (True,):
        connection.execute("truncate public.usage_removed")

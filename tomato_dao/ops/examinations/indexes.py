"""Indexes: missing, invalid and unused ones."""

import psycopg

from ...server import schema
from ...server.commands import command_line
from ..cli import duration, megabytes
from .findings import BAD, NOTE, OK, Finding, rows

LARGE = 10_000_000  # bytes of an index that nobody uses


def indexes(connection: psycopg.Connection) -> Finding:
    """Examine indexes: those that are missing, invalid, or used by nobody."""
    missing, unused = rows(connection, "unindexed_foreign_keys"), rows(connection, "unused_indexes")
    invalid = rows(connection, "invalid_indexes")
    (statistics,) = rows(connection, "statistics")
    read_whole = [
        r for r in rows(connection, "tables") if r["whole_reads"] > 100 and r["rows_of_whole_reads"] > 10_000 * r["whole_reads"]
    ]
    details = [f"{row['name']} on {row['on_table']}: a foreign key without an index" for row in missing]
    details += [f"{schema.invalid_index(row['name'])}, so no query of {row['on_table']} uses it" for row in invalid]
    details += [f"{r['name']}: read as a whole {r['whole_reads']:,} times; a query may lack an index" for r in read_whole]
    details += [f"{r['name']} on {r['on_table']} ({megabytes(r['bytes'])}): not used" for r in unused if r["bytes"] > LARGE]
    return Finding(
        "indexes",
        BAD if missing or invalid else NOTE if read_whole else OK,
        f"{len(missing) or 'no'} missing, {len(unused) or 'none'} unused in {duration(statistics['seconds'])} of statistics",
        details,
        ["a new migration with “create index …”"] * bool(missing)
        + [f"{schema.drop_invalid_index(row['name'])}; then {command_line('migrate')}" for row in invalid],
        {"missing": missing, "invalid": invalid, "unused": unused, "read_whole": read_whole},
    )

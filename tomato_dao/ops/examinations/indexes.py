"""Indexes: missing, invalid and unused ones."""

import psycopg

from ...server import schema
from ...server.commands import command_line
from ..cli import duration, megabytes
from .findings import BAD, NOTE, OK, Finding, rows

LARGE = 10_000_000  # bytes of an unused index
OFTEN_READ = 100, 10_000  # sequential scans of a table, and its rows
LONG_ENOUGH = 7 * 86400  # seconds of statistics after which an unused index is reported


def indexes(connection: psycopg.Connection) -> Finding:
    """Examine indexes: missing, invalid and unused ones."""
    missing, unused = rows(connection, "unindexed_foreign_keys"), rows(connection, "unused_indexes")
    invalid, duplicate = rows(connection, "invalid_indexes"), rows(connection, "storage.duplicate_indexes")
    (statistics,) = rows(connection, "statistics")
    read_whole = rows(connection, "read_whole", *OFTEN_READ)
    details = [f"{row['name']} on {row['on_table']}: a foreign key without an index" for row in missing]
    details += [f"{schema.invalid_index(row['name'])}, so no query of {row['on_table']} uses it" for row in invalid]
    details += [f"{r['name']}: read as a whole {r['whole_reads']:,} times; a query may lack an index" for r in read_whole]
    large = [row for row in unused if row["bytes"] > LARGE]
    details += [f"{r['name']} on {r['on_table']} ({megabytes(r['bytes'])}): not used" for r in large]
    details += [
        f"{r['name']} on {r['on_table']} ({megabytes(r['bytes'])}): {r['other']} "
        + ("is the same" if r["is_same"] else "begins with it")
        for r in duplicate
    ]
    removable = large if statistics["seconds"] > LONG_ENOUGH else []
    advice = ["a new migration with “create index …”"] * bool(missing)
    advice += [f"{schema.drop_invalid_index(row['name'])}; then {command_line('migrate')}" for row in invalid]
    drop = "a new migration with drop index concurrently"
    advice += [f"{drop} {row['name']};  -- {row['other']} stands for it" for row in duplicate]
    advice += [f"{drop} {row['name']};  -- if no standby's query uses it" for row in removable]
    return Finding(
        "indexes",
        BAD if missing or invalid else NOTE if read_whole or duplicate or removable else OK,
        f"{len(missing) or 'no'} missing, {len(unused) or 'none'} unused in {duration(statistics['seconds'])} of statistics",
        details,
        advice,
        {"missing": missing, "invalid": invalid, "unused": unused, "duplicate": duplicate, "read_whole": read_whole},
    )

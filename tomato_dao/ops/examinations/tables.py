"""Tables: size, dead rows, statistics and bloat."""

from typing import Any

import psycopg

from ...server.session import CATALOG_PATH
from ...sql.wording import counted
from ...transfer import catalog
from ..cli import megabytes
from .findings import BAD, NOTE, OK, SHOWN, Finding, rows

MANY_DEAD = 10_000  # minimum number of dead rows, if they are more than a fifth
# Minimum number of rows written since the last analyze, if they are more than half of the rows, and seconds since it.
# Autovacuum runs every minute, and a table that serves as a queue changes completely in that time.
MANY_CHANGED, LONG_AGO = 10_000, 600
LARGE, GAPS = 10_000_000, 0.5  # minimum bytes of a table for an estimate of bloat; maximum fraction of bloat


def tables(connection: psycopg.Connection) -> Finding:
    """Examine the tables' sizes, dead rows, statistics and bloat, and whether a dump can contain all of them."""
    found, sizes = rows(connection, "tables"), rows(connection, "storage.bloat", LARGE)
    dead = [row for row in found if row["dead"] > MANY_DEAD and row["dead"] > 0.2 * (row["live"] + row["dead"])]
    stale = [row for row in found if _is_stale(row) and row not in dead]
    unkept = [row for row in found if not row["autovacuum"]]
    gaps = [row for row in sizes if row["bytes"] - row["needed"] > GAPS * row["bytes"]]
    width = max((len(row["name"]) for row in found[:SHOWN]), default=0)
    lines = [
        f"{r['name']:{width}}  {megabytes(r['bytes']):>10}  {counted(r['live'], 'row'):>17}  {r['dead']:>10,} dead"
        for r in found[:SHOWN]
    ]
    if len(found) > SHOWN:
        lines.append(f"and {counted(len(found) - SHOWN, 'smaller one')}; --json lists all")
    with connection.transaction(force_rollback=True):
        connection.execute(f"set local search_path = {CATALOG_PATH}".encode())
        unreadable = catalog.unreadable(connection)
    lines += unreadable
    lines += [f"{r['name']}: {r['changed']:,} rows were written since its statistics were made" for r in stale]
    lines += [f"{r['name']}: autovacuum is off for it" for r in unkept]
    lines += [f"{r['name']}: about {megabytes(r['bytes'] - r['needed'])} of its {megabytes(r['bytes'])} are gaps" for r in gaps]
    advice = [f"vacuum (analyze) {row['name']};" for row in dead] + [f"analyze {row['name']};" for row in stale]
    advice += [f"alter table {row['name']} reset (autovacuum_enabled);" for row in unkept]
    advice += [
        f"vacuum full {row['name']};  -- this blocks all use of it; or wait until new rows fill the gaps" for row in gaps
    ]
    advice += ["move what is not tomato-dao's into another schema: no dump or load is possible beside it"] * bool(unreadable)
    faults = ((dead, "many dead rows in"), (stale, "stale statistics of"), (unkept, "no autovacuum of"), (gaps, "gaps in"))
    return Finding(
        "tables",
        BAD if unreadable else NOTE if advice else OK,
        f"{counted(len(found), 'table')}, {megabytes(sum(row['bytes'] for row in found))} with their indexes"
        + "".join(f"; {words} {len(ones)}" for ones, words in faults if ones)
        + (f"; {len(unreadable)} that no dump can hold" if unreadable else ""),
        lines,
        advice,
        {"tables": found, "gaps": gaps, "unreadable": unreadable},
    )


def _is_stale(row: dict[str, Any]) -> bool:
    age = row["analyzed_seconds"]
    return row["changed"] > max(MANY_CHANGED, 0.5 * row["live"]) and (age is None or age > LONG_AGO)

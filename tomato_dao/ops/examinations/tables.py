"""Tables: their size and their dead rows."""

import psycopg

from ...server.session import CATALOG_PATH
from ...sql.wording import counted
from ...transfer import catalog
from ..cli import megabytes
from .findings import BAD, NOTE, OK, SHOWN, Finding, rows

MANY_DEAD = 10_000  # rows that are dead, where they are more than a fifth


def tables(connection: psycopg.Connection) -> Finding:
    """Examine the tables' sizes and dead rows, and whether a dump can hold all of them."""
    found = rows(connection, "tables")
    dead = [row for row in found if row["dead"] > MANY_DEAD and row["dead"] > 0.2 * (row["live"] + row["dead"])]
    width = max((len(row["name"]) for row in found[:SHOWN]), default=0)
    lines = [
        f"{r['name']:{width}}  {megabytes(r['bytes']):>10}  {counted(r['live'], 'row'):>17}  {r['dead']:>10,} dead"
        for r in found[:SHOWN]
    ]
    if len(found) > SHOWN:
        lines.append(f"and {counted(len(found) - SHOWN, 'smaller one')}, which --json lists")
    with connection.transaction(force_rollback=True):
        connection.execute(f"set local search_path = {CATALOG_PATH}".encode())
        unreadable = catalog.unreadable(connection)
    lines += unreadable
    advice = [f"vacuum (analyze) {row['name']};" for row in dead]
    advice += ["move what is not tomato-dao's into another schema: no dump or load is possible beside it"] * bool(unreadable)
    return Finding(
        "tables",
        BAD if unreadable else NOTE if dead else OK,
        f"{counted(len(found), 'table')}, {megabytes(sum(row['bytes'] for row in found))} with their indexes"
        f"{f'; many dead rows in {len(dead)}' if dead else ''}"
        f"{f'; {len(unreadable)} that no dump can hold' if unreadable else ''}",
        lines,
        advice,
        {"tables": found, "unreadable": unreadable},
    )

"""`make check-plans`: the server's plan of each query on a large testbed, kept as text in tests/plans.

tests/plans/data.sql fills the testbed. Plans are generic, like those of prepared statements.
"""

import argparse
import difflib
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypedDict

import psycopg

from tomato_dao.database import QUERIES
from tomato_dao.errors import TomatoError
from tomato_dao.ops.cli import run_command
from tomato_dao.server import schema
from tomato_dao.sql.query import Query
from tomato_dao.sql.wording import counted

from .described import schema_connection
from .row_classes import short

PLANS = schema.DB_DIR.parent / "tests" / "plans"
FULL_SIZE = 100_000  # topologies
_LARGE = 20  # a table is large if it has a row per this number of topologies, and at least _FEW
_FEW = 1000
_PAGE = 100  # number of rows that may always be read or sorted
_READS_ALL = {"Sort", "Aggregate", "Hash", "Materialize"}  # before they give their first row

Plan = TypedDict(
    "Plan",
    {
        "Node Type": str,
        "Parent Relationship": str,
        "Relation Name": str,
        "Index Cond": str,
        "Plan Rows": float,
        "Plans": list["Plan"],
    },
    total=False,
)


@contextmanager
def testbed(size: int) -> Iterator[psycopg.Connection]:
    """Provide a connection to a new database with a number of topologies, and everything else in proportion."""
    with schema_connection() as connection:
        fill(connection, size, (PLANS / "data.sql").read_text("utf-8"))
        yield connection


def fill(connection: psycopg.Connection, size: int, data: str) -> None:
    """Fill an empty database with the testbed, by the SQL of tests/plans/data.sql or of a release.

    As in a restore, triggers and foreign keys are disabled, and indexes are created afterwards.
    """
    for statement in (
        f"set plans.topologies = {size}",
        "set session_replication_role = replica",
        "set maintenance_work_mem = '512MB'",
        "update pg_index i set indisready = false from pg_tables t"
        " where i.indrelid = t.tablename::regclass and t.schemaname = 'public'",
        data,
        "reindex schema public",
        "vacuum analyze",
        "reset session_replication_role",
    ):
        connection.execute(statement.encode())


def findings(connection: psycopg.Connection, queries: Sequence[Query], size: int) -> Iterator[str]:
    """Return needless reads and sorts in the plans, a line each, unless the query gives a reason."""
    large = _large(connection, size)
    for query in queries:
        found = [(variant.name, what) for variant in query.variants() for what in _found(connection, variant, large)]
        if "plan" not in query.claims:
            yield from (f"{short(query.path)}:{query.line}: {name}: its plan {what}" for name, what in found)
        elif not found and size == FULL_SIZE:
            yield f"{short(query.path)}:{query.line}: {query.name}: nothing is wrong with its plan: remove the comment “plan”"


def wasteful(connection: psycopg.Connection, query: Query, size: int) -> list[str]:
    """Return needless reads and sorts in the plan of one statement, without the numbers of rows."""
    found = _found(connection, query, _large(connection, size))
    return list(
        dict.fromkeys(re.sub(r"\d+ rows", "rows", re.sub(r", of which \d+", ", of which fewer", what)) for what in found)
    )


def _large(connection: psycopg.Connection, size: int) -> set[str]:
    query = "select relname from pg_class where relkind = 'r' and reltuples >= %s"
    return {name for (name,) in connection.execute(query, [max(size // _LARGE, _FEW)])}


def text(connection: psycopg.Connection, query: Query) -> str:
    """Return a query's generic plan without details that vary between runs; for variants, each plan below its name."""
    plans = []
    for variant in query.variants():
        rows = connection.execute(f"explain (generic_plan, costs off) {variant.sql}".encode())
        plans.append((f"{variant.name}\n" if query.choices else "") + "".join(f"{line}\n" for (line,) in rows))
    return "\n".join(plans)


def _found(connection: psycopg.Connection, query: Query, large: set[str]) -> dict[str, None]:
    """Return needless reads and sorts in the plan of one statement."""
    return dict.fromkeys(_wasteful(_plan(connection, query), large))


def _plan(connection: psycopg.Connection, query: Query) -> Plan:
    row = connection.execute(f"explain (generic_plan, format json) {query.sql}".encode()).fetchone()
    plan: Plan = row[0][0]["Plan"] if row else {}
    return plan


def _wasteful(plan: Plan, large: set[str], taken: float | None = None, share: float = 1) -> Iterator[str]:
    """Return needless reads and sorts of a node and its children.

    taken: how many rows a limit above takes, None where all are; share: of the rows that this node could give.
    """
    kind, table, below = plan["Node Type"], plan.get("Relation Name", ""), plan.get("Plans", [])
    read = round(plan["Plan Rows"] * share)
    if kind == "Limit":
        (source,) = (inner for inner in below if inner.get("Parent Relationship") == "Outer")  # an InitPlan may come before it
        share = plan["Plan Rows"] / max(source["Plan Rows"], 1)
    if kind in ("Limit", "Unique"):
        taken = min(plan["Plan Rows"], plan["Plan Rows"] if taken is None else taken)
    if kind == "Seq Scan" and table in large:
        yield f"scans all of {table}"
    elif kind in ("Index Scan", "Index Only Scan") and table in large and taken is None and "Index Cond" not in plan:
        yield f"scans all of {table}, by an index"
    elif kind in ("Index Scan", "Index Only Scan") and table in large and taken is not None and read > max(taken, _PAGE):
        yield f"reads {read} rows of {table}, of which {taken:.0f} are taken"
    elif kind == "Sort" and taken is not None and below[0]["Plan Rows"] > max(taken, _PAGE):
        yield f"sorts {below[0]['Plan Rows']:.0f} rows, of which {taken:.0f} are taken"
    for inner in below:
        if inner.get("Parent Relationship") != "Outer":  # it is asked anew for each row, or once for all
            yield from _wasteful(inner, large)
        elif kind in _READS_ALL:
            yield from _wasteful(inner, large, taken)
        else:
            yield from _wasteful(inner, large, taken, share)


def main() -> None:
    """Run `python -m checks.plans [--write] [--topologies N]`."""
    parser = argparse.ArgumentParser(prog="plans", description="Check the queries' plans on a large testbed.")
    parser.add_argument("--write", action="store_true", help="write tests/plans (default: say what changed, exit 1)")
    parser.add_argument(
        "--topologies", type=int, default=FULL_SIZE, help="of the testbed (default: %(default)s; only then are plans compared)"
    )
    options = parser.parse_args()
    with testbed(options.topologies) as connection:
        found = list(findings(connection, list(QUERIES.values()), options.topologies))
        made = {PLANS / f"{query.name}.txt": text(connection, query) for query in QUERIES.values()}
    if options.topologies == FULL_SIZE:
        found += list(_changes(made, write=options.write))
    for line in found:
        print(line, file=sys.stderr)
    if found:
        raise TomatoError(f"{counted(len(found), 'finding')} in the plans of {len(made)} queries")


def _changes(made: dict[Path, str], *, write: bool) -> Iterator[str]:
    """Write the plans, or report their differences from the stored ones."""
    for file in sorted({*made, *PLANS.glob("*.txt")}):
        before = file.read_text("utf-8") if file.exists() else ""
        after = made.get(file, "")
        if write and after:
            file.write_text(after, "utf-8")
        elif write:
            file.unlink()
        elif before != after:
            lines = difflib.unified_diff(before.splitlines(), after.splitlines(), "kept", "now", lineterm="", n=1)
            yield "\n".join([f"{short(file)}:1: the plan has changed; if that is intended: make plans", *lines])


if __name__ == "__main__":
    run_command(main, "check-plans")

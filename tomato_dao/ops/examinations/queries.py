"""The named queries that take the server the most time."""

import psycopg

from ...server.session import CATALOG_PATH
from ...sql.wording import counted
from .findings import ABSENT, OK, Finding, rows


def queries(connection: psycopg.Connection) -> Finding:
    """List the named queries that took the most time in all."""
    (statistics,) = rows(connection, "statistics")
    if statistics["statements_schema"] is None:
        why = "not available because pg_stat_statements is not installed here"
        how = "add pg_stat_statements to shared_preload_libraries; restart; create extension pg_stat_statements"
        return Finding("queries", ABSENT, why, advice=[how] if statistics["may_have_statements"] else [])
    found = rows(connection, "slowest", 10, path=f"{CATALOG_PATH},{statistics['statements_schema']}")
    width = max((len(row["name"]) for row in found), default=0)
    lines = [
        f"{r['name']:{width}}  {counted(r['calls'], 'call'):>16}  {r['seconds']:>10.1f} s  {r['mean_ms']:>8.2f} ms each"
        for r in found
    ]
    return Finding("queries", OK, f"the {len(found)} that took the most time", lines, figures={"slowest": found})

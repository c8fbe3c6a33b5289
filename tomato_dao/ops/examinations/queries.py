"""The named queries with the highest total execution time."""

from typing import Any

import psycopg

from ...server.session import CATALOG_PATH
from ...sql.wording import counted
from .findings import ABSENT, OK, Finding, rows

_LENT = "tomato_doctor_lends"  # a schema that no other session sees
_MOST = 10


def queries(connection: psycopg.Connection) -> Finding:
    """List the named queries with the highest total execution time."""
    (statistics,) = rows(connection, "statistics")
    if schema := statistics["statements_schema"]:
        found = _slowest(connection, schema)
    elif statistics["can_be_lent"]:
        found = _slowest_by_a_lent_extension(connection)
    else:
        why = "not available because pg_stat_statements is not installed here"
        how = "add pg_stat_statements to shared_preload_libraries; restart; create extension pg_stat_statements"
        return Finding("queries", ABSENT, why, advice=[how] if statistics["may_have_statements"] else [])
    width = max((len(row["name"]) for row in found), default=0)
    lines = [
        f"{r['name']:{width}}  {counted(r['calls'], 'call'):>16}  {r['seconds']:>10.1f} s  {r['mean_ms']:>8.2f} ms each"
        for r in found
    ]
    return Finding("queries", OK, f"the {len(found)} that took the most time", lines, figures={"slowest": found})


def _slowest(connection: psycopg.Connection, schema: str) -> list[dict[str, Any]]:
    return rows(connection, "slowest", _MOST, path=f"{CATALOG_PATH},{schema}")


def _slowest_by_a_lent_extension(connection: psycopg.Connection) -> list[dict[str, Any]]:
    """Query pg_stat_statements by an extension that is created in this transaction only.

    The server collects its statistics in shared memory, for all databases. A permanent extension would be part of each backup,
    and a server without the library could not restore it.
    """
    with connection.transaction(force_rollback=True):
        connection.execute(f"create schema {_LENT}".encode())
        connection.execute(f"create extension pg_stat_statements schema {_LENT}".encode())
        return _slowest(connection, _LENT)

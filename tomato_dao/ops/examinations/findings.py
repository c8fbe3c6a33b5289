"""Findings of the doctor, and the queries of its examinations."""

from dataclasses import dataclass, field
from typing import Any

import psycopg
from psycopg.rows import dict_row

from ...server import schema
from ...server.session import CATALOG_PATH
from ...sql import query_files

_QUERIES = query_files.load(schema.DB_DIR / "operations")
OK, NOTE, BAD, UNKNOWN, ABSENT = "ok", "note", "bad", "unknown", "absent"
SHOWN = 8  # maximum number of listed tables or other objects


@dataclass(frozen=True, slots=True)
class Finding:
    """Result of an examination: level (ok, note, bad or unknown), a line, details, advice, and figures for machines."""

    topic: str
    level: str
    summary: str
    details: list[str] = field(default_factory=list)
    advice: list[str] = field(default_factory=list)
    figures: dict[str, Any] = field(default_factory=dict)


def rows(connection: psycopg.Connection, name: str, *values: object, path: str | None = None) -> list[dict[str, Any]]:
    """Return the rows of a query of db/operations: "tables" of doctor.sql, "storage.bloat" of doctor_storage.sql.

    path: the search_path (default: PostgreSQL's own schema only).
    """
    query = _QUERIES[f"doctor_{name}" if "." in name else f"doctor.{name}"]
    with (
        connection.transaction(force_rollback=True),  # resets the path even within a caller's transaction
        psycopg.RawCursor(connection, row_factory=dict_row) as cursor,
    ):
        cursor.execute(f"set local search_path = {path or CATALOG_PATH}".encode())
        return cursor.execute(query.sql.encode(), values).fetchall()

"""Backups, and leftovers of restores and killed commands."""

import os
import time
from math import inf
from typing import Any

import psycopg

from ...server.commands import command_line
from .. import leftovers
from ..backup import backup_directory, backups, unfinished
from ..cli import duration, megabytes
from .findings import NOTE, OK, Finding, rows

OLD = 7 * 86400  # maximum age of a backup and of a kept database in seconds


def backup(connection: psycopg.Connection) -> Finding:
    """Examine the last backup's age, and leftovers of restores and killed commands."""
    kept = rows(connection, "kept_databases")
    details = [
        f"{row['name']}, kept by a restore {duration(row['seconds'])} ago"
        + (f", {megabytes(row['bytes'])}" if row["bytes"] is not None else "")
        for row in kept
    ]
    parts = unfinished()
    details += [f"{part}, {megabytes(part.stat().st_size)}, left over from a killed backup" for part in parts]
    databases = leftovers.abandoned(
        connection, f"{leftovers.unfinished(connection.info.dbname)}|^{leftovers.SCRATCH}[0-9a-f]{{12}}$"
    )
    details += [f"the database {name}, left over from a killed command" for name in databases]
    figures: dict[str, Any] = {"kept_databases": kept, "left_files": parts, "left_databases": databases}
    advice = [f'drop database "{row["name"]}";  -- if nobody needs it' for row in kept if row["seconds"] > OLD]
    advice += [f'drop database "{name}";' for name in databases]
    if parts:
        advice.insert(0, f"{command_line('backup')}, which removes the leftovers of killed ones")
    summary, age = f"none in {backup_directory()}", inf
    if found := backups(connection.info.dbname):
        status = found[-1].stat()
        age = time.time() - status.st_mtime
        summary = f"the last is {duration(age)} old: {found[-1]}, {megabytes(status.st_size)}"
        figures |= {"file": os.fspath(found[-1]), "age_seconds": age, "bytes": status.st_size}
    if age > OLD:
        advice.insert(0, command_line("backup"))
    return Finding("backup", NOTE if advice else OK, summary, details, advice, figures)

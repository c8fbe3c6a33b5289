"""State of the storage: old transaction ids, damaged pages, changed collations, disk space, cache hits."""

import os
from typing import Any

import psycopg
from psycopg import sql

from ...sql.wording import counted
from ..cli import megabytes
from .connections import is_local
from .findings import BAD, NOTE, OK, Finding, rows

LAST_ID = 2**31  # age of the oldest id at which ids would wrap around; the server refuses writes shortly before
OVERDUE, DANGEROUS = 1.5, 0.6  # multiple of the age at which autovacuum freezes; fraction of LAST_ID
FEW_HITS, ENOUGH_READS = 0.9, 100_000  # fraction of blocks found in the cache; minimum number of blocks for a finding
LITTLE_SPACE, NO_SPACE = 0.15, 0.05  # free fraction of a file system


def freezing(connection: psycopg.Connection) -> Finding:
    """Examine the age of transaction and multixact ids in all databases. Before either wraps around, writes stop."""
    found = rows(connection, "storage.freezing")
    kinds = (("transactions", "transaction ids"), ("multixacts", "multixact ids"))
    level, details, advice = OK, [], []
    for row in found:
        for kind, words in kinds:
            age, allowed = row[kind], row[f"{kind}_allowed"]
            if age > DANGEROUS * LAST_ID or age > OVERDUE * allowed:
                level = BAD if age > DANGEROUS * LAST_ID else NOTE if level == OK else level
                details.append(f"{row['name']}: {words} as old as {age:,} are not frozen; at {LAST_ID:,} all writes stop")
                advice.append(
                    f"end what holds it back (old or prepared transactions, slots), then in {row['name']}: vacuum (freeze);"
                )
    age, allowed = (max((row[kind] for row in found), default=0) for kind, _ in kinds)
    summary = f"the oldest transaction id is {age:,} old, the oldest multixact id {allowed:,}, of {LAST_ID:,}"
    return Finding("freezing", level, summary, details, advice, {"databases": found})


def integrity(connection: psycopg.Connection) -> Finding:
    """Examine whether pages were damaged, and whether collations have changed since indexes were built."""
    damaged, changed = rows(connection, "health.damaged"), rows(connection, "health.collations")
    database = sql.Identifier(connection.info.dbname).as_string()
    details = [
        f"{row['name'] or 'what all databases share'}: {counted(row['pages'], 'read')} of pages with a wrong checksum"
        for row in damaged
    ]
    details += [
        f"the collation {row['name'] or 'of the database'} is of version {row['here']} here, "
        f"but was {row['version']} when indexes were built: they may miss rows"
        for row in changed
    ]
    advice = ["check the disk for errors, copy the data directory, then restore a backup"] if damaged else []
    if changed:
        advice.append("reindex database concurrently;")
        advice += [
            f"alter collation {row['name']} refresh version;"
            if row["name"]
            else f"alter database {database} refresh collation version;"
            for row in changed
        ]
    summary = f"{'no' if not damaged else counted(sum(row['pages'] for row in damaged), 'read')}"
    return Finding(
        "integrity",
        BAD if details else OK,
        f"{summary}{' of' if damaged else ''} damaged pages; {counted(len(changed), 'collation')} of another version",
        details,
        advice,
        {"damaged": damaged, "collations": changed},
    )


def cache(connection: psycopg.Connection) -> Finding:
    """Examine the fraction of blocks found in shared_buffers."""
    (found,) = rows(connection, "health.cache")
    blocks = found["hit"] + found["read"]
    ratio = found["hit"] / blocks if blocks else 1.0
    few = blocks >= ENOUGH_READS and ratio < FEW_HITS
    return Finding(
        "cache",
        NOTE if few else OK,
        f"{ratio:.1%} of {blocks:,} blocks were found in shared_buffers",
        [],
        [
            "alter system set shared_buffers = …; then restart;  -- a quarter of memory is usual",
            "or see under indexes which tables are read as a whole",
        ]
        if few
        else [],
        {**found, "ratio": ratio},
    )


def disk(connection: psycopg.Connection) -> Finding:
    """Examine the free disk space of the server's data, if that is on this machine and accessible."""
    (places,) = rows(connection, "health.places")
    if not is_local(connection) or not places["data"]:
        why = "this user may not see where the data are" if is_local(connection) else "the server is on another machine"
        return Finding("disk", OK, f"not known: {why}", figures={"file_systems": []})
    found: dict[int, dict[str, Any]] = {}
    for place in [places["data"], os.path.join(places["data"], "pg_wal"), *places["tablespaces"]]:  # noqa: PTH118 (the server's)
        try:
            device, status = os.stat(place).st_dev, os.statvfs(place)  # noqa: PTH116 (as above)
        except OSError:
            continue
        free, size = status.f_bavail * status.f_frsize, status.f_blocks * status.f_frsize
        if size:
            found.setdefault(device, {"place": place, "free": free, "size": size})
    if not found:
        return Finding("disk", OK, f"not known: {places['data']} is not readable for this user", figures={"file_systems": []})
    least = min(found.values(), key=lambda row: row["free"] / row["size"])
    share = least["free"] / least["size"]
    low = share < LITTLE_SPACE
    return Finding(
        "disk",
        BAD if share < NO_SPACE else NOTE if low else OK,
        f"{megabytes(least['free'])} of {megabytes(least['size'])} free ({share:.0%})",
        [least["place"]] if low else [],
        ["free space there: see “tables” for large ones, “replication” and “archiving” for what keeps WAL"] if low else [],
        {"file_systems": list(found.values())},
    )

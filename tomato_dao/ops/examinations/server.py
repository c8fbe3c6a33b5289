"""The server and its settings."""

import psycopg
from psycopg import sql

from ..cli import duration
from .findings import BAD, NOTE, OK, Finding, rows

# The newest minor versions in November 2026, when this version of tomato-dao was released.
NEWEST = {15: 19, 16: 15, 17: 11, 18: 6}


def server(connection: psycopg.Connection) -> Finding:
    """Examine the server's settings, and whether it is writable."""
    (server,) = rows(connection, "server")
    wrong = [
        f"{name} is off: {why}"
        for name, why in (
            ("fsync", "a crash can destroy the database"),
            ("full_page_writes", "a crash can destroy the database"),
            ("autovacuum", "dead rows will never be removed"),
            ("track_counts", "autovacuum does not see where to work"),
        )
        if server[name] == "off"
    ]
    advice = [f"alter system set {line.split()[0]} = on; select pg_reload_conf();  -- {line}" for line in wrong]
    for name, why in (
        ("zero_damaged_pages", "damaged pages are emptied as they are read"),
        ("ignore_checksum_failure", "damaged pages are read as if they were not"),
    ):
        if server[name] == "on":
            wrong.append(f"{name} is on: {why}")
            advice.append(f"alter system reset {name}; select pg_reload_conf();  -- {wrong[-1]}")
    read_only = server["default_transaction_read_only"] == "on" and server["read_only_by"] not in (
        "user",
        "database user",
        "client",
        "session",
    )
    if read_only:
        wrong.append("default_transaction_read_only")
        of_database = server["read_only_by"] == "database"
        advice.append(
            f"alter database {sql.Identifier(connection.info.dbname).as_string()} reset default_transaction_read_only;"
            if of_database
            else "alter system reset default_transaction_read_only; select pg_reload_conf();  -- or where else it is set"
        )
        advice[-1] += "  -- no worker can write"
    elif server["standby"]:
        advice.append("set DATABASE_URL to the primary: no worker can write here (reading works on a standby)")
    state = ", a standby, which is read-only" if server["standby"] else ", read-only" if read_only else ""
    major, minor = divmod(server["version_number"], 10000)
    newest = NEWEST.get(major, 0)
    if minor < newest:
        advice.append(f"install PostgreSQL {major}.{newest} or later and restart: it fixes bugs of {major}.{minor}")
    shown = ("shared_buffers", "work_mem", "maintenance_work_mem", "max_wal_size", "shared_memory_type")
    return Finding(
        "server",
        BAD if wrong else NOTE if server["standby"] or minor < newest else OK,
        f"PostgreSQL {server['version']}, up for {duration(server['up_seconds'])}{state}",
        [", ".join(f"{name} {server[name]}" for name in shown)],
        advice,
        {**server, "newest": f"{major}.{max(newest, minor)}"},
    )

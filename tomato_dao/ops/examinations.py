"""The doctor's examinations: each examination looks at one thing and says what it found and what to do."""

import ipaddress
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from math import inf
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql
from psycopg.rows import dict_row

from ..errors import TomatoError, from_driver
from ..server import schema
from ..server.capacity import capacity
from ..server.commands import command_line
from ..server.planted import advice as advice_on_planted
from ..server.planted import planted
from ..server.session import CATALOG_PATH, SCHEMA
from ..sql import query_files
from ..sql.wording import counted
from . import leftovers
from .backup import backup_directory, backups, unfinished
from .cli import duration, megabytes
from .roles import APP, OWNER, READER, ROLES

_QUERIES = query_files.load(schema.DB_DIR / "operations")
_SHARED_PER_CONNECTION = 50_000  # bytes of shared memory, measured with PostgreSQL 15 and 18
OK, NOTE, BAD, UNKNOWN = "ok", "note", "bad", "unknown"
LONG_TRANSACTION, LONG_IDLE, LONG_WAIT = 300, 60, 10  # seconds
MANY_DEAD = 10_000  # rows that are dead, where they are more than a fifth
LARGE = 10_000_000  # bytes of an index that nobody uses
SHOWN = 8  # tables
OLD = 7 * 86400  # seconds, of a backup and of what a restore has kept


@dataclass(frozen=True, slots=True)
class Finding:
    """Result of an examination: level ok, note, bad or unknown; a line; more lines; what to do; figures for machines."""

    topic: str
    level: str
    summary: str
    details: list[str] = field(default_factory=list)
    advice: list[str] = field(default_factory=list)
    figures: dict[str, Any] = field(default_factory=dict)


def examine(connection: psycopg.Connection, pool_size: int) -> Iterator[Finding]:
    """All examinations of a database; pool_size: of the worker processes for which there should be room."""
    examinations: dict[str, Callable[[], Finding]] = {
        "server": lambda: _server(connection),
        "connections": lambda: _connections(connection, pool_size),
        "schema": lambda: _schema(connection),
        "roles": lambda: examine_roles(connection),
        "transactions": lambda: _transactions(connection),
        "locks": lambda: _locks(connection),
        "tables": lambda: _tables(connection),
        "indexes": lambda: _indexes(connection),
        "queries": lambda: _slowest(connection),
        "backup": lambda: _backup(connection),
    }
    for topic, examination in examinations.items():
        try:
            yield examination()
        except (psycopg.Error, TomatoError) as error:
            told = from_driver(error) if isinstance(error, psycopg.Error) else error
            yield Finding(topic, UNKNOWN, f"not available because {told}")


def rows(connection: psycopg.Connection, name: str, *values: object, path: str | None = None) -> list[dict[str, Any]]:
    """Return the rows of a query of db/operations/doctor.sql.

    path: where it looks names up (default: among PostgreSQL's own).
    """
    query = _QUERIES[f"doctor.{name}"]
    with (
        connection.transaction(force_rollback=True),  # ends the path, also in a transaction of the caller's
        psycopg.RawCursor(connection, row_factory=dict_row) as cursor,
    ):
        cursor.execute(f"set local search_path = {path or CATALOG_PATH}".encode())
        return cursor.execute(query.sql.encode(), values).fetchall()


def steps_for_more_connections(allowed: int, wanted: int, server: dict[str, Any], *, local: bool) -> list[str]:
    """Return what an operator types so that a server allows so many connections, and what that costs."""
    cost = (wanted - allowed) * _SHARED_PER_CONNECTION
    steps = [
        "fewer worker processes, smaller pools or a pooler cost nothing: try these first; else, as a superuser in psql:",
        f"  alter system set max_connections = {wanted};",
        "  and restart the server (systemctl restart postgresql; "
        f"the embedded one: {command_line('embedded stop')}, the next use starts it);",
        "  standbys get the new value, and their restart, before it",
        f"  it costs {megabytes(cost)} more of shared memory; a session at work takes 5 to 10 MB, and work_mem for each sort",
    ]
    if server["shared_memory_type"] == "sysv":
        needed = server["shared_memory_bytes"] + cost
        today = _shmmax() if local else None
        steps.append(
            f"  shared_memory_type is sysv, so kernel.shmmax on the server must be {needed:,} at least"
            f" ({f'it is {today:,}' if today else 'see sysctl kernel.shmmax there'}): sysctl -w kernel.shmmax={needed}"
            if not today or today < needed
            else f"  shared_memory_type is sysv: kernel.shmmax is {today:,}, which suffices for the {needed:,} bytes needed"
        )
    return steps


def _server(connection: psycopg.Connection) -> Finding:
    (server,) = rows(connection, "server")
    wrong = [
        f"{name} is off: {why}"
        for name, why in (
            ("fsync", "a crash can destroy the database"),
            ("full_page_writes", "a crash can destroy the database"),
            ("autovacuum", "dead rows will never be removed"),
            ("track_counts", "autovacuum does not know where to work"),
        )
        if server[name] == "off"
    ]
    read_only = server["default_transaction_read_only"] == "on" and server["read_only_by"] not in (
        "user",
        "database user",
        "client",
        "session",
    )
    advice = [f"alter system set {line.split()[0]} = on; select pg_reload_conf();  -- {line}" for line in wrong]
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
        advice.append("name the primary in DATABASE_URL: no worker can write here (for reading, a standby will do)")
    state = ", a standby, which is read-only" if server["standby"] else ", read-only" if read_only else ""
    shown = ("shared_buffers", "work_mem", "maintenance_work_mem", "max_wal_size", "shared_memory_type")
    return Finding(
        "server",
        BAD if wrong else NOTE if server["standby"] else OK,
        f"PostgreSQL {server['version']}, up for {duration(server['up_seconds'])}{state}",
        [", ".join(f"{name} {server[name]}" for name in shown)],
        advice,
        server,
    )


def _connections(connection: psycopg.Connection, pool_size: int) -> Finding:
    figures = capacity(connection)
    fit = figures.room // pool_size
    by_application: dict[str, list[str]] = {}
    sessions = rows(connection, "sessions")
    for row in sessions:
        by_application.setdefault(row["application"], []).append(f"{row['sessions']} {row['state']}")
    advice: list[str] = []
    if not fit:
        wanted = -(-(figures.others + figures.reserved + 2 * pool_size) // 50) * 50
        (server,) = rows(connection, "server")
        advice = steps_for_more_connections(figures.allowed, wanted, server, local=is_local(connection))
    usable = f"{figures.allowed - figures.reserved} used ({figures.allowed} allowed, {figures.reserved} reserved)"
    return Finding(
        "connections",
        OK if fit else BAD,
        f"{figures.others} of {usable}: room for {counted(fit, 'more worker process')} with a pool of {pool_size}",
        [f"{application}: {', '.join(states)}" for application, states in by_application.items()],
        advice,
        {"used": figures.others, "allowed": figures.allowed, "reserved": figures.reserved, "pool_size": pool_size,
         "processes_that_fit": fit, "sessions": sessions},
    )  # fmt: skip


def _schema(connection: psycopg.Connection) -> Finding:
    if strange := planted(connection):  # before anything of the schema is read
        summary = f"{counted(len(strange), 'object')} in {SCHEMA} that the database's owner did not make"
        return Finding("schema", BAD, summary, strange, [advice_on_planted(connection)], {"planted": strange})
    have = schema.applied(connection)
    differs = schema.compare(have)
    unknown, total = differs.unknown, len(schema.known())
    pending = [path.stem for path in schema.files() if schema.version_of(path) in differs.pending]
    figures = {"current": have[-1] if have else None, "pending": pending, "unknown": unknown}
    current = f"at {have[-1]}" if have else "never migrated"
    if differs.unreleased:
        return Finding("schema", BAD, f"{current}, a schema that was never released", unknown, [schema.recreate()], figures)
    if unknown:
        advice = ["this code is older than the database: install the tomato-dao that knows them"]
        return Finding("schema", BAD, f"{current}, with migrations unknown to this code", unknown, advice, figures)
    if edited := schema.edited(connection):
        summary = f"{current}, {counted(len(edited), 'migration')} edited after being applied"
        return Finding("schema", BAD, summary, edited, [schema.undo_edit()], {**figures, "edited": edited})
    if pending:
        advice = [f"{command_line('migrate')}, which makes a backup first"]
        return Finding("schema", BAD, f"{current}, {len(pending)} of {total} migrations pending", pending, advice, figures)
    return Finding("schema", OK, f"{current}, all {total} migrations applied", figures=figures)


def examine_roles(connection: psycopg.Connection) -> Finding:
    """Examine whether the roles of db/roles have what they need in a database, and nothing else."""
    found = {row["name"]: row for row in rows(connection, "roles", list(ROLES))}
    me = f"this is {connection.info.user}"
    if not found:
        return Finding("roles", NOTE, f"{me}; there are no roles of least privilege", advice=[command_line("roles")])
    wrong = [f"there is no {role}" for role in ROLES if role not in found]
    wrong += [f"{role} is a superuser" for role, row in found.items() if row["superuser"]]
    if owner := found.get(OWNER):
        not_owned = [
            "the database" * (not owner["owns_database"]),
            "the schema public" * (not owner["owns_schema"]),
            counted(owner["not_owned"], "table") if owner["not_owned"] else "",
            counted(owner["functions_not_owned"], "function") if owner["functions_not_owned"] else "",
        ]
        wrong += [f"{OWNER} does not own {what}" for what in not_owned if what]
    differences = rows(connection, "privileges", APP, READER)
    wrong += _told_privileges(differences)
    figures = {"roles": list(found.values()), "privileges": differences}
    if wrong:
        return Finding("roles", BAD, f"{me}; {', '.join(found)} need a look", wrong, [command_line("roles")], figures)
    summary = f"{me}; {', '.join(found)} have what they need"
    if large := [role for role in (APP, READER) if found[role]["may_create_large_objects"]]:
        advice = f"OWNER_DATABASE_URL=postgresql://postgres@…/… {command_line('roles')}  -- only a superuser can forbid it"
        return Finding("roles", NOTE, summary, [f"{' and '.join(large)} may create large objects"], [advice], figures)
    return Finding("roles", OK, summary, figures=figures)


def _told_privileges(differences: list[dict[str, Any]]) -> list[str]:
    """Lines about privileges that roles lack, and about those that they should not have."""
    lacking: dict[tuple[str, str], set[str]] = {}
    excess: dict[tuple[str, str], list[str]] = {}
    for row in differences:
        if row["lacking"]:
            lacking.setdefault((row["role"], row["kind"]), set()).add(row["object"])
        else:
            excess.setdefault((row["role"], row["object"]), []).append(row["privilege"])
    lines = [
        f"{role} lacks privileges on {counted(len(objects), kind) if kind in ('table', 'sequence') else ', '.join(objects)}"
        for (role, kind), objects in lacking.items()
    ]
    for (role, what), privileges in excess.items():
        if (what, privileges) == ("the schema public", ["create"]):
            lines.append(f"{role} may create tables")
        else:
            lines.append(f"{role} has more than it needs on {what}: {', '.join(privileges)}")
    if len(lines) > SHOWN:
        lines[SHOWN:] = [f"and {counted(len(lines) - SHOWN, 'other difference')}, which --json lists"]
    return lines


def _transactions(connection: psycopg.Connection) -> Finding:
    found = rows(connection, "transactions")
    idle = [row for row in found if row["state"].startswith("idle in transaction")]
    bad = [row for row in found if row["seconds"] > LONG_TRANSACTION or (row in idle and row["state_seconds"] > LONG_IDLE)]
    longest = f", the longest for {duration(found[0]['seconds'])}" if found else ""
    return Finding(
        "transactions",
        BAD if bad else OK,
        f"{len(found)} open{longest}; {len(idle)} idle in transaction",
        [f"{row['application']} (pid {row['pid']}), {row['state']}, {duration(row['seconds'])}, {row['query']}" for row in bad],
        [f"select pg_terminate_backend({row['pid']});  -- if nobody needs it: it keeps dead rows and locks" for row in bad],
        {"transactions": found},
    )


def _locks(connection: psycopg.Connection) -> Finding:
    found = rows(connection, "locks_waited_for")
    bad = [row for row in found if row["seconds"] > LONG_WAIT]
    return Finding(
        "locks",
        BAD if bad else OK,
        f"{counted(len(found), 'session')} waiting for a lock",
        [
            f"{r['application']} (pid {r['pid']}) waits {duration(r['seconds'])} in {r['query']} for pid {r['blocked_by']}"
            for r in found
        ],
        ["see what these pids do under transactions above, or in pg_stat_activity"] if bad else [],
        {"waiting": found},
    )


def _tables(connection: psycopg.Connection) -> Finding:
    found = rows(connection, "tables")
    dead = [row for row in found if row["dead"] > MANY_DEAD and row["dead"] > 0.2 * (row["live"] + row["dead"])]
    width = max((len(row["name"]) for row in found[:SHOWN]), default=0)
    lines = [
        f"{r['name']:{width}}  {megabytes(r['bytes']):>10}  {counted(r['live'], 'row'):>17}  {r['dead']:>10,} dead"
        for r in found[:SHOWN]
    ]
    if len(found) > SHOWN:
        lines.append(f"and {counted(len(found) - SHOWN, 'smaller one')}, which --json lists")
    return Finding(
        "tables",
        NOTE if dead else OK,
        f"{counted(len(found), 'table')}, {megabytes(sum(row['bytes'] for row in found))} with their indexes"
        f"{f'; many dead rows in {len(dead)}' if dead else ''}",
        lines,
        [f"vacuum (analyze) {row['name']};" for row in dead],
        {"tables": found},
    )


def _indexes(connection: psycopg.Connection) -> Finding:
    missing, unused = rows(connection, "unindexed_foreign_keys"), rows(connection, "unused_indexes")
    invalid = rows(connection, "invalid_indexes")
    (statistics,) = rows(connection, "statistics")
    read_whole = [
        r for r in rows(connection, "tables") if r["whole_reads"] > 100 and r["rows_of_whole_reads"] > 10_000 * r["whole_reads"]
    ]
    details = [f"{row['name']} on {row['on_table']}: a foreign key without an index" for row in missing]
    details += [f"{schema.invalid_index(row['name'])}, so no query of {row['on_table']} uses it" for row in invalid]
    details += [f"{r['name']}: read as a whole {r['whole_reads']:,} times; a query may lack an index" for r in read_whole]
    details += [f"{r['name']} on {r['on_table']} ({megabytes(r['bytes'])}): not used" for r in unused if r["bytes"] > LARGE]
    return Finding(
        "indexes",
        BAD if missing or invalid else NOTE if read_whole else OK,
        f"{len(missing) or 'no'} missing, {len(unused) or 'none'} unused in {duration(statistics['seconds'])} of statistics",
        details,
        ["a new migration with “create index …”"] * bool(missing)
        + [f"{schema.drop_invalid_index(row['name'])}; then {command_line('migrate')}" for row in invalid],
        {"missing": missing, "invalid": invalid, "unused": unused, "read_whole": read_whole},
    )


def _slowest(connection: psycopg.Connection) -> Finding:
    (statistics,) = rows(connection, "statistics")
    if statistics["statements_schema"] is None:
        why = "not available because pg_stat_statements is not installed here"
        how = "add pg_stat_statements to shared_preload_libraries; restart; create extension pg_stat_statements"
        return Finding("queries", UNKNOWN, why, advice=[how] if statistics["may_have_statements"] else [])
    found = rows(connection, "slowest", 10, path=f"{CATALOG_PATH},{statistics['statements_schema']}")
    width = max((len(row["name"]) for row in found), default=0)
    lines = [
        f"{r['name']:{width}}  {counted(r['calls'], 'call'):>16}  {r['seconds']:>10.1f} s  {r['mean_ms']:>8.2f} ms each"
        for r in found
    ]
    return Finding("queries", OK, f"the {len(found)} that took the most time", lines, figures={"slowest": found})


def _backup(connection: psycopg.Connection) -> Finding:
    kept = rows(connection, "kept_databases")
    details = [
        f"{row['name']}, kept by a restore {duration(row['seconds'])} ago"
        + (f", {megabytes(row['bytes'])}" if row["bytes"] is not None else "")
        for row in kept
    ]
    parts = unfinished()
    details += [f"{part}, {megabytes(part.stat().st_size)}, left by a backup that was killed" for part in parts]
    databases = leftovers.abandoned(
        connection, f"{leftovers.unfinished(connection.info.dbname)}|^{leftovers.SCRATCH}[0-9a-f]{{12}}$"
    )
    details += [f"the database {name}, left by a command that was killed" for name in databases]
    figures: dict[str, Any] = {"kept_databases": kept, "left_files": parts, "left_databases": databases}
    advice = [f'drop database "{row["name"]}";  -- if nobody needs it' for row in kept if row["seconds"] > OLD]
    advice += [f'drop database "{name}";' for name in databases]
    if parts:
        advice.insert(0, f"{command_line('backup')}, which removes what killed ones have left")
    summary, age = f"none in {backup_directory()}", inf
    if found := backups(connection.info.dbname):
        status = found[-1].stat()
        age = time.time() - status.st_mtime
        summary = f"the last is {duration(age)} old: {found[-1]}, {megabytes(status.st_size)}"
        figures |= {"file": os.fspath(found[-1]), "age_seconds": age, "bytes": status.st_size}
    if age > OLD:
        advice.insert(0, command_line("backup"))
    return Finding("backup", NOTE if advice else OK, summary, details, advice, figures)


def is_local(connection: psycopg.Connection) -> bool:
    """Return whether the server is on this machine: a Unix socket, or the loopback address."""
    host = connection.info.hostaddr or connection.info.host
    try:
        return host.startswith("/") or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _shmmax() -> int | None:
    path = Path("/proc/sys/kernel/shmmax")
    return int(path.read_text()) if path.exists() else None

"""The connection limit, and the steps to raise it."""

import ipaddress
from pathlib import Path
from typing import Any

import psycopg

from ...server.capacity import BESIDE, capacity
from ...server.commands import command_line
from ...sql.wording import counted
from ..cli import megabytes
from .findings import BAD, OK, Finding, rows

_SHARED_PER_CONNECTION = 50_000  # bytes of shared memory, measured with PostgreSQL 15 and 18


def connections(connection: psycopg.Connection, pool_size: int) -> Finding:
    """Examine whether there is room for a worker process with a pool of *pool_size*, and its sessions outside the pool."""
    figures = capacity(connection)
    fit = figures.room // (pool_size + BESIDE)
    by_application: dict[str, list[str]] = {}
    sessions = rows(connection, "sessions")
    for row in sessions:
        by_application.setdefault(row["application"], []).append(f"{row['sessions']} {row['state']}")
    advice: list[str] = []
    if not fit:
        wanted = -(-(figures.others + figures.reserved + 2 * (pool_size + BESIDE)) // 50) * 50
        (server,) = rows(connection, "server")
        advice = steps_for_more_connections(figures.allowed, wanted, server, local=is_local(connection))
    usable = f"{figures.allowed - figures.reserved} used ({figures.allowed} allowed, {figures.reserved} reserved)"
    return Finding(
        "connections",
        OK if fit else BAD,
        f"{figures.others} of {usable}: room for {counted(fit, 'more worker process')} with a pool of {pool_size}, "
        f"and {BESIDE} for locks and listeners",
        [f"{application}: {', '.join(states)}" for application, states in by_application.items()],
        advice,
        {"used": figures.others, "allowed": figures.allowed, "reserved": figures.reserved, "pool_size": pool_size,
         "processes_that_fit": fit, "sessions": sessions},
    )  # fmt: skip


def steps_for_more_connections(allowed: int, wanted: int, server: dict[str, Any], *, local: bool) -> list[str]:
    """Return the steps that raise max_connections to a number, and their cost."""
    cost = (wanted - allowed) * _SHARED_PER_CONNECTION
    steps = [
        "first try fewer worker processes, smaller pools or a pooler, which cost nothing; else, as a superuser in psql:",
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

"""Hosts as the tests of problems, selection and claims need them: well, and then with something changed."""

from copy import deepcopy
from datetime import datetime
from typing import Any

from tomato_dao import Database
from tomato_dao.patches import HostPatch
from tomato_dao.rows import FullHost

ABSENT = object()
WELL: dict[str, Any] = {
    "uptime": 100000,
    "query_time": 0.5,
    "time_diff": -0.5,
    "dumps": 0,
    "fileserver_port": 8888,
    "problems": [],
    "resources": {
        "cpus_present": {"count": 8, "bogomips_avg": 4800.0},
        "loadavg": [0.5, 2, 1.5],
        "memory": {"total": 16e6, "used": 4e6},
        "diskspace": {"root": {"total": "9611492", "used": "4095524"}, "data": {"total": "940608808", "used": "94060880"}},
    },
}


def info(changes: dict[str, object]) -> dict[str, Any]:
    """Return the info of a host that is well, but for some values, named as "resources.memory.used"."""
    made = deepcopy(WELL)
    for path, value in changes.items():
        *outer, last = path.split(".")
        inner = made
        for key in outer:
            inner = inner[key]
        if value is ABSENT:
            del inner[last]
        else:
            inner[last] = value
    return made


def now(db: Database) -> datetime:
    """Return the server's time; of the transaction where there is one."""
    with db.connection() as connection:
        row = connection.execute("select now()").fetchone()
    assert row
    at: datetime = row[0]
    return at


def make_well(db: Database, name: str, **changes: Any) -> None:
    """Let a host be well, but for some columns."""
    at = now(db)
    patch: HostPatch = {"enabled": True, "component_errors": 0, "info": WELL, "info_at": at, "resources_synced_at": at}
    patch.update(changes)  # type: ignore[typeddict-item]
    db.hosts.update(name, patch)


def listed(db: Database, name: str, started_at: datetime | None = None) -> FullHost:
    """Return a host with its problems and load."""
    return next(host for host in db.hosts.list(started_at=started_at) if host.name == name)


def problems(db: Database, name: str, **changes: Any) -> list[str]:
    """Return the problems of a host that is well, but for some columns."""
    make_well(db, name, **changes)
    return listed(db, name).problems

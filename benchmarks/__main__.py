"""`make bench`: the cost of importing the package, and the round trips and time of the main calls."""

import argparse
import compileall
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import tomato_dao
from benchmarks.page import positive
from tomato_dao import Database
from tomato_dao.ops.scratch import scratch_database
from tomato_dao.ops.urls import database_url
from tomato_dao.rows import Json, JsonObject

ROUNDS = 200
IMPORTS = 21


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(prog="bench", description=__doc__)
    parser.add_argument("--rounds", type=positive, default=ROUNDS, help="number of rounds of the calls (default: %(default)s)")
    rounds: int = parser.parse_args().rounds
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
        print("this process is pinned to one CPU; the server is not\n")
    _imports()
    with scratch_database(database_url()) as url, tomato_dao.connect(url, pool_size=1) as db:
        _calls(db, rounds)


def _imports() -> None:
    """Measure the CPU time of importing tomato_dao, with everything that `connect` needs, and of its dependencies alone.

    It is compiled first, as an installation is: with PYTHONDONTWRITEBYTECODE, each import would compile what was changed.
    """
    compileall.compile_dir(Path(tomato_dao.__file__).parent, quiet=1)
    base = "import psycopg, psycopg_pool, msgspec"
    seconds: dict[str, list[float]] = {base: [], f"{base}; from tomato_dao import connect": []}
    for _ in range(IMPORTS):
        for statement, found in seconds.items():
            timed = f"import time\n{statement}\nprint(time.process_time())"
            found.append(float(subprocess.run([sys.executable, "-c", timed], capture_output=True, check=True).stdout))
    without, with_ours = (statistics.median(s) for s in seconds.values())
    print(f"import, CPU seconds, median of {IMPORTS} interleaved runs")
    print(f"  {base:<50}{without:8.3f}")
    print(f"  {'… and tomato_dao':<50}{with_ours:8.3f}  (+{with_ours - without:.3f})\n")


def _calls(db: Database, rounds: int) -> None:
    organization = db.organizations.create("bench")
    site = db.sites.create("bench", organization_id=organization.id)
    db.hosts.create("bench", address="10.0.0.1", rpcurl="ssl+jsonrpc://10.0.0.1:8003", site_id=site.id)
    owner = db.users.create("bench", organization_id=organization.id).id
    export = thirty_elements()
    topology = db.topologies.import_(export, owner_id=owner).topology_id
    calls: dict[str, Callable[[], Any]] = {
        "hosts.get_by_name": lambda: db.hosts.get_by_name("bench"),
        "hosts.update": lambda: db.hosts.update("bench", {"address": "10.0.0.2"}),
        "topologies.import_, 30 elements": lambda: db.topologies.import_(export, owner_id=owner),
        "topologies.full, 30 elements": lambda: db.topologies.full(topology),
        "topologies.export, 30 elements": lambda: db.topologies.export(topology),
    }
    trips = {name: (_round_trips(db, call, fresh=True), _round_trips(db, call, fresh=False)) for name, call in calls.items()}
    times: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            start = time.perf_counter()
            call()
            times[name].append(time.perf_counter() - start)
    print(f"{f'calls, median of {rounds} interleaved rounds':<44}{'round trips':>12}{'first time':>12}{'ms':>9}")
    for name, found in times.items():
        first, later = trips[name]
        print(f"  {name:<42}{later:>12}{first:>12}{statistics.median(found) * 1000:9.3f}")


def _round_trips(db: Database, call: Callable[[], Any], *, fresh: bool) -> int:
    """Count the round trips of a call: the ReadyForQuery messages in libpq's trace.

    fresh: use a connection without prepared statements.
    """
    with db.transaction(), db.connection() as connection, tempfile.TemporaryFile() as trace:
        if fresh:
            connection._statements.clear()  # type: ignore[attr-defined]
        connection.pgconn.trace(trace.fileno())
        call()
        connection.pgconn.untrace()
        trace.seek(0)
        return sum(b"\tReadyForQuery" in line for line in trace)


def thirty_elements() -> JsonObject:
    """Return an export of 6 machines with 2 interfaces each, a switch of 11 ports, and 11 connections: 30 elements."""
    elements: list[JsonObject] = [{"id": 1, "type": "tinc_vpn", "parent": None, "attrs": {"name": "switch"}}]
    connections: list[JsonObject] = []
    for n in range(6):
        machine = 100 + 10 * n
        elements.append(
            {"id": machine, "type": "kvmqm", "parent": None, "attrs": {"name": f"vm{n}", "_pos": {"x": n, "y": 0.5}}}
        )
        for i in (1, 2):
            elements.append({"id": machine + i, "type": "kvmqm_interface", "parent": machine, "attrs": {"name": f"eth{i}"}})
            if len(connections) < 11:
                elements.append({"id": 1000 + machine + i, "type": "tinc_endpoint", "parent": 1, "attrs": {}})
                ends: list[Json] = [machine + i, 1000 + machine + i]
                connections.append({"id": machine + i, "type": "bridge", "elements": ends, "attrs": {"delay_to": 5.5}})
    assert len(elements) == 30
    topology: JsonObject = {"attrs": {"name": "thirty"}, "elements": [*elements], "connections": [*connections]}
    return {"file_information": {"version": 3}, "topology": topology}


if __name__ == "__main__":
    main()

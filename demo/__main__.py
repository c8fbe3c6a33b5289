"""`make demo`: imports topologies from 50 threads over a pool of 8, changes, exports, compares, dumps and loads all of it."""

import io
import json
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import tomato_dao
from tomato_dao import Database, InvalidValue, TomatoError
from tomato_dao.exchange import LEFT_OUT, LEFT_OUT_OF_ELEMENTS, LEFT_OUT_OF_TOPOLOGY
from tomato_dao.ops.cli import Parser, file_name, run_command
from tomato_dao.ops.migrate import migrate
from tomato_dao.ops.scratch import drop_database, with_database
from tomato_dao.ops.urls import database_url
from tomato_dao.printable import printable
from tomato_dao.rows import Json, JsonObject

THREADS = 50
POOL = 8
IMPORTS = 400
NAME = "tomato_demo"
REFERENCES = frozenset({"template", "profile", "site"})

Result = TypeVar("Result")


class Counted:
    """Counts the DAO calls of all threads."""

    def __init__(self) -> None:
        self.calls = 0
        self._lock = threading.Lock()

    def __call__(self, call: Callable[..., Result], *args: object, **kwargs: object) -> Result:
        """Make a call and count it."""
        with self._lock:
            self.calls += 1
        return call(*args, **kwargs)


def main() -> None:
    """Run `python -m demo DIRECTORY`."""
    parser = Parser(prog="demo", description=__doc__)
    parser.add_argument("topologies", type=file_name, help="a directory of topology exports (*.json)")
    directory = Path(parser.parse_args().topologies)
    files = sorted(directory.glob("*.json"))
    if not directory.is_dir():
        raise TomatoError(f"there is no directory {directory}")
    if not files:
        raise TomatoError(f"there are no topology exports (*.json) in {directory}")
    exports = {file: file.read_bytes() for file in files}

    url = with_database(database_url(), NAME)
    drop_database(url)
    migrate(url)
    with tomato_dao.connect(url, pool_size=POOL, application_name=NAME) as db:
        owners = _make_testbed(db)
        counted = Counted()
        jobs = [(files[n % len(files)], owners[n % len(owners)]) for n in range(IMPORTS)]
        start = time.perf_counter()
        with ThreadPoolExecutor(THREADS) as threads:
            reported = sum(threads.map(lambda job: _one_topology(db, counted, job[0], exports[job[0]], job[1]), jobs))
        seconds = time.perf_counter() - start
        _tell(db, len(files), directory, reported, counted.calls, seconds)
        _dump_and_load(db, with_database(url, f"{NAME}_copy"))


def _make_testbed(db: Database) -> list[int]:
    """Organizations, sites, hosts, templates and users; the users' ids."""
    users = []
    for place in ("north", "south"):
        organization = db.organizations.create(f"demo-org-{place}", description=f"the {place} of the testbed")
        site = db.sites.create(f"demo-{place}", organization_id=organization.id, longitude=8.5, latitude=47.4)
        for n in range(3):
            name = f"{place}{n}.example"
            db.hosts.create(name, address=f"10.0.0.{n}", rpcurl=f"ssl+jsonrpc://{name}:8003", site_id=site.id)
        users += [db.users.create(f"{place}-user{n}", organization_id=organization.id).id for n in range(3)]
    for tech, template, profile in (
        ("openvz", "debian-7.0_x86_64", "normal"),
        ("kvmqm", "ubuntu-12.04_x86_64", "normal"),
        ("kvmqm", "debian-7.0_x86_64", "large"),
        ("repy", "repy-1.0", "tiny"),
    ):
        db.templates.create(tech, template)
        db.profiles.create(tech, profile, ram=512)
    return users


def _one_topology(db: Database, counted: Counted, file: Path, export: bytes, owner: int) -> int:
    """Import a topology, start and stop its machines, export it, compare; how many names were not known."""
    try:
        made = counted(db.topologies.import_, export, owner_id=owner)
    except InvalidValue as error:
        raise InvalidValue(f"{file}: {error}") from error
    machines = [e for e in counted(db.topologies.full, made.topology_id).elements if e.type in ("openvz", "kvmqm", "repy")]
    for state in ("prepared", "started", "created"):
        for machine in machines:
            counted(db.elements.update, machine.id, {"state": state})
    came_out = counted(db.topologies.export, made.topology_id)
    went_in = _comparable(json.loads(export), made.element_ids, made.connection_ids)
    same = {new: new for new in made.element_ids.values()}, {new: new for new in made.connection_ids.values()}
    if not _holds(_comparable(came_out, *same), went_in):
        raise TomatoError(f"{file}: the export of topology {made.topology_id} differs from its import")
    return len(made.reported)


def _holds(came_out: object, went_in: object) -> bool:
    """Return whether all that went in came out; keys of attrs that an export adds as defaults don't matter."""
    if isinstance(went_in, dict) and isinstance(came_out, dict):
        return all(key in came_out and _holds(came_out[key], value) for key, value in went_in.items())
    if isinstance(went_in, list) and isinstance(came_out, list):
        return len(went_in) == len(came_out) and all(map(_holds, came_out, went_in))
    return came_out == went_in


def _comparable(document: JsonObject, elements: dict[int, int], connections: dict[int, int]) -> dict[str, object]:
    """Return an export with new ids, without what an export leaves out, and without names of what an element runs with.

    These are of its own template, profile and site or, where these are unknown here, of the preferred ones.
    """

    def kept(value: Json, left_out: frozenset[str] = LEFT_OUT) -> Json:
        if isinstance(value, dict):
            return {k: kept(v, left_out) for k, v in value.items() if k not in left_out}
        return [kept(v, left_out) for v in value] if isinstance(value, list) else value

    topology = json.loads(json.dumps(document["topology"]))
    return {
        "attrs": kept(topology["attrs"], LEFT_OUT | LEFT_OUT_OF_TOPOLOGY),
        "elements": {
            elements[e["id"]]: [
                e["type"],
                elements[e["parent"]] if e["parent"] else None,
                kept(e["attrs"], LEFT_OUT | LEFT_OUT_OF_ELEMENTS | REFERENCES),
            ]
            for e in topology["elements"]
        },
        "connections": {
            connections[c["id"]]: [c["type"], sorted(elements[end] for end in c["elements"]), kept(c["attrs"])]
            for c in topology["connections"]
        },
    }


def _tell(db: Database, files: int, directory: Path, reported: int, calls: int, seconds: float) -> None:
    with db.connection() as connection:
        row = connection.execute(
            """
            select (select count(*) from topologies), (select count(*) from elements), (select count(*) from connections),
              (
                select count(*) from pg_stat_activity
                where split_part(application_name, '/', 1) = %s and datname = current_database()
              ),
              current_setting('server_version')
            """,
            [NAME],
        ).fetchone()
    topologies, elements, connections, used, version = row or (0, 0, 0, 0, "")
    for name, value, note in (
        ("exports", files, f"from {printable(directory)}"),
        ("topologies", topologies, f"imported by {THREADS} threads at once, one round trip each"),
        ("elements", elements, "their machines prepared, started, stopped"),
        ("connections", connections, ""),
        ("unknown names", reported, "kept in attrs and reported"),
        ("exported", topologies, "each has all that went in, with ids, templates, profiles and sites of here"),
        ("calls", calls, f"in {seconds:.1f} s: {calls / seconds:,.0f} a second"),
        ("server connections", used, f"of a pool of {POOL}, on PostgreSQL {version}"),
    ):
        print(f"{name:<20}{value:>8,}  {note}".rstrip())


def _dump_and_load(db: Database, copy_url: str) -> None:
    """Everything into a second database, which then holds the same."""
    drop_database(copy_url)
    migrate(copy_url)
    text, again = io.BytesIO(), io.BytesIO()
    dumped = tomato_dao.dump(db, text)
    text.seek(0)
    with tomato_dao.connect(copy_url, pool_size=1, application_name=NAME) as copy:
        loaded = tomato_dao.load(copy, text)
        tomato_dao.dump(copy, again)
    drop_database(copy_url)
    if text.getvalue() != again.getvalue():
        raise TomatoError("the rows loaded into a second database differ from the dump")
    print(f"{'dumped':<20}{dumped.rows:>8,}  rows in {dumped.seconds:.1f} s")
    print(
        f"{'loaded':<20}{loaded.rows:>8,}  into a second database in {loaded.seconds:.1f} s; its dump is the same to the byte"
    )


if __name__ == "__main__":
    sys.argv[0] = "demo"
    run_command(main, "demo")

"""Answers held against each other: what differs, where, and which rule explains it."""

import gzip
import json
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from tests.conformance import answers
from tests.conformance.answers import Loaded
from tests.helpers.legacy_cases import sample
from tomato_dao import Database

# The value of an answer that only one side has.
ABSENT = "absent"
# Moves what was loaded to the moment at which the old backend answered: host's reports, logins and timeouts.
MOVED = """
update hosts set info_at = info_at + d.by, resources_synced_at = resources_synced_at + d.by
from (select now() - to_timestamp(%(now)s) as by) d;
update users set last_login_at = last_login_at + (now() - to_timestamp(%(now)s));
update topologies set timeout_at = timeout_at + (now() - to_timestamp(%(now)s))
"""


@dataclass(frozen=True)
class Difference:
    """A value of an answer that differs: the answers' key, the answer's id, the path in it, the old value and ours."""

    key: str
    id: str
    path: str
    old: Any
    ours: Any

    def __str__(self) -> str:
        return f"{self.key} {self.id}{self.path}: {self.old!r} was answered, {self.ours!r} is"


@dataclass
class Compared:
    """Count of the answers, and the differences."""

    count: int = 0
    differences: list[Difference] = field(default_factory=list)

    def add(self, key: str, id: str, old: Any, ours: Any) -> None:
        """One more answer."""
        self.count += 1
        self.differences += [Difference(key, id, *found) for found in different(old, ours)]

    def add_all(self, key: str, old: dict[str, Any], ours: answers.Answers) -> None:
        """All answers of a key; each that either side has."""
        mine = dict(ours)
        for id in sorted(old.keys() | mine.keys()):
            self.add(key, id, old.get(id, ABSENT), mine.get(id, ABSENT))


def different(old: Any, ours: Any, path: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Return where two answers differ; numbers may differ by what adding up in another order costs."""
    if isinstance(old, dict) and isinstance(ours, dict):
        for name in sorted(old.keys() | ours.keys()):
            yield from different(old.get(name, ABSENT), ours.get(name, ABSENT), f"{path}/{name}")
    elif isinstance(old, list) and isinstance(ours, list) and len(old) == len(ours):
        for n, (one, other) in enumerate(zip(old, ours, strict=True)):
            yield from different(one, other, f"{path}/{n}")
    elif type(old) in (int, float) and type(ours) in (int, float):
        if not math.isclose(old, ours, rel_tol=1e-9, abs_tol=1e-6):
            yield path, old, ours
    elif old != ours:
        yield path, old, ours


def read() -> dict[str, Any]:
    """Return the answers file."""
    found: dict[str, Any] = json.loads(gzip.decompress(sample("real-0038.answers.json.gz").read_bytes()))
    return found


class _Back(Exception):
    """Takes back what was moved."""


@contextmanager
def at_the_moment(db: Database, now: float) -> Iterator[datetime]:
    """Show the loaded data as though it were that moment, in a transaction that is rolled back."""
    try:
        with db.transaction(), db.connection() as connection:
            for statement in MOVED.split(";"):
                connection.execute(statement.encode(), {"now": now})
            ((moment,),) = connection.execute("select now()").fetchall()
            yield moment
            raise _Back
    except _Back:
        pass


def compare(db: Database) -> Compared:
    """Every answer of the old backend, and ours."""
    old, found = read(), Compared()
    stored = Loaded(db)
    _compare_stored(found, old, stored)
    with at_the_moment(db, old["hosts_fresh"]["now"]) as now:
        here = Loaded(db, started_at=now)
        _compare_hosts(found, old, "hosts_fresh", here)
        found.add_all("infos", {id: _sorted_parts(info) for id, info in old["infos"].items()}, answers.infos(here, stored))
    with at_the_moment(db, old["hosts_stale"]["now"]):
        here = Loaded(db)
        _compare_hosts(found, old, "hosts_stale", here)
        for query in old["select_stale"]:
            told = {"best": query["best"], "prefs": query["prefs"] if query["best"] else {}}
            found.add("select_stale", json.dumps(query["query"]), told, answers.selected(here, query["query"]))
    with at_the_moment(db, old["timeouts"]["now"]):
        ours = answers.timeouts(db)
        for step in ours:
            found.add("timeouts", step, sorted(old["timeouts"][step]), ours[step])
        for part, told in answers.statistics(db).items():
            found.add("statistics", part, old["statistics"][part], told)
    return found


def _compare_stored(found: Compared, old: dict[str, Any], here: Loaded) -> None:
    """Return the answers that do not depend on the moment."""
    for key in ("roles", "component_roles", "lists", "preferred"):
        found.add_all(key, old[key], getattr(answers, key)(here))
    found.add_all("exports", {id: _sorted_parts(one["topology"]) for id, one in old["exports"].items()}, answers.exports(here))
    for key in ("host_usage", "topology_usage"):
        found.add_all(key, {id: _sorted_usage(told) for id, told in old[key].items()}, getattr(answers, key)(here))
    for key in ("users", "orgas"):
        told = {id: one | {"usage": _sorted_usage(one["usage"])} for id, one in old[key].items()}
        if key == "users":
            told = {id: one | {"info": answers.said(one["info"])} for id, one in told.items()}
        found.add_all(key, told, getattr(answers, key)(here))
    found.add_all("sites", {site["name"]: site for site in old["sites"]}, answers.sites(here))
    found.add_all("resources", {str(one["id"]): _resource(one) for one in old["resources"]}, answers.resources(here))
    for key in ("network_instance", "get_user"):
        for question, answer in old[key].items():
            found.add(key, question, answer, getattr(answers, key)(here, question))
    found.add_all(
        "errordumps", {f"{one['source']} {one['dump_id']}": one for one in old["errordumps"]}, answers.errordumps(here)
    )


def _compare_hosts(found: Compared, old: dict[str, Any], key: str, here: Loaded) -> None:
    told = {name: host | {"kinds": sorted(host["kinds"])} for name, host in old[key]["hosts"].items()}
    found.add_all(key, told, answers.hosts(here))


def _sorted_parts(topology: dict[str, Any]) -> dict[str, Any]:
    """Elements and connections came in no order."""
    return topology | {part: answers.by_id(topology[part]) for part in ("elements", "connections")}


def _sorted_usage(told: dict[str, Any]) -> dict[str, Any]:
    """Records of all types, by time; they came in no order."""
    return {kind: sorted(records, key=lambda record: record["end"]) for kind, records in told.items()}


def _resource(told: dict[str, Any]) -> dict[str, Any]:
    attrs = answers.said(told["attrs"])
    if "ready" in attrs:
        attrs["ready"] = {"hosts": attrs["ready"]["hosts"]}  # and not whether the backend has the file
    return told | {"attrs": attrs}

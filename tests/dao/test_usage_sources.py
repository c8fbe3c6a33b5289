"""Sources of use: each component of a host counts once for whatever names it or refers to it."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from itertools import product
from typing import Any

import pytest

from tests.conftest import World
from tests.helpers.usage_cases import WINDOW
from tomato_dao import Database
from tomato_dao.rows import HostComponent, UsageRecord, User

pytestmark = pytest.mark.slow

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
ELEMENT = ["host_element_id"]
LINK = {
    "host_elements": ["host_element1_id", "host_element2_id"],
    "host_connections": ["host_connection1_id", "host_connection2_id"],
}


def use_of(component: HostComponent) -> UsageRecord:
    return UsageRecord(component.usage_id or 0, "5minutes", NOON - WINDOW, NOON, 5, 1.0, 1.0, 1.0, 1.0)


def cases() -> Iterator[tuple[str, str, bool, Sequence[str]]]:
    """Yield a kind of part, a table of components, whether the component names the part, and what refers to it."""
    for named in (True, False):
        for table, keys in LINK.items():
            for chosen in product((True, False), repeat=2):
                refers = [key for key, is_chosen in zip(keys, chosen, strict=True) if is_chosen]
                if named or refers:
                    yield "connection", table, named, refers
    yield "element", "host_elements", True, []
    yield "element", "host_elements", True, ELEMENT
    yield "element", "host_elements", False, ELEMENT
    yield "element", "host_connections", True, []


@pytest.mark.parametrize(("kind", "table", "named", "refers"), [*cases()])
def test_a_component_counts_once_for_each_that_it_serves(
    db: Database, world: World, kind: str, table: str, named: bool, refers: Sequence[str]
) -> None:
    """The topology's other parts run nowhere, so that nothing waits for them."""
    topology = db.topologies.create("lab", owner_id=world.user.id)
    ends = [db.elements.create(topology.id, "udp_endpoint") for _ in range(4)]
    idle, link = (db.connections.create(ends[n].id, ends[n + 1].id) for n in (0, 2))
    part_id = ends[0].id if kind == "element" else link.id
    names = {f"{kind}_id": part_id} if named else {}
    component: HostComponent = getattr(db, table).create(world.host.id, 1, type="x", state="started", **names)
    parts = getattr(db, f"{kind}s")
    if refers:
        parts.update(part_id, dict.fromkeys(refers, component.id))
    assert db.usage.import_records([use_of(component)], now=NOON).imported == 1
    db.usage.aggregate(now=NOON)
    served: list[Any] = [parts.get(part_id), topology, world.user, world.organization, world.host]
    for row in served:
        assert [(r.end_at, r.cputime) for r in db.usage.list(row.usage_id or 0, "5minutes")] == [(NOON, 1)], row
    others: list[Any] = [idle, *ends[1:]]
    for other in others:
        assert db.usage.list(other.usage_id or 0, "5minutes") == []


def test_a_user_and_an_organization_do_not_wait_for_what_runs_nowhere(db: Database, world: World, bob: User) -> None:
    """One topology of alice's runs something; another of hers, and a colleague's, run nothing."""
    colleague = db.users.create("carol", organization_id=world.organization.id)
    for user in (world.user, colleague, bob):
        topology = db.topologies.create("lab", owner_id=user.id)
        db.elements.create(topology.id, "udp_endpoint")
    running = db.topologies.create("running", owner_id=world.user.id)
    element = db.elements.create(running.id, "udp_endpoint")
    component = db.host_elements.create(world.host.id, 1, type="x", state="started", element_id=element.id)
    db.usage.import_records([use_of(component)], now=NOON)
    db.usage.aggregate(now=NOON)
    for row in (world.user, world.organization):
        assert [(r.end_at, r.cputime) for r in db.usage.list(row.usage_id or 0, "5minutes")] == [(NOON, 1)]

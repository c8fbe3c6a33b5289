"""Statements that lock many rows lock them in the order of their keys, so that no two of them can deadlock.

Each test lets a transaction lock the first row, waits until the statement waits for that row, and then locks the last row in
the transaction. A statement that has locked the last row already meets the transaction in a deadlock, and one of them raises
Conflict.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from functools import partial
from typing import LiteralString, TypeVar

import psycopg
import pytest
from psycopg import sql

from tests.conftest import World
from tests.helpers.dao_cases import BLOCKED, MOMENT, until
from tests.helpers.element_cases import Net
from tomato_dao import Database
from tomato_dao.rows import ImportedUsage, LinkMeasurement, TemplateOnHost, UsageRecord, replace

T = TypeVar("T")
HOUR = timedelta(hours=1)


@pytest.fixture
def store_last(server: psycopg.Connection) -> Callable[[LiteralString, int], None]:
    """Provide a function that writes a row anew, which stores it behind all others of its table."""

    def write(table: LiteralString, id: int) -> None:
        server.execute(sql.SQL("update {} set attrs = attrs where id = %s").format(sql.Identifier(table)), [id])

    return write


@pytest.fixture
def meet(db: Database, server: psycopg.Connection) -> Callable[..., object]:
    """Provide a function that runs a statement between the two calls of a transaction, and returns its result."""

    def run(statement: Callable[[], T], *, first: Callable[[], object], then: Callable[[], object]) -> T:
        with ThreadPoolExecutor(1) as thread:
            with db.transaction():
                first()
                waiting = thread.submit(statement)
                until(server, BLOCKED, 1)
                then()
            return waiting.result(60)

    return run


def test_states_in_a_topology_are_set_in_the_order_of_ids(
    db: Database, net: Net, unindexed: Database, store_last: Callable[..., None], meet: Callable[..., list[int]]
) -> None:
    low, high = (e.id for e in net.free)
    store_last("elements", low)
    types = ["udp_endpoint", "tinc_endpoint"]
    changed = meet(
        partial(unindexed.elements.set_state_in_topology, net.id, "started", types=types, states=["created"]),
        first=partial(db.elements.set_attrs, low, {"a": 1}),
        then=partial(db.elements.set_attrs, high, {"a": 1}),
    )
    assert sorted(changed) == [low, high]


def test_states_in_a_tree_are_set_in_the_order_of_ids(
    db: Database, net: Net, unindexed: Database, store_last: Callable[..., None], meet: Callable[..., list[int]]
) -> None:
    store_last("elements", net.machine.id)
    changed = meet(
        partial(unindexed.elements.set_state_of_tree, net.machine.id, "prepared"),
        first=partial(db.elements.set_attrs, net.machine.id, {"a": 1}),
        then=partial(db.elements.set_attrs, net.ends[1].id, {"a": 1}),
    )
    assert changed == [net.machine.id, *(e.id for e in net.ends)]


def test_the_ends_of_a_new_connection_are_locked_in_the_order_of_ids(
    db: Database, net: Net, unindexed: Database, store_last: Callable[..., None], meet: Callable[..., object]
) -> None:
    low, high = (e.id for e in net.free)
    store_last("elements", low)
    made = meet(
        partial(unindexed.connections.create, high, low),
        first=partial(db.elements.set_attrs, low, {"a": 1}),
        then=partial(db.elements.set_attrs, high, {"a": 1}),
    )
    assert db.connections.list_of_topology(net.id) == [net.connection, made]


def test_availabilities_are_updated_in_the_order_of_ids(
    db: Database, world: World, unindexed: Database, store_last: Callable[..., None], meet: Callable[..., int]
) -> None:
    db.hosts.create("host2", address="10.0.0.2", rpcurl="rpc://host2", site_id=world.site.id)
    store_last("hosts", world.host.id)
    count = meet(
        unindexed.hosts.update_all_availabilities,
        first=partial(db.hosts.count_error, "host1"),
        then=partial(db.hosts.count_error, "host2"),
    )
    assert count == 2


@pytest.mark.parametrize("are_known", [True, False], ids=["known", "new"])
def test_templates_on_a_host_are_written_in_the_order_of_ids(
    db: Database, world: World, meet: Callable[..., int], are_known: bool
) -> None:
    low, high = (db.templates.create("kvmqm", name).id for name in "ab")
    if are_known:
        db.templates_on_hosts.set_of_host(world.host.id, {low: False, high: False})
    count = meet(
        partial(db.templates_on_hosts.set_of_host, world.host.id, {high: False, low: False}),
        first=partial(db.templates_on_hosts.set, world.host.id, low, True),
        then=partial(db.templates_on_hosts.set, world.host.id, high, True),
    )
    assert count == 2
    rows = db.templates_on_hosts.list_of_host(world.host.id)
    assert rows == [TemplateOnHost(world.host.id, id, False, rows[0].changed_at) for id in (low, high)]


@pytest.mark.parametrize("differ_by", ["site_a_id", "site_b_id", "type", "end_at"])
def test_link_measurements_are_stored_in_the_order_of_their_keys(
    db: Database, world: World, meet: Callable[..., int], differ_by: str
) -> None:
    a, b, c = world.site.id, *(db.sites.create(name, organization_id=world.organization.id).id for name in ("hall", "roof"))
    low = LinkMeasurement(a, c, "day", MOMENT - HOUR, MOMENT, 0.25, 12.5, 0.5, 60)
    high = {
        "site_a_id": replace(low, site_a_id=b),
        "site_b_id": low,
        "type": replace(low, type="hour"),
        "end_at": replace(low, end_at=MOMENT + HOUR),
    }[differ_by]
    if differ_by == "site_b_id":
        low = replace(low, site_b_id=b)
    turned = replace(low, site_a_id=low.site_b_id, site_b_id=low.site_a_id)
    stored = meet(
        partial(db.link_measurements.store_all, [high, turned]),
        first=partial(db.link_measurements.store, low),
        then=partial(db.link_measurements.store, high),
    )
    assert stored == 0


@pytest.mark.one_server  # elsewhere it waits on a worker, where the rows of other workers are in no order
@pytest.mark.parametrize("differ_by", ["usage_id", "end_at"])
def test_usage_records_are_imported_in_the_order_of_their_keys(
    db: Database, world: World, meet: Callable[..., ImportedUsage], differ_by: str
) -> None:
    components = [db.host_elements.create(world.host.id, n, type="x", state="started") for n in range(2)]
    low_id, high_id = (c.usage_id or 0 for c in components)
    low = UsageRecord(low_id, "5minutes", MOMENT - HOUR, MOMENT, 1, 1, 1, 1, 1)
    high = replace(low, usage_id=high_id) if differ_by == "usage_id" else replace(low, end_at=MOMENT + timedelta(minutes=1))
    imported = meet(
        partial(db.usage.import_records, [high, low], now=MOMENT),
        first=partial(db.usage.import_records, [low], now=MOMENT),
        then=partial(db.usage.import_records, [high], now=MOMENT),
    )
    assert (imported.imported, imported.known) == (0, 2)

"""Claims: what is due is one worker's for a time; finished, it moves on; a lease that runs out makes it due again."""

import multiprocessing
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import psycopg
import pytest

from tests.conftest import World
from tests.helpers.dao_cases import NOBODY, at_once, refused, timed
from tomato_dao import Database, InvalidValue, LockLost, NotFound, connect
from tomato_dao.dao.host_components import HostComponents
from tomato_dao.rows import Element, Topology, TopologyContact

pytestmark = pytest.mark.slow

DAY, HOUR, MINUTE = timedelta(days=1), timedelta(hours=1), timedelta(minutes=1)


@pytest.fixture
def machine(db: Database, topology: Topology) -> Element:
    """Provide a virtual machine."""
    return db.elements.create(topology.id, "kvmqm", attrs={"name": "vm"})


def end_leases(server: psycopg.Connection, table: str, column: str) -> None:
    """Let all leases have run out a moment ago."""
    server.execute(f"update {table} set {column} = now() where {column} is not null")


def now(server: psycopg.Connection) -> datetime:
    row = server.execute("select now()").fetchone()
    assert row
    moment: datetime = row[0].astimezone(UTC)
    return moment


@pytest.mark.parametrize(
    ("step", "ahead", "action", "after"),
    [
        (0, DAY, "warn", 9),
        (0, HOUR, "warn", 9),
        (0, DAY + MINUTE, None, 0),
        (9, timedelta(), "stop", 10),
        (9, MINUTE, None, 9),
        (10, -DAY, "destroy", 20),
        (10, -DAY + MINUTE, None, 10),
        (20, -10 * DAY, None, 20),
    ],
)
def test_a_timeout_asks_for_what_its_step_and_time_say(
    db: Database, server: psycopg.Connection, topology: Topology, step: int, ahead: timedelta, action: str | None, after: int
) -> None:
    db.topologies.update(topology.id, {"timeout_step": step, "timeout_at": now(server) + ahead})
    claims = db.topologies.claim_timeouts(limit=5, lease=MINUTE)
    assert [(c.id, c.name, c.timeout_step, c.action) for c in claims] == ([(topology.id, "t", step, action)] if action else [])
    for claim in claims:
        db.topologies.finish_timeout(claim.id, claim.lease_until)
    assert db.topologies.get(topology.id).timeout_step == after
    assert db.topologies.claim_timeouts(limit=5, lease=MINUTE) == []


def test_a_claimed_timeout_lists_the_users_to_warn(db: Database, world: World, topology: Topology) -> None:
    db.users.update(world.user.id, {"email": "alice@example.org", "realname": "Alice"})
    manager = db.users.create("bob", organization_id=world.organization.id, flags=["nomails"])
    user = db.users.create("dave", organization_id=world.organization.id, flags=["global_topl_owner", "orga_topl_owner"])
    db.topology_permissions.set(topology.id, user.id, "user")
    owner = db.users.create("carol", organization_id=world.organization.id, origin="ldap")
    db.topology_permissions.set(topology.id, manager.id, "manager")
    db.topology_permissions.set(topology.id, owner.id, "owner")
    db.topologies.renew(topology.id, timedelta())
    ((claim,), at) = timed(db, lambda: db.topologies.claim_timeouts(limit=1, lease=MINUTE))
    assert claim.lease_until == at + MINUTE
    assert claim.recipients == (
        TopologyContact(world.user.id, "alice", "", "Alice", "alice@example.org", False, "owner"),
        TopologyContact(manager.id, "bob", "", "", "", True, "manager"),
        TopologyContact(owner.id, "carol", "ldap", "", "", False, "owner"),
    )


def test_the_longest_due_is_claimed_first_and_at_most_limit_rows(
    db: Database, server: psycopg.Connection, world: World
) -> None:
    due = [db.topologies.create(name, owner_id=world.user.id) for name in "abcde"]
    for n, topology in enumerate(due):
        db.topologies.update(topology.id, {"timeout_at": now(server) - n * MINUTE})
    claimed = [[c.name for c in db.topologies.claim_timeouts(limit=limit, lease=MINUTE)] for limit in (2, 0, 2, 2)]
    assert claimed == [["e", "d"], [], ["c", "b"], ["a"]]


def test_a_timeout_that_was_renewed_or_changed_is_not_moved_on(
    db: Database, server: psycopg.Connection, topology: Topology
) -> None:
    changes: list[Callable[[], object]] = [
        lambda: db.topologies.renew(topology.id, timedelta()),
        lambda: db.topologies.update(topology.id, {"timeout_step": 9}),
        lambda: db.topologies.update(topology.id, {"timeout_at": now(server)}),
    ]
    db.topologies.renew(topology.id, timedelta())
    for change in changes:
        (claim,) = db.topologies.claim_timeouts(limit=1, lease=MINUTE)
        change()
        with refused(LockLost, "topology", topology.id):
            db.topologies.finish_timeout(claim.id, claim.lease_until)
        assert db.topologies.get(topology.id).timeout_step == 9
    (claim,) = db.topologies.claim_timeouts(limit=1, lease=MINUTE)
    db.topologies.update(topology.id, {"name": "other"})
    db.topologies.finish_timeout(claim.id, claim.lease_until)
    assert db.topologies.get(topology.id).timeout_step == 10


def claim_all(url: str, threads: int) -> list[tuple[int, str]]:
    """Return what the threads of one process claimed and finished, until nothing was left for them."""

    def work(db: Database) -> list[tuple[int, str]]:
        done: list[tuple[int, str]] = []
        while claims := db.topologies.claim_timeouts(limit=7, lease=HOUR):
            for claim in claims:
                db.topologies.finish_timeout(claim.id, claim.lease_until)
                done.append((claim.id, claim.action))
        return done

    with connect(url, pool_size=4) as db, ThreadPoolExecutor(threads) as pool:
        return [item for done in pool.map(work, [db] * threads) for item in done]


def test_sixteen_threads_in_four_processes_claim_each_due_topology_once(
    db: Database, server: psycopg.Connection, tomato_url: str
) -> None:
    server.execute(
        "insert into topologies (name, timeout_step, timeout_at)"
        " select n::text, (array[0, 9, 10])[1 + n % 3], now() - interval '2 days' from generate_series(1, 2000) n"
    )
    before = {t.id: t.timeout_step for t in db.topologies.list(limit=3000)}
    with ProcessPoolExecutor(4, mp_context=multiprocessing.get_context("spawn")) as processes:
        done = [item for items in processes.map(claim_all, [tomato_url] * 4, [4] * 4) for item in items]
    after = {t.id: t.timeout_step for t in db.topologies.list(limit=3000)}
    assert set(after.values()) == {20}  # each step is due at once here, so that none is left
    actions = {0: ["warn", "stop", "destroy"], 9: ["stop", "destroy"], 10: ["destroy"]}
    assert Counter(done) == {(id, action): 1 for id, step in before.items() for action in actions[step]}


def test_a_lease_that_runs_out_makes_it_due_again(db: Database, server: psycopg.Connection, topology: Topology) -> None:
    db.topologies.renew(topology.id, timedelta())
    (first,) = db.topologies.claim_timeouts(limit=1, lease=MINUTE)
    assert db.topologies.claim_timeouts(limit=1, lease=MINUTE) == []
    end_leases(server, "topologies", "timeout_lease_until")
    (second,) = db.topologies.claim_timeouts(limit=1, lease=MINUTE)
    assert (second.id, second.action) == (first.id, first.action)
    with refused(LockLost, "topology", topology.id, f"^topology {topology.id} is not this worker's any more: "):
        db.topologies.finish_timeout(first.id, first.lease_until)
    db.topologies.finish_timeout(second.id, second.lease_until)
    with refused(LockLost, "topology", topology.id):
        db.topologies.finish_timeout(second.id, second.lease_until)
    assert db.topologies.get(topology.id).timeout_step == 10


def test_a_claim_does_not_wait_for_another(db: Database, topology: Topology, world: World) -> None:
    other = db.topologies.create("other", owner_id=world.user.id)
    for t in (topology, other):
        db.topologies.renew(t.id, timedelta())
    with db.transaction():
        (first,) = db.topologies.claim_timeouts(limit=1, lease=MINUTE)
        (rest,) = at_once(partial(db.topologies.claim_timeouts, limit=5, lease=MINUTE))
    assert isinstance(rest, list)
    assert {first.id, *(c.id for c in rest)} == {topology.id, other.id}


def test_a_lease_lasts_and_a_limit_counts(db: Database) -> None:
    calls: list[Any] = [
        db.topologies.claim_timeouts,
        db.elements.claim_syncs,
        db.host_elements.claim_orphans,
        db.host_connections.claim_orphans,
        lambda lease, **_: db.tasks.claim("t", MINUTE, lease=lease),
    ]
    for call in calls:
        for lease in (timedelta(), -MINUTE, 60, None):
            with refused(InvalidValue, None, "lease", "^a lease must be a timedelta above 0, not "):
                call(limit=1, lease=lease)
    for call in calls[:-1]:
        with pytest.raises(InvalidValue):
            call(limit=-1, lease=MINUTE)


def test_a_machine_is_looked_at_soon_after_its_start(db: Database, world: World, machine: Element) -> None:
    _, at = timed(db, lambda: db.elements.start_sync(machine.id))
    started = db.elements.get(machine.id)
    assert (started.rextfv_started_at, started.next_sync_at) == (at, at + timedelta(seconds=1))
    assert db.elements.claim_syncs(limit=1, lease=MINUTE) == []
    component = db.host_elements.create(world.host.id, 7, type="kvmqm", state="started", element_id=machine.id)
    db.elements.update(machine.id, {"next_sync_at": at, "host_element_id": component.id})
    ((claim,), claimed_at) = timed(db, lambda: db.elements.claim_syncs(limit=1, lease=MINUTE))
    assert (claim.id, claim.topology_id, claim.type, claim.state) == (machine.id, machine.topology_id, "kvmqm", "created")
    assert (claim.host_element_id, claim.host_element_num) == (component.id, 7)
    assert (claim.host_name, claim.rpcurl) == (world.host.name, world.host.rpcurl)
    assert (claim.rextfv_started_at, claim.next_sync_at, claim.attrs) == (at, at, {"name": "vm"})
    assert claim.lease_until == claimed_at + MINUTE
    assert db.elements.claim_syncs(limit=1, lease=MINUTE) == []


@pytest.mark.parametrize("type", ["kvmqm", "openvz", "repy"])
def test_a_machine_is_looked_at_more_and_more_rarely_until_it_ran_a_day(
    db: Database, server: psycopg.Connection, topology: Topology, type: str
) -> None:
    machine = db.elements.create(topology.id, type)
    for ran in (timedelta(), 12 * HOUR, DAY - timedelta(seconds=30), DAY, 3 * DAY, None):
        at = now(server)
        started = None if ran is None else at - ran
        db.elements.update(machine.id, {"rextfv_started_at": started, "next_sync_at": at - MINUTE})
        (claim,) = db.elements.claim_syncs(limit=1, lease=MINUTE)
        assert (claim.host_element_id, claim.host_element_num, claim.host_name, claim.rpcurl) == (None,) * 4
        _, at = timed(db, partial(db.elements.finish_sync, machine.id, claim.lease_until))
        due = started and at - started < DAY and at + (at - started) / 24
        found = db.elements.get(machine.id).next_sync_at
        if not due:
            assert found is None
        else:
            assert found is not None
            assert abs(found - due) <= timedelta(microseconds=1)  # rounded twice


def test_only_machines_are_looked_at(db: Database, server: psycopg.Connection, topology: Topology) -> None:
    switch = db.elements.create(topology.id, "tinc_vpn")
    with refused(NotFound, "machine", switch.id):
        db.elements.start_sync(switch.id)
    with refused(NotFound, "machine", NOBODY):
        db.elements.start_sync(NOBODY)
    db.elements.update(switch.id, {"next_sync_at": now(server) - DAY})
    assert db.elements.claim_syncs(limit=1, lease=MINUTE) == []


def test_a_machine_that_started_anew_is_not_put_off(db: Database, server: psycopg.Connection, machine: Element) -> None:
    db.elements.update(machine.id, {"next_sync_at": now(server)})
    (claim,) = db.elements.claim_syncs(limit=1, lease=MINUTE)
    db.elements.start_sync(machine.id)
    with refused(LockLost, "element", machine.id):
        db.elements.finish_sync(machine.id, claim.lease_until)
    assert db.elements.get(machine.id).next_sync_at is not None


def test_a_machine_that_is_stopped_meanwhile_is_not_looked_at_again(
    db: Database, server: psycopg.Connection, machine: Element
) -> None:
    for patch in ({"next_sync_at": None}, {"next_sync_at": now(server)}, {"rextfv_started_at": None}):
        db.elements.start_sync(machine.id)
        server.execute("update elements set next_sync_at = now()")
        (claim,) = db.elements.claim_syncs(limit=1, lease=MINUTE)
        changed = db.elements.update(machine.id, patch)  # type: ignore[arg-type]
        with refused(LockLost, "element", machine.id):
            db.elements.finish_sync(machine.id, claim.lease_until)
        assert db.elements.get(machine.id) == changed
    (claim,) = db.elements.claim_syncs(limit=1, lease=MINUTE)
    db.elements.update(machine.id, {"state": "started"})
    db.elements.finish_sync(machine.id, claim.lease_until)


@pytest.mark.parametrize("kind", ["host element", "host connection"])
def test_an_orphan_is_claimed_with_its_host_and_forgotten_when_it_is_gone(
    db: Database, server: psycopg.Connection, world: World, machine: Element, kind: str
) -> None:
    dao: HostComponents = db.host_elements if kind == "host element" else db.host_connections
    table = kind.replace(" ", "_") + "s"
    create = partial(dao.create, world.host.id, type="kvmqm", state="started")
    create(1, element_id=machine.id)
    orphans = [create(num, attrs={"num": num}) for num in (2, 3)]
    (first,) = dao.claim_orphans(limit=1, lease=MINUTE)
    assert (first.id, first.host_id, first.host_name, first.rpcurl) == (orphans[0].id, *_of(world))
    assert (first.num, first.type, first.state, first.attrs) == (2, "kvmqm", "started", {"num": 2})
    (second,) = dao.claim_orphans(limit=5, lease=MINUTE)
    assert second.id == orphans[1].id
    dao.finish_orphan(first.id, first.lease_until)
    with refused(NotFound, kind, first.id):
        dao.get(first.id)
    dao.update(second.id, {"element_id": machine.id})
    with refused(LockLost, kind, second.id):
        dao.finish_orphan(second.id, second.lease_until)
    dao.update(second.id, {"element_id": None})
    end_leases(server, table, "orphan_lease_until")
    assert [c.id for c in dao.claim_orphans(limit=5, lease=MINUTE)] == [second.id]


@pytest.mark.parametrize("kind", ["host element", "host connection"])
def test_an_orphan_that_cannot_be_removed_lets_others_go_first(
    db: Database, server: psycopg.Connection, world: World, kind: str
) -> None:
    dao: HostComponents = db.host_elements if kind == "host element" else db.host_connections
    orphans = [dao.create(world.host.id, num, type="kvmqm", state="started").id for num in range(3)]
    claimed = claim_in_turn(server, partial(dao.claim_orphans, limit=1, lease=MINUTE), kind.replace(" ", "_") + "s", "orphan")
    assert claimed == [*orphans, orphans[0]]


def test_a_machine_that_cannot_be_looked_at_lets_others_go_first(
    db: Database, server: psycopg.Connection, topology: Topology
) -> None:
    machines = [db.elements.create(topology.id, "kvmqm").id for _ in range(3)]
    for n, id in enumerate(machines):
        db.elements.update(id, {"next_sync_at": now(server) - (9 - n) * MINUTE})
    claimed = claim_in_turn(server, partial(db.elements.claim_syncs, limit=1, lease=MINUTE), "elements", "sync")
    assert claimed == [*machines, machines[0]]


def test_a_timeout_that_cannot_be_carried_out_lets_others_go_first(
    db: Database, server: psycopg.Connection, world: World
) -> None:
    warn, stop, destroy = (db.topologies.create(name, owner_id=world.user.id).id for name in "abc")
    for id, step, ago in ((warn, 0, HOUR - DAY), (stop, 9, MINUTE), (destroy, 10, DAY + 30 * MINUTE)):
        db.topologies.update(id, {"timeout_step": step, "timeout_at": now(server) - ago})
    claimed = claim_in_turn(server, partial(db.topologies.claim_timeouts, limit=1, lease=MINUTE), "topologies", "timeout")
    assert claimed == [warn, destroy, stop, warn]


def claim_in_turn(server: psycopg.Connection, claim: Callable[[], Any], table: str, lease: str) -> list[int]:
    """Return the ids that four claims get of which each lets its lease run out."""
    claimed = []
    for _ in range(4):
        claimed += [c.id for c in claim()]
        server.execute(f"update {table} set {lease}_lease_until = now() where {lease}_lease_until > now()")
    return claimed


def _of(world: World) -> tuple[int, str, str]:
    return world.host.id, world.host.name, world.host.rpcurl


def test_a_task_is_one_workers_until_it_is_finished_and_then_for_a_period_nobodys(
    db: Database, server: psycopg.Connection
) -> None:
    claims = at_once(*[partial(db.tasks.claim, "accounting", MINUTE, lease=HOUR)] * 8)
    (claim,) = [c for c in claims if c]
    assert db.tasks.claim("accounting", MINUTE, lease=HOUR) is None
    (task,) = db.tasks.list()
    assert (task.name, task.started_at, task.lease_until) == (claim.name, claim.started_at, claim.lease_until)  # type: ignore[attr-defined]
    other = db.tasks.claim("links", MINUTE, lease=HOUR)
    assert other is not None
    db.tasks.finish("accounting", claim.lease_until)  # type: ignore[attr-defined]
    assert db.tasks.claim("accounting", MINUTE, lease=HOUR) is None
    server.execute("update tasks set started_at = now() - interval '59 s'")
    assert db.tasks.claim("accounting", MINUTE, lease=HOUR) is None
    server.execute("update tasks set started_at = now() - interval '60 s'")
    again = at_once(*[partial(db.tasks.claim, "accounting", MINUTE, lease=HOUR)] * 8)
    assert len([c for c in again if c]) == 1
    assert db.tasks.claim("links", MINUTE, lease=HOUR) is None  # is still at work


def test_a_task_whose_worker_died_is_due_when_its_lease_runs_out(db: Database, server: psycopg.Connection) -> None:
    first = db.tasks.claim("t", HOUR, lease=MINUTE)
    assert first
    end_leases(server, "tasks", "run_lease_until")
    second = db.tasks.claim("t", HOUR, lease=MINUTE)
    assert second
    assert second.started_at > first.started_at
    with refused(LockLost, "task", "t"):
        db.tasks.finish("t", first.lease_until)
    db.tasks.finish("t", second.lease_until)
    with refused(LockLost, "task", "never claimed"):
        db.tasks.finish("never claimed", second.lease_until)

"""Claims go on while an old transaction keeps all dead rows: each item is finished once, workers share, nothing starves."""

import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from datetime import datetime, timedelta
from functools import partial
from time import monotonic
from typing import Any

import psycopg
import pytest

from benchmarks.claims import fill, make_dead, old_snapshot
from tests.conftest import World
from tests.helpers.async_bridge import bridged
from tests.helpers.dao_cases import MOMENT
from tomato_dao import Database, LockLost, connect, dao
from tomato_dao.ops.scratch import scratch_database

ITEMS, DEAD, WORKERS = 5_000, 400_000, 50
LEASE, SHORT = timedelta(minutes=5), timedelta(milliseconds=200)
PATIENCE = 240  # seconds
FAR = 3600.0  # seconds: no test takes as long


@pytest.mark.slow
@pytest.mark.parametrize("opened", [connect, bridged], ids=["threads", "asyncio"])
def test_only_the_first_of_many_claims_reads_what_an_old_snapshot_keeps(
    tomato_server_url: str,
    tomato_template: str,
    monkeypatch: pytest.MonkeyPatch,
    opened: Callable[..., AbstractContextManager[Database]],
) -> None:
    monkeypatch.setattr(dao, "FULL_LOOK", FAR)
    items, dead, claims = 500, 20_000, 50
    with scratch_database(tomato_server_url, template=tomato_template) as url, opened(url, pool_size=1) as db:
        fill(url, items)
        with old_snapshot(url):
            make_dead(url, items, dead)
            reads = [_entries_read(db)]
            for count in (1, claims):
                for _ in range(count):
                    (claim,) = db.host_elements.claim_refreshes(limit=1, lease=LEASE)
                    db.host_elements.finish_refresh(claim.id, claim.lease_until)
                reads.append(_entries_read(db))
    assert reads[1] - reads[0] > dead
    assert reads[2] - reads[1] < claims * 2 * claims  # those of its own claims, which are dead, too


@pytest.fixture
def due(db: Database, server: psycopg.Connection, world: World) -> list[int]:
    """Provide the ids of twenty host elements, in the order in which they are due: 20 minutes ago and later."""
    served = db.elements.create(db.topologies.create("t", owner_id=world.user.id).id, "kvmqm")
    ids = [db.host_elements.create(world.host.id, n, type="x", state="started", element_id=served.id).id for n in range(20)]
    for n, id in enumerate(ids):
        _due(server, id, 20 - n)
    return ids


def _due(server: psycopg.Connection, id: int, minutes: int) -> None:
    server.execute("update host_elements set next_refresh_at = now() - %s * interval '1 min' where id = %s", [minutes, id])


@pytest.mark.slow
@pytest.mark.parametrize("until_full_look", [0.0, FAR])
def test_an_item_that_was_due_before_the_others_is_claimed_by_the_next_look_from_the_start(
    db: Database, server: psycopg.Connection, due: list[int], monkeypatch: pytest.MonkeyPatch, until_full_look: float
) -> None:
    monkeypatch.setattr(dao, "FULL_LOOK", until_full_look)
    monkeypatch.setattr(dao, "SELDOM", 0)
    early, *rest = due
    _due(server, early, -60)
    claimed = [_claimed(db) for _ in range(3)]
    _due(server, early, 60)
    while ids := _claimed(db):
        claimed.append(ids)
    others = [[id] for id in rest]
    at = 3 if until_full_look == 0 else len(others)
    assert claimed == [*others[:at], [early], *others[at:]]


@pytest.mark.parametrize(("looked", "since"), [(0.0, None), (3600.0, MOMENT)])
def test_a_long_look_from_the_start_is_not_repeated_soon(
    monkeypatch: pytest.MonkeyPatch, looked: float, since: datetime | None
) -> None:
    monkeypatch.setattr(dao, "FULL_LOOK", 0.0)
    front = dao.Front[datetime](lambda due: due)
    assert front.since() is None
    front.advance(None, [MOMENT], 1, looked)
    assert front.since() == since


def test_a_front_moves_for_the_claims_that_began_at_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dao, "FULL_LOOK", FAR)
    earlier, later = (MOMENT + n * timedelta(minutes=1) for n in (-1, 1))
    front = dao.Front[datetime](lambda due: due)
    front.advance(None, [MOMENT], 1, 0)
    front.advance(MOMENT, [earlier], 1, 0)
    assert front.since() == MOMENT  # an expired lease puts an item behind others that have been due for less time
    front.advance(None, [earlier], 1, 0)
    front.advance(MOMENT, [later], 1, 0)
    assert front.since() == earlier  # a claim that was under way does not pass over what was found from the start
    front.advance(earlier, [later], 1, 0)
    assert front.since() == later


@pytest.mark.slow
def test_claims_that_were_rolled_back_are_claimed_again(db: Database, due: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dao, "FULL_LOOK", FAR)
    claimed = [*_claimed(db), *_claimed(db)]
    tried: list[int] = []
    with pytest.raises(ZeroDivisionError):
        _claim_and_fail(db, tried)
    assert tried == due[2:13]  # the front is at the last of them
    while ids := _claimed(db, 3):
        claimed += ids
    assert claimed == [*due[:2], *due[12:], *due[2:12]]


def _claim_and_fail(db: Database, tried: list[int]) -> None:
    with db.transaction():
        tried += [*_claimed(db, 10), *_claimed(db)]
        raise ZeroDivisionError


def _claimed(db: Database, limit: int = 1) -> list[int]:
    return [claim.id for claim in db.host_elements.claim_refreshes(limit=limit, lease=LEASE)]


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["host updates", "host synchronisations", "machines", "host connections"])
def test_claims_of_each_kind_begin_where_the_last_one_ended(
    db: Database, server: psycopg.Connection, world: World, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.setattr(dao, "FULL_LOOK", FAR)
    topology = db.topologies.create("t", owner_id=world.user.id)
    machines = [db.elements.create(topology.id, "kvmqm").id for _ in range(6)]
    server.execute(
        "insert into hosts (name, address, rpcurl, site_id) select 'due' || n, '', n, %s from generate_series(1, 5) n",
        [world.site.id],
    )
    for n in range(6):
        db.host_connections.create(world.host.id, n, type="x", state="started", element_id=machines[0])
    claim: Any
    claim, table, column = {
        "host updates": (db.hosts.claim_updates, "hosts", "info_at"),
        "host synchronisations": (db.hosts.claim_syncs, "hosts", "resources_synced_at"),
        "machines": (db.elements.claim_syncs, "elements", "next_sync_at"),
        "host connections": (db.host_connections.claim_refreshes, "host_connections", "next_refresh_at"),
    }[kind]
    server.execute(f"update {table} set {column} = now() - interval '1 day' + id * interval '1 min'")
    ids = [row[0] for row in server.execute(f"select id from {table} order by id")]
    take = partial(claim, limit=2, lease=LEASE)
    claimed = [claim.id for claim in take()]
    server.execute(f"update {table} set {column} = now() - interval '2 days' where id = %s", [ids[-1]])
    while claims := take():
        claimed += [claim.id for claim in claims]
    assert claimed == ids


def _entries_read(db: Database) -> int:
    """Return the number of entries that scans of the index have returned so far, those of dead rows included."""
    with db.connection() as connection:
        connection.execute("select pg_stat_force_next_flush()")
        row = connection.execute(
            "select idx_tup_read from pg_stat_user_indexes where indexrelname = 'host_elements_refresh_turn_idx'"
        ).fetchone()
    assert row
    return int(row[0])


@pytest.mark.long
def test_50_workers_share_the_work_and_what_cannot_be_finished_starves_nobody(
    tomato_server_url: str, tomato_template: str
) -> None:
    tried, finished, by_worker = Counter[int](), Counter[int](), Counter[int]()
    ready = threading.Barrier(WORKERS)
    with scratch_database(tomato_server_url, template=tomato_template) as url, connect(url, pool_size=8, timeout=120) as db:
        fill(url, ITEMS)
        stuck = _oldest(db, 20)
        until = monotonic() + PATIENCE

        def work(worker: int) -> None:
            ready.wait()
            while finished.total() < ITEMS - len(stuck) and monotonic() < until:
                for claim in db.host_elements.claim_refreshes(limit=1, lease=SHORT if worker % 2 else LEASE):
                    tried[claim.id] += 1
                    if claim.id in stuck:
                        continue
                    try:
                        lease_until = db.host_elements.extend_refresh(claim.id, claim.lease_until, LEASE)
                    except LockLost:  # the short lease ended before the claim's answer came, and another worker has it
                        continue
                    db.host_elements.finish_refresh(claim.id, lease_until)
                    finished[claim.id] += 1
                    by_worker[worker] += 1

        with old_snapshot(url), ThreadPoolExecutor(WORKERS) as threads:
            make_dead(url, ITEMS, DEAD)
            until = monotonic() + PATIENCE
            list(threads.map(work, range(WORKERS)))
    assert finished.keys().isdisjoint(stuck)
    assert set(finished.values()) == {1}
    assert finished.total() == ITEMS - len(stuck)
    assert all(tried[item] for item in stuck)
    mean = finished.total() / WORKERS
    assert min(by_worker[worker] for worker in range(WORKERS)) > mean / 2


def _oldest(db: Database, count: int) -> set[int]:
    with db.connection() as connection:
        found = connection.execute("select id from host_elements order by next_refresh_at limit %s", [count]).fetchall()
    return {row[0] for row in found}

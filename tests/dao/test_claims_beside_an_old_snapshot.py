"""Claims go on while an old transaction keeps all dead rows: each item is finished once, workers share, nothing starves."""

import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from time import monotonic

import pytest

from benchmarks.claims import fill, make_dead, old_snapshot
from tomato_dao import Database, connect
from tomato_dao.ops.scratch import scratch_database

ITEMS, DEAD, WORKERS = 5_000, 400_000, 50
LEASE, SHORT = timedelta(minutes=5), timedelta(milliseconds=200)
PATIENCE = 240  # seconds


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
                    lease_until = db.host_elements.extend_refresh(claim.id, claim.lease_until, LEASE)
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

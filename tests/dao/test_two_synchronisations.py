"""A host is updated and its resources are synced each in its own time: one does not stand for the other."""

from datetime import timedelta
from typing import Any

import psycopg
import pytest

from tests.conftest import World
from tests.helpers.dao_cases import refused
from tests.helpers.host_cases import WELL, listed, now
from tomato_dao import Database, LockLost
from tomato_dao.database import QUERIES
from tomato_dao.rows import HostSyncClaim, HostUpdateClaim

MINUTE = timedelta(seconds=60)
MICROSECOND = timedelta(microseconds=1)
LIMIT: dict[str, Any] = {"limit": 5, "lease": MINUTE}
BROUGHT: dict[str, Any] = {
    "info": WELL,
    "query_time": 1,
    "time_diff": 0,
    "element_types": {},
    "connection_types": {},
    "networks": [],
}


def test_each_is_due_after_its_own_interval(db: Database, world: World) -> None:
    h = world.host
    with db.transaction():
        at = now(db)
        db.hosts.update("host1", {"info_at": at - MINUTE, "resources_synced_at": at - 10 * MINUTE + MICROSECOND})
        assert db.hosts.claim_syncs(**LIMIT) == []
        update = HostUpdateClaim(h.id, h.name, h.address, h.rpcurl, h.site_id, at - MINUTE, at + MINUTE)
        assert db.hosts.claim_updates(**LIMIT) == [update]
        db.hosts.update("host1", {"resources_synced_at": at - 10 * MINUTE})
        sync = HostSyncClaim(h.id, h.name, h.address, h.rpcurl, h.site_id, at - 10 * MINUTE, at + MINUTE)
        assert db.hosts.claim_syncs(**LIMIT) == [sync]  # while the update goes on


def test_finishing_one_leaves_the_other_as_it_is(db: Database, world: World) -> None:
    (update,), (sync,) = db.hosts.claim_updates(**LIMIT), db.hosts.claim_syncs(**LIMIT)
    with refused(LockLost, "host", sync.id):
        db.hosts.finish_sync(sync.id, sync.lease_until + MINUTE)
    db.hosts.finish_update(update.id, update.lease_until, **BROUGHT)
    assert listed(db, "host1").problems == ["resources: not synced for 1500 s"]
    assert (len(db.hosts.claim_updates(**LIMIT)), len(db.hosts.claim_syncs(**LIMIT))) == (0, 0)
    with db.transaction():
        db.hosts.finish_sync(sync.id, sync.lease_until)
        assert db.hosts.get(sync.id).resources_synced_at == now(db)
    assert listed(db, "host1").problems == []
    with refused(LockLost, "host", sync.id):
        db.hosts.finish_sync(sync.id, sync.lease_until)


def test_both_intervals_are_settings_and_disabled_hosts_have_neither(db: Database, world: World) -> None:
    with db.transaction():
        at = now(db)
        db.hosts.update("host1", {"info_at": at - 2 * MINUTE, "resources_synced_at": at - 2 * MINUTE})
        db.settings.update({"host_update_interval": 121, "resource_sync_interval": 121})
        assert (len(db.hosts.claim_updates(**LIMIT)), len(db.hosts.claim_syncs(**LIMIT))) == (0, 0)
        db.settings.update({"host_update_interval": 120, "resource_sync_interval": 120})
        db.hosts.update("host1", {"enabled": False})
        assert (len(db.hosts.claim_updates(**LIMIT)), len(db.hosts.claim_syncs(**LIMIT))) == (0, 0)
        db.hosts.update("host1", {"enabled": True})
        assert (len(db.hosts.claim_updates(**LIMIT)), len(db.hosts.claim_syncs(**LIMIT))) == (1, 1)


@pytest.mark.slow
def test_a_sync_uses_an_index_among_3_000_hosts(db: Database, world: World, server: psycopg.Connection) -> None:
    server.execute(
        "insert into hosts (name, address, rpcurl, site_id, resources_synced_at)"
        " select 'due' || n, '', n, %s, now() - n * interval '1 s' from generate_series(1, 3000) n",
        [world.site.id],
    )
    server.execute("analyze hosts")
    server.execute("set plan_cache_mode = force_generic_plan")
    for query in QUERIES["hosts.claim_syncs"].variants():
        server.execute(f'prepare "{query.name}" as {query.sql}')
        values = ["10", "'1 min'", "now()"][: len(query.parameters)]
        plan = "\n".join(line for (line,) in server.execute(f'explain execute "{query.name}"({", ".join(values)})'))
        assert "Index Scan using hosts_sync_turn_idx" in plan, plan
        assert "Seq Scan on hosts" not in plan, plan

"""Leases, as the tests of all that is claimed need them: two due things of a kind, how they are claimed and finished."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from tests.conftest import World
from tests.helpers.dao_cases import MOMENT
from tomato_dao import Database

MINUTE = timedelta(minutes=1)
MICROSECOND = timedelta(microseconds=1)
TABLES = {
    "timeout": ("topologies", "timeout_lease_until"),
    "machine": ("elements", "sync_lease_until"),
    "host element": ("host_elements", "orphan_lease_until"),
    "host connection": ("host_connections", "orphan_lease_until"),
    "kept element": ("host_elements", "refresh_lease_until"),
    "kept connection": ("host_connections", "refresh_lease_until"),
    "host": ("hosts", "update_lease_until"),
    "resources": ("hosts", "sync_lease_until"),
    "notice": ("hosts", "problem_lease_until"),
    "task": ("tasks", "run_lease_until"),
}


@dataclass(frozen=True)
class Leased:
    """Two due things of a kind. claim: all that is due at this moment; finish: what has the key, with a
    lease; extend: the same, with a time from now; key: the name of the claim's field that both take."""

    claim: Callable[[], Sequence[Any]]
    finish: Callable[[Any, datetime], None]
    extend: Callable[[Any, datetime, timedelta], datetime]
    key: str = "id"

    def key_of(self, claim: Any) -> Any:
        """Return the name by which a claim is finished."""
        return getattr(claim, self.key)


def make_leased(db: Database, world: World, kind: str) -> Leased:
    """Two things of the kind, both due since long ago."""
    limit: dict[str, Any] = {"limit": 5, "lease": MINUTE}
    if kind == "timeout":
        for name in "ab":
            db.topologies.update(db.topologies.create(name, owner_id=world.user.id).id, {"timeout_at": MOMENT})
        return Leased(
            partial(db.topologies.claim_timeouts, **limit), db.topologies.finish_timeout, db.topologies.extend_timeout
        )
    if kind == "machine":
        topology = db.topologies.create("t", owner_id=world.user.id)
        for _ in range(2):
            db.elements.update(db.elements.create(topology.id, "kvmqm").id, {"next_sync_at": MOMENT})
        return Leased(partial(db.elements.claim_syncs, **limit), db.elements.finish_sync, db.elements.extend_sync)
    if kind in ("host element", "host connection"):
        dao = db.host_elements if kind == "host element" else db.host_connections
        for num in range(2):
            dao.create(world.host.id, num, type="x", state="started")
        return Leased(partial(dao.claim_orphans, **limit), dao.finish_orphan, dao.extend_orphan)
    if kind in ("kept element", "kept connection"):
        kept = db.host_elements if kind == "kept element" else db.host_connections
        served = db.elements.create(db.topologies.create("t", owner_id=world.user.id).id, "kvmqm")
        for num in range(2):
            kept.create(world.host.id, num, type="x", state="started", element_id=served.id)
        return Leased(partial(kept.claim_refreshes, **limit), kept.finish_refresh, kept.extend_refresh)
    if kind == "task":
        return Leased(partial(_claim_tasks, db), db.tasks.finish, db.tasks.extend, "name")
    db.hosts.create("host2", address="10.0.0.2", rpcurl="rpc://host2", site_id=world.site.id)
    if kind == "notice":
        for name in ("host1", "host2"):
            db.hosts.update(name, {"problem_since": MOMENT})
        told = partial(db.hosts.finish_problem_notice, kind="announce")
        return Leased(partial(db.hosts.claim_problem_notices, **limit), told, db.hosts.extend_problem_notice, "host_id")
    if kind == "resources":
        return Leased(partial(db.hosts.claim_syncs, **limit), db.hosts.finish_sync, db.hosts.extend_sync)
    brought: dict[str, Any] = {
        "info": {},
        "query_time": 1,
        "time_diff": 0,
        "element_types": {},
        "connection_types": {},
        "networks": [],
    }
    return Leased(partial(db.hosts.claim_updates, **limit), partial(db.hosts.finish_update, **brought), db.hosts.extend_update)


def _claim_tasks(db: Database) -> list[Any]:
    with db.transaction():  # so that their leases are the same
        claims = [db.tasks.claim(name, MINUTE, lease=MINUTE) for name in ("accounting", "links")]
    return [claim for claim in claims if claim]

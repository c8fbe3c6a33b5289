"""A disabled host is not updated: its availability stays, and nobody is told of its problems."""

from datetime import timedelta

from tests.conftest import World
from tests.helpers.host_cases import make_well, now
from tomato_dao import Database
from tomato_dao.rows import replace

MINUTE = timedelta(seconds=60)
HOUR = timedelta(hours=1)


def test_a_disabled_host_stays_as_it_is(db: Database, world: World) -> None:
    make_well(db, "host1", enabled=False, info={}, availability=0.5, component_errors=7)
    before = db.hosts.get_by_name("host1")
    assert db.hosts.update_availability("host1") == 0.5
    assert db.hosts.update_all_availabilities() == 0
    assert db.hosts.get_by_name("host1") == before
    db.hosts.update("host1", {"enabled": True})
    assert db.hosts.update_availability("host1") < 0.5
    after = db.hosts.get_by_name("host1")
    assert after.problem_since is not None
    db.hosts.update("host1", {"enabled": False})
    db.hosts.update_availability("host1")
    assert db.hosts.get_by_name("host1") == replace(after, enabled=False)


def test_nobody_is_notified_of_a_disabled_host(db: Database, world: World) -> None:
    for info, mailed in (({}, None), ({}, 12 * HOUR), (None, HOUR / 2)):
        since = 20 * HOUR if mailed else HOUR
        make_well(db, "host1", problem_since=now(db) - since, problem_mailed_at=mailed and now(db) - mailed, enabled=False)
        if info is not None:
            db.hosts.update("host1", {"info": info})
        assert db.hosts.claim_problem_notices(limit=1, lease=MINUTE) == []
        db.hosts.update("host1", {"enabled": True})
        assert len(db.hosts.claim_problem_notices(limit=1, lease=MINUTE)) == 1, (info, mailed)
        db.hosts.update("host1", {"name": "host1"})
        with db.connection() as connection:
            connection.execute("update hosts set problem_lease_until = null")

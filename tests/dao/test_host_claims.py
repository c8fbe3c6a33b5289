"""Hosts to update and problem notices: what is due, who gets it, and what becomes of it."""

from datetime import timedelta
from functools import partial
from typing import Any

import psycopg
import pytest

from tests.conftest import World
from tests.helpers.dao_cases import MOMENT, NOBODY, at_once, refused
from tests.helpers.host_cases import WELL, listed, make_well, now
from tomato_dao import Database, InvalidValue, LockLost, connect
from tomato_dao.database import QUERIES
from tomato_dao.rows import Contact, HostUpdateClaim, ProblemNoticeClaim

pytestmark = pytest.mark.slow

MINUTE = timedelta(seconds=60)
MICROSECOND = timedelta(microseconds=1)
BROUGHT: dict[str, Any] = {
    "info": WELL,
    "query_time": WELL["query_time"],
    "time_diff": WELL["time_diff"],
    "element_types": {"kvmqm": {}},
    "connection_types": ["bridge"],
    "networks": ["internet"],
}


def add_hosts(server: psycopg.Connection, site_id: int, count: int) -> None:
    server.execute(
        "insert into hosts (name, address, rpcurl, site_id, info_at)"
        " select 'due' || n, '', n, %s, now() - n * interval '1 s' from generate_series(1, %s) n",
        [site_id, count],
    )


def let_leases_run_out(server: psycopg.Connection) -> None:
    server.execute("update hosts set update_lease_until = now(), sync_lease_until = now(), problem_lease_until = now()")


def claim_update(db: Database) -> HostUpdateClaim:
    (claimed,) = db.hosts.claim_updates(limit=1, lease=MINUTE)
    return claimed


def claim_notice(db: Database) -> ProblemNoticeClaim | None:
    return next(iter(db.hosts.claim_problem_notices(limit=1, lease=MINUTE)), None)


def test_a_host_is_updated_every_minute(db: Database, world: World) -> None:
    with db.transaction():
        at = now(db)
        db.hosts.update("host1", {"info_at": at - MINUTE + MICROSECOND})
        assert db.hosts.claim_updates(limit=10, lease=MINUTE) == []
        db.hosts.update("host1", {"info_at": at - MINUTE, "enabled": False})
        assert db.hosts.claim_updates(limit=10, lease=MINUTE) == []
        db.hosts.update("host1", {"enabled": True})
        h = world.host
        due = HostUpdateClaim(h.id, h.name, h.address, h.rpcurl, h.site_id, at - MINUTE, at + MINUTE)
        assert db.hosts.claim_updates(limit=10, lease=MINUTE) == [due]


def test_the_host_that_waits_longest_is_updated_first(db: Database, world: World, server: psycopg.Connection) -> None:
    add_hosts(server, world.site.id, 65)
    claimed = [claim_update(db).name for _ in range(3)]
    claimed += [claim.name for claim in db.hosts.claim_updates(limit=4, lease=MINUTE)]
    assert claimed == ["host1", "due65", "due64", "due63", "due62", "due61", "due60"]
    assert db.hosts.claim_updates(limit=100, lease=MINUTE) == []


def test_a_host_that_cannot_be_reached_lets_others_go_first(db: Database, world: World, server: psycopg.Connection) -> None:
    add_hosts(server, world.site.id, 61)
    claimed = []
    for _ in range(4):
        claimed.append(claim_update(db).name)  # which nobody finishes
        server.execute("update hosts set update_lease_until = now() where update_lease_until > now()")
    assert claimed == ["host1", "due61", "due60", "host1"]


def test_a_host_whose_lease_runs_out_is_due_again(db: Database, world: World, server: psycopg.Connection) -> None:
    first = claim_update(db)
    assert db.hosts.claim_updates(limit=1, lease=MINUTE) == []
    let_leases_run_out(server)
    second = claim_update(db)
    with refused(LockLost, "host", first.id, f"^host {first.id} is not this worker's any more: "):
        db.hosts.finish_update(first.id, first.lease_until, **BROUGHT)
    assert db.hosts.get(first.id) == world.host
    db.hosts.finish_update(second.id, second.lease_until, **BROUGHT)
    with refused(LockLost, "host", second.id):
        db.hosts.finish_update(second.id, second.lease_until, **BROUGHT)


def test_an_update_is_kept(db: Database, world: World, server: psycopg.Connection) -> None:
    claimed = claim_update(db)
    with db.transaction():
        db.hosts.finish_update(claimed.id, claimed.lease_until, **BROUGHT)
        at = now(db)
    host = db.hosts.get(claimed.id)
    assert [getattr(host, name) for name in ("info", "element_types", "connection_types", "networks")] == [
        BROUGHT[name] for name in ("info", "element_types", "connection_types", "networks")
    ]
    assert (host.info_at, host.resources_synced_at) == (at, None)
    assert listed(db, "host1").problems == ["resources: not synced for 1500 s"]
    assert db.hosts.claim_updates(limit=1, lease=MINUTE) == []
    server.execute("update hosts set info_at = now() - interval '61 s'")
    assert claim_update(db).id == host.id


def test_an_update_may_be_late_where_nobody_else_took_it(db: Database, world: World, server: psycopg.Connection) -> None:
    claim_update(db)
    let_leases_run_out(server)
    (run_out,) = server.execute("select update_lease_until from hosts").fetchone() or ()
    db.hosts.finish_update(world.host.id, run_out, **BROUGHT)
    assert db.hosts.get(world.host.id).info == WELL


def test_a_claim_of_a_deleted_row_cannot_be_finished(db: Database, world: World) -> None:
    claimed = claim_update(db)
    db.hosts.delete("host1")
    with refused(LockLost, "host", claimed.id):
        db.hosts.finish_update(claimed.id, claimed.lease_until, **BROUGHT)
    with refused(LockLost, "host", NOBODY):
        db.hosts.finish_problem_notice(NOBODY, MOMENT, "announce")


def test_a_claim_needs_some_time_and_no_less_than_nothing(db: Database, world: World) -> None:
    bad: Any
    for claim in (db.hosts.claim_updates, db.hosts.claim_problem_notices):
        for bad in (timedelta(), -MINUTE, 60, None):
            with pytest.raises(InvalidValue, match=r"^a lease must be a timedelta above 0, not "):
                claim(limit=1, lease=bad)
        for bad in (timedelta.max, timedelta(days=365 * 8000)):
            with pytest.raises(InvalidValue, match=r"^host: "):
                db.hosts.claim_updates(limit=1, lease=bad)
        with pytest.raises(InvalidValue, match="LIMIT must not be negative"):
            claim(limit=-1, lease=MINUTE)
        assert claim(limit=0, lease=MINUTE) == []


def test_each_host_goes_to_one_worker(tomato_url: str, world: World, server: psycopg.Connection) -> None:
    add_hosts(server, world.site.id, 300)

    def work(db: Database) -> list[str]:
        mine: list[str] = []
        while claimed := db.hosts.claim_updates(limit=7, lease=MINUTE):
            for host in claimed:
                db.hosts.finish_update(host.id, host.lease_until, **BROUGHT)
                mine.append(host.name)
        return mine

    with connect(tomato_url, pool_size=8) as db:
        done: list[Any] = at_once(*[partial(work, db)] * 8)
    names = [name for mine in done for name in mine]
    assert len(names) == len(set(names))
    assert set(names) >= {"host1", *(f"due{n}" for n in range(60, 301))}  # others may have come due meanwhile


def told(db: Database, *, since: timedelta, mailed: timedelta | None = None, well: bool = False) -> str | None:
    """Return the kind of notice that is due for a host whose problem was first seen, and last told, so long ago."""
    with db.transaction():
        at = now(db)
        mailed_at = None if mailed is None else at - mailed
        make_well(db, "host1", info=WELL if well else {}, problem_since=at - since, problem_mailed_at=mailed_at)
        notice = claim_notice(db)
        if notice is not None:
            assert (notice.host_name, notice.problem_since, notice.lease_until) == ("host1", at - since, at + MINUTE)
            assert notice.problems == ([] if well else ["no info"])
            db.hosts.finish_problem_notice(notice.host_id, notice.lease_until, notice.kind)
            host = db.hosts.get(notice.host_id)
            assert (host.problem_since, host.problem_mailed_at) == (None if well else at - since, at)
            assert claim_notice(db) is None
        return notice.kind if notice else None


def test_a_problem_that_lasts_is_announced_once(db: Database, world: World) -> None:
    lasts = timedelta(seconds=300)
    assert told(db, since=lasts - MICROSECOND) is None
    assert told(db, since=lasts) == "announce"
    assert told(db, since=timedelta(days=3)) == "announce"
    assert told(db, since=lasts, mailed=timedelta()) is None
    assert told(db, since=timedelta(hours=6), mailed=timedelta(hours=5)) is None
    assert told(db, since=lasts, mailed=timedelta(days=1)) == "announce"  # that mail was about another one


def test_a_persistent_problem_is_announced_ever_more_rarely(db: Database, world: World) -> None:
    six, nine = timedelta(hours=6), timedelta(hours=9)
    assert told(db, since=six, mailed=six - MINUTE) is None
    assert told(db, since=six + MICROSECOND, mailed=six - MINUTE) == "again"
    assert told(db, since=2 * nine, mailed=nine - MICROSECOND) is None
    assert told(db, since=2 * nine, mailed=nine) == "again"


def test_the_end_of_an_announced_problem_is_announced_once(db: Database, world: World) -> None:
    hour = timedelta(hours=1)
    assert told(db, since=hour, well=True) is None
    assert told(db, since=hour, mailed=2 * hour, well=True) is None
    assert told(db, since=hour, mailed=hour / 2, well=True) == "resolved"
    db.hosts.update_availability("host1")
    assert claim_notice(db) is None


def test_a_notice_that_cannot_be_sent_lets_others_go_first(db: Database, world: World, server: psycopg.Connection) -> None:
    add_hosts(server, world.site.id, 2)
    server.execute("update hosts set problem_since = now() - (10 - id) * interval '1 hour'")
    claimed = []
    for _ in range(4):
        claimed += [claim.host_name for claim in db.hosts.claim_problem_notices(limit=1, lease=MINUTE)]
        server.execute("update hosts set problem_lease_until = now() where problem_lease_until > now()")
    assert claimed == ["host1", "due1", "due2", "host1"]


def test_a_problem_from_its_beginning_to_its_end(db: Database, world: World) -> None:
    made: list[tuple[int, str]] = []
    later = "problem_since = problem_since - interval '15 min', problem_mailed_at = problem_mailed_at - interval '15 min'"
    with db.transaction(), db.connection() as connection:  # where the time stands still
        for minute in range(0, 25 * 60, 15):
            connection.execute(f"update hosts set {later}")
            if minute == 1485:
                make_well(db, "host1")
            db.hosts.update_availability("host1")
            if notice := claim_notice(db):
                db.hosts.finish_problem_notice(notice.host_id, notice.lease_until, notice.kind)
                made.append((minute, notice.kind))
    assert made == [(15, "announce"), (375, "again"), (750, "again"), (1485, "resolved")]
    assert db.hosts.get_by_name("host1").problem_since is None


def test_changes_while_a_notice_is_sent_are_announced_later(db: Database, world: World, server: psycopg.Connection) -> None:
    hour = timedelta(hours=1)
    make_well(db, "host1", info={}, problem_since=now(db) - hour)
    announced = claim_notice(db)
    assert announced
    make_well(db, "host1")
    db.hosts.update_availability("host1")
    db.hosts.finish_problem_notice(announced.host_id, announced.lease_until, announced.kind)
    ended = claim_notice(db)
    assert ended
    assert (ended.kind, ended.problem_since) == ("resolved", announced.problem_since)
    db.hosts.update("host1", {"info": {}})
    db.hosts.update_availability("host1")
    db.hosts.finish_problem_notice(ended.host_id, ended.lease_until, ended.kind)
    db.hosts.update_availability("host1")
    server.execute(
        "update hosts set problem_since = problem_since - interval '300 s', problem_mailed_at = now() - interval '301 s'"
    )
    again = claim_notice(db)
    assert again
    assert again.kind == "announce"
    assert again.problem_since > announced.problem_since


def test_a_problem_that_goes_unannounced_goes_silently(db: Database, world: World, server: psycopg.Connection) -> None:
    make_well(db, "host1", info={}, problem_since=now(db) - timedelta(hours=1))
    assert claim_notice(db)
    make_well(db, "host1")
    let_leases_run_out(server)
    assert claim_notice(db) is None
    db.hosts.update_availability("host1")
    assert db.hosts.get_by_name("host1").problem_since is None


def test_the_end_of_a_problem_that_was_announced_too_late_is_announced(
    db: Database, world: World, server: psycopg.Connection
) -> None:
    make_well(db, "host1", info={}, problem_since=now(db) - timedelta(hours=1))
    announced = claim_notice(db)
    assert announced
    make_well(db, "host1")
    let_leases_run_out(server)
    db.hosts.update_availability("host1")
    (run_out,) = server.execute("select problem_lease_until from hosts").fetchone() or ()
    db.hosts.finish_problem_notice(announced.host_id, run_out, announced.kind)
    ended = claim_notice(db)
    assert ended
    assert ended.kind == "resolved"


def test_a_notice_goes_to_one_worker_and_back_when_that_dies(db: Database, world: World, server: psycopg.Connection) -> None:
    db.hosts.update("host1", {"problem_since": now(db) - timedelta(hours=1)})
    claims = at_once(*[partial(claim_notice, db)] * 4)
    first: Any = next(notice for notice in claims if notice is not None)
    assert claims.count(None) == 3
    let_leases_run_out(server)
    second = claim_notice(db)
    assert second
    with refused(LockLost, "host", first.host_id):
        db.hosts.finish_problem_notice(first.host_id, first.lease_until, first.kind)
    with refused(InvalidValue, "host", first.host_id, "announce, again or resolved, not 'resolve'$"):
        db.hosts.finish_problem_notice(first.host_id, second.lease_until, "resolve")
    db.hosts.finish_problem_notice(second.host_id, second.lease_until, second.kind)


def test_the_backends_start_excuses_a_host(db: Database, world: World) -> None:
    make_well(db, "host1", info_at=None, problem_since=now(db) - timedelta(hours=1))
    assert db.hosts.claim_problem_notices(limit=1, lease=MINUTE, started_at=now(db)) == []
    assert claim_notice(db)


def test_contacts_of_all_hosts_and_of_the_sites_organization_are_notified(db: Database, world: World) -> None:
    other = db.organizations.create("other")
    users = [
        db.users.create(name, organization_id=organization.id, email=f"{name}@x", flags=flags)
        for name, organization, flags in (
            ("everywhere", other, ["global_host_contact"]),
            ("here", world.organization, ["orga_host_contact", "nomails"]),
            ("elsewhere", other, ["orga_host_contact", "orga_host_manager"]),
            ("nobody", world.organization, ["orga_admin_contact", "global_admin_contact", "global_host_manager"]),
            ("both", world.organization, ["orga_host_contact", "global_host_contact"]),
        )
    ]
    db.hosts.update("host1", {"problem_since": now(db) - timedelta(hours=1)})
    notice = claim_notice(db)
    assert notice
    assert notice.recipients == (
        Contact(users[0].id, "everywhere", "", "", "everywhere@x", False),
        Contact(users[1].id, "here", "", "", "here@x", True),
        Contact(users[4].id, "both", "", "", "both@x", False),
    )


def test_a_notice_may_have_nobody_to_go_to(db: Database, world: World) -> None:
    db.hosts.update("host1", {"problem_since": now(db) - timedelta(hours=1)})
    notice = claim_notice(db)
    assert notice
    assert notice.recipients == ()


def test_claims_use_an_index_among_3_000_hosts(db: Database, world: World, server: psycopg.Connection) -> None:
    add_hosts(server, world.site.id, 3_000)
    server.execute("update hosts set problem_since = now() where id % 50 = 0")
    server.execute("analyze hosts")
    server.execute("set plan_cache_mode = force_generic_plan")
    for name, values, index in (
        ("claim_updates", "10, '1 min'", "hosts_update_turn_idx"),
        ("claim_updates[since]", "10, '1 min', now()", "hosts_update_turn_idx"),
        ("claim_problem_notices", "null, 10, '1 min'", "hosts_problem_turn_idx"),
    ):
        (query,) = (v for v in QUERIES[f"hosts.{name.partition('[')[0]}"].variants() if v.name == f"hosts.{name}")
        server.execute(f'prepare "{name}" as {query.sql}')
        plan = "\n".join(line for (line,) in server.execute(f'explain execute "{name}"({values})'))
        assert f"Index Scan using {index}" in plan, plan
        assert "Seq Scan on hosts" not in plan, plan

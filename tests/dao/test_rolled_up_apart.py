"""Roll-ups of two users' use at once: each counts its own, once, from records of the right type, and not before its time."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from tests.conftest import World
from tests.helpers.topology_cases import add_usage
from tests.helpers.usage_cases import in_small_parts, settle
from tomato_dao import Database
from tomato_dao.rows import HostComponent, Topology, UsageRecord, User

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
WINDOW = timedelta(minutes=5)
SETTLED = 3 * WINDOW


@dataclass(frozen=True)
class Owned:
    """A user's topology, of which one element runs on a host of its own."""

    user: User
    topology: Topology
    host_id: int
    component: HostComponent


def add_component(db: Database, topology_id: int, host_id: int, num: int) -> HostComponent:
    element = db.elements.create(topology_id, "kvmqm")
    return db.host_elements.create(host_id, num, type="x", state="started", element_id=element.id)


@pytest.fixture
def both(db: Database, world: World, bob: User) -> tuple[Owned, Owned]:
    """Alice's and bob's, who have nothing in common, and nothing that is counted in this month yet."""
    other = db.hosts.create("host2", address="10.0.0.2", rpcurl="rpc://host2", site_id=world.site.id)
    made = []
    for user, host in ((world.user, world.host), (bob, other)):
        topology = db.topologies.create("lab", owner_id=user.id)
        made.append(Owned(user, topology, host.id, add_component(db, topology.id, host.id, 1)))
        db.quotas.set(user.id, memory=0, diskspace=0, traffic=0, cputime=0)
        db.quotas.update(user.id, {"used_at": NOON - timedelta(days=1)})
    return made[0], made[1]


def import_use(db: Database, component: HostComponent, *ends: datetime, value: float = 1, measurements: int = 5) -> None:
    usage_id = component.usage_id or 0
    records = [UsageRecord(usage_id, "5minutes", e - WINDOW, e, measurements, value, value, value, value) for e in ends]
    assert db.usage.import_records(records, now=max(ends)).imported == len(ends)


def use(db: Database, row: object, type: str = "5minutes") -> Sequence[tuple[datetime, float]]:
    """Ends and CPU seconds of an object's records."""
    usage_id: int = row.usage_id  # type: ignore[attr-defined]
    return [(r.end_at, r.cputime) for r in db.usage.list(usage_id, type)]


def test_a_record_that_is_late_for_one_object_may_count_for_another(db: Database, both: tuple[Owned, Owned]) -> None:
    alices, bobs = both
    import_use(db, alices.component, NOON)
    db.usage.aggregate(now=NOON)
    import_use(db, bobs.component, NOON, value=2)
    assert db.usage.aggregate(now=NOON).late == 0
    for owned, cputime in ((alices, 1), (bobs, 2)):
        organization = db.organizations.get(owned.user.organization_id)
        for row in (db.hosts.get(owned.host_id), owned.topology, owned.user, organization):
            assert use(db, row) == [(NOON, cputime)]


def test_a_topology_waits_for_elements_that_are_settled_with_it(db: Database, both: tuple[Owned, Owned]) -> None:
    """One of a second element's two components never delivers, so that the element waits until its window is settled."""
    owned, _ = both
    late = add_component(db, owned.topology.id, owned.host_id, 2)
    db.host_elements.create(owned.host_id, 3, type="x", state="started", element_id=late.element_id)
    import_use(db, owned.component, NOON)
    import_use(db, late, NOON, value=4)
    db.usage.aggregate(now=NOON)
    assert use(db, owned.topology) == []
    settle(db, NOON)
    for row in (owned.topology, owned.user):
        assert use(db, row) == [(NOON, 5)]


def test_what_is_due_and_lost_its_source_counts_neither_as_late_nor_twice(db: Database, both: tuple[Owned, Owned]) -> None:
    """The first element waits for a second component when the one with a record goes; the topology has another element."""
    owned, _ = both
    db.host_elements.create(owned.host_id, 2, type="x", state="started", element_id=owned.component.element_id)
    other = add_component(db, owned.topology.id, owned.host_id, 3)
    import_use(db, owned.component, NOON)
    import_use(db, other, NOON, value=4)
    db.usage.aggregate(now=NOON)
    db.host_elements.delete(owned.component.id)
    assert [db.usage.aggregate(now=NOON + n * WINDOW).late for n in range(1, 6)] == [0] * 5
    assert use(db, owned.topology) == [(NOON, 4)]


def test_a_window_that_is_there_already_does_not_count_as_written(
    db: Database, server: psycopg.Connection, both: tuple[Owned, Owned]
) -> None:
    """As in an old installation: no books, and a topology's record beside none of its element."""
    owned, _ = both
    element = db.elements.get(owned.component.element_id or 0)
    for row in (owned.component, owned.topology):
        add_usage(server, row.usage_id, "5minutes", NOON)
    for n in range(1, 6):
        ((before,),) = server.execute("select count(*) from usage_records").fetchall()
        done = db.usage.aggregate(now=NOON + n * WINDOW)
        assert server.execute("select count(*) from usage_records").fetchone() == (before + done.written - done.pruned,)
    assert [end for end, _ in use(db, element)] == [end for end, _ in use(db, owned.topology)] == [NOON]


def test_what_has_no_usage_is_passed_over(db: Database, server: psycopg.Connection, both: tuple[Owned, Owned]) -> None:
    """Objects of an old installation may have none."""
    owned, _ = both
    other = add_component(db, owned.topology.id, owned.host_id, 3)
    server.execute("update elements set usage_id = null where id = %s", [owned.component.element_id])
    import_use(db, owned.component, NOON)
    import_use(db, other, NOON, value=4)
    db.usage.aggregate(now=NOON)
    assert use(db, db.hosts.get(owned.host_id)) == [(NOON, 5)]
    assert use(db, owned.topology) == use(db, owned.user) == [(NOON, 4)]


def test_a_record_that_comes_during_a_run_is_left_to_the_next(
    db: Database, server: psycopg.Connection, both: tuple[Owned, Owned]
) -> None:
    """The run has taken up the first component's record and looks at the window when the second one's comes."""
    owned, _ = both
    second = db.host_elements.create(owned.host_id, 2, type="x", state="started", element_id=owned.component.element_id)
    in_small_parts(server, 1)
    import_use(db, owned.component, NOON)
    while server.execute("select step from usage_run").fetchone() != (1,):
        assert server.execute("select unfinished from aggregate_usage(%s, null)", [NOON]).fetchone() == (True,)
    import_use(db, second, NOON, value=4)
    assert [db.usage.aggregate(now=end).late for end in (NOON, NOON + WINDOW)] == [0, 0]
    assert use(db, owned.topology) == [(NOON, 5)]


def test_an_hour_that_is_there_before_a_window_above_it_is_not_counted_in_that(db: Database, both: tuple[Owned, Owned]) -> None:
    """A second element never delivers, so that the topology waits, while the first's hour is complete."""
    owned, _ = both
    add_component(db, owned.topology.id, owned.host_id, 2)
    ends = [NOON - n * WINDOW for n in (2, 1, 0)]
    import_use(db, owned.component, *ends)
    db.usage.aggregate(now=NOON)
    element = db.elements.get(owned.component.element_id or 0)
    assert (use(db, element, "hour"), use(db, owned.topology)) == ([(NOON, 3)], [])
    settle(db, NOON)
    assert use(db, owned.topology) == [(end, 1) for end in ends]
    assert use(db, owned.topology, "hour") == [(NOON, 3)]


def test_an_hour_and_a_day_are_built_at_their_end_where_all_their_windows_are_there(
    db: Database, both: tuple[Owned, Owned]
) -> None:
    midnight = NOON + timedelta(hours=12)
    alices, bobs = both
    import_use(db, alices.component, *(midnight - n * WINDOW for n in range(3)))
    import_use(db, bobs.component, *(midnight - n * WINDOW for n in (1, 2)))
    for n, windows in enumerate((([3], []), ([3], []), ([3], []), ([3], [2]))):
        db.usage.aggregate(now=midnight + n * WINDOW)
        for owned, cputime in zip(both, windows, strict=True):
            for type in ("hour", "day"):
                assert use(db, owned.user, type) == [(midnight, seconds) for seconds in cputime]


def test_an_hour_that_is_there_does_not_close_its_last_window(
    db: Database, server: psycopg.Connection, both: tuple[Owned, Owned]
) -> None:
    owned, _ = both
    add_usage(server, owned.topology.usage_id, "hour", NOON)
    import_use(db, owned.component, NOON)
    assert db.usage.aggregate(now=NOON).late == 0
    assert use(db, owned.topology) == [(NOON, 1)]


@pytest.mark.parametrize(("measurements", "mean"), [((0, 1), 7), ((0, 0), 6), ((1, 0), 5), ((3, 1), 5.5)])
def test_memory_of_an_hour_is_averaged_by_measurements_where_there_are_any(
    db: Database, both: tuple[Owned, Owned], measurements: tuple[int, int], mean: float
) -> None:
    owned, _ = both
    for end, value, count in zip((NOON - WINDOW, NOON), (5, 7), measurements, strict=True):
        import_use(db, owned.component, end, value=value, measurements=count)
    db.usage.aggregate(now=NOON + SETTLED)
    (hour,) = db.usage.list(owned.user.usage_id or 0, "hour")
    assert (hour.memory, hour.diskspace, hour.measurements) == (mean, mean, sum(measurements))
    for begin in (NOON - timedelta(hours=1), NOON - timedelta(minutes=10)):  # by the hour, and by the windows
        total = next(t for t in db.usage.totals_by_user(begin, NOON) if t.id == owned.user.id)
        assert (total.memory, total.diskspace) == (mean, mean)


def test_a_quota_counts_windows_alone_and_each_users_own(db: Database, both: tuple[Owned, Owned]) -> None:
    """The hour ends after the only window in it; a half of the first traffic is free for bob."""
    share = 300 / (30 * 24 * 3600)
    db.quotas.set(both[1].user.id, memory=0, diskspace=0, traffic=0.5 / share, cputime=0)
    end = NOON - 6 * WINDOW
    for owned, value in zip(both, (1, 2), strict=True):
        import_use(db, owned.component, end, value=value)
    now = NOON + SETTLED
    db.usage.aggregate(now=now)
    assert [use(db, owned.user, "hour") for owned in both] == [[(NOON, 1)], [(NOON, 2)]]
    assert [db.quotas.count_use(now=now) for _ in range(2)] == [2, 0]
    quotas = [db.quotas.get(owned.user.id) for owned in both]
    assert [(q.used_traffic, q.used_cputime, q.used_at) for q in quotas] == [(1, 1, end), (pytest.approx(1.5), 2, end)]
    import_use(db, both[1].component, NOON + WINDOW, value=4)
    db.usage.aggregate(now=now)
    assert (use(db, both[1].user)[-1], db.quotas.count_use(now=now)) == ((NOON + WINDOW, 4), 0)  # it is not settled yet
    db.usage.aggregate(now=now + WINDOW)
    assert db.quotas.count_use(now=now + WINDOW) == 1
    assert [db.quotas.get(owned.user.id).used_cputime for owned in both] == [1, 6]


def test_totals_are_each_users_and_organizations_own(db: Database, both: tuple[Owned, Owned]) -> None:
    for owned, value in zip(both, (1, 2), strict=True):
        import_use(db, owned.component, NOON, value=value)
    db.usage.aggregate(now=NOON + SETTLED)
    by_user = db.usage.totals_by_user(NOON - timedelta(hours=1), NOON)
    assert [(t.id, t.cputime) for t in by_user] == [(both[0].user.id, 1), (both[1].user.id, 2)]
    by_organization = db.usage.totals_by_organization(NOON - timedelta(hours=1), NOON)
    assert [(t.id, t.cputime) for t in by_organization] == [
        (both[0].user.organization_id, 1),
        (both[1].user.organization_id, 2),
    ]


def test_the_newest_records_of_each_type_are_kept_at_the_end_of_a_year(
    db: Database, server: psycopg.Connection, both: tuple[Owned, Owned]
) -> None:
    owned, _ = both
    end = datetime(2027, 1, 1, tzinfo=UTC)
    kept = {"hour": 24, "day": 30, "month": 12, "year": 5}
    for type, count in kept.items():
        server.execute(
            "insert into usage_records (usage_id, type, begin_at, end_at, measurements, memory, diskspace, traffic, cputime)"
            " select %s, %s, %s - (n + 1) * %s::interval, %s - n * %s::interval, 1, 1, 1, 1, 1 from generate_series(1, %s) n",
            [owned.user.usage_id, type, end, f"1 {type}", end, f"1 {type}", count + 3],
        )
    import_use(db, owned.component, *(end - n * WINDOW for n in range(12)))
    db.usage.aggregate(now=end + SETTLED)
    for type, count in {"5minutes": 12, **kept}.items():
        found = use(db, owned.user, type)
        assert (len(found), found[-1][0]) == (count, end), type


def test_windows_that_settle_at_once_are_kept_until_each_users_quota_has_counted_them(
    db: Database, both: tuple[Owned, Owned]
) -> None:
    db.usage.aggregate(now=NOON - 20 * WINDOW)
    for owned in both:
        import_use(db, owned.component, *(NOON - n * WINDOW for n in range(15)))
    for n in (0, 1, 2):
        db.usage.aggregate(now=NOON + n * WINDOW)
    db.usage.aggregate(now=NOON + SETTLED)
    assert [len(use(db, owned.user)) for owned in both] == [15, 15]
    assert db.quotas.count_use(now=NOON + SETTLED) == 2
    alices, bobs = both
    # After an outage of the backend only bob's host delivers: alice's records are not looked at.
    later = NOON + 20 * WINDOW
    import_use(db, bobs.component, later)
    for n in (0, 1, 2, 3):
        db.usage.aggregate(now=later + n * WINDOW)
    assert [len(use(db, owned.user)) for owned in both] == [15, 12]
    import_use(db, alices.component, later + WINDOW)
    for n in (1, 2, 3, 4):
        db.usage.aggregate(now=later + n * WINDOW)
    assert [len(use(db, owned.user)) for owned in both] == [12, 12]


def test_records_of_each_type_are_pruned_by_their_own_number(
    db: Database, server: psycopg.Connection, both: tuple[Owned, Owned]
) -> None:
    owned, other = both
    morning = NOON - timedelta(hours=6)
    for one in both:
        add_usage(server, one.user.usage_id, "hour", morning)
    import_use(db, owned.component, *(NOON - n * WINDOW for n in range(13)))
    db.usage.aggregate(now=NOON + SETTLED)
    assert len(use(db, owned.user)) == 12
    assert [end for end, _ in use(db, owned.user, "hour")] == [morning, NOON - timedelta(hours=1), NOON]
    assert [end for end, _ in use(db, other.user, "hour")] == [morning]

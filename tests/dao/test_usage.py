"""Usage records and what is made of them: imports, roll-ups, late records, totals, quotas."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from functools import partial
from math import inf, nan

import psycopg
import pytest

from tests.conftest import World
from tests.helpers.dao_cases import NOBODY, at_once, refused, timed, until
from tests.helpers.topology_cases import add_usage
from tests.helpers.usage_cases import settle
from tomato_dao import Database, InvalidValue, NotFound
from tomato_dao.rows import HostComponent, ImportedUsage, Topology, UsageHistory, UsageRecord, asdict, replace

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
WINDOW = timedelta(minutes=5)
WAITING = """
exists (
  select from pg_locks l
  inner join pg_database d on d.oid = l.database
  where d.datname = current_database() and l.locktype = 'advisory' and not l.granted
)
"""
WAITING_PERIODS = """
alter function usage_period_end rename to period_end;
create function usage_period_end(type text, at timestamptz) returns timestamptz language plpgsql stable as $$
begin
  perform pg_advisory_xact_lock_shared(1);
  return period_end(type, at);
end $$
"""


@pytest.fixture
def topology(db: Database, world: World) -> Topology:
    """Provide a topology of the world's user, with an element that the component serves."""
    db.quotas.update(world.user.id, {"used_at": NOON - timedelta(days=400)})
    return db.topologies.create("lab", owner_id=world.user.id)


@pytest.fixture
def component(db: Database, world: World, topology: Topology) -> HostComponent:
    """Provide a host element that serves the topology's only element."""
    element = db.elements.create(topology.id, "kvmqm")
    return db.host_elements.create(world.host.id, 1, type="kvmqm", state="started", element_id=element.id)


def record(component: HostComponent, end: datetime = NOON, value: float = 1) -> UsageRecord:
    assert component.usage_id
    return UsageRecord(component.usage_id, "5minutes", end - WINDOW, end, 5, value, value, value, value)


def roll_up(db: Database, component: HostComponent, ends: Sequence[datetime], value: float = 1) -> None:
    """As workers do it, each window a quarter of an hour after its end."""
    for end in ends:
        db.usage.import_records([record(component, end, value)], now=end)
        db.usage.aggregate(now=end + 3 * WINDOW)


def counts(**values: int) -> ImportedUsage:
    return ImportedUsage(**{**dict.fromkeys(("imported", "known", "unknown", "ahead", "late"), 0), **values})


def test_an_import_counts_the_fate_of_each_record(db: Database, component: HostComponent, topology: Topology) -> None:
    assert topology.usage_id
    records = [
        record(component),
        record(component),  # twice in one call
        record(component, NOON + WINDOW),
        record(component, NOON + 2 * WINDOW),  # by a clock that is too fast
        replace(record(component), usage_id=NOBODY),
        replace(record(component), usage_id=topology.usage_id),  # no host component
    ]
    assert db.usage.import_records(records, now=NOON) == counts(imported=2, known=1, ahead=1, unknown=2)
    assert db.usage.import_records(records, now=NOON) == counts(known=3, ahead=1, unknown=2)
    assert db.usage.list(records[0].usage_id, "5minutes") == [records[0], records[2]]
    assert db.usage.import_records([]) == counts()


def test_records_of_what_is_being_removed_do_not_stop_the_others(
    db: Database, world: World, component: HostComponent, tomato_url: str
) -> None:
    gone = db.host_connections.create(world.host.id, 1, type="bridge", state="started")
    with psycopg.connect(tomato_url) as remover:
        remover.execute("delete from host_connections where id = %s", [gone.id])
        done = db.usage.import_records([record(gone), record(component)], now=NOON)
    assert done == counts(imported=1, unknown=1)


def test_a_record_that_no_host_can_have_measured_is_refused_with_the_whole_call(db: Database, component: HostComponent) -> None:
    good = record(component)
    amounts = ("measurements", "memory", "diskspace", "traffic", "cputime")
    wrong = [replace(good, **{column: value}) for column in amounts for value in (-1, nan, inf)]
    for bad in [*wrong, replace(good, type="hour"), replace(good, begin_at=NOON + WINDOW)]:
        with refused(InvalidValue, "usage", good.usage_id, "finite values of 0 or more"):
            db.usage.import_records([good, bad], now=NOON)
    assert db.usage.latest(good.usage_id, "5minutes") is None


def test_imports_of_the_same_records_in_any_order_at_once_store_each_once(
    db: Database, world: World, component: HostComponent
) -> None:
    others = [db.host_elements.create(world.host.id, n, type="x", state="started") for n in range(2, 200)]
    records = [record(c) for c in (component, *others)]
    calls = [partial(db.usage.import_records, order, now=NOON) for order in (records, records[::-1], records)]
    done = at_once(*calls)
    assert all(isinstance(d, ImportedUsage) and d.imported + d.known == len(records) for d in done)
    assert sum(d.imported for d in done if isinstance(d, ImportedUsage)) == len(records)


def test_a_late_record_is_counted_and_kept_and_changes_no_roll_up(db: Database, world: World, component: HostComponent) -> None:
    slow = db.host_elements.create(world.host.id, 2, type="kvmqm", state="started", element_id=component.element_id)
    db.usage.import_records([record(component)], now=NOON)
    assert db.usage.aggregate(now=NOON + WINDOW).written == 0  # the slow one is waited for
    assert settle(db, NOON).written == 2 * 5  # the window, and the hour that ends with it
    assert db.usage.import_records([record(slow)], now=NOON + 3 * WINDOW) == counts(imported=1, late=1)
    done = db.usage.aggregate(now=NOON + 4 * WINDOW)
    assert (done.written, done.late) == (0, 1)
    assert db.usage.list(record(slow).usage_id, "5minutes") == [record(slow)]
    assert world.host.usage_id
    assert [r.cputime for r in db.usage.list(world.host.usage_id, "5minutes")] == [1]


def test_a_component_that_keeps_coming_late_keeps_twelve_records(db: Database, component: HostComponent) -> None:
    db.usage.aggregate(now=NOON)
    for n in range(20):
        db.usage.import_records([record(component, NOON - timedelta(hours=3) + n * WINDOW)], now=NOON)
        db.usage.aggregate(now=NOON)
    assert len(db.usage.list(record(component).usage_id, "5minutes")) == 12


@pytest.mark.slow
def test_a_run_takes_up_a_whole_backlog(db: Database, component: HostComponent, server: psycopg.Connection) -> None:
    arrivals = (
        "insert into usage_arrivals (usage_id, end_at) select 0, %s - n * interval '1 s' from generate_series(1, 200000) n"
    )
    server.execute(arrivals, [NOON - WINDOW])
    db.usage.import_records([record(component)], now=NOON)
    done = db.usage.aggregate(now=NOON + timedelta(days=1))
    assert (done.written, done.waiting, done.late) == (15, 0, 0)


@pytest.mark.slow
def test_without_books_what_is_due_is_read_off_the_records(
    db: Database, component: HostComponent, topology: Topology, server: psycopg.Connection
) -> None:
    roll_up(db, component, [NOON - timedelta(hours=2) + n * WINDOW for n in range(18)])
    assert topology.usage_id
    hour = db.usage.latest(topology.usage_id, "hour")
    assert hour
    server.execute("truncate usage_due, usage_arrivals, usage_progress")
    done = db.usage.aggregate(now=NOON + timedelta(days=1))
    days = db.usage.list(topology.usage_id, "day")
    assert (done.written, [day.cputime for day in days]) == (2 * 5, [18])
    assert db.usage.list(topology.usage_id, "hour")[-2] == hour


def test_without_books_the_first_record_of_a_type_is_due_too(
    db: Database, topology: Topology, server: psycopg.Connection
) -> None:
    """As in an old installation that had built no hour or day record."""
    for n in range(12):
        add_usage(server, topology.usage_id, "5minutes", NOON - n * WINDOW)
    db.usage.aggregate(now=NOON + timedelta(days=1))
    assert topology.usage_id
    for type in ("hour", "day"):
        assert [r.cputime for r in db.usage.list(topology.usage_id, type)] == [12 * 0.25], type


def test_without_books_the_end_of_a_day_makes_no_hour_due(db: Database, topology: Topology, server: psycopg.Connection) -> None:
    """As where days of another time zone were kept: the last window and hour end shortly before the day."""
    last = NOON - timedelta(minutes=2)
    for type, end in (("5minutes", last), ("hour", last), ("day", NOON)):
        add_usage(server, topology.usage_id, type, end)
    db.usage.aggregate(now=NOON + 4 * WINDOW)
    assert topology.usage_id
    assert [r.end_at for r in db.usage.list(topology.usage_id, "hour")] == [last]


def test_without_books_the_end_of_a_longer_record_makes_no_window_due(
    db: Database, component: HostComponent, topology: Topology, server: psycopg.Connection
) -> None:
    """Both have their last window before noon; the element also has an hour's record that ends at noon."""
    element = db.elements.get(component.element_id or 0)
    last = NOON - timedelta(minutes=2)
    for row in (element, topology):
        add_usage(server, row.usage_id, "5minutes", last)
    add_usage(server, element.usage_id, "hour", NOON)
    db.usage.aggregate(now=NOON + 4 * WINDOW)
    assert [r.end_at for r in db.usage.list(topology.usage_id or 0, "5minutes")] == [last]


def test_an_object_that_is_being_removed_is_left_alone(
    db: Database, component: HostComponent, topology: Topology, tomato_url: str
) -> None:
    db.usage.import_records([record(component)], now=NOON)
    with psycopg.connect(tomato_url) as remover:
        remover.execute("delete from topologies where id = %s", [topology.id])
        assert db.usage.aggregate(now=NOON).written == 1  # the host's
        remover.rollback()
    assert db.usage.aggregate(now=NOON).written == 4


def test_an_hour_whose_records_are_gone_is_left_out(db: Database, component: HostComponent, server: psycopg.Connection) -> None:
    roll_up(db, component, [NOON - WINDOW])
    assert server.execute("select count(*) from usage_due").fetchone() != (0,)
    server.execute("delete from usage_records")
    settle(db, NOON)
    assert db.usage.aggregate(now=NOON + 12 * WINDOW).written == 0
    assert server.execute("select (select count(*) from usage_records), (select count(*) from usage_due)").fetchone() == (0, 0)


def test_records_are_listed_by_type_and_time(db: Database, component: HostComponent) -> None:
    ends = [NOON - n * WINDOW for n in range(3)]
    db.usage.import_records([record(component, end) for end in ends], now=NOON)
    usage_id = record(component).usage_id
    assert [r.end_at for r in db.usage.list(usage_id, "5minutes")] == ends[::-1]
    assert [r.end_at for r in db.usage.list(usage_id, "5minutes", since=ends[2], until=ends[1])] == [ends[1]]
    assert db.usage.list(usage_id, "hour") == []
    assert db.usage.latest(usage_id, "5minutes") == record(component)
    assert db.usage.latest(usage_id, "hour") is None


@pytest.mark.slow
def test_totals_take_the_largest_records_and_count_nothing_twice(db: Database, world: World, component: HostComponent) -> None:
    begin = NOON.replace(hour=0)
    ends = [begin + (n + 1) * WINDOW for n in range(3 * 12 + 4)]  # three hours, and four windows of the next
    roll_up(db, component, ends)
    for totals, row in ((db.usage.totals_by_user, world.user), (db.usage.totals_by_organization, world.organization)):
        (total,) = totals(begin, NOON)
        assert (total.id, total.begin_at, total.end_at) == (row.id, begin, ends[-1])
        assert (total.cputime, total.traffic, total.measurements, total.memory) == (40, 40, 200, 1)
        (total,) = totals(begin + timedelta(hours=1), begin + timedelta(hours=3, minutes=10))
        assert (total.cputime, total.end_at) == (26, begin + timedelta(hours=3, minutes=10))
        assert totals(begin, NOON, after=row.id) == totals(begin, NOON, limit=0) == totals(NOON, NOON + WINDOW) == []


def test_calls_take_the_servers_clock_where_none_is_given(db: Database, component: HostComponent) -> None:
    (_, now) = timed(db, lambda: None)
    assert db.usage.import_records(
        [record(component, now - timedelta(hours=1)), record(component, now + 2 * WINDOW)]
    ) == counts(imported=1, ahead=1)
    assert db.usage.aggregate().written >= 5


def test_a_quota_counts_each_settled_window_once(db: Database, world: World, component: HostComponent) -> None:
    share = 300 / (30 * 24 * 3600)
    db.quotas.set(world.user.id, memory=10, diskspace=0, traffic=1 / share, cputime=4 / share, continuous_factor=0.5)
    db.usage.import_records([record(component, NOON, 8)], now=NOON)
    db.usage.aggregate(now=NOON)
    assert db.quotas.count_use(now=NOON) == 1  # a new month: nothing was used before
    settle(db, NOON)
    assert [db.quotas.count_use(now=NOON + 3 * WINDOW) for _ in range(2)] == [1, 0]
    quota = db.quotas.get(world.user.id)
    assert (quota.used_memory, quota.used_diskspace) == pytest.approx((3 * share, 8 * share))
    assert (quota.used_traffic, quota.used_cputime) == pytest.approx((7.5, 6))
    assert quota.used_at == NOON
    roll_up(db, component, [NOON + WINDOW], 8)
    assert at_once(*[partial(db.quotas.count_use, now=NOON + 4 * WINDOW)] * 3).count(1) == 1
    assert db.quotas.get(world.user.id).used_cputime == pytest.approx(12)


def test_records_are_counted_again_from_where_a_quota_was_set_back_during_a_count(
    db: Database, world: World, component: HostComponent, server: psycopg.Connection
) -> None:
    db.quotas.set(world.user.id, cputime=0)
    roll_up(db, component, [NOON], 8)
    assert db.quotas.count_use(now=NOON) == 1
    roll_up(db, component, [NOON + WINDOW], 8)
    server.execute(WAITING_PERIODS)
    with ThreadPoolExecutor(1) as threads:
        with server.transaction():
            server.execute("select pg_advisory_xact_lock(1)")
            count = threads.submit(db.quotas.count_use, now=NOON + 4 * WINDOW)
            until(server, WAITING)
            db.quotas.update(world.user.id, {"used_at": NOON - WINDOW, "used_cputime": 0})
        counted = count.result(10) + db.quotas.count_use(now=NOON + 4 * WINDOW)
    assert counted == 1
    assert db.quotas.get(world.user.id).used_cputime == 16


def test_used_starts_at_0_each_month(db: Database, world: World, component: HostComponent) -> None:
    month = datetime(2026, 12, 1, tzinfo=UTC)
    db.quotas.set(world.user.id, cputime=0)
    roll_up(db, component, [month - WINDOW, month], 8)
    db.quotas.count_use(now=month)
    assert db.quotas.get(world.user.id).used_cputime == 16
    roll_up(db, component, [month + WINDOW], 8)
    assert db.quotas.count_use(now=month + 4 * WINDOW) == 1
    quota = db.quotas.get(world.user.id)
    assert (quota.used_cputime, quota.used_at) == (8, month + WINDOW)
    assert db.quotas.count_use(now=datetime(2027, 1, 2, tzinfo=UTC)) == 1
    assert db.quotas.get(world.user.id).used_cputime == 0


def test_a_quota_is_set_and_keeps_what_was_used(db: Database, world: World, server: psycopg.Connection) -> None:
    db.quotas.update(world.user.id, {"used_memory": 5})
    quota = db.quotas.set(world.user.id, memory=7, continuous_factor=0.5)
    assert (quota.monthly_memory, quota.monthly_traffic, quota.continuous_factor, quota.used_memory) == (7, 1.62e12, 0.5, 5)
    server.execute("delete from quotas")
    assert db.quotas.set(world.user.id).monthly_cputime == 12_960_000
    with refused(NotFound, "user", NOBODY):
        db.quotas.set(NOBODY)
    with pytest.raises(InvalidValue):
        db.quotas.set(world.user.id, traffic=-1)


def test_a_value_that_cannot_be_told_counts_as_nothing(
    db: Database, world: World, component: HostComponent, server: psycopg.Connection
) -> None:
    roll_up(db, component, [NOON])
    server.execute("update usage_records set memory = 'NaN'")
    db.quotas.count_use(now=NOON + 3 * WINDOW)
    assert db.quotas.get(world.user.id).used_memory == 0


def test_over_quota_is_set_and_taken_away_and_told_once(db: Database, world: World) -> None:
    user = world.user
    db.quotas.set(user.id, memory=10, traffic=0)
    assert db.quotas.enforce(now=NOON) == []
    db.quotas.update(user.id, {"used_memory": 10, "used_at": NOON})
    assert [u.flags for u in db.quotas.enforce(now=NOON)] == [["over_quota"]]
    assert db.quotas.enforce(now=NOON) == []
    db.quotas.update(user.id, {"used_memory": 9.9})
    assert [u.id for u in db.quotas.enforce(now=NOON)] == [user.id]
    db.quotas.update(user.id, {"used_traffic": 0.1})  # of nothing
    assert [u.flags for u in db.quotas.enforce(now=NOON)] == [["over_quota"]]
    assert [u.flags for u in db.quotas.enforce(now=NOON + timedelta(days=30))] == [[]]  # another month


def test_a_new_account_is_left_alone(db: Database, world: World) -> None:
    db.quotas.update(world.user.id, {"used_memory": 1e99, "used_at": NOON})
    db.users.add_flag(world.user.id, "new_account")
    assert db.quotas.enforce(now=NOON) == []
    db.users.remove_flag(world.user.id, "new_account")
    db.quotas.enforce(now=NOON)
    db.users.add_flag(world.user.id, "new_account")
    db.quotas.update(world.user.id, {"used_memory": 0})
    assert db.quotas.enforce(now=NOON) == []
    assert "over_quota" in db.users.get(world.user.id).flags


def test_the_history_of_an_object_has_all_types_by_time(
    db: Database, server: psycopg.Connection, topology: Topology, component: HostComponent
) -> None:
    assert topology.usage_id
    roll_up(db, component, [NOON - timedelta(days=40), *(NOON + n * WINDOW for n in range(14))], 0.1)
    history = db.usage.history(topology.usage_id)
    assert (len(history.five_minutes), len(history.hour), len(history.month)) == (12, 3, 1)
    assert history == UsageHistory(
        topology.usage_id,
        *(tuple(db.usage.list(topology.usage_id, type)) for type in ("5minutes", "hour", "day", "month", "year")),
    )
    assert component.usage_id
    assert [len(times) for times in asdict(db.usage.history(component.usage_id)).values() if isinstance(times, tuple)] == [
        12, 0, 0, 0, 0
    ]  # fmt: skip
    with refused(NotFound, "usage", NOBODY, f"^usage {NOBODY} does not exist$"):
        db.usage.history(NOBODY)

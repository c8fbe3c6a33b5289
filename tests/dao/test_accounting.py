"""Accounting as a whole: the SQL agrees with a plain model on random histories, and a year leaves what is kept."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from math import isclose

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import astuple

from tests.helpers.accounting_model import KEPT, WINDOW, Model, period
from tests.helpers.dao_cases import at_once
from tests.helpers.usage_cases import in_small_parts
from tomato_dao import Database, connect
from tomato_dao.ops.examinations.accounting import accounting
from tomato_dao.rows import AggregatedUsage, UsageRecord

pytestmark = pytest.mark.slow

STARTS = [
    datetime(2024, 2, 28, 22, 30, tzinfo=UTC),
    datetime(2025, 12, 31, 23, 20, tzinfo=UTC),
    datetime(2026, 10, 31, 23, 0, tzinfo=UTC),
    datetime(2026, 3, 29, 0, 40, tzinfo=UTC),
]
NO_MORE = datetime(2100, 1, 1, tzinfo=UTC)  # up to when quotas have counted: records wait for none of them
PAUSES = [1, 1, 4, 5, 5, 5, 5, 5, 5, 6, 15, 65, 24 * 60, 31 * 24 * 60]  # minutes until a worker comes again


class Lab:
    """A small testbed in the database, and the model of it."""

    def __init__(self, db: Database, topologies: int = 3) -> None:
        self.db = db
        self.model = Model()
        self.structure = self.model.structure
        self.ids: dict[int, tuple[str, int]] = {}  # what a usage id is of
        uni, firm = (db.organizations.create(name) for name in ("uni", "firm"))
        self.users = []
        for name, organization in (("alice", uni), ("bob", uni), ("eve", firm)):
            self.users.append(db.users.create(name, organization_id=organization.id))
            db.quotas.update(self.users[-1].id, {"used_at": NO_MORE})
            self.structure.organizations[self._new("user", self.users[-1])] = self._new("organization", organization)
        site = db.sites.create("lab", organization_id=uni.id)
        self.hosts = {}
        for name in ("host1", "host2"):
            host = db.hosts.create(name, address="10.0.0.1", rpcurl=f"rpc://{name}", site_id=site.id)
            self.hosts[self._new("host", host)] = name
        for owners in [[0], [0, 1], [1, 2]][:topologies]:
            self.add_topology([self.users[n] for n in owners])

    def add_topology(self, owners: Sequence[object]) -> None:
        """A topology: a machine with a component on each host, one that only it refers to, a link, and what runs nowhere."""
        db, (first, *others) = self.db, [user for user in self.users if user in owners]
        topology = db.topologies.create("lab", owner_id=first.id)
        for user in others:
            db.topology_permissions.set(topology.id, user.id, "owner")
        usage_id = self._new("topology", topology)
        self.structure.owners[usage_id] = {self._usage(user) for user in (first, *others)}
        ends = [db.elements.create(topology.id, "udp_endpoint") for _ in range(4)]
        link = db.connections.create(ends[0].id, ends[1].id)
        for entity, part in (*(("element", end) for end in ends), ("connection", link)):
            self.structure.topologies[self._new(entity, part)] = usage_id
        host1, host2 = self.hosts
        self.add_component(host1, "host_elements", ends[0], refer="host_element_id")
        self.add_component(host2, "host_elements", ends[0])
        self.add_component(host2, "host_elements", None, refer="host_element_id", by=ends[1])
        self.add_component(host1, "host_connections", link, refer="host_connection1_id")
        self.add_component(host2, "host_connections", None, refer="host_connection2_id", by=link)

    def add_component(self, host: int, table: str, part: object, refer: str = "", by: object = None) -> int:
        """A host component that names a part, or None; and the part, or another, refers to it where a column is given."""
        db = self.db
        names = {} if part is None else {f"{type(part).__name__.lower()}_id": part.id}  # type: ignore[attr-defined]
        host_id = self.ids[host][1]
        made = getattr(db, table).create(host_id, len(self.ids), type="x", state="started", **names)
        usage_id = self._new(table, made)
        self.structure.hosts[usage_id] = host
        self.structure.named[usage_id] = None if part is None else self._usage(part)
        if refer:
            owner = self._usage(by or part)
            entity, id = self.ids[owner]
            getattr(db, f"{entity}s").update(id, {refer: made.id})
            self.structure.referred.setdefault(owner, set()).add(usage_id)
        return usage_id

    def change(self, what: int) -> None:
        """Enable or disable a host, remove or add something, or give a topology another owner."""
        structure = self.structure
        topologies, parts, components = sorted(structure.owners), sorted(structure.topologies), sorted(structure.named)
        if what == 0:
            host, name = next(iter(self.hosts.items()))
            structure.disabled ^= {host}
            self.db.hosts.update(name, {"enabled": host not in structure.disabled})
        elif what == 1 and components:
            table, id = self.ids[components[0]]
            getattr(self.db, table).delete(id)
            self.model.remove(components[0])
        elif what == 2 and parts:
            entity, id = self.ids[parts[-1]]
            getattr(self.db, f"{entity}s").delete(id)
            self.model.remove(parts[-1])
        elif what == 3:
            self.add_topology(self.users[1:])
        elif what == 4:
            user = self.users[2]
            self.db.topology_permissions.set(self.ids[topologies[0]][1], user.id, "owner")
            structure.owners[topologies[0]].add(self._usage(user))

    def import_records(self, records: list[UsageRecord], now: datetime) -> None:
        """Into both."""
        done = self.db.usage.import_records(records, now=now)
        assert (done.imported, done.late) == self.model.import_records(records)
        assert (done.unknown, done.ahead, done.known) == (0, 0, len(records) - done.imported)

    def aggregate(self, now: datetime) -> None:
        """In both."""
        done, before = self.db.usage.aggregate(now=now), len(self.model.records)
        assert (done.ran, done.late, done.waiting) == (True, self.model.aggregate(now), 0)
        assert done.written - done.pruned == len(self.model.records) - before

    def records(self) -> list[UsageRecord]:
        """All that the database has."""
        return [r for usage_id in self.ids for type in KEPT for r in self.db.usage.list(usage_id, type)]

    def _new(self, entity: str, row: object) -> int:
        usage_id = self._usage(row)
        self.ids[usage_id] = (entity, row.id)  # type: ignore[attr-defined]
        return usage_id

    @staticmethod
    def _usage(row: object) -> int:
        usage_id = row.usage_id  # type: ignore[attr-defined]
        assert isinstance(usage_id, int)
        return usage_id


def record(usage_id: int, end: datetime, value: float = 1, length: timedelta = WINDOW, measurements: int = 5) -> UsageRecord:
    return UsageRecord(usage_id, "5minutes", end - length, end, measurements, value, 2 * value, 4 * value, 8 * value)


def assert_alike(found: Sequence[UsageRecord], expected: Sequence[UsageRecord]) -> None:
    def keys(records: Sequence[UsageRecord]) -> dict[object, tuple[float, ...]]:
        return {astuple(r)[:4]: astuple(r)[4:] for r in records}

    mine, theirs = keys(found), keys(expected)
    assert mine.keys() == theirs.keys()
    for key, values in mine.items():
        assert all(isclose(a, b, rel_tol=1e-9) for a, b in zip(values, theirs[key], strict=True)), key


@dataclass(frozen=True)
class Step:
    """Events until a worker comes again, and then.

    missing: which components don't deliver the latest window. others: what comes beside: component, windows ago, kind.
    """

    pause: int
    missing: frozenset[int]
    others: list[tuple[int, int, int]]
    change: int | None
    runs: bool


STEPS = st.builds(
    Step,
    pause=st.sampled_from(PAUSES),
    missing=st.one_of(st.just(frozenset()), st.frozensets(st.integers(0, 20), max_size=9)),
    others=st.lists(st.tuples(st.integers(0, 20), st.integers(0, 14), st.integers(0, 2)), max_size=5),
    change=st.one_of(st.none(), st.integers(0, 4)),
    runs=st.sampled_from([True, True, False]),
)


def histories(longest: int) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a test random histories of at most so many steps."""
    return given(start=st.sampled_from(STARTS), steps=st.lists(STEPS, min_size=3, max_size=longest))


HISTORY = histories(16)
FEW = settings(max_examples=3, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@FEW
@HISTORY
def test_random_histories_are_rolled_up_as_by_the_model(
    db: Database, server: psycopg.Connection, start: datetime, steps: list[Step]
) -> None:
    roll_up_history(db, server, start, steps)


@settings(FEW, max_examples=1)
@histories(5)
def test_random_histories_are_rolled_up_in_small_parts_as_by_the_model(
    db: Database, server: psycopg.Connection, start: datetime, steps: list[Step]
) -> None:
    in_small_parts(server, 3)
    roll_up_history(db, server, start, steps)


@pytest.mark.long
@pytest.mark.parametrize("is_in_parts", [False, True], ids=["at once", "in small parts"])
@settings(FEW, max_examples=40)
@HISTORY
def test_many_random_histories_are_rolled_up_as_by_the_model(
    db: Database, server: psycopg.Connection, is_in_parts: bool, start: datetime, steps: list[Step]
) -> None:
    if is_in_parts:
        in_small_parts(server, 3)
    roll_up_history(db, server, start, steps)


def roll_up_history(db: Database, server: psycopg.Connection, start: datetime, steps: list[Step]) -> None:
    """Run the same history in the database and in the model."""
    server.execute("truncate usage_statistics, organizations, usage_records, usage_arrivals, usage_due, usage_progress cascade")
    testbed, now = Lab(db), start
    for step in steps:
        now += timedelta(minutes=step.pause)
        latest = period("5minutes", now)[0]
        components = sorted(testbed.structure.named)
        records = [record(c, latest, c) for n, c in enumerate(components) if n not in step.missing]
        for n, ago, kind in step.others if components else ():
            end = latest - ago * WINDOW - timedelta(seconds=75 * kind)
            records.append(record(components[n % len(components)], end, n, WINDOW / 2**kind, 5 if kind else 0))
        testbed.import_records(list({(r.usage_id, r.end_at): r for r in records}.values()), now)
        if step.change is not None:
            testbed.change(step.change)
        if step.runs:
            testbed.aggregate(now)
    for n in range(1, 9):
        testbed.aggregate(now + n * WINDOW)
    assert_alike(testbed.records(), list(testbed.model.records.values()))
    again = db.usage.aggregate(now=now + 8 * WINDOW)
    assert (again.written, again.pruned, again.late) == (0, 0, 0)


def test_an_unfinished_run_of_another_worker_is_continued(db: Database, server: psycopg.Connection) -> None:
    testbed, now = Lab(db), STARTS[1]
    testbed.aggregate(now - WINDOW)
    in_small_parts(server, 5)
    testbed.import_records([record(c, now, c) for c in testbed.structure.named], now)
    for steps in range(3):
        done = server.execute("select unfinished, written from aggregate_usage(%s, null)", [now]).fetchone()
        assert done == (True, 0)
        finding = accounting(server)
        assert f"a run of {now:%Y-%m-%d %H:%M} UTC is unfinished" in finding.summary, steps
    finished = db.usage.aggregate(now=now + timedelta(seconds=1))
    assert (finished.unfinished, finished.late, finished.waiting) == (False, testbed.model.aggregate(now), 0)
    assert_alike(testbed.records(), list(testbed.model.records.values()))
    assert "unfinished" not in accounting(server).summary


def test_two_workers_at_once_write_what_one_would(db: Database, server: psycopg.Connection) -> None:
    testbed = Lab(db)
    now = STARTS[0]
    for n in range(6):
        latest = now + n * WINDOW
        testbed.import_records([record(c, latest, c) for c in testbed.structure.named], latest)
        testbed.model.aggregate(latest)
        runs = at_once(*[partial(db.usage.aggregate, now=latest)] * 3)
        assert all(isinstance(run, AggregatedUsage) for run in runs)
        assert any(run.ran for run in runs if isinstance(run, AggregatedUsage))
    assert_alike(testbed.records(), list(testbed.model.records.values()))


def test_while_a_worker_is_at_it_another_returns_at_once(db: Database, tomato_url: str) -> None:
    with connect(tomato_url) as other, other.transaction():
        assert other.usage.aggregate().ran
        assert db.usage.aggregate() == AggregatedUsage(ran=False, written=0, pruned=0, late=0, waiting=0, unfinished=False)
    assert db.usage.aggregate().ran


def test_an_interrupted_run_is_made_up_for_by_the_next(db: Database) -> None:
    testbed, now = Lab(db), STARTS[1]
    testbed.import_records([record(c, now, c) for c in testbed.structure.named], now)
    with suppress(KeyboardInterrupt), db.transaction():
        db.usage.aggregate(now=now)
        raise KeyboardInterrupt
    testbed.aggregate(now)
    assert_alike(testbed.records(), list(testbed.model.records.values()))


@pytest.mark.long
def test_a_year_in_steps_of_five_minutes_leaves_what_is_kept_and_loses_nothing(
    db: Database, server: psycopg.Connection
) -> None:
    """One component runs all the time, for its host only; one in the last window of each hour, up to its organization."""
    lab = Lab(db, topologies=0)
    busy, rare = lab.hosts
    always = lab.add_component(busy, "host_elements", None)
    topology = db.topologies.create("lab", owner_id=lab.users[0].id)
    element = db.elements.create(topology.id, "udp_endpoint")
    hourly = lab.add_component(rare, "host_elements", element)
    begin, end = datetime(2028, 1, 1, tzinfo=UTC), datetime(2029, 1, 1, tzinfo=UTC)
    moments = [begin + (n + 1) * WINDOW for n in range((end - begin) // WINDOW)]
    for start in range(0, len(moments), 9600):
        some = moments[start : start + 9600]
        records = [record(always, moment, moment.day) for moment in some]
        records += [record(hourly, moment, moment.hour) for moment in some if moment.minute == 0]
        assert db.usage.import_records(records, now=some[-1]).late == 0
        server.execute("update usage_progress set ran_at = %s", [some[-1]])  # as if runs had gone on
        assert db.usage.aggregate(now=some[-1]).waiting == 0
    server.execute("update usage_progress set ran_at = %s", [end + 3 * WINDOW])
    db.usage.aggregate(now=end + 3 * WINDOW)
    assert [len(db.usage.list(always, type)) for type in KEPT] == [12, 0, 0, 0, 0]
    organization = db.organizations.get(lab.users[0].organization_id)
    for usage_id in (busy, rare, element.usage_id, topology.usage_id, lab.users[0].usage_id, organization.usage_id):
        assert usage_id
        assert [len(db.usage.list(usage_id, type)) for type in KEPT] == [12, 24, 30, 12, 1]
        values = [m.day for m in moments] if usage_id == busy else [m.hour for m in moments if m.minute == 0]
        months, (year,) = db.usage.list(usage_id, "month"), db.usage.list(usage_id, "year")
        assert (year.begin_at, year.end_at, year.measurements) == (begin, end, 5 * len(values))
        assert (year.traffic, year.cputime) == (4 * sum(values), 8 * sum(values))
        assert sum(month.cputime for month in months) == year.cputime
        assert isclose(year.memory, sum(values) / len(values))

"""A model of the accounting in plain Python, one object after the other, with which the SQL must agree."""

from collections import defaultdict
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import count, takewhile
from operator import lt

from tomato_dao.rows import UsageRecord

WINDOW = timedelta(minutes=5)
EPOCH = datetime(2000, 1, 1, tzinfo=UTC)
KEPT = {"5minutes": 12, "hour": 24, "day": 30, "month": 12, "year": 5}
LONGER = {"5minutes": "hour", "hour": "day", "day": "month", "month": "year", "year": None}


def period(type: str, moment: datetime) -> tuple[datetime, datetime]:
    """Begin and end of the period in which a record that ends at that moment lies."""
    last = moment - timedelta(microseconds=1)
    day = last.replace(hour=0, minute=0, second=0, microsecond=0)
    if type == "5minutes":
        begin = last - (last - EPOCH) % WINDOW
        return begin, begin + WINDOW
    if type == "hour":
        begin = day.replace(hour=last.hour)
        return begin, begin + timedelta(hours=1)
    if type == "day":
        return day, day + timedelta(days=1)
    if type == "month":
        begin = day.replace(day=1)
        return begin, (begin + timedelta(days=31)).replace(day=1)
    begin = day.replace(month=1, day=1)
    return begin, begin.replace(year=begin.year + 1)


@dataclass
class Structure:
    """Relations of who stands above whom; everything by its usage id."""

    organizations: dict[int, int] = field(default_factory=dict)  # of users
    owners: dict[int, set[int]] = field(default_factory=dict)  # of topologies
    topologies: dict[int, int] = field(default_factory=dict)  # of elements and connections
    named: dict[int, int | None] = field(default_factory=dict)  # by host components
    referred: dict[int, set[int]] = field(default_factory=dict)  # host components, by elements and connections
    hosts: dict[int, int] = field(default_factory=dict)  # of host components
    disabled: set[int] = field(default_factory=set)

    def sources(self) -> list[dict[int, set[int]]]:
        """Yield the sources of each object that has any, level after level."""
        levels: list[dict[int, set[int]]] = [defaultdict(set) for _ in range(4)]
        for component, part in self.named.items():
            if part is not None:
                levels[0][part].add(component)
            if self.hosts[component] not in self.disabled:
                levels[0][self.hosts[component]].add(component)
        for part, components in self.referred.items():
            if components:
                levels[0][part] |= components
        for part in levels[0].keys() & self.topologies.keys():
            levels[1][self.topologies[part]].add(part)
        for topology in levels[1]:
            for user in self.owners[topology]:
                levels[2][user].add(topology)
        for user in levels[2]:
            levels[3][self.organizations[user]].add(user)
        return levels

    def remove(self, usage_id: int) -> None:
        """A host component, an element or a connection; components that it was served by stay."""
        self.named.pop(usage_id, None)
        self.hosts.pop(usage_id, None)
        self.topologies.pop(usage_id, None)
        self.referred.pop(usage_id, None)
        for components in self.referred.values():
            components.discard(usage_id)
        for component, part in self.named.items():
            if part == usage_id:
                self.named[component] = None


class Model:
    """The records, and what is known of them."""

    def __init__(self) -> None:
        self.structure = Structure()
        self.records: dict[tuple[int, str, datetime], UsageRecord] = {}
        self.arrived: list[UsageRecord] = []
        self.open: set[tuple[int, datetime]] = set()  # windows that something is there for
        self.built: set[tuple[int, str, datetime]] = set()
        self.settled: datetime | None = None
        self.ran: datetime | None = None
        self.resumed: datetime | None = None

    def remove(self, usage_id: int) -> None:
        """An object with its records."""
        self.structure.remove(usage_id)
        self.records = {key: record for key, record in self.records.items() if key[0] != usage_id}
        self.open = {window for window in self.open if window[0] != usage_id}
        self.arrived = [record for record in self.arrived if record.usage_id != usage_id]

    def import_records(self, records: list[UsageRecord]) -> tuple[int, int]:
        """Import records; return how many were new, and how many of these late."""
        new = [record for record in records if self._key(record) not in self.records]
        self.arrived += [self._write(record) for record in new]
        return len(new), sum(self._is_settled(period("5minutes", record.end_at)[1]) for record in new)

    def aggregate(self, now: datetime) -> int:
        """Roll up all that is due; how many records came late."""
        late = 0
        if self.ran and now > self.ran + WINDOW:
            self.resumed = now
        settled = period("5minutes", now - 3 * WINDOW + timedelta(microseconds=1))[0]
        if self.settled and self.resumed and now < self.resumed + 3 * WINDOW:
            settled = self.settled
        settled = max(settled, self.settled or settled)
        self.ran = max(now, self.ran or now)
        new, self.arrived = self.arrived, []
        for sources in self.structure.sources():
            for record in new:
                window = period("5minutes", record.end_at)[1]
                above = {usage_id for usage_id, found in sources.items() if record.usage_id in found}
                closed = {o for o in above if self._is_settled(window) or (o, "5minutes", window) in self.records}
                late += bool(closed)
                self.open |= {(usage_id, window) for usage_id in above - closed}
            new = [
                self._write(r) for u, w in sorted(self.open) if u in sources for r in self._roll_up(u, w, sources[u], settled)
            ]
        self.open = {(usage_id, window) for usage_id, window in self.open if window > settled - timedelta(hours=1)}
        for type, longer in LONGER.items():
            if longer:
                self._build(type, longer, now, settled)
        self._prune(settled)
        self.settled = settled
        return late

    def _roll_up(self, usage_id: int, window: datetime, sources: set[int], settled: datetime) -> list[UsageRecord]:
        """Return the record of a window, or none yet."""
        parts = [
            r for r in self.records.values()
            if r.usage_id in sources and r.type == "5minutes" and window - WINDOW < r.end_at <= window
        ]  # fmt: skip
        if not parts or (window > settled and {r.usage_id for r in parts} != sources):
            return []
        self.open.discard((usage_id, window))
        return [
            UsageRecord(
                usage_id, "5minutes", window - WINDOW, window, sum(r.measurements for r in parts),
                sum(r.memory * ((r.end_at - r.begin_at) / WINDOW) for r in parts),
                sum(r.diskspace * ((r.end_at - r.begin_at) / WINDOW) for r in parts),
                sum(r.traffic for r in parts), sum(r.cputime for r in parts),
            )
        ]  # fmt: skip

    def _build(self, type: str, longer: str, now: datetime, settled: datetime) -> None:
        periods: dict[tuple[int, datetime, datetime], list[UsageRecord]] = defaultdict(list)
        for r in self.records.values():
            if r.type == type and r.usage_id not in self.structure.named:
                periods[(r.usage_id, *period(longer, r.end_at))].append(r)
        for (usage_id, begin, end), parts in periods.items():
            windows = takewhile(partial(lt, max(settled, begin)), (end - WINDOW * n for n in count()))
            if (
                (usage_id, longer, end) not in self.built
                and end <= now
                and all((usage_id, "5minutes", w) in self.records for w in windows)
            ):
                weight = sum(r.measurements for r in parts)
                shares = [r.measurements / weight if weight else 1 / len(parts) for r in parts]
                memory = sum(r.memory * share for r, share in zip(parts, shares, strict=True))
                diskspace = sum(r.diskspace * share for r, share in zip(parts, shares, strict=True))
                traffic, cputime = sum(r.traffic for r in parts), sum(r.cputime for r in parts)
                self._write(UsageRecord(usage_id, longer, begin, end, weight, memory, diskspace, traffic, cputime))
                self.built.add((usage_id, longer, end))

    def _prune(self, settled: datetime) -> None:
        by_type: dict[tuple[int, str], list[datetime]] = defaultdict(list)
        for usage_id, type, end in self.records:
            by_type[usage_id, type].append(end)
        for (usage_id, type), ends in by_type.items():
            longer = None if usage_id in self.structure.named else LONGER[type]
            for end in sorted(ends, reverse=True)[KEPT[type] :]:
                if end <= settled and (not longer or (usage_id, longer, period(longer, end)[1]) in self.built):
                    del self.records[usage_id, type, end]

    def _is_settled(self, window: datetime) -> bool:
        return self.settled is not None and window <= self.settled

    def _write(self, record: UsageRecord) -> UsageRecord:
        self.records[self._key(record)] = record
        return record

    @staticmethod
    def _key(record: UsageRecord) -> tuple[int, str, datetime]:
        return record.usage_id, record.type, record.end_at

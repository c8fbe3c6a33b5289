# Generated from tomato_dao/dao/usage.py by “make schema”; not to be edited.
"""Usage accounting: methods for the queries in db/queries/usage.sql and the function aggregate_usage of the schema."""

from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from math import inf
from typing import TYPE_CHECKING

from ...dao import found, row_of
from ...errors import InvalidValue
from ...printable import quoted
from ...rows import AggregatedUsage, ImportedUsage, UsageHistory, UsageRecord, UsageTotal

if TYPE_CHECKING:
    from .faces import AsyncUsageQueries

_FIRST, _LAST = datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)


class AsyncUsage:
    """Usage records by the usage_id of an object, in bytes and CPU seconds. See docs/guides/accounting.md."""

    def __init__(self, queries: "AsyncUsageQueries") -> None:
        self._q = queries

    async def import_records(self, records: Sequence[UsageRecord], *, now: datetime | None = None) -> ImportedUsage:
        """Store 5-minute records measured by hosts, of host elements and host connections; made for thousands at once.

        now: the current time (default: the server's clock). Returns how many records were

        - imported: stored, for the next `aggregate` to roll up;
        - known: stored already; nothing changes;
        - unknown: of no existing host component; not stored;
        - ahead: ending more than 5 minutes after now, by a wrong clock; not stored;
        - late: imported, but after their window was settled. They stay among their component's newest 12 records, but
          rollups do not change. The next `aggregate` counts them, too.

        A record belongs to the UTC-aligned 5-minute window in which it ends, the window's start excluded and its end
        included. Raises InvalidValue, and stores nothing, if a record has another type or an impossible value.
        """
        for record in records:
            _check(record)
        return await self._q.import_records(
            [r.usage_id for r in records],
            [r.begin_at for r in records],
            [r.end_at for r in records],
            [r.measurements for r in records],
            [r.memory for r in records],
            [r.diskspace for r in records],
            [r.traffic for r in records],
            [r.cputime for r in records],
            now,
        )

    async def aggregate(self, *, now: datetime | None = None, started_at: datetime | None = None) -> AggregatedUsage:
        """Roll up all due records: windows of 5 minutes, then longer types; then prune old records (docs/domain.md#accounting).

        A new record makes its window due for everything above it: elements, connections and enabled hosts, then topologies,
        users and organizations, as they are at this moment. Each window is rolled up once: when all its sources have their
        record, or when it is settled, 15 minutes after its end. After an outage no window is settled for 15 minutes, so
        that records which hosts deliver late still count. An outage is a pause of more than 5 minutes between two runs of
        any worker, or the time before started_at.

        Running it again changes nothing. A run is one statement, done as a whole or not at all. A large run, or the first
        after loading an old installation's dump, is several statements of about ten seconds each; the next call continues
        what a stopped worker left unfinished.

        now: the current time (default: the server's clock). started_at: when the backend started (default: unknown).
        Returns

        - ran: False if another worker is running it; nothing was done then;
        - written, pruned: how many records;
        - late: how many came too late: the window of an object above them was rolled up already, without them;
        - waiting: how many came meanwhile and wait for the next run;
        - unfinished: True if another worker has continued the run.
        """
        done = await self._q.aggregate(now, started_at)
        while done.unfinished and (more := await self._q.aggregate(now, started_at)).ran:
            done = more
        return done

    async def list(
        self, usage_id: int, type: str, *, since: datetime = _FIRST, until: datetime = _LAST
    ) -> Sequence[UsageRecord]:
        """Return an object's records of a type ("5minutes", "hour", "day", "month", "year"), ordered by time.

        since, until: only records that end after `since` and not after `until`.
        """
        return await self._q.list(usage_id, type, since, until)

    async def history(self, usage_id: int) -> UsageHistory:
        """Return all stored records of an object, by type and ordered by time. Raises NotFound for an unknown usage_id."""
        return found(await self._q.history(usage_id), "usage", usage_id)

    async def latest(self, usage_id: int, type: str) -> UsageRecord | None:
        """Return an object's newest record of a type, or None.

        For 5 minutes, it is the record of the newest window that `aggregate` has settled, or of a later complete one. None
        means that the object uses nothing now.
        """
        return await self._q.current(usage_id) if type == "5minutes" else await self._q.latest(usage_id, type)

    async def totals_by_user(self, begin: datetime, end: datetime, *, after: int = 0, limit: int = 100) -> Sequence[UsageTotal]:
        """Return users' usage in a period, for billing, ordered by id: at most `limit`, with ids above `after`.

        Only records that lie wholly in the period count, and the longest ones that do; so a finished month is exact, and a
        day as long as its day record is kept. cputime, traffic and measurements add up; memory and diskspace are averages
        weighted by measurements. begin_at and end_at say what is covered. Users without records in the period are left out.
        """
        return await self._q.totals_by_user(begin, end, after, limit)

    async def totals_by_organization(
        self, begin: datetime, end: datetime, *, after: int = 0, limit: int = 100
    ) -> Sequence[UsageTotal]:
        """Return organizations' usage in a period, as `totals_by_user` does for users."""
        return await self._q.totals_by_organization(begin, end, after, limit)


def _check(record: UsageRecord) -> None:
    """Raise InvalidValue if a host cannot have measured that record (comparisons with NaN are false)."""
    r = row_of(UsageRecord, "usage", record)
    amounts = (r.measurements, r.memory, r.diskspace, r.traffic, r.cputime)
    with suppress(TypeError):  # from a comparison with a value that is no number or time
        if r.type == "5minutes" and r.begin_at <= r.end_at and all(0 <= amount < inf for amount in amounts):
            return
    rule = "a record must be of type 5minutes, end after it begins, and have finite values of 0 or more"
    raise InvalidValue(f"usage: {rule}: {quoted(r, 400)}", entity="usage", key=r.usage_id)

# Generated from tomato_dao/dao/usage.py by “make schema”; not to be edited.
"""Usage accounting: beside db/queries/usage.sql and the function aggregate_usage of the schema."""

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
    """Records of use, by the usage_id of what they are about (bytes, CPU seconds)."""

    def __init__(self, queries: "AsyncUsageQueries") -> None:
        self._q = queries

    async def import_records(self, records: Sequence[UsageRecord], *, now: datetime | None = None) -> ImportedUsage:
        """Store what hosts measured: 5-minute records of host elements and host connections, thousands at once.

        now: the time that it is (default: the server's clock). Returns how many of them were

        - imported: stored, for the next `aggregate` to roll up;
        - known: there already, which changes nothing;
        - unknown: of what is no host component, or not any more; not stored;
        - ahead: ending more than 5 minutes after now, by a clock that is wrong; not stored;
        - late: of the imported, those whose window was settled before they came. Their component keeps them among its
          newest 12 records, but roll-ups stay as they are; the next `aggregate` counts them too.

        A record lies in the UTC-aligned window of 5 minutes that it ends in: after the window's begin and not after its end.
        Raises InvalidValue, and stores nothing, where a record is of another type or has a value that none can have.
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
        """Roll up all that is due: windows of 5 minutes, then longer types, then retention (docs/domain.md#accounting).

        now: the time that it is (default: the server's clock). started_at: when the backend started (default: unknown). A new
        record makes its window due for what stands above it: elements, connections and enabled hosts, then topologies, users
        and organizations, as they stand at this moment. A window is rolled up once: when all sources have theirs, or when it is
        settled, 15 minutes after its end.

        After an outage no window is settled for 15 minutes, so that what hosts measured meanwhile, and deliver late, still
        counts. An outage is a pause of more than 5 minutes between two runs of any worker, and what was before started_at.

        Returns whether it ran (False where another worker is at it: then nothing was done), how many records were written
        and pruned, how many came late (something above them had their window rolled up already: there they are missing), how
        many came meanwhile and are waiting for the next run, and whether the run is unfinished, because another worker has
        gone on with it.

        Running it again changes nothing. A run is one statement, which happens as a whole or not at all; a large one, or the
        first after the load of an old installation's dump, which builds what the loaded records are enough for, is several of
        some ten seconds each. What a worker leaves unfinished, as it ends, the next call goes on with.
        """
        done = await self._q.aggregate(now, started_at)
        while done.unfinished and (more := await self._q.aggregate(now, started_at)).ran:
            done = more
        return done

    async def list(
        self, usage_id: int, type: str, *, since: datetime = _FIRST, until: datetime = _LAST
    ) -> Sequence[UsageRecord]:
        """Return the records of an object, of a type ("5minutes", "hour", "day", "month", "year"), by time.

        since, until: those that end after the one and not after the other.
        """
        return await self._q.list(usage_id, type, since, until)

    async def history(self, usage_id: int) -> UsageHistory:
        """Return all records that are kept of an object, of each type by time. Raises NotFound where it is no usage_id."""
        return found(await self._q.history(usage_id), "usage", usage_id)

    async def latest(self, usage_id: int, type: str) -> UsageRecord | None:
        """Return the newest record of an object, of a type; None where it has none.

        Of 5 minutes: that of the newest window that `aggregate` has settled, or of a later one that is complete already. None
        where the object has no record there: it uses nothing now.
        """
        return await self._q.latest(usage_id, type)

    async def totals_by_user(self, begin: datetime, end: datetime, *, after: int = 0, limit: int = 100) -> Sequence[UsageTotal]:
        """Return what users used in a period, for billing, by id: at most `limit` of those with an id above `after`.

        Counted are the records that lie in the period as a whole; where a longer one does, the shorter ones in it are not.
        So months are exact once they are over, and a day is for as long as days are kept. cputime, traffic and measurements
        add up, memory and diskspace are averaged by measurements. begin_at and end_at tell what is covered; who has no record
        in the period is left out.
        """
        return await self._q.totals_by_user(begin, end, after, limit)

    async def totals_by_organization(
        self, begin: datetime, end: datetime, *, after: int = 0, limit: int = 100
    ) -> Sequence[UsageTotal]:
        """Return what organizations used in a period, as `totals_by_user` does for users."""
        return await self._q.totals_by_organization(begin, end, after, limit)


def _check(record: UsageRecord) -> None:
    """InvalidValue where a host can't have measured that (comparisons with NaN are false)."""
    r = row_of(UsageRecord, "usage", record)
    amounts = (r.measurements, r.memory, r.diskspace, r.traffic, r.cputime)
    with suppress(TypeError):  # from a comparison with what is no number or time
        if r.type == "5minutes" and r.begin_at <= r.end_at and all(0 <= amount < inf for amount in amounts):
            return
    rule = "a record is of type 5minutes, ends after it begins, and has values that are finite and not below 0"
    raise InvalidValue(f"usage: {rule}: {quoted(r, 400)}", entity="usage", key=r.usage_id)

# Generated from tomato_dao/dao/link_measurements.py by “make schema”; not to be edited.
"""Link measurements: methods for the queries in db/queries/link_measurements.sql."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from ...dao import found, row_of
from ...rows import LinkHistory, LinkMeasurement

if TYPE_CHECKING:
    from .faces import AsyncLinkMeasurementsQueries

_FIRST = datetime.min.replace(tzinfo=UTC)
_LAST = datetime.max.replace(tzinfo=UTC)


class AsyncLinkMeasurements:
    """Quality of the link between two sites, which may be given in either order.

    A type is single, 5minutes, hour, day, month or year. For two sites and a type, no two measurements end at the same
    time.
    """

    def __init__(self, queries: "AsyncLinkMeasurementsQueries") -> None:
        self._q = queries

    async def store(self, measurement: LinkMeasurement) -> bool:
        """Store a measurement, and return whether it is new. Raises NotFound (a site), InvalidValue."""
        m = row_of(LinkMeasurement, "link measurement", measurement)
        stored = await self._q.store(
            m.site_a_id, m.site_b_id, m.type, m.begin_at, m.end_at, m.loss, m.delay_avg, m.delay_stddev, m.measurements
        )
        return stored > 0

    async def store_all(self, measurements: Sequence[LinkMeasurement]) -> int:
        """Store measurements in one statement, and return how many are new.

        Raises NotFound (a site) and InvalidValue; none is stored then.
        """
        measurements = [row_of(LinkMeasurement, "link measurement", m) for m in measurements]
        return await self._q.store_all(
            [m.site_a_id for m in measurements],
            [m.site_b_id for m in measurements],
            [m.type for m in measurements],
            [m.begin_at for m in measurements],
            [m.end_at for m in measurements],
            [m.loss for m in measurements],
            [m.delay_avg for m in measurements],
            [m.delay_stddev for m in measurements],
            [m.measurements for m in measurements],
        )

    async def list_between(
        self,
        site_a_id: int,
        site_b_id: int,
        type: str,
        *,
        after: datetime = _FIRST,
        until: datetime = _LAST,
        limit: int = 1000,
    ) -> Sequence[LinkMeasurement]:
        """Return a page of a type's measurements between two sites, ordered by end.

        It has at most `limit` measurements that end after `after` and not after `until`.
        """
        return await self._q.list_between(site_a_id, site_b_id, type, after, until, limit)

    async def history(self, site_a_name: str, site_b_name: str) -> LinkHistory:
        """Return all stored measurements between two sites, given by name, by type and ordered by time.

        Raises NotFound if a site does not exist; its key is both names.
        """
        names = (site_a_name, site_b_name)
        return found(await self._q.history(site_a_name, site_b_name), "site", names)

# Generated from tomato_dao/dao/links.py by “make schema”; not to be edited.
"""Links between sites: beside db/queries/links.sql."""

from datetime import datetime
from typing import TYPE_CHECKING

from ...rows import CombinedLinks

if TYPE_CHECKING:
    from .faces import AsyncLinksQueries


class AsyncLinks:
    """The quality of links between pairs of sites, over longer and longer periods."""

    def __init__(self, queries: "AsyncLinksQueries") -> None:
        self._q = queries

    async def combine(self, *, now: datetime | None = None) -> CombinedLinks:
        """Combine single measurements into 5 minutes, these into hours, and so on; then prune (docs/domain.md#accounting).

        now: the time that it is (default: the server's clock). A UTC-aligned period is combined once, 15 minutes after its end:
        loss is averaged by measurements, delays by measurements·(1 − loss), and plainly where these are all 0; measurements
        add up. What comes later for it is kept, but not combined any more. Kept for each pair of sites are the newest 10
        single, 12 of 5 minutes, 24 hours, 30 days, 12 months and 5 years, and what has not been combined yet.

        Returns how many were written and pruned; ran is False where another worker is at it: then nothing was done. Running
        it again changes nothing.
        """
        return await self._q.combine(now)

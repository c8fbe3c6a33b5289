# Generated from tomato_dao/dao/statistics.py by “make schema”; not to be edited.
"""Statistics: methods for the queries in db/queries/statistics.sql."""

from typing import TYPE_CHECKING

from ...rows import Counts

if TYPE_CHECKING:
    from .faces import AsyncStatisticsQueries


class AsyncStatistics:
    """Numbers about the whole installation."""

    def __init__(self, queries: "AsyncStatisticsQueries") -> None:
        self._q = queries

    async def counts(self) -> Counts:
        """Return counts of all kinds of objects."""
        return await self._q.counts()

"""Statistics: methods for the queries in db/queries/statistics.sql."""

from typing import TYPE_CHECKING

from ..rows import Counts

if TYPE_CHECKING:
    from .faces import StatisticsQueries


class Statistics:
    """Numbers about the whole installation."""

    def __init__(self, queries: "StatisticsQueries") -> None:
        self._q = queries

    def counts(self) -> Counts:
        """Return counts of all kinds of objects."""
        return self._q.counts()

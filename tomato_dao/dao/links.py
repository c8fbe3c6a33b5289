"""Links between sites: methods for the queries in db/queries/links.sql."""

from datetime import datetime
from typing import TYPE_CHECKING

from ..rows import CombinedLinks

if TYPE_CHECKING:
    from .faces import LinksQueries


class Links:
    """The quality of links between pairs of sites, combined over longer and longer periods."""

    def __init__(self, queries: "LinksQueries") -> None:
        self._q = queries

    def combine(self, *, now: datetime | None = None) -> CombinedLinks:
        """Combine single measurements into 5-minute ones, these into hours, and so on; then prune (docs/domain.md#accounting).

        Each UTC-aligned period is combined once, 15 minutes after its end. Loss is averaged weighted by measurements,
        delays weighted by measurements·(1 − loss), or plainly if those are all 0; measurements add up. Later measurements
        are stored but not combined. For each pair of sites the newest 10 single, 12 5-minute, 24 hour, 30 day, 12 month and
        5 year measurements are kept, and all that are not yet combined.

        now: the current time (default: the server's clock). Returns how many were written and pruned; `ran` is False if
        another worker is running it, and nothing was done. Running it again changes nothing.
        """
        return self._q.combine(now)

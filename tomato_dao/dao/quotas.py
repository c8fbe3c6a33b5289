"""Quotas: methods for the queries in db/queries/quotas.sql."""

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from ..patches import QuotaPatch, checked
from ..rows import Quota, User
from . import found

if TYPE_CHECKING:
    from .faces import QuotasQueries


class Quotas:
    """Users' quotas: the monthly allowance and what was used in the current month.

    A user is created and deleted with its quota.
    """

    def __init__(self, queries: "QuotasQueries") -> None:
        self._q = queries

    def get(self, user_id: int) -> Quota:
        """Return the quota of a user. Raises NotFound."""
        return found(self._q.get(user_id), "quota", user_id)

    def update(self, user_id: int, patch: QuotaPatch) -> Quota:
        """Change the fields in the patch and return the quota. Raises NotFound, and InvalidValue for a negative value."""
        return found(self._q.update(user_id, checked(QuotaPatch, "quota", patch)), "quota", user_id)

    def set(
        self,
        user_id: int,
        *,
        memory: float | None = None,
        diskspace: float | None = None,
        traffic: float | None = None,
        cputime: float | None = None,
        continuous_factor: float | None = None,
    ) -> Quota:
        """Set a user's allowance, also for a user without a quota, and return the quota; what was used stays.

        Args:
            user_id: The id of the user.
            memory, diskspace, traffic, cputime: The allowance per month in bytes and CPU seconds (default: the settings').
            continuous_factor: The part of the allowance that may be used at an even rate (default: the settings').

        Raises NotFound (the user), and InvalidValue for a negative value.
        """
        return self._q.set(user_id, memory, diskspace, traffic, cputime, continuous_factor)

    def count_use(self, *, now: datetime | None = None) -> int:
        """Count users' new 5-minute records against their quotas, and return how many quotas changed.

        Call it after each `usage.aggregate`, since 5-minute records are kept for an hour only. It counts each window that
        `usage.aggregate` has settled, 15 minutes after its end, once; used_at says how far. The first count in a new month
        starts at 0. Users whose quota another worker is counting or changing are left to the next count. See
        docs/domain.md#accounting.

        now: the current time (default: the server's clock).
        """
        return self._q.count_use(now)

    def enforce(self, *, now: datetime | None = None) -> Sequence[User]:
        """Flag users who have used up their month's allowance, unflag the others, and return the changed users.

        The flag is `over_quota`. Use in an earlier month does not count. With an allowance of 0, any use is over quota.
        Users with the flag `new_account` are left alone.

        now: the current time (default: the server's clock).
        """
        return self._q.enforce(now)

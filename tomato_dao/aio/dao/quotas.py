# Generated from tomato_dao/dao/quotas.py by “make schema”; not to be edited.
"""Quotas: beside db/queries/quotas.sql."""

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from ...dao import found
from ...patches import QuotaPatch, checked
from ...rows import Quota, User

if TYPE_CHECKING:
    from .faces import AsyncQuotasQueries


class AsyncQuotas:
    """Quotas: what each user may use a month and has used in this one; they come and go with the user."""

    def __init__(self, queries: "AsyncQuotasQueries") -> None:
        self._q = queries

    async def get(self, user_id: int) -> Quota:
        """Return the quota of a user. Raises NotFound."""
        return found(await self._q.get(user_id), "quota", user_id)

    async def update(self, user_id: int, patch: QuotaPatch) -> Quota:
        """Change what the patch names. Raises NotFound, InvalidValue (a negative value)."""
        return found(await self._q.update(user_id, checked(QuotaPatch, "quota", patch)), "quota", user_id)

    async def set(
        self,
        user_id: int,
        *,
        memory: float | None = None,
        diskspace: float | None = None,
        traffic: float | None = None,
        cputime: float | None = None,
        continuous_factor: float | None = None,
    ) -> Quota:
        """Give a user a quota, also where it had none; what it has used stays.

        memory, diskspace, traffic, cputime: a month's (bytes, CPU seconds). continuous_factor: which part of that is free to be
        used at an even pace. What is None is the default of the settings. Raises NotFound (the user), InvalidValue (a negative
        value).
        """
        return await self._q.set(user_id, memory, diskspace, traffic, cputime, continuous_factor)

    async def count_use(self, *, now: datetime | None = None) -> int:
        """Count the new 5-minute records of all users against their quotas (docs/domain.md#accounting).

        now: the time that it is (default: the server's clock). Counted are the windows that `usage.aggregate` has settled, 15
        minutes after their end, each once: used_at tells up to when. In a new month `used` starts at 0. To be called after
        each `usage.aggregate`, for 5-minute records are kept for an hour only. Returns how many quotas changed; what another
        worker is counting at the moment is left to it.
        """
        return await self._q.count_use(now)

    async def enforce(self, *, now: datetime | None = None) -> Sequence[User]:
        """Flag users as `over_quota` who have used as much as a month's, or more, and take the flag from those who haven't.

        now: the time that it is (default: the server's clock); what was used in an earlier month doesn't count. Where a
        month's is 0, any use is over it. Users flagged `new_account` are left alone. Returns those whose flag changed.
        """
        return await self._q.enforce(now)

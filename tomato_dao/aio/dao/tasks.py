# Generated from tomato_dao/dao/tasks.py by “make schema”; not to be edited.
"""Tasks: beside db/queries/tasks.sql."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from ...dao import finished, not_negative, positive
from ...rows import Task, TaskClaim

if TYPE_CHECKING:
    from .faces import AsyncTasksQueries


class AsyncTasks:
    """Work that one worker of all does as a whole, every so often: known by its name, as "accounting"."""

    def __init__(self, queries: "AsyncTasksQueries") -> None:
        self._q = queries

    async def claim(self, name: str, period: timedelta, *, lease: timedelta) -> TaskClaim | None:
        """Claim a task where it is due: never begun, begun a period ago and finished, or left by a worker whose lease ran out.

        It is this worker's for the time of the lease; None where it is not due or another's. Raises InvalidValue.
        """
        return await self._q.claim(name, not_negative("period", period), positive(lease))

    async def finish(self, name: str, lease_until: datetime) -> None:
        """Finish a claimed task: it is due again a period after it was begun. lease_until: the claim's. Raises LockLost."""
        finished(await self._q.finish(name, lease_until), "task", name)

    async def list(self) -> Sequence[Task]:
        """All that were ever claimed, by name."""
        return await self._q.list()

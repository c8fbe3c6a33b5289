"""Tasks: methods for the queries in db/queries/tasks.sql."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from ..rows import Task, TaskClaim
from . import extended, finished, not_negative, positive

if TYPE_CHECKING:
    from .faces import TasksQueries


class Tasks:
    """Periodic work that one worker at a time does as a whole, identified by a name such as "accounting"."""

    def __init__(self, queries: "TasksQueries") -> None:
        self._q = queries

    def claim(self, name: str, period: timedelta, *, lease: timedelta) -> TaskClaim | None:
        """Claim a task and return the claim, or None if it is not due or another worker has it.

        A task is due if it was never started, was started a `period` ago and finished, or its worker's lease ran out. See
        docs/guides/claims.md.

        Args:
            name: The name of the task.
            period: The time from one start to the next.
            lease: How long the task belongs to this worker.

        Raises InvalidValue.
        """
        return self._q.claim(name, not_negative("period", period), positive(lease))

    def extend(self, name: str, lease_until: datetime, lease: timedelta) -> datetime:
        """Extend the lease on a claimed task, and return its new end, with which it is finished.

        lease_until: the claim's. lease: the time from now to the new end. Raises LockLost, InvalidValue.
        """
        return extended(self._q.extend(name, lease_until, positive(lease)), "task", name)

    def finish(self, name: str, lease_until: datetime) -> None:
        """Finish a claimed task: it is due again a period after its start. lease_until: the claim's. Raises LockLost."""
        finished(self._q.finish(name, lease_until), "task", name)

    def list(self) -> Sequence[Task]:
        """Return all tasks that were ever claimed, ordered by name."""
        return self._q.list()

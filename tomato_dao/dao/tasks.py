"""Tasks: beside db/queries/tasks.sql."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from ..rows import Task, TaskClaim
from . import finished, not_negative, positive

if TYPE_CHECKING:
    from .faces import TasksQueries


class Tasks:
    """Work that one worker of all does as a whole, every so often: known by its name, as "accounting"."""

    def __init__(self, queries: "TasksQueries") -> None:
        self._q = queries

    def claim(self, name: str, period: timedelta, *, lease: timedelta) -> TaskClaim | None:
        """Claim a task where it is due: never begun, begun a period ago and finished, or left by a worker whose lease ran out.

        It is this worker's for the time of the lease; None where it is not due or another's. Raises InvalidValue.
        """
        return self._q.claim(name, not_negative("period", period), positive(lease))

    def finish(self, name: str, lease_until: datetime) -> None:
        """Finish a claimed task: it is due again a period after it was begun. lease_until: the claim's. Raises LockLost."""
        finished(self._q.finish(name, lease_until), "task", name)

    def list(self) -> Sequence[Task]:
        """All that were ever claimed, by name."""
        return self._q.list()

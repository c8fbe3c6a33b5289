"""Observers of named queries as they run, and the explaining of slow reads."""

from contextlib import AbstractContextManager
from threading import Lock
from time import monotonic
from typing import TYPE_CHECKING, Any, Protocol

from .query import Query

if TYPE_CHECKING:
    from .statements import QueryRunner

_PERIOD = 60  # seconds between two plans of one query


class Observer(Protocol):
    """An observer of all calls, waits and transactions of a pool; tomato_dao.otel has one."""

    def inside(self) -> Any:
        """Return what the caller's call is part of: asked as a call begins, since its end may be seen elsewhere."""

    def called(self, runner: "QueryRunner", query: Query, parent: Any, seconds: float, failed: BaseException | None) -> None:
        """Hear of a call that has ended just now; a call that is repeated is told each time."""

    def waited(self, seconds: float) -> None:
        """Hear of a task that has waited for a connection until just now."""

    def transaction(self) -> AbstractContextManager[None]:
        """Look on while a transaction lasts."""


class Explainer:
    """Says which slow reads are explained: after so many seconds, at most once a minute for each query."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._told: dict[str, float] = {}
        self._lock = Lock()

    def is_due(self, query: Query) -> bool:
        """Return whether the plan of a query shall be told now; then it was."""
        now = monotonic()
        with self._lock:
            if not query.is_read or now - self._told.get(query.base, now - _PERIOD) < _PERIOD:
                return False
            self._told[query.base] = now
            return True

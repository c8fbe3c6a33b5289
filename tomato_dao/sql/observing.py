"""Observers of running queries, and the explanation of slow reads."""

from contextlib import AbstractContextManager
from threading import Lock
from time import monotonic
from typing import TYPE_CHECKING, Any, Protocol

from .query import Query

if TYPE_CHECKING:
    from .statements import QueryRunner

_PERIOD = 60  # minimum seconds between two logged plans of one query


class Observer(Protocol):
    """Interface of an observer of all calls, waits and transactions of a pool. tomato_dao.otel implements it."""

    def inside(self) -> Any:
        """Return the caller's context when a call begins, since its end may be observed in another context."""

    def called(self, runner: "QueryRunner", query: Query, parent: Any, seconds: float, failed: BaseException | None) -> None:
        """Record a call that has just ended. A call that is repeated is reported each time."""

    def waited(self, seconds: float) -> None:
        """Record a task's wait for a connection, which has just ended."""

    def transaction(self) -> AbstractContextManager[None]:
        """Observe a transaction while the block runs."""


class Explainer:
    """Decides which slow reads are explained: those beyond a threshold, at most once a minute for each query."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._told: dict[str, float] = {}
        self._lock = Lock()

    def is_due(self, query: Query) -> bool:
        """Return whether the plan of a query is due for logging. If so, count it as logged."""
        now = monotonic()
        with self._lock:
            if not query.is_read or now - self._told.get(query.base, now - _PERIOD) < _PERIOD:
                return False
            self._told[query.base] = now
            return True

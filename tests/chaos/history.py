"""Histories: what callers asked for, what they were told, and when."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from time import monotonic
from typing import Any, Literal, NamedTuple

import psycopg

from tomato_dao import OutcomeUnknown, TomatoError, Unavailable

Outcome = Literal["ok", "failed", "unknown"]


class Read(NamedTuple):
    """A list as a transaction saw it: the ids of its entries, and the sum of their amounts."""

    key: str
    ids: tuple[int, ...]
    total: int = 0


class Append(NamedTuple):
    """An entry that a transaction put at the end of a list."""

    key: str
    id: int


@dataclass
class Call:
    """A transaction or another call: its outcome as the caller was told it, with monotonic times in seconds."""

    kind: str
    who: str
    begin: float
    end: float = 0.0
    outcome: Outcome = "unknown"
    error: str = ""
    ops: list[Read | Append] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)

    def reads(self) -> list[Read]:
        """Return what it read."""
        return [op for op in self.ops if isinstance(op, Read)]

    def appends(self) -> list[Append]:
        """Return what it wrote."""
        return [op for op in self.ops if isinstance(op, Append)]


@dataclass
class Result:
    """A process's history: its calls, the events that it received, the reads served by standbys, and its errors."""

    calls: list[Call] = field(default_factory=list)
    heard: list[tuple[float, str, int | None]] = field(default_factory=list)
    listened_until: float = 0.0
    served: int = 0
    faults: list[str] = field(default_factory=list)


class Recorder:
    """Calls of all threads, as they end; `sure` says whether Unavailable means that nothing was done."""

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self._lock = threading.Lock()
        self._ids = 0

    def new_id(self) -> int:
        """Return a number that no entry has yet."""
        with self._lock:
            self._ids += 1
            return self._ids

    @contextmanager
    def call(self, kind: str, who: str, *, sure: bool) -> Iterator[Call]:
        """Record what the block does. An error of the layer or the driver ends it and is its outcome.

        sure: Unavailable is a failure (of a transaction of threads); otherwise it leaves open what was done.
        """
        call = Call(kind, who, monotonic())
        try:
            yield call
            call.outcome = "ok"
        except (TomatoError, psycopg.Error) as error:
            call.outcome, call.error = outcome_of(error, sure), f"{type(error).__name__}: {error}"
        finally:
            call.end = monotonic()
            with self._lock:
                self.calls.append(call)


def outcome_of(error: Exception, sure: bool) -> Outcome:
    """Return what a caller knows after an error: "failed" where nothing was done, for certain."""
    if isinstance(error, OutcomeUnknown | psycopg.Error):
        return "unknown"
    return "unknown" if isinstance(error, Unavailable) and not sure else "failed"

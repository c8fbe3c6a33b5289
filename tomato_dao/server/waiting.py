"""Waits that an interrupt always ends.

A signal that arrives just before a blocking call begins does not end that call: Python handles it when the call returns. On
a busy machine this happens now and then. So a long wait is made of short ones.
"""

import threading
import time
from collections.abc import Callable
from math import inf
from time import monotonic

_STEP = 0.5  # seconds: the longest time for which an interrupt goes unnoticed


def acquire(lock: threading.Lock, timeout: float) -> bool:
    """Acquire a lock. Return False if that takes longer than *timeout* seconds."""
    end = monotonic() + timeout
    while not lock.acquire(timeout=max(min(end - monotonic(), _STEP), 0)):
        if monotonic() >= end:
            return False
    return True


def wait_for(condition: threading.Condition, predicate: Callable[[], object], timeout: float | None) -> bool:
    """Wait until a predicate is true. Return False if it is still false after *timeout* seconds (None: wait forever)."""
    end = inf if timeout is None else monotonic() + timeout
    while not predicate():
        remaining = end - monotonic()
        if remaining <= 0:
            return False
        condition.wait(min(remaining, _STEP))
    return True


def sleep(seconds: float) -> None:
    """Sleep for a time that may be long."""
    end = monotonic() + seconds
    while (remaining := end - monotonic()) > 0:
        time.sleep(min(remaining, _STEP))

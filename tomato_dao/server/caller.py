"""Callers: of those in one thread, asyncio's tasks are told apart."""

import asyncio
import threading
from contextvars import ContextVar

_acting_for: ContextVar[object] = ContextVar("tomato_dao_acting_for", default=None)


def act_for(caller: object) -> None:
    """Let what this context does from now on count as another caller's: as a task's for which a thread works."""
    _acting_for.set(caller)


def current_thread() -> object:
    """Return what tells callers apart: this thread's number, or the caller for whom it works."""
    return _acting_for.get() or threading.get_ident()


def current_task() -> object:
    """Return the task of asyncio that runs now; None where no loop runs in this thread."""
    try:
        return asyncio.current_task()
    except RuntimeError:
        return None

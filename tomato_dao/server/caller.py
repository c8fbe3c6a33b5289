"""Identity of the caller: its thread, or its asyncio task within a thread."""

import asyncio
import threading
from contextvars import ContextVar

_acting_for: ContextVar[object] = ContextVar("tomato_dao_acting_for", default=None)


def act_for(caller: object) -> None:
    """Act for another caller from now on in this context, as a thread that works for an asyncio task does."""
    _acting_for.set(caller)


def current_thread() -> object:
    """Return the caller's identity: this thread's number, or the caller that it acts for."""
    return _acting_for.get() or threading.get_ident()


def current_task() -> object:
    """Return the running asyncio task, or None outside of an event loop."""
    try:
        return asyncio.current_task()
    except RuntimeError:
        return None

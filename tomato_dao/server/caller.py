"""Callers: of those in one thread, asyncio's tasks are told apart."""

import asyncio


def current_task() -> object:
    """Return the task of asyncio that runs now; None where no loop runs in this thread."""
    try:
        return asyncio.current_task()
    except RuntimeError:
        return None

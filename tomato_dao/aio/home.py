"""Owner of an object: its event loop and process. Using the object elsewhere raises an error instead of hanging."""

import asyncio
from asyncio import get_running_loop

from ..errors import WrongState
from ..server import fork


class Home:
    """The event loop that is running at its creation, in this process."""

    def __init__(self) -> None:
        self.loop = get_running_loop()
        self._forked = False
        fork.watch(self)

    def after_fork_in_child(self) -> None:
        """Mark this as a child's copy."""
        self._forked = True

    def check(self) -> None:
        """Raise WrongState in another event loop, thread or process."""
        if _running_loop() is self.loop and not self._forked:
            return
        if self._forked:
            text = "this database was opened before a fork, and its connections are the parent's: connect in the child"
        else:
            text = (
                "this database belongs to the event loop in which it was opened: connect in each loop (and thread) of its own"
            )
        raise WrongState(text)


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return get_running_loop()
    except RuntimeError:
        return None

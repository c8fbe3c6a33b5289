"""Changes of rows by single calls, and a listener that hears of them."""

import random
import threading
from contextlib import suppress
from time import monotonic

from tests.chaos.worker import Worker
from tomato_dao import NotFound, TomatoError

_PATIENCE = 30  # seconds after the storm within which a listener hears again


def rows(worker: Worker, who: str, chance: random.Random) -> None:
    """Create a row by one call of its own."""
    with worker.recorder.call("create", who, sure=False) as call:
        call.facts["name"] = f"kept {worker.new_id()}"
        worker.db.topologies.create(call.facts["name"], owner_id=worker.owner)
    worker.over.wait(0.005)


def deletions(worker: Worker, who: str, chance: random.Random) -> None:
    """Delete a row: listeners hear of it."""
    try:
        id = worker.db.topologies.create("gone", owner_id=worker.owner).id
    except TomatoError:
        return
    with worker.recorder.call("delete", who, sure=False) as call:
        call.facts["id"] = id
        try:
            worker.db.topologies.delete(id)
        except NotFound as error:
            call.facts["wrong"] = f"{error}, of a row of its own: the write was repeated"
            raise
    worker.over.wait(0.005)


def states(worker: Worker, who: str, chance: random.Random) -> None:
    """Change the state of an element: listeners hear of it."""
    try:
        id = worker.db.topologies.create("changed", owner_id=worker.owner).id
        element = worker.db.elements.create(id, "kvmqm").id
    except TomatoError:
        return
    with worker.recorder.call("change", who, sure=False) as call:
        call.facts["id"] = id
        worker.db.elements.update(element, {"state": "prepared"})
    worker.over.wait(0.005)


class Listening:
    """A listener in a thread of its own, until it has heard of what is deleted last."""

    def __init__(self, worker: Worker) -> None:
        self.started = threading.Event()
        self._worker = worker
        self._last = -1
        self._given_up = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        worker, heard = self._worker, self._worker.result.heard
        listen = worker.real().listen
        try:
            listener = worker.here(lambda: listen("topologies", "elements", timeout=0.1))
            after = (lambda: anext(listener, None)) if worker.is_async else (lambda: next(listener, None))
            while self._last not in {id for _, _, id in heard[-50:]} and not self._given_up.is_set():
                if (event := worker.here(after)) is not None:
                    heard.append((monotonic(), event.change, event.id))
                self.started.set()
            worker.here(listener.close)
        except TomatoError as error:
            worker.result.faults.append(f"listening ended: {error}")

    def end(self) -> None:
        """Delete one more, until that is heard."""
        worker, deadline = self._worker, monotonic() + _PATIENCE
        while monotonic() < deadline and self._thread.is_alive():
            with suppress(TomatoError):
                self._last = worker.db.topologies.create("last", owner_id=worker.owner).id
                worker.result.listened_until = monotonic()
                worker.db.topologies.delete(self._last)
                self._thread.join(1)
        self._given_up.set()
        if self._thread.is_alive() or self._last not in {id for _, _, id in worker.result.heard}:
            worker.result.faults.append(f"a listener hears nothing any more, {_PATIENCE} s after the storm")

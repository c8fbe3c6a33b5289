"""A standby is promoted: writes go on there, none that was acknowledged is lost, none is done twice."""

import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from itertools import count
from pathlib import Path
from time import monotonic

import psycopg
import pytest

from tests.helpers.standby_cases import Pair, primary_and_standby
from tomato_dao import Database, LockLost, TomatoError, connect
from tomato_dao.ops.databases import create_database
from tomato_dao.ops.migrate import migrate

pytestmark = pytest.mark.slow
NAME = "tomato"


class Writer:
    """A thread that makes topologies, each of a name of its own, until it is told to stop."""

    def __init__(self, db: Database, owner_id: int, name: str) -> None:
        self.acknowledged: dict[str, float] = {}
        self.failed: list[str] = []
        self._stop = threading.Event()
        self._db, self._owner_id, self._name = db, owner_id, name

    def run(self) -> None:
        """Write one after the other."""
        for n in count():
            if self._stop.is_set():
                return
            name = f"{self._name}-{n}"
            try:
                self._db.topologies.create(name, owner_id=self._owner_id)
                self.acknowledged[name] = monotonic()
            except TomatoError as error:
                self.failed.append(f"{name}: {error}")

    def stop(self) -> None:
        """Let `run` end."""
        self._stop.set()


def wait_for_writes(writers: list[Writer], since: float) -> float:
    """Wait until each writer has written again; return when the first has."""
    deadline = monotonic() + 60
    while not all(any(at > since for at in list(writer.acknowledged.values())) for writer in writers):
        assert monotonic() < deadline, [writer.failed[-3:] for writer in writers]
        threading.Event().wait(0.01)
    return min(at for writer in writers for at in list(writer.acknowledged.values()) if at > since)


def test_after_a_promotion_writes_go_on_and_none_is_lost_or_doubled(tmp_path: Path) -> None:
    with primary_and_standby(tmp_path / "primary") as pair:
        create_database(pair.primary.url(NAME))
        migrate(pair.primary.url(NAME))
        pair.hear_all()
        url = pair.url(NAME, target_session_attrs="read-write")
        with connect(url, pool_size=4, timeout=60) as db, ThreadPoolExecutor(4) as threads:
            owner = db.users.create("alice", organization_id=db.organizations.create("uni").id)
            writers = [Writer(db, owner.id, f"writer{n}") for n in range(4)]
            listener = db.listen("topologies", timeout=60)
            try:
                running = [threads.submit(writer.run) for writer in writers]
                wait_for_writes(writers, monotonic())
                with suppress(LockLost), db.exclusive("topology", 1) as lock:
                    pair.primary.kill()
                    pair.standby.ask("select pg_promote(true, 60)")
                    promoted = monotonic()
                    first = wait_for_writes(writers, promoted)
                    with pytest.raises(LockLost):
                        lock.check()
            finally:
                for writer in writers:
                    writer.stop()
            for thread in running:
                thread.result(60)
            assert first - promoted <= 2
            assert next(event for event in listener if event.change == "missed")
            with db.exclusive("topology", 1):
                pass
        assert_none_lost_or_doubled(pair, writers)


def assert_none_lost_or_doubled(pair: Pair, writers: list[Writer]) -> None:
    with psycopg.connect(pair.standby.url(NAME)) as connection:
        stored = Counter(name for (name,) in connection.execute("select name from topologies"))
    acknowledged = {name for writer in writers for name in writer.acknowledged}
    assert len(acknowledged) >= 8
    assert acknowledged <= stored.keys()
    assert set(stored.values()) == {1}

"""Threads that read and write while something goes wrong, and what must be right afterwards."""

import threading
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field

import psycopg
import pytest

from tests.helpers.dao_cases import until
from tests.helpers.session_cases import BACKENDS, blocked, names
from tomato_dao import Database, NotFound, Unavailable
from tomato_dao.rows import Host, User

ROUNDS = 5000  # that a thread of a load works at most


@dataclass
class Work:
    """Record of what one thread did: names that were written, names whose writing was refused, and how often it read."""

    written: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    reads: int = 0


class Load:
    """25 threads that read and write until `stop`."""

    def __init__(self, db: Database, host: Host, owner: User) -> None:
        self._db, self._host, self._owner = db, host, owner
        self._enough = threading.Event()
        self._rounds = threading.Semaphore(0)
        self._threads = ThreadPoolExecutor(25)
        self._works: list[Future[Work]] = [self._threads.submit(self._work, n) for n in range(25)]

    def progress(self, rounds: int) -> None:
        """Wait until they have gone so many rounds more."""
        for _ in range(rounds):
            if not self._rounds.acquire(timeout=60):
                self.stop()
                pytest.fail("the load stands still")

    def stop(self) -> list[Work]:
        """Return what each thread did. Raises what a read raised, AssertionError where it gave a wrong row."""
        self._enough.set()
        self._threads.shutdown()
        return [work.result(1) for work in self._works]

    def _work(self, thread: int) -> Work:
        work = Work()
        for n in range(ROUNDS):
            if self._enough.is_set():
                break
            self._write(work, [f"{thread}-{n}"])
            if n % 3 == 0:
                self._write(work, [f"{thread}-{n}-a", f"{thread}-{n}-b"])
            assert self._db.hosts.get(self._host.id) == self._host
            assert self._db.users.get_by_name("alice", "") == self._owner
            assert [host.id for host in self._db.hosts.list()] == [self._host.id]
            with pytest.raises(NotFound, match=f"'{thread}-{n}'"):
                self._db.sites.get_by_name(f"{thread}-{n}")
            work.reads += 4
            self._rounds.release()
        return work

    def _write(self, work: Work, names: Sequence[str]) -> None:
        """One statement, or a transaction of several."""
        try:
            with ExitStack() as stack:
                if len(names) > 1:
                    stack.enter_context(self._db.transaction())
                made = [self._db.topologies.create(name, owner_id=self._owner.id, attrs={"n": name}) for name in names]
        except Unavailable:
            work.refused += names
        else:
            work.written += names
            for topology in made:
                assert self._db.topologies.get(topology.id) == topology
            work.reads += len(made)


def assert_nothing_was_lost_or_done_twice(works: Sequence[Work], server: psycopg.Connection) -> None:
    written = {name for work in works for name in work.written}
    refused = {name for work in works for name in work.refused}
    rows = server.execute("select t.name, count(*), t.attrs ->> 'n' from topologies t group by 1, 3").fetchall()
    stored = {name for name, _, _ in rows}
    assert [row for row in rows if row[1] != 1 or row[0] != row[2]] == []
    assert len(rows) == len(stored) <= len(written) + len(refused)
    assert written <= stored <= written | refused
    assert [name for name in refused if name.endswith("-a") and (name in stored) != (f"{name[:-1]}b" in stored)] == []
    owners = server.execute("select count(*), count(distinct p.topology_id) from topology_permissions p").fetchone()
    assert owners == (len(rows), len(rows))
    assert sum(work.reads for work in works) > 0


def assert_full_and_usable(db: Database, server: psycopg.Connection, name: str, size: int) -> None:
    """So many calls run at once, and so many connections can be leased at once."""
    with ThreadPoolExecutor(size) as threads:
        with server.transaction():
            server.execute("lock table organizations")
            calls = [threads.submit(names, db) for _ in range(size)]
            until(server, *blocked(name, size))
        assert [call.result(60) for call in calls] == [["uni"]] * size
    with ExitStack() as leases:
        connections = [leases.enter_context(db.connection()) for _ in range(size)]
        pids = {row[0] for c in connections for row in c.execute("select pg_backend_pid()")}
    found = {row[0] for row in server.execute("select pid " + BACKENDS, [name])}
    assert len(pids) == size
    assert pids == found

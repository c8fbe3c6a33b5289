"""All work of a process in a storm, from its first call to the look at what the storm has left."""

import threading
from collections.abc import Sequence
from typing import Any

import psycopg

from tests.chaos import alone, changes, lists
from tests.chaos.calm import calm, standbys_serve
from tests.chaos.history import Result
from tests.chaos.worker import OWNER, Kind, Worker
from tests.helpers.async_bridge import bridged
from tomato_dao import connect

SIZE = 4  # of each pool
_PATIENCE = 60  # seconds that the others are waited for
ALL: tuple[Kind, ...] = (
    lists.transactions, lists.transactions, lists.sums, changes.rows, changes.deletions, changes.states,
    alone.locks, alone.leases, alone.connections,
)  # fmt: skip


def prepare(url: str) -> None:
    """Make the lists, and what is only read; nothing of an earlier storm is left."""
    with psycopg.connect(url) as connection:
        connection.execute("truncate key_values, tasks, topologies, users, organizations cascade")
    with connect(url, pool_size=1) as db:
        for key in (*lists.LISTS["s"], *lists.LISTS["r"]):
            db.key_values.set(key, [])
        for n in range(alone.ECHOES):
            db.key_values.set(f"echo{n}", n)
        db.users.create(OWNER, organization_id=db.organizations.create(OWNER).id)


def work(
    url: str,
    seed: int,
    number: int,
    seconds: float,
    together: threading.Barrier,
    *,
    is_async: bool,
    kinds: Sequence[Kind] = ALL,
    patience: float = 20,
    deadlines: bool = True,
    replicas: Sequence[str] = (),
    promoted: bool = False,
) -> Result:
    """Do all of it in this process, and return what it saw.

    together: of all who work and who makes the faults. patience: seconds that a connection is waited for. replicas: standbys
    for reads, all of which are `promoted` by the end, or serve again.
    """
    settings: dict[str, Any] = {"pool_size": SIZE, "timeout": patience, "application_name": f"chaos{number}"}
    settings |= {"replicas": [*replicas]} if replicas else {}
    with bridged(url, **settings) if is_async else connect(url, **settings) as db:
        worker = Worker(db, seed, number, is_async=is_async, deadlines=deadlines)
        listening = changes.Listening(worker)
        listening.started.wait(30)
        if replicas:
            standbys_serve(worker)
        together.wait(_PATIENCE)
        worker.rage(seconds, kinds)
        listening.end()
        calm(worker, SIZE, patience)
        if replicas and not promoted:
            standbys_serve(worker)
        worker.result.served = db.reads_served()[0]
    return worker.result

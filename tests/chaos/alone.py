"""Work with exclusive resources: locks, leases, and connections of the pool."""

import random
from datetime import timedelta
from time import monotonic
from typing import LiteralString

from tests.chaos.worker import Worker

ECHOES, ITEMS, LOCKS = 20, 400, 3
HOLD = 0.005  # seconds, at most, between two looks at a lock
DAY, LEASE = timedelta(days=1), timedelta(seconds=0.2)
_ECHO: LiteralString = "select %s::text, current_setting('chaos.who'), current_setting('statement_timeout'), pg_backend_pid()"


def locks(worker: Worker, who: str, chance: random.Random) -> None:
    """Have a lock for a while: surely until its last check began."""
    at = 0.0
    with worker.recorder.call("lock", who, sure=False) as call:
        call.facts["thing"] = chance.randrange(LOCKS)
        with worker.db.exclusive("topology", call.facts["thing"], wait=1) as lock:
            since = monotonic()
            for _ in range(chance.randrange(4)):
                worker.over.wait(chance.uniform(0, HOLD))
                at = monotonic()
                worker.here(lock.check)
                call.facts["had"] = (since, at)
            at = monotonic()
        call.facts["had"] = (since, at)


def leases(worker: Worker, who: str, chance: random.Random) -> None:
    """Claim an item, and finish it in most cases, in time or too late."""
    with worker.recorder.call("lease", who, sure=False) as call:
        call.facts["thing"] = f"item{chance.randrange(ITEMS)}"
        claim = worker.db.tasks.claim(call.facts["thing"], DAY, lease=LEASE)
        if claim is not None:
            call.facts["had"] = (claim.started_at.timestamp(), claim.lease_until.timestamp())
    if call.outcome == "ok" and claim is not None and chance.random() < 0.7:
        worker.over.wait(chance.choice([0, 0, 0.1, 0.25]))
        with worker.recorder.call("finish", who, sure=False) as done:
            done.facts["thing"] = claim.name
            worker.db.tasks.finish(claim.name, claim.lease_until)


def connections(worker: Worker, who: str, chance: random.Random) -> None:
    """Have a connection to oneself: nobody else has it meanwhile, or hears its answers."""
    with worker.recorder.call("connection", who, sure=False) as call, worker.timeout(chance):
        key = chance.randrange(ECHOES)
        if (got := worker.db.key_values.get(f"echo{key}")) != key:
            call.facts["wrong"] = f"{got} instead of {key}"
        with worker.db.connection() as connection:
            since = monotonic()
            connection.execute("select set_config('chaos.who', %s, false), set_config('statement_timeout', '9s', false)", [who])
            row = connection.execute(_ECHO, [str(key)]).fetchone()
            if row is None or row[:3] != (str(key), who, "9s"):
                call.facts["wrong"] = f"{row} instead of {key}, {who}"
            call.facts |= {"thing": row and row[3], "had": (since, monotonic())}

"""A worker of a Citus cluster crashes and comes back: nothing is lost, and accounting goes on where it was.

It runs on the cluster of DATABASE_URL where its workers are on this machine, and ends all sessions of them.
"""

import os
import signal
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from itertools import cycle
from pathlib import Path
from random import Random
from threading import Event
from time import monotonic

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from tests.dao.test_accounting import STARTS, Lab, record
from tests.helpers.accounting_model import WINDOW
from tests.helpers.dao_cases import at_once
from tests.ops.test_distributed import everything
from tomato_dao import Database, Unavailable, connect

pytestmark = [pytest.mark.long, pytest.mark.one_server]
WINDOWS = 40
SECONDS = 120  # in which a worker is back and a call succeeds


def crash(url: str) -> None:
    """Kill a session's process of a server, which makes the server end all others and recover; wait until it is back."""
    with psycopg.connect(url) as victim:
        pid = victim.info.backend_pid
        command = Path(f"/proc/{pid}/cmdline")
        if not command.is_file() or not command.read_text().startswith("postgres:"):
            pytest.skip(f"the worker {victim.info.host}:{victim.info.port} is not on this machine")
        os.kill(pid, signal.SIGKILL)
    until = monotonic() + SECONDS
    while monotonic() < until:
        with suppress(psycopg.OperationalError), psycopg.connect(url, connect_timeout=5):
            return
    pytest.fail(f"the worker {victim.info.host}:{victim.info.port} is not back within {SECONDS} s")


def test_nothing_is_lost_when_workers_crash_among_imports_and_accounting(
    tomato_url: str, db: Database, distributed_url: str, citus_workers: list[tuple[str, int]]
) -> None:
    workers = cycle(make_conninfo(distributed_url, host=host, port=port) for host, port in citus_workers)
    random = Random(1)  # noqa: S311 (no secret)
    failed: list[Unavailable] = []

    def surely(call: Callable[[], bool]) -> None:
        """Repeat the call until it is done; what a crash left prepared is completed at once, and not in a minute."""
        until = monotonic() + SECONDS
        while monotonic() < until:
            try:
                if call():
                    return
            except Unavailable as error:
                failed.append(error)
                with suppress(psycopg.Error), psycopg.connect(distributed_url, autocommit=True) as server:
                    server.execute("select recover_prepared_transactions()")
        pytest.fail(f"no attempt succeeded within {SECONDS} s; the last failed with {failed[-1:]}")

    def at_first(call: Callable[[], bool]) -> None:
        assert call()

    def account_in(there: Database, lab: Lab, n: int, run: Callable[[Callable[[], bool]], None]) -> None:
        now = STARTS[1] + n * WINDOW
        found = [record(c, now, c) for k, c in enumerate(sorted(lab.structure.named)) if (n * 7 + k) % 11]
        run(lambda: there.usage.import_records(found, now=now) is not None)
        run(lambda: there.usage.aggregate(now=now).ran)
        run(lambda: there.quotas.count_use(now=now) >= 0)

    def crash_later(seconds: float) -> None:
        Event().wait(seconds)
        crash(next(workers))

    with connect(distributed_url, pool_size=2) as far, psycopg.connect(tomato_url) as one:
        ours, theirs = Lab(db), Lab(far)
        for n in range(1, WINDOWS + 1):
            account_in(db, ours, n, at_first)
            work = partial(account_in, far, theirs, n, surely)
            if n % 4:
                work()
            else:  # at any moment of the import, the run or the count
                for result in at_once(work, partial(crash_later, random.uniform(0, 0.3))):
                    assert result is None
        assert failed
        with psycopg.connect(distributed_url, autocommit=True) as cluster:
            cluster.execute("select recover_prepared_transactions()")  # what the last crash left; else within a minute
            assert everything(cluster) == everything(one)

"""Faults that come at random moments, of a seed: killed and stopped sessions, restarts, a bad network, a standby that lags."""

import os
import random
import signal
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import LiteralString

import psycopg

from tests.chaos.proxy import Proxy
from tests.helpers.standby_cases import until
from tomato_dao.ops import embedded

_OURS: LiteralString = "from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()"
_OURS += " and backend_type = 'client backend' and application_name like 'chaos%' order by random() limit 1"


class Faults:
    """Faults of a server, its standby, and the ways to them, one after the other, while `seconds` last.

    url: of the server's database. directory: of the server, where it may be restarted. standby: its standby's URL.
    """

    def __init__(
        self, url: str, seed: int, proxies: Sequence[Proxy], directory: Path | None = None, standby: str | None = None
    ) -> None:
        self.done: Counter[str] = Counter()
        self._url, self._proxies, self._directory, self._standby = url, proxies, directory, standby
        self._chance = random.Random(f"faults {seed}")  # noqa: S311 (no secret)
        self._over = threading.Event()

    def rage(self, seconds: float, names: Sequence[str], pause: float) -> None:
        """Do faults of these names for some seconds, each after a pause of `pause` seconds on average."""
        self._over.clear()
        end = threading.Timer(seconds, self._over.set)
        end.start()
        try:
            while not self._over.wait(self._chance.uniform(0, 2 * pause)):
                name = self._chance.choice(names)
                fault: Callable[[], None] = getattr(self, name)
                with suppress(psycopg.OperationalError):  # a fault before it may not be over for the server
                    fault()
                    self.done[name] += 1
        finally:
            end.cancel()
            for proxy in self._proxies:
                proxy.delay = 0
                proxy.hold(False)

    def _one(self, what: LiteralString, url: str | None = None) -> int | None:
        with psycopg.connect(url or self._url, autocommit=True, connect_timeout=5) as connection:
            row = connection.execute(what + " " + _OURS).fetchone()
        return row[0] if row else None

    def kill(self) -> None:
        """End a session from within the server."""
        self._one("select pg_terminate_backend(pid)::int")

    def stop(self) -> None:
        """Stop a session's process for a while: it holds what it has and answers nothing."""
        if (pid := self._one("select pid")) is not None:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGSTOP)
                try:
                    self._over.wait(self._chance.uniform(0.1, 1.5))
                finally:
                    os.kill(pid, signal.SIGCONT)

    def kill_on_standby(self) -> None:
        """End a session of the standby."""
        assert self._standby
        self._one("select pg_terminate_backend(pid)::int", self._standby)

    def lag(self) -> None:
        """Let the standby replay nothing for a while."""
        assert self._standby
        with psycopg.connect(self._standby, autocommit=True, connect_timeout=5) as connection:
            connection.execute("select pg_wal_replay_pause()")
            try:
                self._over.wait(self._chance.uniform(0.05, 0.5))
            finally:
                connection.execute("select pg_wal_replay_resume()")

    def restart_fast(self) -> None:
        """Stop the server as an operator does, and start it."""
        assert self._directory
        embedded.stop(self._directory)
        embedded.start(self._directory)

    def restart_immediate(self) -> None:
        """Let the server crash, and start it: it recovers from its log."""
        assert self._directory
        process = int((embedded.status(self._directory).data / "postmaster.pid").read_text().split("\n")[0])
        os.kill(process, signal.SIGQUIT)
        until(lambda: not _lives(process))
        embedded.start(self._directory)

    def _way(self) -> Proxy:
        return self._chance.choice(self._proxies)

    def cut(self) -> None:
        """Break all connections of a way."""
        self._way().cut()

    def delay(self) -> None:
        """Make the network slow for a while."""
        proxy = self._way()
        proxy.delay = self._chance.uniform(0.005, 0.05)
        self._over.wait(self._chance.uniform(0.1, 1))
        proxy.delay = 0

    def slow(self) -> None:
        """Make the network slow from now on."""
        for proxy in self._proxies:
            proxy.delay = 0.01

    def black_hole(self) -> None:
        """Let nothing through for a while, then all, or break it then."""
        proxy = self._way()
        proxy.hold(True)
        self._over.wait(self._chance.uniform(0.1, 2))
        if self._chance.random() < 0.5:
            proxy.cut()
        proxy.hold(False)


def _lives(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except FileNotFoundError:
        return False

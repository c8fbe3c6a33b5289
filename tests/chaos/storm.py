"""Storms: some work, faults that come meanwhile, and what the workers saw. In threads of this process, or in processes."""

import logging
import multiprocessing
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from psycopg.conninfo import conninfo_to_dict, make_conninfo

from tests.chaos import workload
from tests.chaos.faults import Faults
from tests.chaos.history import Result
from tests.chaos.proxy import Proxy
from tests.helpers.standby_cases import Pair, primary_and_standby
from tomato_dao.ops.databases import create_database
from tomato_dao.ops.migrate import migrate

NAME = "tomato"


def in_threads(
    url: str, seed: int, seconds: float, faults: Callable[[], object], is_async: Sequence[bool], **how: Any
) -> list[Result]:
    """Return what workers have seen, each with a Database of its own, while the faults came. how: see `workload.work`."""
    with ThreadPoolExecutor(len(is_async)) as threads:
        return _results(threads, threading.Barrier(len(is_async) + 1), url, seed, seconds, faults, is_async, how)


def in_processes(
    url: str, seed: int, seconds: float, faults: Callable[[], object], is_async: Sequence[bool], **how: Any
) -> list[Result]:
    """Do the same with a process for each worker."""
    spawning = multiprocessing.get_context("spawn")
    with spawning.Manager() as manager, ProcessPoolExecutor(len(is_async), spawning, logging.disable) as processes:
        return _results(processes, manager.Barrier(len(is_async) + 1), url, seed, seconds, faults, is_async, how)


def _results(
    executor: Executor,
    together: threading.Barrier,
    url: str,
    seed: int,
    seconds: float,
    faults: Callable[[], object],
    is_async: Sequence[bool],
    how: dict[str, Any],
) -> list[Result]:
    work = partial(workload.work, url, seed, seconds=seconds, together=together, **how)
    running = [executor.submit(work, n, is_async=is_one) for n, is_one in enumerate(is_async)]
    together.wait(60)
    faults()
    return [each.result(240) for each in running]


class Ways:
    """A primary and its standby, and ways to both: `url` leads to the one that takes writes, `standby` to the other."""

    def __init__(self, pair: Pair, directory: Path) -> None:
        self.pair, self._directory = pair, directory
        self.proxies = [Proxy(pair.primary.url(NAME)), Proxy(pair.standby.url(NAME))]
        there = [conninfo_to_dict(proxy.url) for proxy in self.proxies]
        places = {key: ",".join(str(each[key]) for each in there) for key in ("host", "port")}
        self.url = make_conninfo(self.proxies[0].url, **places, target_session_attrs="read-write")
        self.standby = self.proxies[1].url

    def faults(self, seed: int) -> Faults:
        """Return faults of all of it."""
        return Faults(self.pair.primary.url(NAME), seed, self.proxies, self._directory, self.pair.standby.url(NAME))

    def promote(self) -> None:
        """Let the primary go once the standby has all that sessions which ended may have committed; promote the standby."""
        self.pair.caught_up()
        self.pair.primary.kill()
        self.pair.standby.ask("select pg_promote(true, 60)")


@contextmanager
def ways(directory: Path, *, durable: bool) -> Iterator[Ways]:
    """Provide a new primary with a database for a storm, its synchronous standby, and the ways to both."""
    with primary_and_standby(directory, durable=durable) as pair, ExitStack() as stack:
        create_database(pair.primary.url(NAME))
        migrate(pair.primary.url(NAME))
        workload.prepare(pair.primary.url(NAME))
        pair.hear_all()
        pair.caught_up()
        found = Ways(pair, directory)
        for proxy in found.proxies:
            stack.callback(proxy.close)
        yield found

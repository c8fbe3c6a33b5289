"""`make chaos`: storms of several processes, with restarts, crashes and a promotion; writes docs/reliability.md's figures.

python -m tests.chaos [--seed N] [--seconds N] [--write]
"""

import argparse
import logging
import multiprocessing
import os
import platform
import random
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from time import monotonic

import psycopg

from tests.chaos import workload
from tests.chaos.faults import Faults
from tests.chaos.judging import counts, judge
from tests.chaos.proxy import Proxy
from tests.helpers.standby_cases import primary_and_standby
from tomato_dao.ops import embedded
from tomato_dao.ops.migrate import create_database, migrate
from tomato_dao.ops.scratch import scratch_database, with_database

PAGE = Path(__file__).parents[2] / "docs" / "reliability.md"
BEGIN, END = "<!-- figures: written by make chaos -->", "<!-- end of figures -->"
NETWORK = ("cut", "delay", "black_hole")
ROUNDS = {
    "sessions killed and stopped": ("kill", "kill", "stop"),
    "a bad network": NETWORK,
    "restarts and crashes": ("restart_fast", "restart_immediate", "kill"),
    "all of them": ("kill", "stop", *NETWORK, "restart_fast", "restart_immediate"),
}
PROMOTION = "a standby is promoted"
Row = tuple[str, dict[str, int], Counter[str], list[str]]


def main() -> int:
    """Run all rounds, and return 1 where a fault was found."""
    arguments = argparse.ArgumentParser(prog="make chaos", description=__doc__)
    arguments.add_argument("--seed", type=int, default=random.randrange(10**6))  # noqa: S311 (no secret)
    arguments.add_argument("--seconds", type=float, default=15, help="seconds that each round rages")
    arguments.add_argument("--write", action="store_true", help="write the figures into docs/reliability.md")
    given = arguments.parse_args()
    print(f"seed {given.seed}: SEED={given.seed} repeats the plan of work and faults, though not their moments", flush=True)
    began, rows = monotonic(), []
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="chaos-")))
        stack.callback(embedded.remove, directory / "server")
        server = embedded.start(directory / "server")
        for name, faults in ROUNDS.items():
            with scratch_database(server) as url:
                rows.append(_storm(name, faults, url, directory / "server", given.seed, given.seconds))
            _print(rows[-1])
        rows.append(_promotion(directory / "primary", given.seed, given.seconds))
        _print(rows[-1])
        with psycopg.connect(with_database(server, "postgres")) as connection:
            version = connection.info.parameter_status("server_version")
    if given.write:
        _write(rows, f"seed {given.seed}, {monotonic() - began:.0f} s, PostgreSQL {version}")
    return any(found for *_, found in rows)


def _storm(name: str, faults: tuple[str, ...], url: str, directory: Path, seed: int, seconds: float) -> Row:
    """Let three processes work, one of them with asyncio, through the proxy; the judge goes to the server itself."""
    workload.prepare(url)
    with ExitStack() as stack:
        proxy = Proxy(url)
        stack.callback(proxy.close)
        injected = Faults(url, seed, proxy, directory)
        pause = 1.5 if "restart_fast" in faults else 0.3
        results = _at_work(proxy.url, seed, seconds, lambda: injected.rage(seconds, faults, pause))
    return name, counts(results), injected.done, judge(url, results)


def _promotion(directory: Path, seed: int, seconds: float) -> Row:
    """Let the primary go in the middle of the work, and promote its synchronous standby."""
    with primary_and_standby(directory) as pair:
        create_database(pair.primary.url("tomato"))
        migrate(pair.primary.url("tomato"))
        workload.prepare(pair.primary.url("tomato"))
        pair.hear_all()

        def promote() -> None:
            threading.Event().wait(seconds / 2)
            pair.primary.kill()
            pair.standby.ask("select pg_promote(true, 60)")

        results = _at_work(pair.url("tomato", target_session_attrs="read-write"), seed, seconds, promote)
        return PROMOTION, counts(results), Counter(promotion=1), judge(pair.standby.url("tomato"), results)


def _at_work(url: str, seed: int, seconds: float, faults: Callable[[], None]) -> list[workload.Result]:
    """Return what three processes have seen that worked while the faults came."""
    spawning = multiprocessing.get_context("spawn")
    with spawning.Manager() as manager, ProcessPoolExecutor(3, spawning, logging.disable) as processes:
        together = manager.Barrier(4)
        running = [processes.submit(workload.work, url, seed, n, seconds, together, is_async=n == 2) for n in range(3)]
        together.wait(60)
        faults()
        return [each.result(240) for each in running]


def _print(row: Row) -> None:
    name, seen, faults, found = row
    done = ", ".join(f"{number} × {fault}" for fault, number in sorted(faults.items()))
    print(f"{name}: {', '.join(f'{key} {value}' for key, value in seen.items())}; {done or 'no faults'}", flush=True)
    for fault in found[:20]:
        print(f"  FAULT {fault}", flush=True)
    print(f"  {len(found)} faults found", flush=True)


def _write(rows: list[Row], how: str) -> None:
    keys = list(rows[0][1])
    lines = [
        f"Last run: {datetime.now(UTC):%Y-%m-%d}, {how}, Python {platform.python_version()}, {os.cpu_count()} CPUs.",
        "",
        f"| round | {' | '.join(keys)} | faults injected | found |",
        f"|---|{'---|' * (len(keys) + 2)}",
        *(
            f"| {name} | {' | '.join(f'{seen[key]:,}' for key in keys)} | {faults.total()} | {len(found)} |"
            for name, seen, faults, found in rows
        ),
    ]
    text = PAGE.read_text("utf-8")
    before, after = text.split(BEGIN)[0], text.split(END)[1]
    PAGE.write_text(before + "\n".join([BEGIN, "", *lines, "", END]) + after, "utf-8")


if __name__ == "__main__":
    sys.exit(main())

"""`make chaos`: storms of several processes, changed dumps, ended dumps and loads; writes docs/reliability.md's figures.

python -m tests.chaos [--seed N] [--seconds N] [--write]
"""

import argparse
import os
import platform
import random
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from time import monotonic

import psycopg

from tests.chaos import lists, workload
from tests.chaos.faults import Faults
from tests.chaos.fuzzing import fuzz
from tests.chaos.judging import counts, judge
from tests.chaos.proxy import Proxy
from tests.chaos.storm import NAME, in_processes, ways
from tests.chaos.transfers import Fuzz
from tomato_dao.ops import embedded
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
STANDBY = "standbys serve reads"
PROMOTION = "a standby is promoted"
OF_STANDBY = ("kill", "kill_on_standby", "lag", "lag", *NETWORK)
IS_ASYNC = (False, False, True)
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
        for row in _with_standby(directory, given.seed, given.seconds):
            rows.append(row)
            _print(row)
        with scratch_database(server) as url:
            found = fuzz(url, directory, str(given.seed), given.seconds)
        _print_fuzz(found)
        with psycopg.connect(with_database(server, "postgres")) as connection:
            version = connection.info.parameter_status("server_version")
    if given.write:
        _write(rows, found, f"seed {given.seed}, {monotonic() - began:.0f} s, PostgreSQL {version}")
    return any([found.faults, *(faults for *_, faults in rows)])


def _storm(name: str, faults: tuple[str, ...], url: str, directory: Path, seed: int, seconds: float) -> Row:
    """Let three processes work, one of them with asyncio, through the proxy; the judge goes to the server itself."""
    workload.prepare(url)
    with ExitStack() as stack:
        proxy = Proxy(url)
        stack.callback(proxy.close)
        injected = Faults(url, seed, [proxy], directory)
        pause = 1.5 if "restart_fast" in faults else 0.3
        results = in_processes(proxy.url, seed, seconds, lambda: injected.rage(seconds, faults, pause), IS_ASYNC)
    return name, counts(results), injected.done, judge(url, results)


def _with_standby(directory: Path, seed: int, seconds: float) -> Iterator[Row]:
    """Let a standby serve reads while faults come; then restart the primary, let it go, and promote the standby."""
    with ways(directory / "primary", durable=True) as servers:
        kinds = (*workload.ALL, lists.on_standbys, lists.on_standbys)
        faults = servers.faults(seed)
        results = in_processes(
            servers.url,
            seed,
            seconds,
            lambda: faults.rage(seconds, OF_STANDBY, 0.3),
            IS_ASYNC,
            kinds=kinds,
            replicas=[servers.standby],
        )
        yield STANDBY, counts(results), faults.done, judge(servers.pair.primary.url(NAME), results)
    with ways(directory / "another", durable=True) as servers:
        faults = servers.faults(seed)

        def promote() -> None:
            faults.rage(seconds / 2, (*OF_STANDBY, "restart_fast", "restart_immediate"), 0.5)
            servers.promote()
            faults.done["promotion"] += 1

        results = in_processes(
            servers.url,
            seed,
            seconds,
            promote,
            IS_ASYNC,
            kinds=kinds,
            replicas=[servers.standby],
            deadlines=False,
            promoted=True,
        )
        yield PROMOTION, counts(results), faults.done, judge(servers.pair.standby.url(NAME), results)


def _print(row: Row) -> None:
    name, seen, faults, found = row
    done = ", ".join(f"{number} × {fault}" for fault, number in sorted(faults.items()))
    print(f"{name}: {', '.join(f'{key} {value}' for key, value in seen.items())}; {done or 'no faults'}", flush=True)
    for fault in found[:20]:
        print(f"  FAULT {fault}", flush=True)
    print(f"  {len(found)} faults found", flush=True)


def _print_fuzz(found: Fuzz) -> None:
    print(f"changed and ended dumps and loads: {', '.join(f'{key} {value}' for key, value in sorted(found.seen.items()))}")
    for fault in found.faults[:20]:
        print(f"  FAULT {fault}")
    print(f"  {len(found.faults)} faults found", flush=True)


def _write(rows: list[Row], fuzzed: Fuzz, how: str) -> None:
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
        "",
        "| dumps and loads | outcome | times |",
        "|---|---|---|",
        *(f"| {' | '.join(key.split(': '))} | {number:,} |" for key, number in sorted(fuzzed.seen.items())),
        f"| all of these | wrong | {len(fuzzed.faults)} |",
    ]
    text = PAGE.read_text("utf-8")
    before, after = text.split(BEGIN)[0], text.split(END)[1]
    PAGE.write_text(before + "\n".join([BEGIN, "", *lines, "", END]) + after, "utf-8")


if __name__ == "__main__":
    sys.exit(main())

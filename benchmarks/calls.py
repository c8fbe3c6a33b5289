"""`make bench-calls`: the cost of a call, compared with libpq alone, psycopg by hand and common libraries.

All contestants do the same work on the same server in one interleaved run: in every round each makes a few calls of each
workload, in rotating order. Client and server are pinned to one CPU, so that the figures show the cost of the code.
"""

import argparse
import gc
import os
import random
import statistics
import threading
import time
from pathlib import Path

import tomato_dao
from benchmarks import async_calls
from benchmarks.__main__ import thirty_elements
from benchmarks.contestants import Contestant, all_of
from benchmarks.filters import per_call
from benchmarks.page import positive
from benchmarks.pinning import pin
from tomato_dao.ops.scratch import scratch_database
from tomato_dao.ops.urls import database_url

WORKLOADS = {"point": 100, "list": 20, "full": 5, "page": 1, "insert": 10, "batch": 1, "large batch": 1}  # calls per round
TITLES = {
    "point": "point read",
    "list": "50 rows",
    "full": "one topology",
    "page": "100 topologies",
    "insert": "insert",
    "batch": "batch of 1,000",
    "large batch": "batch of 10,000",
}
DRAWN = ("point", "list", "full")  # in the picture
THREADS = 25
CALLS = 10000
PICTURE = Path(__file__).parents[1] / "docs" / "calls.svg"

Medians = dict[tuple[str, str], float]


def main() -> None:
    """Print the tables and draw the picture."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=positive, default=100, help="number of rounds (default: %(default)s)")
    parser.add_argument("--only", nargs="+", choices=WORKLOADS, help="measure these workloads, pinned, and nothing else")
    options = parser.parse_args()
    rounds: int = options.rounds
    with scratch_database(database_url()) as url:
        topology, usage_id = _fill(url)
        contestants = all_of(url, topology, usage_id)
        if options.only:
            contestants = [c for c in contestants if not c.calls.keys().isdisjoint(options.only)]
        gc.collect()
        gc.freeze()
        free = os.sched_getaffinity(0)
        print("µs per call, pinned to one CPU (client and server)")
        pin(url, {min(free)})
        pinned = _measure(contestants, rounds, options.only or list(WORKLOADS))
        _print(contestants, pinned)
        if options.only:
            return
        threads_pinned = _threads(contestants)
        with tomato_dao.connect(url) as db:
            static, chosen = per_call(db)
        pin(url, free)
        print("\nµs per call, not pinned")
        _print(contestants, _measure(contestants, rounds // 3, list(WORKLOADS)))
        threads_free = _threads(contestants)
        print(f"\npoint reads per second by {THREADS} threads (asyncpg: tasks) over 8 connections")
        for name in threads_pinned:
            print(f"  {name:<36}{threads_pinned[name]:>10,.0f} pinned{threads_free[name]:>10,.0f} not pinned")
        _goals(pinned, threads_pinned, chosen / static)
        if rounds == parser.get_default("rounds"):
            _draw(contestants, pinned)
        for contestant in contestants:
            contestant.close()
        async_calls.compare(url, rounds)


def _fill(url: str) -> tuple[int, int]:
    """Create a small testbed with usage records and a topology of 30 elements. Return its id and a usage id for batches."""
    with tomato_dao.connect(url) as db:
        for n in range(100):
            made = db.organizations.create(f"org{n}", description=f"number {n}", attrs={"n": n, "_note": "a note"})
        owner = db.users.create("owner", organization_id=made.id)
        site = db.sites.create("site", organization_id=made.id)
        for n in range(20):
            db.hosts.create(f"host{n}", address=f"10.0.0.{n}", rpcurl=f"ssl+jsonrpc://10.0.0.{n}:8003", site_id=site.id)
        with db.connection() as connection:
            connection.execute("insert into templates (tech, name) select 'kvmqm', 't' || n from generate_series(1, 20) n")
            connection.execute(
                "insert into profiles (tech, name, ram) select 'kvmqm', 'p' || n, n from generate_series(1, 9) n"
            )
            for _ in range(200):
                topology = db.topologies.import_(thirty_elements(), owner_id=owner.id).topology_id
            connection.execute(TESTBED)
            connection.execute("vacuum analyze")
    assert owner.usage_id is not None
    return topology, owner.usage_id


TESTBED = """
with served as (
  insert into host_elements (host_id, num, element_id, type, state, attrs)
  select 1 + e.id % 20, e.id, e.id, e.type, 'started', '{"vncport": 5901}'
  from elements e
  returning id, element_id
),
linked as (
  insert into host_connections (host_id, num, connection_id, type, state)
  select 1 + c.id % 20, c.id, c.id, c.type, 'started'
  from connections c
),
used as (
  insert into usage_records (usage_id, type, begin_at, end_at, measurements, memory, diskspace, traffic, cputime)
  select t.usage_id, '5minutes', now() - (n + 1) * interval '5 min', now() - n * interval '5 min', 5, 1e9, 1e10, 1e7, 99.5
  from topologies t
  cross join generate_series(1, 12) n
)
update elements e set
  host_element_id = s.id,
  template_id = case when e.type = 'kvmqm' then 1 + e.id % 20 end,
  profile_id = case when e.type = 'kvmqm' then 21 + e.id % 9 end
from served s
where s.element_id = e.id
"""


def _measure(contestants: list[Contestant], rounds: int, workloads: list[str]) -> Medians:
    """Return the median time of a call in µs, by contestant and workload."""
    times: dict[tuple[str, str], list[float]] = {}
    turns = [(c, w) for c in contestants for w in workloads if w in c.calls]
    for contestant, workload in turns:
        for _ in range(10):
            contestant.calls[workload]()  # warm-up: prepare statements and fill caches
    for _ in range(rounds):
        random.shuffle(turns)
        for contestant, workload in turns:
            call, count = contestant.calls[workload], WORKLOADS[workload]
            start = time.perf_counter()
            for _ in range(count):
                call()
            times.setdefault((contestant.name, workload), []).append((time.perf_counter() - start) / count)
    return {key: statistics.median(found) * 1e6 for key, found in times.items()}


def _threads(contestants: list[Contestant]) -> dict[str, float]:
    """Measure point reads per second of 25 threads over a pool of 8: the median of five interleaved runs."""
    rates: dict[str, list[float]] = {}
    for _ in range(5):
        for contestant in contestants:
            if not (contestant.many_threads or contestant.many):
                continue
            start = time.perf_counter()
            if contestant.many:
                contestant.many(CALLS)
            else:
                _run_threads(contestant)
            rates.setdefault(contestant.name, []).append(CALLS / (time.perf_counter() - start))
    return {name: statistics.median(found) for name, found in rates.items()}


def _run_threads(contestant: Contestant) -> None:
    call = contestant.calls["point"]

    def work() -> None:
        for _ in range(CALLS // THREADS):
            call()

    threads = [threading.Thread(target=work) for _ in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def _print(contestants: list[Contestant], medians: Medians) -> None:
    """Print two tables beneath each other, so that both fit on a page of the documentation."""
    for workloads in (list(TITLES)[:3], list(TITLES)[3:]):
        print(f"  {'':<32}" + "".join(f"{TITLES[workload]:>16}" for workload in workloads))
        for contestant in contestants:
            cells = ""
            for workload in workloads:
                found, mine = medians.get((contestant.name, workload)), medians.get(("tomato_dao", workload))
                cells += f"{'':>16}" if found is None or mine is None else f"{_µs(found):>8} ({found / mine:5.2f})"
            if cells.strip():
                print(f"  {contestant.name:<32}{cells}".rstrip())
        print()
    print("  (in brackets: the ratio to tomato_dao)")


def _µs(duration: float) -> str:
    return f"{duration:,.0f}" if duration >= 1000 else f"{duration:.1f}"


def _goals(medians: Medians, threads: dict[str, float], chosen: float) -> None:
    """Print the goals and the results."""

    def ratio(workload: str, peer: str) -> float:
        return medians[("tomato_dao", workload)] / medians[(peer, workload)]

    hand = "psycopg by hand, autocommit pool"
    print("\ngoals (pinned)")
    for what, reached, bound in (
        ("point read / libpq", ratio("point", "libpq (floor)"), "at most 1.3"),
        ("point read / psycopg by hand", ratio("point", hand), "at most 0.45"),
        ("point read / asyncpg, bare", ratio("point", "asyncpg, bare connection"), "at most 0.65"),
        ("50 rows / psycopg by hand", ratio("list", hand), "at most 0.6"),
        ("50 rows / libpq", ratio("list", "libpq (floor)"), "at most 1.6"),
        ("topology in full / libpq", ratio("full", "libpq (floor)"), "at most 1.25"),
        ("topology in full / Django's ORM", ratio("full", "Django ORM"), "at most 0.1"),
        ("100 topologies as listed, ms", medians[("tomato_dao", "page")] / 1000, "at most 8"),
        ("100 topologies / Django's ORM", ratio("page", "Django ORM"), "at most 0.05"),
        ("batch of 10,000 / COPY", ratio("large batch", "psycopg COPY"), "at most 2"),
        ("25 threads, calls per second / by hand", threads["tomato_dao"] / threads[hand], "at least 2"),
        ("filters and order / the same static query", chosen, "at most 1.03"),
    ):
        print(f"  {what:<40}{reached:6.2f}  {bound}")


def _draw(contestants: list[Contestant], medians: Medians) -> None:
    import matplotlib as mpl

    mpl.use("svg")
    from matplotlib import pyplot

    shown = {
        workload: [(c.name, medians[c.name, workload]) for c in contestants if (c.name, workload) in medians]
        for workload in DRAWN
    }
    heights = [len(bars) + 2 for bars in shown.values()]
    figure, axes = pyplot.subplots(len(DRAWN), 1, figsize=(8, sum(heights) / 4.5), height_ratios=heights, layout="constrained")
    for axis, (workload, found) in zip(axes, shown.items(), strict=True):
        found.sort(key=lambda pair: -pair[1])
        colours = ["tab:red" if name == "tomato_dao" else "lightgray" for name, _ in found]
        bars = axis.barh([name for name, _ in found], [value for _, value in found], color=colours)
        axis.bar_label(bars, fmt="{:,.0f}", padding=3)
        axis.set_title(f"{TITLES[workload]}, µs", loc="left")
        axis.spines[["top", "right", "bottom"]].set_visible(False)
        axis.set_xticks([])
        axis.margins(x=0.15, y=0.02)
    PICTURE.parent.mkdir(exist_ok=True)
    figure.savefig(PICTURE, metadata={"Date": None})


if __name__ == "__main__":
    main()

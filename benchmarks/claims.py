"""`make bench-claims`: the time of a claim while an old transaction keeps dead rows, and how 50 workers share work.

Workers claim the hourly refreshes of host elements. In the same database, jobs are fetched with procrastinate's query: the
first waiting job, by priority and age, that is not blocked by another job of the same lock.
"""

import argparse
import statistics
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta
from time import monotonic, perf_counter

import psycopg

from benchmarks.page import positive, table
from tomato_dao import Database, connect
from tomato_dao.ops.scratch import scratch_database
from tomato_dao.ops.urls import database_url

ITEMS = 100_000  # more than the workers finish
DEAD = 400_000
CLAIMS = 300  # each of which is finished
WORKERS, SECONDS = 50, 40
LEASE = timedelta(minutes=5)

TESTBED = """
insert into organizations (name) values ('org');
insert into sites (name, organization_id) select 'site', o.id from organizations o;
insert into hosts (name, address, rpcurl, site_id) select 'host', 'address', 'rpc', s.id from sites s;
insert into topologies (name) values ('topology');
insert into elements (topology_id, type) select t.id, 'kvmqm' from topologies t;
insert into host_elements (host_id, num, element_id, type, state, next_refresh_at)
select h.id, n, e.id, 'kvmqm', 'started', now() - interval '1 day' - n * interval '1 ms'
from generate_series(1, {items}) n, hosts h, elements e;
"""
# The repeated life cycle of a row: it is claimed, finished, and due again after all others. Each update leaves a dead version.
CLAIMED = "update host_elements set refresh_lease_until = now() - interval '12 hours' + {n} * interval '1 s'"
FINISHED = "update host_elements set next_refresh_at = refresh_lease_until + num * interval '1 us', refresh_lease_until = null"

# The columns of procrastinate's jobs that its fetch query needs, and their index.
JOBS = """
create table jobs (
  id bigint generated always as identity primary key, queue_name text not null, task_name text not null,
  priority integer not null default 0, lock text, args jsonb not null default '{}', status text not null default 'todo',
  scheduled_at timestamptz, attempts integer not null default 0
);
create index jobs_fetch_idx on jobs (priority desc, id) where status = 'todo';
create index jobs_lock_idx on jobs (lock, status) where status in ('todo', 'doing');
"""
FETCH = """
with candidate as (
  select j.id
  from jobs j
  where
    j.status = 'todo' and (j.scheduled_at is null or j.scheduled_at <= now()) and j.queue_name = 'default'
    and (j.lock is null or not exists (
      select from jobs other
      where
        other.lock = j.lock
        and (other.status = 'doing' or (other.status = 'todo' and (-other.priority, other.id) < (-j.priority, j.id)))
    ))
  order by j.priority desc, j.id
  limit 1
  for update skip locked
)

update jobs j set status = 'doing' from candidate c where j.id = c.id returning j.id
"""
DEFER = "insert into jobs (queue_name, task_name) select 'default', 'refresh' from generate_series(1, {items})"


def main() -> None:
    """Run the benchmark and print the table."""
    parser = argparse.ArgumentParser(prog="bench-claims", description=__doc__)
    parser.add_argument(
        "--claims", type=positive, default=CLAIMS, help="number of timed claims of each kind (default: %(default)s)"
    )
    parser.add_argument("--dead", type=positive, default=DEAD, help="number of dead rows, about (default: %(default)s)")
    parser.add_argument(
        "--seconds", type=positive, default=SECONDS, help="how long the workers share work (default: %(default)s)"
    )
    options = parser.parse_args()
    with scratch_database(database_url()) as url, connect(url, pool_size=WORKERS) as db:
        fill(url, ITEMS)
        with psycopg.connect(url, autocommit=True) as fetching:
            work = {"claim": lambda: _claim(db), "procrastinate's fetch": lambda: _fetch(fetching)}
            fresh = {name: _times(call, options.claims) for name, call in work.items()}
            with old_snapshot(url):
                make_dead(url, ITEMS, options.dead)
                (dead,) = _ask(url, "select sum(n_dead_tup)::bigint from pg_stat_user_tables where relname = 'host_elements'")
                old = {name: _times(call, options.claims) for name, call in work.items()}
                shares = _shares(db, options.seconds)
    rows = [
        (
            name,
            *(f"{_p99(times) * 1000:.2f} ms" for times in (fresh[name], old[name])),
            f"{_p99(old[name]) / _p99(fresh[name]):.1f}",
        )
        for name in work
    ]
    print(f"p99 of {options.claims} claims one after another, of {ITEMS:,} due;", end=" ")
    print(f"an old snapshot keeps {dead:,} dead rows (goal: ≤ 3)\n")
    print(table(("", "fresh", "with dead rows", "times"), rows))
    counts = sorted(shares.values())
    mean = statistics.mean(counts)
    print(f"\n{WORKERS} workers in {options.seconds} s: {sum(counts):,} items, {min(counts)} to {max(counts)} each,", end=" ")
    print(f"{min(counts) / mean - 1:+.0%} to {max(counts) / mean - 1:+.0%} of the mean (goal: ± 10 %)")


def _claim(db: Database) -> bool:
    for claim in db.host_elements.claim_refreshes(limit=1, lease=LEASE):
        db.host_elements.finish_refresh(claim.id, claim.lease_until)
        return True
    return False


def _fetch(connection: psycopg.Connection) -> bool:
    (job,) = connection.execute(FETCH, prepare=True).fetchone() or (0,)
    connection.execute("delete from jobs where id = %s", [job], prepare=True)
    return bool(job)


def _times(call: Callable[[], bool], count: int) -> list[float]:
    found = []
    for _ in range(count):
        began = perf_counter()
        assert call()
        found.append(perf_counter() - began)
    return found


def _p99(times: list[float]) -> float:
    return statistics.quantiles(times, n=100)[98]


@contextmanager
def old_snapshot(url: str) -> Iterator[None]:
    """Keep a snapshot open in another session, so that dead rows cannot be removed."""
    with psycopg.connect(url) as connection:
        connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        connection.execute("select count(*) from host_elements")
        yield


def make_dead(url: str, items: int, dead: int) -> None:
    """Create *count* dead rows in both tables by updating the same items repeatedly."""
    for n in range(dead // items // 2):
        _run(url, CLAIMED.format(n=n), FINISHED)
        _run(url, "update jobs set status = 'doing'", "delete from jobs", DEFER.format(items=items))


def fill(url: str, items: int) -> None:
    """Create due items of each kind."""
    _run(url, TESTBED.format(items=items), JOBS, DEFER.format(items=items))
    _run(url, "vacuum analyze")


def _shares(db: Database, seconds: int) -> "Counter[int]":
    """Return the number of items that each of the concurrent workers finishes within some seconds."""
    found: Counter[int] = Counter()
    until = monotonic() + seconds
    ready = threading.Barrier(WORKERS)

    def work(worker: int) -> None:
        ready.wait()
        while monotonic() < until and _claim(db):
            found[worker] += 1

    with ThreadPoolExecutor(WORKERS) as threads:
        list(threads.map(work, range(WORKERS)))
    return found


def _run(url: str, *statements: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        for statement in statements:
            connection.execute(statement.encode())


def _ask(url: str, query: str) -> tuple[int]:
    with psycopg.connect(url) as connection:
        (value,) = connection.execute(query.encode()).fetchone() or (0,)
        return (value,)


if __name__ == "__main__":
    main()

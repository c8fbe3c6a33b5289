"""`make bench-year`: a simulated year of a testbed: table sizes, dead rows, WAL, and call times on its first and last data.

In each simulated hour hosts deliver a record of each component, and due records are rolled up, pruned and counted. Each day
topologies are created and removed, links are measured, and errors are reported. Instead of autovacuum, which depends on real
time, tables are vacuumed at the end of a day if they exceed autovacuum's threshold. The first month fills the history; the
figures begin after it. Calls are timed at the end, by turns in the database and in a copy of it that was made after that month,
all processes on one CPU, so that changes of the machine's speed cancel out.
"""

import argparse
import os
import statistics
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from time import perf_counter

from psycopg.conninfo import conninfo_to_dict

from benchmarks.accounting import TESTBED, records
from benchmarks.page import positive, table
from benchmarks.pinning import pin
from tomato_dao import Database, connect
from tomato_dao.ops.scratch import scratch_database
from tomato_dao.ops.urls import database_url
from tomato_dao.rows import LinkMeasurement

BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
MONTH = 30  # days
ROUNDS = 1000  # of each timed call
LIVES = 7  # lifetime of a topology in days
_MINUTE, _WINDOW = timedelta(minutes=1), timedelta(minutes=5)
_RUNS = (1, 5, 9, 13, 17)  # minutes of an hour, at most a window apart: the accounting would treat longer gaps as an outage

SIZES = """
select c.relname, pg_total_relation_size(c.oid)::bigint, coalesce(s.n_live_tup, 0), coalesce(s.n_dead_tup, 0)
from pg_class c
left join pg_stat_user_tables s on s.relid = c.oid
where c.relkind = 'r' and c.relnamespace = 'public'::regnamespace
order by c.relname
"""
DUE = """
select quote_ident(s.relname)
from pg_stat_user_tables s
inner join pg_class c on c.oid = s.relid
where s.n_dead_tup > 50 + 0.2 * greatest(c.reltuples, 0) or s.n_ins_since_vacuum > 1000 + 0.2 * greatest(c.reltuples, 0)
"""
Sizes = dict[str, tuple[int, int, int]]


def main() -> None:
    """Run the simulation and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--hosts", type=positive, default=5, help="number of hosts; everything else is in proportion (default: %(default)s)"
    )
    parser.add_argument("--days", type=positive, default=365, help="number of days, above 30 (default: %(default)s)")
    options = parser.parse_args()
    if options.days <= MONTH:
        parser.error(f"argument --days: {options.days} is not above {MONTH}: the figures begin after a month")
    server, free = database_url(), os.sched_getaffinity(0)
    with scratch_database(server) as url:
        pin(url, free)  # fails here, and not after the simulation, where the server is not on this machine
        with connect(url, statement_timeout=600) as db:
            components = _fill(db, options.hosts)
            months, first = _live(db, components, range(MONTH)), _sizes(db)
        with scratch_database(server, template=str(conninfo_to_dict(url)["dbname"])) as kept:  # as it is after the first month
            with connect(url, statement_timeout=600) as db:
                months += _live(db, components, range(MONTH, options.days))
                last = _sizes(db)
            with connect(kept) as before, connect(url) as now:
                try:
                    pin(url, {min(free)})
                    latencies, later = _medians(_calls(before, components[0]), _calls(now, components[0]))
                finally:
                    pin(url, free)
    print(f"{options.hosts} hosts, {len(components)} host components, {options.days} days, in steps of an hour.\n")
    rows = [
        (
            name,
            *(f"{sizes.get(name, (0, 0, 0))[n]:,}" for n in (1, 2) for sizes in (first, last)),
            _kilobytes(first, last, name),
        )
        for name in last
        if last[name][1] or first.get(name, (0, 0, 0))[1]
    ]
    print(table(("table", "rows after a month", "at the end", "dead after a month", "at the end", "kB, then and now"), rows))
    print(f"\nWAL, MB per month: {', '.join(f'{size / 1e6:,.0f}' for size in months)}\n")
    changes = [
        (name, f"{latencies[name] * 1e6:,.0f} µs", f"{later[name] * 1e6:,.0f} µs", f"{later[name] / latencies[name] - 1:+z.0%}")
        for name in latencies
    ]
    print(table(("call, median", "after a month", "at the end", "change (goal: 10 %)"), changes))


def _fill(db: Database, hosts: int) -> list[int]:
    """Create the testbed. Return the usage ids of its host components."""
    with db.connection() as connection:
        connection.execute(TESTBED.format(hosts=hosts, now=BEGIN.replace(tzinfo=None)).encode())
        found = connection.execute("select usage_id from host_elements union all select usage_id from host_connections")
        return [row[0] for row in found]


def _live(db: Database, components: list[int], days: range) -> list[int]:
    """Simulate the days. Return the bytes of WAL of each month that ends among them."""
    wal, months = _wal(db), []
    for day in days:
        _day(db, components, day)
        if day % MONTH == MONTH - 1:
            months.append(_wal(db) - wal)
            wal = _wal(db)
    return months


def _day(db: Database, components: list[int], day: int) -> None:
    for hour in range(24):
        now = BEGIN + day * DAY + hour * HOUR
        db.usage.import_records(records(components, now), now=now)
        for minute in _RUNS:
            while db.usage.aggregate(now=now + minute * _MINUTE).unfinished:
                pass
        db.quotas.count_use(now=now + _RUNS[-1] * _MINUTE)
        db.quotas.enforce(now=now + _RUNS[-1] * _MINUTE)
    lab = db.topologies.create(f"lab{day}", owner_id=db.users.get_by_name("user1").id)
    machine = db.elements.create(lab.id, "kvmqm")
    for state in ("prepared", "started", "created"):
        db.elements.update(machine.id, {"state": state})
    if day >= LIVES:
        (old,) = [t for t in db.topologies.list(limit=1000) if t.name == f"lab{day - LIVES}"]
        db.topologies.delete(old.id)
    now = BEGIN + day * DAY
    db.link_measurements.store_all([
        LinkMeasurement(1, 2, "single", now + (n - 1) * _WINDOW, now + n * _WINDOW, 0.0, 0.01, 0.001, 1)
        for n in range(24)
    ])  # fmt: skip
    db.links.combine(now=now + DAY)
    for n in (2 * day, 2 * day + 1):  # so that each group has as many as are kept after a month
        db.error_dumps.store("host1", f"dump{n}", group_id=f"group{n % 5}", at=now, description={}, software_version={})
    with db.connection() as connection:
        for (name,) in connection.execute(DUE).fetchall():
            connection.execute(f"vacuum analyze {name}".encode())


def _calls(db: Database, component: int) -> dict[str, Callable[[], object]]:
    """Return the timed calls: everyday reads and writes."""
    return {
        "hosts.get_by_name": lambda: db.hosts.get_by_name("host1"),
        "usage.history": lambda: db.usage.history(component),
        "elements.set_attrs": lambda: db.elements.set_attrs(1, {"n": 1}),
        "host_elements.list_of_host": lambda: db.host_elements.list_of_host(1, limit=50),
        "error_groups.list_summaries": lambda: db.error_groups.list_summaries(),
        "statistics.counts": lambda: db.statistics.counts(),
    }


def _medians(*databases: dict[str, Callable[[], object]]) -> list[dict[str, float]]:
    """Return the median time of each call in each database, in turns, so that other load affects all databases alike."""
    times: list[dict[str, list[float]]] = [{name: [] for name in calls} for calls in databases]
    in_turns = list(zip(databases, times, strict=True))
    for name in databases[0]:  # one after the other, since a write slows down the next call
        for _ in range(ROUNDS):
            in_turns.reverse()
            for calls, found in in_turns:
                began = perf_counter()
                calls[name]()
                found[name].append(perf_counter() - began)
    return [{name: statistics.median(each) for name, each in found.items()} for found in times]


def _sizes(db: Database) -> Sizes:
    with db.connection() as connection:
        connection.execute("select pg_stat_force_next_flush()")
        return {name: (size, live, dead) for name, size, live, dead in connection.execute(SIZES)}


def _kilobytes(first: Sizes, last: Sizes, name: str) -> str:
    return " → ".join(f"{sizes[name][0] // 1024:,}" if name in sizes else "-" for sizes in (first, last))


def _wal(db: Database) -> int:
    with db.connection() as connection:
        (position,) = connection.execute("select (pg_current_wal_lsn() - '0/0'::pg_lsn)::bigint").fetchone() or (0,)
    return int(position)


if __name__ == "__main__":
    main()

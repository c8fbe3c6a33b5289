"""`make bench-accounting`: a minute's accounting of a large testbed, compared with Django's ORM, object by object."""

import argparse
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import ParamSpec, TypeVar

import tomato_dao
from benchmarks.page import positive
from tomato_dao import Database
from tomato_dao.ops.scratch import scratch_database
from tomato_dao.ops.urls import database_url
from tomato_dao.rows import UsageRecord

P = ParamSpec("P")
T = TypeVar("T")
NOW = datetime(2026, 11, 20, 10, 30, tzinfo=UTC)  # everything before this time is rolled up in advance
WINDOW = timedelta(minutes=5)
FULL = 1000  # number of hosts; everything else is proportional to it

# Each connection has two elements and a host connection; each element a host element, and every second one another.
TESTBED = """
insert into organizations (name) select 'org' || n from generate_series(1, 20) n;
insert into sites (name, organization_id) select 'site' || n, n from generate_series(1, 20) n;
insert into hosts (name, address, rpcurl, site_id)
select 'host' || n, 'address', 'rpc' || n, 1 + n % 20 from generate_series(1, {hosts}) n;
insert into users (name, organization_id) select 'user' || n, 1 + n % 20 from generate_series(1, {hosts}) n;
insert into quotas (user_id, used_at) select u.id, '{now}' from users u;
insert into topologies (name) select 'topology' || n from generate_series(1, 2 * {hosts}) n;
insert into topology_permissions (topology_id, user_id, role)
select n, 1 + n % {hosts}, 'owner' from generate_series(1, 2 * {hosts}) n;
insert into connections (topology_id) select 1 + n % (2 * {hosts}) from generate_series(1, 5 * {hosts}) n;
insert into elements (topology_id, type, connection_id)
select c.topology_id, 'udp_endpoint', c.id from generate_series(1, 2) n cross join connections c order by n, c.id;
insert into host_elements (host_id, num, element_id, type, state)
select 1 + e.id % {hosts}, e.id, e.id, 'udp_tunnel', 'started' from elements e;
update elements e set host_element_id = he.id from host_elements he where he.element_id = e.id;
insert into host_elements (host_id, num, element_id, type, state)
select 1 + e.id % {hosts}, -e.id, e.id, 'udp_tunnel', 'started' from elements e where e.id % 2 = 0;
insert into host_connections (host_id, num, connection_id, type, state)
select 1 + c.id % {hosts}, c.id, c.id, 'bridge', 'started' from connections c;
update connections c set host_connection1_id = hc.id from host_connections hc where hc.connection_id = c.id;
"""

# As many records as are kept, inserted in chronological order. For users and organizations the last three windows are not
# rolled up yet.
HISTORY = """
alter table usage_records drop constraint usage_records_usage_id_fkey;
insert into usage_records (usage_id, type, begin_at, end_at, measurements, memory, diskspace, traffic, cputime)
select u.id, k.type, e.end_at - k.step, e.end_at, k.minutes, 1e9 + u.id, 1e10, 1e6 * k.minutes, k.minutes
from (
  values ('year', 5, interval '1 year', 525600), ('month', 12, '1 month', 43200), ('day', 30, '1 day', 1440),
  ('hour', 24, '1 hour', 60), ('5minutes', 12, '5 minutes', 5)
) k (type, kept, step, minutes)
cross join lateral (
  select n, (
    case k.type when '5minutes' then timestamp '{now}' else date_trunc(k.type, timestamp '{now}') end - n * k.step
  ) at time zone 'UTC' as end_at
  from generate_series(0, k.kept - 1) n
) e
cross join usage_statistics u
where (
  k.type = '5minutes' or not exists (
    select from host_elements he where he.usage_id = u.id union all select from host_connections hc where hc.usage_id = u.id
  )
) and not (
  k.type = '5minutes' and e.n < 3
  and exists (select from users s where s.usage_id = u.id union all select from organizations o where o.usage_id = u.id)
)
order by e.end_at, u.id;
alter table usage_records add constraint usage_records_usage_id_fkey
foreign key (usage_id) references usage_statistics on delete cascade;
"""


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--hosts", type=positive, default=FULL, help="number of hosts; everything else is in proportion (default: %(default)s)"
    )
    parser.add_argument(
        "--sample", type=positive, default=300, help="number of elements that Django rolls up (default: %(default)s)"
    )
    arguments = parser.parse_args()
    with scratch_database(database_url()) as url, tomato_dao.connect(url, statement_timeout=600) as db:
        components = fill(db, arguments.hosts)
        done, first = _timed(db.usage.aggregate, now=NOW)
        _row(f"first aggregate after a load: {done.written:,} records written", first, 30)
        _measure(db, url, components, arguments.sample)


def fill(db: Database, hosts: int) -> list[int]:
    """Create the testbed with its history. Return the usage ids of its host components."""
    values = {"hosts": hosts, "now": NOW.replace(tzinfo=None)}
    with db.connection() as connection:
        with connection.transaction():
            for part in (TESTBED, HISTORY):
                connection.execute(part.format(**values))
        connection.execute("vacuum analyze")
        tables = ("hosts", "elements", "connections", "topologies", "users", "usage_records")
        for table in tables:
            (count,) = connection.execute(f"select count(*) from {table}").fetchone() or (0,)
            print(f"{count:>10,} {table.replace('_', ' ')}")
        found = connection.execute("select usage_id from host_elements union all select usage_id from host_connections")
        components = [row[0] for row in found]
    print(f"{len(components):>10,} host components\n")
    return components


def _measure(db: Database, url: str, components: list[int], sample: int) -> None:
    """Measure windows up to a full hour, one window of a few components, and one window with Django."""
    ours = (0.0, 0.0)
    for end in (NOW + n * WINDOW for n in range(1, 7)):
        print(f"\n{end:%H:%M}")
        now = end + timedelta(seconds=30)
        imported, seconds = _timed(db.usage.import_records, records(components, end), now=now)
        _row(f"import of {imported.imported:,} records", seconds, 2)
        done, seconds = _timed(db.usage.aggregate, now=now)
        _row(f"aggregate: {done.written:,} records written, {done.pruned:,} pruned", seconds, 2)
        again, idle = _timed(db.usage.aggregate, now=now)
        assert again.written == again.pruned == 0, again
        _row("aggregate again: nothing to do", idle, 0.2)
        _row("quotas.count_use", _timed(db.quotas.count_use, now=now)[1])
        _row("quotas.enforce", _timed(db.quotas.enforce, now=now)[1])
        if ours == (0, 0):
            ours = seconds / done.written, idle / done.written
    few = components[:100]
    end += WINDOW
    print(f"\n{end:%H:%M}, {len(few)} components only")
    imported, seconds = _timed(db.usage.import_records, records(few, end), now=end)
    _row(f"import of {imported.imported:,} records", seconds)
    done, seconds = _timed(db.usage.aggregate, now=end)
    _row(f"aggregate: {done.written:,} records written", seconds)
    for n in range(1, 5):
        db.usage.aggregate(now=end + n * WINDOW)  # so that no earlier work is pending
    end += 5 * WINDOW
    db.usage.import_records(records(components, end), now=end)
    from benchmarks.django_accounting import roll_up_by_object  # here, since a simulated year needs no Django

    django = roll_up_by_object(url, sample, end)
    print(f"\n{'at ' + format(NOW + WINDOW, '%H:%M') + ', µs per object':<43}{'tomato_dao':>12}{'Django':>12}{'ratio':>9}")
    for title, mine, theirs in zip(("a new record", "nothing new"), ours, django, strict=True):
        print(f"  {title:<41}{mine * 1e6:>12,.2f}{theirs * 1e6:>12,.0f}{theirs / mine:>9,.0f}  (at least 100)")


def records(components: list[int], end: datetime) -> list[UsageRecord]:
    """Return a new record for each component."""
    return [UsageRecord(usage_id, "5minutes", end - WINDOW, end, 5, 1e9, 1e10, 5e6, 12.5) for usage_id in components]


def _timed(call: Callable[P, T], *values: P.args, **named: P.kwargs) -> tuple[T, float]:
    start = time.perf_counter()
    result = call(*values, **named)
    return result, time.perf_counter() - start


def _row(title: str, seconds: float, bound: float | None = None) -> None:
    print(f"  {title:<58}{seconds:9.3f} s{'' if bound is None else f'  (at most {bound})'}")


if __name__ == "__main__":
    main()

"""`make bench-filters`: the cost of optional parameters and orders per call, and their benefit on a million rows.

The first part compares a query with optional parameters and orders with the same query without choices, pinned to one CPU. The
second part compares its variants with a single statement for all cases, “:x is null or x = :x”, as often written by hand.
"""

import argparse
import gc
import os
import random
import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import tomato_dao
from benchmarks.page import positive
from benchmarks.pinning import pin
from tomato_dao import Database, rows
from tomato_dao.ops.scratch import scratch_database
from tomato_dao.ops.urls import database_url
from tomato_dao.sql.binding import bound
from tomato_dao.sql.query_files import load

COLUMNS = "o.id, o.name, o.description, o.homepage_url, o.image_url, o.description_text, o.usage_id, o.attrs"
ORGANIZATIONS = f"""-- name: chosen(name, description, after_name, after_id, limit)
-- record_class: Organization
-- optional: name, description, after_name, after_id
-- order: name = o.name, o.id
-- order: id = o.id
select {COLUMNS}
from organizations o
where true
  and o.name = :name -- if: name
  and o.description = :description -- if: description
  and (o.name, o.id) > (:after_name, :after_id) -- after: name
  and o.id > :after_id -- after: id
order by o.name, o.id -- order
limit :limit;

-- name: static(limit, name)
-- record_class: Organization
select {COLUMNS}
from organizations o
where true
  and o.name = :name
order by o.name, o.id
limit :limit;
"""
ROUNDS = 600
MILLION = 1_000_000
GROUPS = 10_000
DUMPS = """
create table dumps (id bigint primary key, group_id bigint not null, source text not null, at timestamptz not null);
insert into dumps
select n, n::bigint * 7919 % {groups}, 'source' || n % 50, timestamptz '2026-01-01Z' + n * interval '1 s'
from generate_series(1, {rows}) n;
create index on dumps (group_id, at);
create index on dumps (source, at);
create index on dumps (at);
"""
LISTS = """-- name: days_chosen(group_id, source)$
-- optional: group_id, source
select count(distinct d.at::date) as n
from dumps d
where true
  and d.group_id = :group_id -- if: group_id
  and d.source = :source -- if: source
;

-- name: days_one_for_all(group_id, source)$
-- nullable: group_id, source
select count(distinct d.at::date) as n
from dumps d
where
  (:group_id::bigint is null or d.group_id = :group_id)
  and (:source::text is null or d.source = :source);

-- name: chosen(group_id, source, limit)
-- optional: group_id, source
select d.id
from dumps d
where true
  and d.group_id = :group_id -- if: group_id
  and d.source = :source -- if: source
order by d.at desc
limit :limit;

-- name: one_for_all(group_id, source, limit)
-- nullable: group_id, source
select d.id
from dumps d
where
  (:group_id::bigint is null or d.group_id = :group_id)
  and (:source::text is null or d.source = :source)
order by d.at desc
limit :limit;
"""


def main() -> None:
    """Print both comparisons."""
    parser = argparse.ArgumentParser(prog="bench-filters", description=__doc__)
    parser.add_argument("--rounds", type=positive, default=ROUNDS, help="number of rounds of 50 calls (default: %(default)s)")
    parser.add_argument(
        "--rows", type=positive, default=MILLION, help="number of rows of the second part (default: %(default)s)"
    )
    options = parser.parse_args()
    with scratch_database(database_url()) as url, tomato_dao.connect(url) as db:
        for n in range(100):
            db.organizations.create(f"org{n}", description=f"number {n}", attrs={"n": n, "_note": "a note"})
        free = os.sched_getaffinity(0)
        pin(url, {min(free)})
        static, chosen = per_call(db, options.rounds)
        pin(url, free)
        print(f"µs per call, pinned: static {static:.1f}, with choices {chosen:.1f}: {chosen / static:.3f} (at most 1.03)")
        with db.connection() as connection:
            connection.execute(DUMPS.format(groups=GROUPS, rows=options.rows).encode())
            connection.execute("vacuum analyze dumps")
        print(f"ms of {options.rows:,} rows, after ten calls" + f"{':x is null or …':>25}{'variants':>12}")
        for case, slow, fast in by_case(db):
            print(f"  {case:<42}{slow:17.3f}{fast:12.3f}{slow / fast:9.1f} ×")


def per_call(db: Database, rounds: int = ROUNDS) -> tuple[float, float]:
    """Return the µs per call, static and with choices, for the organizations org0 to org99: medians of interleaved rounds.

    Both are written as a DAO writes them. A partial with keywords would make a dict for each call, which costs as much as the
    choices do.
    """
    query = _bound(ORGANIZATIONS, db, "organizations")

    def static() -> Any:
        return query.static(10, "org5")

    def chosen() -> Any:
        return query.chosen(10, name="org5", description=None, after_name=None, after_id=None, order="name")

    assert static() == chosen() != []
    gc.collect()
    return _medians([static, chosen], rounds, 50)


def by_case(db: Database) -> list[tuple[str, float, float]]:
    """Return, for each read, the ms of the single statement and of the variant, each after ten calls without a filter.

    From the sixth call on the server uses a generic plan if it expects that to cost less than planning and running each call.
    It does so for the read of days, since the generic plan seems to leave few rows to sort, but not for the page.
    """
    query = _bound(LISTS, db, "dumps")
    found = []
    for what, one_for_all, chosen, limit in (
        ("page of 100", query.one_for_all, query.chosen, [100]),
        ("days", query.days_one_for_all, query.days_chosen, []),
    ):
        for case, group_id, source in (
            ("no filter", None, None),
            ("source, 2 %", None, "source7"),
            ("group, 0.01 %", 77, None),
            ("both", 77, "source27"),
        ):
            slow = partial(one_for_all, group_id, source, *limit)
            fast = partial(chosen, *limit, group_id=group_id, source=source)
            for _ in range(10):
                assert slow() == fast()
            one, variant = _medians([slow, fast], 15, 1)
            found.append((f"{what}, {case}", one / 1000, variant / 1000))
    return found


def _bound(text: str, db: Database, file: str) -> Any:
    """Return the queries of a text as functions, like those of a DAO."""
    with tempfile.TemporaryDirectory() as directory:
        Path(directory, f"{file}.sql").write_text(text, "utf-8")
        return bound(load(Path(directory), rows.CLASSES), db._run, file)


def _medians(calls: list[Callable[[], Any]], rounds: int, count: int) -> tuple[float, float]:
    """Return the median time of a call in µs, for both."""
    times: dict[int, list[float]] = {0: [], 1: []}
    turns = [0, 1]
    for _ in range(rounds):
        random.shuffle(turns)
        for turn in turns:
            call = calls[turn]
            start = time.perf_counter()
            for _ in range(count):
                call()
            times[turn].append((time.perf_counter() - start) / count)
    return statistics.median(times[0]) * 1e6, statistics.median(times[1]) * 1e6


if __name__ == "__main__":
    main()

"""`make bench-scale`: reads on a standby, calls through a pooler, and a failover.

The primary and its standby run on this machine. They are created with the embedded server's programs and default settings.
"""

import argparse
import statistics
import tempfile
import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from time import monotonic, perf_counter

import psycopg

from benchmarks.page import positive, table
from tests.helpers.pooler_cases import pgbouncer
from tests.helpers.standby_cases import Pair, primary_and_standby, until
from tests.standby.test_promotion import Writer, wait_for_writes
from tomato_dao import Database, TomatoError, connect
from tomato_dao.ops.databases import create_database
from tomato_dao.ops.migrate import migrate

NAME = "tomato"
PAIRS, SLOW_PAIRS = 20_000, 1_000  # pairs of a write and a read
CALLS = 1_000  # of a thread
WRITES = 1_000  # without a token, and as many with each kind of token
MANY, MANY_CALLS, SESSIONS, ROUNDS = 400, 25, 20, 3

Row = tuple[str, str, str]  # the measured quantity, the goal, the result


def main() -> None:
    """Run the benchmark and print the table."""
    parser = argparse.ArgumentParser(prog="bench-scale", description=__doc__)
    parser.add_argument(
        "--rounds", type=positive, default=ROUNDS, help="number of rounds through the pooler (default: %(default)s)"
    )
    parser.add_argument(
        "--writes", type=positive, default=WRITES, help="number of writes with each token (default: %(default)s)"
    )
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory, primary_and_standby(Path(directory) / "primary", durable=True) as pair:
        url = pair.primary.url(NAME)
        create_database(url)
        migrate(url)
        pair.caught_up()
        rows = [*_standby(pair, options.writes), *_pooler(url, options.rounds), *_failover(pair)]
    print(table(("measured", "goal", "found"), rows))


def _standby(pair: Pair, writes: int) -> list[Row]:
    url, replicas = pair.primary.url(NAME), [pair.standby.url(NAME)]
    with connect(url, pool_size=SESSIONS, replicas=replicas) as db:
        for n in range(SESSIONS):
            db.organizations.create(f"org{n}")
        stale, share = _pairs(db, threads=8, pairs=PAIRS, wait=0.02)
        rows = [
            (f"stale reads in {PAIRS:,} write→read pairs, no delay", "0", f"{stale}; {share:.1%} of the reads by the standby")
        ]
        _delay(pair, "200ms")
        stale, share = _pairs(db, threads=SESSIONS, pairs=SLOW_PAIRS, wait=0.5)
        what = f"stale reads in {SLOW_PAIRS:,} pairs, replayed 200 ms later, wait of 500 ms"
        rows.append((what, "0", f"{stale}; {share:.1%} by the standby"))
        stale, share = _pairs(db, threads=8, pairs=SLOW_PAIRS, wait=0.02)
        rows.append((f"… and in {SLOW_PAIRS:,} with a wait of 20 ms", "0", f"{stale}; {share:.1%} by the standby"))
        _delay(pair, "0")
        share = _mixed(db)
        rows.append(("share of reads by the standby at 10 % writes, no delay, wait of 20 ms", "≥ 95 %", f"{share:.1%}"))
        with connect(url, pool_size=1) as plain:
            rows += _tokens(db, plain, writes)
    return rows


def _delay(pair: Pair, delay: str) -> None:
    with psycopg.connect(pair.standby.url("postgres"), autocommit=True) as connection:
        connection.execute(f"alter system set recovery_min_apply_delay = '{delay}'".encode())
        connection.execute("select pg_reload_conf()")
    until(
        lambda: (
            pair.standby.ask("select setting::int from pg_settings where name = 'recovery_min_apply_delay'")
            == int(delay.rstrip("ms"))
        )
    )
    pair.caught_up()


def _in_threads(threads: int, work: Callable[[int], int]) -> int:
    """Call a function with its number in each thread, and return the sum of the results."""
    with ThreadPoolExecutor(threads) as pool:
        return sum(pool.map(work, range(threads)))


def _pairs(db: Database, *, threads: int, pairs: int, wait: float) -> tuple[int, float]:
    """Return the number of reads that missed their thread's previous write, and the standby's share of the reads."""

    def work(number: int) -> int:
        stale, name = 0, f"org{number}"
        for n in range(pairs // threads):
            db.organizations.set_attrs(name, {"n": n})
            with db.reads(wait=wait):
                stale += db.organizations.get_by_name(name).attrs["n"] != n
        return stale

    before = db.reads_served()
    stale = _in_threads(threads, work)
    return stale, _share(before, db.reads_served())


def _share(before: tuple[int, int], after: tuple[int, int]) -> float:
    served, unserved = after[0] - before[0], after[1] - before[1]
    return served / (served + unserved)


def _mixed(db: Database) -> float:
    def work(number: int) -> int:
        for n in range(CALLS):
            if n % 10 == 0:
                db.organizations.set_attrs(f"org{number}", {"n": n})
            else:
                with db.reads(wait=0.02):
                    db.organizations.get_by_name(f"org{number}")
        return 0

    before = db.reads_served()
    _in_threads(8, work)
    return _share(before, db.reads_served())


def _tokens(db: Database, plain: Database, writes: int) -> list[Row]:
    """Measure writes without a token, with the token that they return, and with a requested token, in turns."""
    rows = []
    for what, write in (("a write", _write), ("a transaction of a write", _write_in_transaction)):
        seconds: tuple[list[float], ...] = ([], [], [])
        for n in range(writes * 3):
            began = perf_counter()
            write(db if n % 3 else plain, n)
            if n % 3:
                db.token(own=n % 3 == 1)
            seconds[n % 3].append(perf_counter() - began)
        without, own, asked = (statistics.median(each) for each in seconds)
        rows.append((f"cost of `token(own=True)` on {what}, median", "≤ 10 %", _cost(without, own)))
        rows.append((f"… of `token()`, which asks: all that anybody has committed, on {what}", "–", _cost(without, asked)))
    return rows


def _write(db: Database, n: int) -> None:
    db.organizations.set_attrs("org0", {"n": n})


def _write_in_transaction(db: Database, n: int) -> None:
    with db.transaction():
        _write(db, n)


def _cost(without: float, with_token: float) -> str:
    return f"{with_token / without - 1:.1%} ({without * 1e6:.0f} → {with_token * 1e6:.0f} µs)"


def _pooler(url: str, rounds: int) -> list[Row]:
    found: dict[bool, list[float]] = {False: [], True: []}
    errors: Counter[str] = Counter()
    with (
        pgbouncer(url, sessions=SESSIONS) as pooled,
        connect(url, pool_size=SESSIONS) as direct,
        connect(pooled, pool_size=SESSIONS, prepare=False) as behind,
    ):
        for _ in range(rounds):
            for is_pooled, db in ((False, direct), (True, behind)):
                began = perf_counter()
                _in_threads(MANY, lambda number, db=db: _read(db, number, errors))  # type: ignore[misc]
                found[is_pooled].append(MANY * MANY_CALLS / (perf_counter() - began))
    rates = [statistics.median(found[is_pooled]) for is_pooled in (False, True)]
    what = (
        f"{MANY} threads, {SESSIONS} sessions behind PgBouncer without prepared statements: errors; calls per second / direct"
    )
    return [(what, "0; ≥ 0.65", f"{errors.total()}; {rates[1] / rates[0]:.2f} ({rates[1]:,.0f} / {rates[0]:,.0f})")]


def _read(db: Database, number: int, errors: "Counter[str]") -> int:
    for _ in range(MANY_CALLS):
        try:
            db.organizations.get_by_name(f"org{number % SESSIONS}")
        except TomatoError as error:
            errors[str(error)] += 1
    return 0


def _failover(pair: Pair) -> list[Row]:
    """Kill the primary while four writers work, with synchronous replication, and promote the standby."""
    pair.hear_all()
    both = pair.url(NAME, target_session_attrs="read-write")
    with connect(both, pool_size=4, timeout=60) as db, ThreadPoolExecutor(4) as threads:
        owner = db.users.create("alice", organization_id=db.organizations.get_by_name("org0").id)
        writers = [Writer(db, owner.id, f"writer{n}") for n in range(4)]
        try:
            running = [threads.submit(writer.run) for writer in writers]
            wait_for_writes(writers, monotonic())
            threading.Event().wait(3)  # of writes
            pair.primary.kill()
            pair.standby.ask("select pg_promote(true, 60)")
            promoted = monotonic()
            first = wait_for_writes(writers, promoted) - promoted
        finally:
            for writer in writers:
                writer.stop()
        for thread in running:
            thread.result(60)
    with psycopg.connect(pair.standby.url(NAME)) as connection:
        stored = Counter(name for (name,) in connection.execute("select name from topologies"))
    acknowledged = {name for writer in writers for name in writer.acknowledged}
    lost, doubled = len(acknowledged - stored.keys()), sum(n > 1 for n in stored.values())
    what = f"failover, {len(acknowledged):,} writes of 4 threads: first write after the promotion; lost; doubled"
    return [(what, "≤ 2 s; 0; 0", f"{first:.2f} s; {lost}; {doubled}")]


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        main()

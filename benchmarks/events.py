"""`make bench-events`: commits per second of 8 writers that change elements' states, with and without notifying triggers.

The server flushes each commit to disk (fsync). The writers are pgbench, which is part of the embedded server. The kinds of
triggers take turns in each round.
"""

import argparse
import re
import statistics
import subprocess
import tempfile
from pathlib import Path

import psycopg

from benchmarks.page import positive, table
from tomato_dao.ops import programs
from tomato_dao.ops.scratch import scratch_database
from tomato_dao.ops.urls import database_url

WRITERS, SECONDS, ROUNDS, ELEMENTS = 8, 5, 3, 10_000

TESTBED = f"""
insert into topologies (name) select n from generate_series(1, 100) n;
insert into elements (topology_id, type) select 1 + n % 100, 'kvmqm' from generate_series(1, {ELEMENTS}) n;
create unlogged table changed (id bigint);
"""
CHANGE = f"""
\\set id random(1, {ELEMENTS})
update elements set state = case state when 'created' then 'started' else 'created' end where id = :id;
"""
_BODY = "create or replace function notify_of_component() returns trigger language plpgsql as $$ begin {} return null; end $$"
KINDS = {
    "no trigger": "alter table elements disable trigger elements_state_changed",
    "an empty trigger": _BODY.format(""),
    "a trigger that inserts into an unlogged table": _BODY.format("insert into changed values (new.topology_id);"),
    "the trigger that notifies": _BODY.format(
        "perform pg_notify('tomato_changes', format('%s %s state', tg_argv[0], new.topology_id));"
    ),
}


def main() -> None:
    """Run the benchmark and print the table."""
    parser = argparse.ArgumentParser(prog="bench-events", description=__doc__)
    parser.add_argument("--rounds", type=positive, default=ROUNDS, help="number of rounds (default: %(default)s)")
    parser.add_argument("--seconds", type=positive, default=SECONDS, help="length of a measurement (default: %(default)s)")
    options = parser.parse_args()
    rates: dict[str, list[float]] = {kind: [] for kind in KINDS}
    with scratch_database(database_url()) as url, psycopg.connect(url, autocommit=True) as connection:
        connection.execute(TESTBED.encode())
        connection.execute("vacuum analyze")
        for _ in range(options.rounds):
            for kind, change in KINDS.items():
                connection.execute("alter table elements enable trigger elements_state_changed")
                connection.execute(change.encode())
                connection.execute("checkpoint")
                rates[kind].append(_rate(url, options.seconds))
        (fsync,) = connection.execute("select current_setting('fsync')").fetchone() or ("",)
    found = {kind: statistics.median(each) for kind, each in rates.items()}
    rows = [(kind, f"{rate:,.0f}", f"{rate / found['no trigger']:.2f}") for kind, rate in found.items()]
    print(f"{WRITERS} writers, fsync {fsync}; medians of {options.rounds} rounds of {options.seconds} s.\n")
    print(table(("after a change of an element's state", "commits per second", "relative to no trigger"), rows))


def _rate(url: str, seconds: int) -> float:
    with tempfile.NamedTemporaryFile("w", suffix=".sql") as script:
        script.write(CHANGE)
        script.flush()
        clients = ["-c", str(WRITERS), "-j", "2", "-T", str(seconds), "-M", "prepared", "-n", "-f", script.name]
        program = Path(programs.binaries()) / "pgbench"
        said = subprocess.run([program, *clients, url], capture_output=True, text=True, check=True).stdout
    found = re.search(r"tps = ([0-9.]+)", said)
    assert found, said
    return float(found[1])


if __name__ == "__main__":
    main()

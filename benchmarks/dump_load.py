"""`make bench-dump`: bin/dump and bin/load compared with psql, pg_restore, and Django's dumpdata and loaddata."""

import argparse
import filecmp
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import psycopg
from psycopg import sql

from benchmarks.page import positive
from benchmarks.pinning import pin
from tomato_dao.ops import programs
from tomato_dao.ops.scratch import scratch_database
from tomato_dao.ops.urls import database_url
from tomato_dao.transfer import catalog

PROGRAMS = programs.binaries()
BIN = Path(__file__).parents[1] / "bin"
Found = dict[str, list[tuple[float, float]]]

# Data with :records usage records, as many per object as are kept, and the objects that they belong to.
DATA = """
insert into usage_statistics (attrs) select '{}' from generate_series(1, %(records)s / 80);
insert into organizations (name) select 'organization ' || n from generate_series(1, 20) n;
insert into sites (name, organization_id, longitude, latitude)
select 'site ' || n, 1 + n %% 20, 360 * random() - 180, 180 * random() - 90 from generate_series(1, 40) n;
insert into hosts (name, address, rpcurl, site_id, info)
select 'host' || n || '.example', '10.0.0.' || n, 'ssl+jsonrpc://host' || n, 1 + n %% 40,
  jsonb_build_object('uptime', random() * 1e7, 'resources', jsonb_build_object(
    'loadavg', jsonb_build_array(random(), random(), random()), 'memory', jsonb_build_object('total', 1e7, 'used', random())
  ))
from generate_series(1, 200) n;
insert into users (name, organization_id, realname, flags)
select 'user' || n, 1 + n %% 20, 'Zoë “' || n || '”', '{debug,nomails}' from generate_series(1, %(records)s / 1000) n;
insert into topologies (name) select 'topology ' || n from generate_series(1, %(records)s / 500) n;
insert into topology_permissions (topology_id, user_id, role)
select n, 1 + n %% (%(records)s / 1000), 'owner' from generate_series(1, %(records)s / 500) n;
begin;
insert into connections (topology_id, attrs)
select 1 + n %% (%(records)s / 500), jsonb_build_object('delay_to', n / 7.0) from generate_series(1, %(records)s / 100) n;
insert into elements (id, topology_id, type, attrs) overriding system value
select
  2 * c.id - 1 + side, c.topology_id, 'kvmqm',
  jsonb_build_object('name', 'vm' || c.id, '_pos', jsonb_build_object('x', random()))
from connections c, generate_series(0, 1) side;
insert into elements (id, topology_id, type, parent_id, connection_id) overriding system value
select %(records)s + 2 * c.id + side, c.topology_id, 'kvmqm_interface', 2 * c.id - 1 + side, c.id
from connections c, generate_series(0, 1) side;
commit;
insert into host_elements (host_id, num, element_id, type, state)
select 1 + n %% 200, n, n, 'kvmqm', 'started' from generate_series(1, %(records)s / 50) n;
insert into key_values (key, value) select 'large ' || n, to_jsonb(repeat(md5(n::text), 25000)) from generate_series(1, 40) n;
insert into error_groups select 'group' || n from generate_series(1, 100) n;
insert into error_dumps (source, dump_id, group_id, at, data)
select 'host' || n, n, 'group' || 1 + n %% 100, now(), repeat(md5(n::text), 500) from generate_series(1, %(records)s / 1000) n;
insert into usage_records (usage_id, type, begin_at, end_at, measurements, memory, diskspace, traffic, cputime)
select
  1 + n / 80, (array['5minutes', 'hour', 'day', 'month', 'year'])[1 + n %% 5],
  timestamptz '2026-01-01' + n %% 80 * interval '5 min', timestamptz '2026-01-01 00:05' + n %% 80 * interval '5 min',
  1, random() * 1e9, random() * 1e10, random() * 1e7, random() * 300
from generate_series(0, %(records)s - 1) n;
"""


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(prog="bench-dump", description=__doc__)
    parser.add_argument("--records", type=positive, default=1_000_000, help="usage records; everything else in proportion")
    parser.add_argument(
        "--rounds", type=positive, default=5, help="number of rounds, whose medians are reported (default: %(default)s)"
    )
    parser.add_argument("--no-django", action="store_true", help="omit Django, which takes an hour for a million records")
    parser.add_argument(
        "--pinned", action="store_true", help="pin client and server to one CPU, to measure the cost of all work together"
    )
    options = parser.parse_args()
    server, found = database_url(), Found()
    with tempfile.TemporaryDirectory() as name, scratch_database(server) as source, scratch_database(server) as target:
        directory = Path(name)
        directory.chmod(0o755)
        rows = _fill(source, options.records)
        if options.pinned:
            pin(source, {0})
        how = "client and server on one CPU" if options.pinned else "unpinned"
        print(
            f"{rows:,} rows, {options.records:,} of them usage records; medians of {options.rounds} interleaved rounds, {how}\n"
        )
        for _ in range(options.rounds):
            _round(found, source, target, server, directory)
        if not options.no_django:
            _django(found, source, rows, server, directory, options.records // 10)
    _print(found, pinned=options.pinned)


def _fill(url: str, records: int) -> int:
    """Create the data. Return the number of rows."""
    with psycopg.connect(url, autocommit=True) as connection:
        psycopg.ClientCursor(connection).execute(DATA, {"records": records})
        connection.execute("vacuum analyze")
        connection.execute("checkpoint")
        counts = [
            connection.execute(sql.SQL("select count(*) from {}").format(sql.Identifier(table.name))).fetchone()
            for table in catalog.tables(connection)
        ]
    return sum(row[0] for row in counts if row)


def _round(found: Found, source: str, target: str, server: str, directory: Path) -> None:
    dump, custom = str(directory / "dump.json"), str(directory / "custom")
    with psycopg.connect(source) as connection:
        names = [sql.Identifier(table.name).as_string() for table in catalog.tables(connection)]
    copies = [word for name in names for word in ("-c", f"copy (select row_to_json(t) from {name} t) to stdout")]
    _time(found, "psql", ["psql", "-qX", source, "-c", "set timezone = 'UTC'", *copies], output=directory / "psql")
    _time(found, "dump", [str(BIN / "dump")], source, output=Path(dump))
    _time(found, "dump, two jobs", [str(BIN / "dump"), "--jobs", "2"], source, output=directory / "two")
    assert filecmp.cmp(dump, directory / "two", shallow=False)
    subprocess.run([PROGRAMS / "pg_dump", "-Fc", "-Z0", "-f", custom, "-d", source], check=True)
    with scratch_database(server, migrated=False) as restored:
        _time(found, "pg_restore", ["pg_restore", "--exit-on-error", "-d", restored, custom])
    _time(found, "load", [str(BIN / "load"), "--replace", dump], target)
    _time(found, "dump, again", [str(BIN / "dump")], target, output=directory / "two")
    assert filecmp.cmp(dump, directory / "two", shallow=False)


# Allow explicit ids, check foreign keys at the end, and have no triggers.
_AS_DJANGO_MAKES_TABLES = """
do $$
declare
  change text;
begin
  for change in
    select format('alter table %s alter %I set generated by default', attrelid::regclass, attname)
    from pg_attribute where attidentity = 'a'
    union all
    select format('alter table %s alter constraint %I deferrable initially deferred', conrelid::regclass, conname)
    from pg_constraint where contype = 'f' and connamespace = 'public'::regnamespace
    union all
    select format('alter table %s disable trigger user', oid::regclass)
    from pg_class where relkind = 'r' and relnamespace = 'public'::regnamespace
  loop
    execute change;
  end loop;
end $$
"""


def _django(found: Found, source: str, rows: int, server: str, directory: Path, records: int) -> None:
    """Measure dumpdata of all rows and loaddata of a tenth, with times scaled to all rows."""
    python = [sys.executable, "-m", "benchmarks.django_tables"]
    _time(found, "dumpdata", [*python, source, "dumpdata", str(directory / "all.json")])
    with scratch_database(server) as tenth, scratch_database(server) as target:
        few = _fill(tenth, records)
        subprocess.run([*python, tenth, "dumpdata", str(directory / "tenth.json")], check=True)
        with psycopg.connect(target, autocommit=True) as connection:
            connection.execute(_AS_DJANGO_MAKES_TABLES)
        _time(found, "loaddata", [*python, target, "loaddata", str(directory / "tenth.json")])
    seconds, memory = found["loaddata"][0]
    found["loaddata"] = [(seconds * rows / few, memory)]


def _time(found: Found, name: str, command: Sequence[str], url: str = "", output: Path = Path(os.devnull)) -> None:
    """Run a command and record its seconds and peak memory in MB (at least this process's, from which it is forked).

    All earlier writes are flushed to disk first, so that no command waits for another one's files.
    """
    program = PROGRAMS / command[0] if command[0].startswith(("psql", "pg_")) else command[0]
    environment = {**os.environ, "PGOPTIONS": "-c client_min_messages=warning"}
    if url:
        environment |= {"DATABASE_URL": url, "OWNER_DATABASE_URL": url}
    if output.is_file():
        output.unlink()
    os.sync()
    start = time.perf_counter()
    with output.open("wb") as file:
        process = subprocess.Popen([program, *command[1:]], stdout=file, stderr=subprocess.PIPE, env=environment)
        assert process.stderr
        said = process.stderr.read().decode()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0, said
    found.setdefault(name, []).append((time.perf_counter() - start, usage.ru_maxrss / 1024))


def _print(found: Found, *, pinned: bool) -> None:
    seconds = {name: statistics.median(second for second, _ in runs) for name, runs in found.items()}
    memory = {name: max(megabytes for _, megabytes in runs) for name, runs in found.items()}
    for name in found:
        print(f"  {name:<20}{seconds[name]:>10.2f} s{memory[name]:>10.0f} MB peak memory")
    print("\ngoals")
    for what, peer, bound in (
        ("dump", "psql", 1.15),
        ("dump, two jobs", "psql", 0.7),
        ("load", "pg_restore", 1.2 if pinned else 1.0),
        ("dump", "dumpdata", 1 / 15),
        ("load", "loaddata", 1 / 100),
    ):
        if peer in seconds:
            ratio = seconds[what] / seconds[peer]
            print(f"  {f'{what} / {peer}':<40}{ratio:8.3f}  at most {bound:.3f}  {'reached' if ratio <= bound else 'MISSED'}")
    for what in ("dump", "dump, two jobs", "load"):
        reached = "reached" if memory[what] <= 96 else "MISSED"
        print(f"  {f'peak memory of {what}':<40}{memory[what]:8.0f}  at most 96 MB  {reached}")


if __name__ == "__main__":
    main()

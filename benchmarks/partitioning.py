"""`python -m benchmarks.partitioning`: WAL and time of a minute's accounting, with and without partitioned usage_records.

Both databases have the testbed of benchmarks.accounting and take turns. A checkpoint precedes each aggregate, so that its WAL
contains a full image of each changed page.
"""

import argparse
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from statistics import median
from unittest.mock import patch

import psycopg

import tomato_dao
from benchmarks.accounting import NOW, WINDOW, fill, records
from benchmarks.page import positive
from tomato_dao import Database
from tomato_dao.ops.scratch import scratch_database
from tomato_dao.ops.urls import database_url
from tomato_dao.server import schema
from tomato_dao.server.probe import maintenance

_TYPES = ("5minutes", "hour", "day", "month", "year")
_END = "  constraint usage_records_end_at_check check (end_at >= begin_at)\n)"
_FILE = "20261128150600_usage_records_and_sources.sql"


@dataclass(frozen=True)
class _Run:
    wal: float  # bytes
    seconds: float
    cpu: float  # CPU seconds of the server process


def main() -> None:
    """Print a row for each aggregate, and the ratios."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--hosts", type=positive, default=1000, help="number of hosts; everything else is in proportion (default: %(default)s)"
    )
    parser.add_argument("--windows", type=positive, default=12, help="number of windows (default: %(default)s, an hour)")
    arguments = parser.parse_args()
    url = database_url()
    with ExitStack() as stack:
        whole = stack.enter_context(_filled(url, arguments.hosts))
        with tempfile.TemporaryDirectory() as directory, patch.object(schema, "DB_DIR", _partitioned(Path(directory))):
            parted = stack.enter_context(_filled(url, arguments.hosts))
        server = stack.enter_context(closing(maintenance(url)))
        found: dict[str, list[_Run]] = {"whole": [], "partitioned": []}
        for n in range(1, arguments.windows + 1):
            both = [("whole", *whole), ("partitioned", *parted)]
            for name, db, components in both if n % 2 else reversed(both):
                run = _measured(server, db, components, n)
                found[name].append(run)
                print(f"{n:>3} {name:<12}{run.wal / 1e6:8.1f} MB{run.seconds:8.2f} s{run.cpu:8.2f} s of CPU", flush=True)
    for what in ("wal", "seconds", "cpu"):
        pairs = [(getattr(a, what), getattr(b, what)) for a, b in zip(*found.values(), strict=True)]
        total = sum(b for _, b in pairs) / sum(a for a, _ in pairs)
        print(f"{what:<8} partitioned / whole: {total:.2f} of all, {median(b / a for a, b in pairs):.2f} in the median")


def _partitioned(directory: Path) -> Path:
    """Return a copy of db/ in which usage_records is partitioned."""
    copy = Path(shutil.copytree(schema.DB_DIR, directory / "db"))
    file = copy / "migrations" / _FILE
    parts = "".join(f"create table usage_records_{t} partition of usage_records for values in ('{t}');\n" for t in _TYPES)
    text = file.read_text()
    assert _END in text
    file.write_text(text.replace(f"{_END};\n", f"{_END} partition by list (type);\n{parts}", 1))
    return copy


@contextmanager
def _filled(url: str, hosts: int) -> Iterator[tuple[Database, list[int]]]:
    with scratch_database(url) as scratch, tomato_dao.connect(scratch, statement_timeout=600, pool_size=1) as db:
        components = fill(db, hosts)
        db.usage.aggregate(now=NOW)
        yield db, components


def _measured(server: psycopg.Connection, db: Database, components: list[int], n: int) -> _Run:
    end = NOW + n * WINDOW
    db.usage.import_records(records(components, end), now=end)
    with db.connection() as connection:
        process = connection.info.backend_pid
        if n % 3 == 1:
            connection.execute("vacuum usage_records")  # like autovacuum
    server.execute("checkpoint")
    position, used, start = _position(server), _cpu(process), time.perf_counter()
    db.usage.aggregate(now=end + timedelta(seconds=30))
    return _Run(_position(server) - position, time.perf_counter() - start, _cpu(process) - used)


def _position(server: psycopg.Connection) -> float:
    (position,) = server.execute("select (pg_current_wal_insert_lsn() - '0/0')::float8").fetchone() or (0.0,)
    return float(position)


def _cpu(process: int) -> float:
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    main()

"""`make bench-legacy`: seconds and peak memory of bin/load for an old dump, and for one ten times as large."""

import argparse
import gzip
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.page import positive
from tomato_dao.ops.scratch import scratch_database
from tomato_dao.ops.urls import database_url

BIN = Path(__file__).parents[1] / "bin"
SAMPLE = Path(__file__).parents[2] / "shared" / "data" / "legacy" / "medium.json.gz"
# The fields with another record's pk, and the fields that must be unique.
REFERENCES = frozenset(
    [
        "statistics", "usage", "monthly", "used", "organization", "totalUsage", "site", "quota", "set", "user", "permissions",
        "topology", "parent", "connection", "element", "profile", "template", "network", "host", "topology_element",
        "topology_connection", "usageStatistics", "connection1", "connection2", "connectionElement1", "connectionElement2",
        "siteA", "siteB",
    ]
)  # fmt: skip
NAMES = frozenset(["rpcurl", "kind", "key", "dump_id", "group"])


def main() -> None:
    """Print a line for each file."""
    parser = argparse.ArgumentParser(prog="make bench-legacy", description=__doc__)
    parser.add_argument("file", nargs="?", type=Path, default=SAMPLE, help=f"an old dump (default: {SAMPLE})")
    parser.add_argument("--copies", type=positive, default=10, help="factor of the second file's size (default: %(default)s)")
    options = parser.parse_args()
    if not options.file.exists():
        sys.exit(f"bench-legacy: {options.file} does not exist; name an old dump")
    text = options.file.read_bytes()
    records = json.loads(gzip.decompress(text) if options.file.suffix == ".gz" else text)
    print(f"{'records':>12}{'MB':>8}{'seconds':>10}{'peak MB':>10}")
    for copies in (1, options.copies):
        with tempfile.TemporaryDirectory() as directory, scratch_database(database_url()) as url:
            file = Path(directory) / "dump.json"
            with file.open("w") as output:
                output.write("[")
                for n, record in enumerate(copied(records, copies)):
                    output.write(f"{', ' if n else ''}{json.dumps(record)}")
                output.write("]")
            start = time.monotonic()
            process = subprocess.Popen(
                [BIN / "load", file], env={**os.environ, "OWNER_DATABASE_URL": url}, stderr=subprocess.PIPE
            )
            peak = 0
            while process.poll() is None:
                peak = max(peak, peak_of(process.pid))
                time.sleep(0.05)
            seconds = time.monotonic() - start
            assert process.returncode == 0, process.stderr and process.stderr.read().decode()
            size = file.stat().st_size / 1e6
            print(f"{len(records) * copies:>12,}{size:>8,.0f}{seconds:>10.1f}{peak / 1024:>10.0f}", flush=True)


def copied(records: list[dict[str, Any]], copies: int) -> Iterator[dict[str, Any]]:
    """Yield *times* copies of the records, each with distinct pks and names."""
    step = 1 + max(r["pk"] for r in records if isinstance(r["pk"], int))
    for n in range(copies):
        for record in records:
            model, pk, fields = record["model"], record["pk"], record["fields"]
            if model.startswith("south.") and n:
                continue
            own = {name: _own(model, name, value, n, step) for name, value in fields.items()}
            yield {"model": model, "pk": pk + n * step if isinstance(pk, int) else f"{pk} {n}", "fields": own}


def _own(model: str, name: str, value: Any, n: int, step: int) -> Any:
    if name in REFERENCES and isinstance(value, int):
        return value + n * step
    if model.startswith("tomato.") and (name in NAMES or name == "name") and isinstance(value, str):
        return f"{value} {n}"
    return value


def peak_of(pid: int) -> int:
    """Return a process's peak memory so far in KiB, or 0 if it has ended or the system does not report it."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("VmHWM:")), 0)


if __name__ == "__main__":
    main()

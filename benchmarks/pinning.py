"""Pinning of a benchmark, the server and its sessions to CPUs, so that the figures show the cost of the code."""

import os
from contextlib import suppress
from pathlib import Path

import psycopg


def pin(url: str, cpus: set[int]) -> None:
    """Restrict this process, the server and its sessions to these CPUs."""
    os.sched_setaffinity(0, cpus)
    with psycopg.connect(url) as connection:
        pids = {row[0] for row in connection.execute("select pid from pg_stat_activity")}
        pids.add(int(Path(f"/proc/{connection.info.backend_pid}/stat").read_text().rsplit(")")[1].split()[1]))
    for pid in pids:
        with suppress(FileNotFoundError):  # the process has ended meanwhile
            for task in Path(f"/proc/{pid}/task").iterdir():
                os.sched_setaffinity(int(task.name), cpus)
    for task in Path("/proc/self/task").iterdir():
        os.sched_setaffinity(int(task.name), cpus)

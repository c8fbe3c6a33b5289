"""A rolling deployment with real processes: workers of two releases work side by side while the schema changes."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest

from tests.conftest import CHECKOUT
from tests.helpers import rollout_worker
from tests.helpers.rollout_cases import CONTRACT, EXPAND, Rollout
from tomato_dao.ops import migrate
from tomato_dao.server import schema

LONGEST = 1.0  # seconds that a call may take


@pytest.fixture
def rolled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Rollout:
    return Rollout(tmp_path, monkeypatch)


class Worker:
    """A process that calls all DAOs of a release's code."""

    def __init__(self, directory: Path, url: str, name: str) -> None:
        script = directory / "worker.py"
        if not script.exists():
            shutil.copy(rollout_worker.__file__, script)
        self.process = subprocess.Popen(
            [sys.executable, str(script), name],
            env={**os.environ, "DATABASE_URL": url, "PYTHONPATH": str(directory)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def ready(self) -> "Worker":
        """Wait until it has called each DAO."""
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == "ready\n", self.process.communicate()[1]
        return self

    def end(self) -> dict[str, object]:
        """Let it end, and return what it says of its calls."""
        said, errors = self.process.communicate("", timeout=60)
        assert self.process.returncode == 0, errors
        told: dict[str, object] = json.loads(said)
        return told


def older(directory: Path) -> Path:
    """Write the older release's code into a directory."""
    shutil.copytree(CHECKOUT / "tomato_dao", directory / "tomato_dao", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(CHECKOUT / "db", directory / "db")
    return directory


@pytest.mark.parametrize(
    ("workers", "rows"),
    [pytest.param(2, 3000, marks=pytest.mark.slow), pytest.param(4, 1_000_000, marks=pytest.mark.long)],
    ids=["small", "large"],
)
def test_no_call_fails_or_waits_while_two_releases_work_side_by_side(
    tomato_url: str, rolled: Rollout, server: psycopg.Connection, tmp_path: Path, workers: int, rows: int
) -> None:
    server.execute(
        "insert into organizations (name, usage_id) select 'filled ' || n, null from generate_series(1, %s) n", [rows]
    )
    server.execute("vacuum analyze organizations")
    old_code = older(tmp_path / "older")
    rolled.environment(tomato_url)
    processes: list[Worker] = []
    try:
        old = [Worker(old_code, tomato_url, f"old{n}") for n in range(workers)]
        processes += old
        for worker in old:
            worker.ready()
        rolled.newer()
        assert migrate.migrate(tomato_url, save=False) == [EXPAND]
        new = [Worker(rolled.directory, tomato_url, f"new{n}") for n in range(workers)]
        processes += new
        for worker in new:
            worker.ready()
        filled = rolled.command(tomato_url, "backfill", "fill", "--batch", "2000", "--pause", "0.01")
        assert filled.returncode == 0, filled.stderr
        assert migrate.migrate(tomato_url, save=False) == []  # older workers are connected
        told = [worker.end() for worker in old]
        assert migrate.migrate(tomato_url, save=False) == [CONTRACT]
        assert schema.applied(server)[-1] == CONTRACT
        late = Worker(old_code, tomato_url, "late")
        assert "it belongs to a newer tomato-dao; install that version" in late.process.communicate()[1]
        told += [worker.end() for worker in new]
    finally:
        for worker in processes:
            worker.process.kill()
            worker.process.communicate()
    print(*told, sep="\n")
    assert [failure for worker in told for failure in worker["failures"]] == []  # type: ignore[attr-defined]
    assert max(worker["slowest"][0] for worker in told) < LONGEST, told  # type: ignore[index]
    assert server.execute("select count(*) from organizations where shown is null").fetchone() == (0,)

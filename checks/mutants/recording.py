"""Plugins of pytest for the runs that find out which test runs which line and which query."""

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import coverage
import pytest

CONTEXT = "PYTEST_CURRENT_TEST"  # pytest's variable: a test's name and its step


def settings(files: list[str], data: Path) -> str:
    """coverage.py's configuration; a subprocess finds the test that started it in the environment."""
    included = "\n  ".join(files)
    return (
        f"[run]\ndata_file = {data}\nparallel = true\nsigterm = true\npatch = _exit\ncontext = ${{{CONTEXT}-}}\n"
        f"disable_warnings = no-data-collected\ninclude =\n  {included}\n"
    )


class Lines:
    """Notes the lines that each test runs, those of its subprocesses too."""

    def __init__(self, config: str) -> None:
        self._config = config
        self._coverage = coverage.Coverage(config_file=config, context="")
        self._coverage.start()
        _watch_subprocesses({"COVERAGE_PROCESS_START": config})

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        """Everything from a test's fixtures to the end of its clean-up is the test's."""
        self._coverage.switch_context(item.nodeid)
        try:
            return (yield)
        finally:
            self._coverage.switch_context("")

    @pytest.hookimpl(trylast=True)
    def pytest_unconfigure(self) -> None:
        """Write the data."""
        self._coverage.stop()
        self._coverage.save()


def _watch_subprocesses(variables: dict[str, str]) -> None:
    """Have coverage measure subprocesses too, also those that get an environment of their own."""

    os.environ.update(variables)
    start = subprocess.Popen.__init__

    def started(self: Any, *args: Any, **kwargs: Any) -> None:
        if kwargs.get("env") is not None:
            kwargs["env"] = {**kwargs["env"], **variables, CONTEXT: os.environ.get(CONTEXT, "")}
        start(self, *args, **kwargs)

    subprocess.Popen.__init__ = started  # type: ignore[method-assign]


def lines(data: Path, root: Path) -> dict[str, dict[str, list[int]]]:
    """Return the lines that were run: by test, then by file."""
    parts = sorted(data.parent.glob(f"{data.name}.*"))
    combined = coverage.CoverageData(str(data))
    for part in parts:
        other = coverage.CoverageData(str(part))
        other.read()
        combined.update(other)
        part.unlink()
    found: dict[str, dict[str, set[int]]] = {}
    for file in combined.measured_files():
        for line, contexts in combined.contexts_by_lineno(file).items():
            for context in contexts:
                test = context.rpartition(" (")[0] or context
                found.setdefault(test, {}).setdefault(Path(file).relative_to(root).as_posix(), set()).add(line)
    data.unlink(missing_ok=True)
    return {test: {file: sorted(run) for file, run in by_file.items()} for test, by_file in found.items()}


class Queries:
    """Notes the named queries that each test runs."""

    def __init__(self, result: str) -> None:
        self._result = Path(result)
        self._ran: dict[str, set[str]] = {}
        self._test = ""

    def ran(self, query: str) -> None:
        """Note a query."""
        self._ran.setdefault(self._test, set()).add(query)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        """Note which test runs."""
        self._test = item.nodeid
        return (yield)

    @pytest.hookimpl(trylast=True)
    def pytest_unconfigure(self) -> None:
        """Write the file."""
        self._result.write_text(json.dumps({test: sorted(queries) for test, queries in self._ran.items()}))

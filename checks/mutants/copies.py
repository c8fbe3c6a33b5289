"""Copies of the tree for mutants: each with an environment, a forking process, and a database server."""

import json
import os
import select
import shutil
import subprocess
import sysconfig
import venv
from pathlib import Path
from typing import Any

from .mutant import Mutant
from .settings import Settings

_LEFT_OUT = (".git", ".venv", "var", "dist", "build", "__pycache__", ".*_cache", ".hypothesis")
# Variables that make or the shell sets for this run, and that the copy must not inherit.
_UNSET = (
    "PYTHONPATH",
    "DATABASE_URL",
    "TOMATO_DATA_DIR",
    "VIRTUAL_ENV",
    "MAKEFLAGS",
    "MAKELEVEL",
    "MFLAGS",
    "SECONDS",
    "SEED",
    "MODULES",
)
_HOUSE = Path(__file__).parents[2]  # where this package is
_SLACK = 30.0  # seconds after its time limit in which a child must have been ended


class Stopped(Exception):
    """The run's time has passed, or a copy's process has ended."""


class Copy:
    """A copy of the tree, used for one task at a time."""

    def __init__(self, settings: Settings, place: Path) -> None:
        self.settings = settings
        self.place = place
        self._results = place.with_name(f"{place.name}-results")
        self._clock = 1_000_000_000
        self._server: subprocess.Popen[str] | None = None
        self.url = ""
        self._make()
        self._zygote = self._start("checks.mutants.zygote", *settings.preload)
        if settings.database:
            self._server = self._start(settings.database)
            self.url = self._read(self._server, 120).strip()

    def _make(self) -> None:
        for old in (self.place, self._results):
            shutil.rmtree(old, ignore_errors=True)
        shutil.copytree(self.settings.root, self.place, symlinks=True, ignore=shutil.ignore_patterns(*_LEFT_OUT))
        self._results.mkdir()
        environment = self.place / ".venv"
        venv.create(environment, symlinks=True)
        (site,) = environment.glob("lib/python*/site-packages")
        # A .pth file's directories are not looked through for others, so the checkout itself is not on the path.
        lines = [str(self.place), sysconfig.get_paths()["purelib"], str(_HOUSE)]
        start = "import os; exec(\"if os.getenv('COVERAGE_PROCESS_START'): import coverage; coverage.process_startup()\")"
        (site / "mutants.pth").write_text("\n".join([*lines, start, ""]))
        for made in ("installed", "dev"):  # what the Makefile looks for
            (environment / made).touch()

    def _start(self, module: str, *arguments: str) -> "subprocess.Popen[str]":
        environment = {key: value for key, value in os.environ.items() if key not in _UNSET}
        return subprocess.Popen(
            [self.place / ".venv" / "bin" / "python", "-P", "-m", module, *arguments],
            cwd=self.place,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    @staticmethod
    def _read(process: "subprocess.Popen[str]", seconds: float) -> str:
        assert process.stdout  # noqa: S101
        ready, _, _ = select.select([process.stdout], [], [], seconds)
        line = process.stdout.readline() if ready else ""
        if not line:
            raise Stopped("a copy's process has ended or does not answer")
        return line

    def close(self) -> None:
        """End the copy's processes and remove it."""
        self.stop()
        self._zygote.wait()
        if self._server:
            assert self._server.stdin  # noqa: S101
            self._server.stdin.close()
            self._server.wait(60)
        for old in (self.place, self._results):
            shutil.rmtree(old, ignore_errors=True)

    def stop(self) -> None:
        """End the current task, from another thread."""
        self._zygote.terminate()

    def ask(self, timeout: float, **request: Any) -> tuple[int | None, Any, str]:
        """Run a request in a child. Return its exit code (None: timeout), its result and the end of its output."""
        result, output = self._results / "result.json", self._results / "output"
        result.unlink(missing_ok=True)
        request |= {"result": str(result), "output": str(output), "timeout": timeout}
        assert self._zygote.stdin  # noqa: S101
        try:
            self._zygote.stdin.write(json.dumps(request) + "\n")
            self._zygote.stdin.flush()
        except BrokenPipeError:
            raise Stopped("a copy's process has ended") from None
        code: int | None = json.loads(self._read(self._zygote, timeout + _SLACK))
        printed = output.read_text(errors="replace") if output.exists() else ""
        return code, json.loads(result.read_text()) if result.exists() else None, printed

    def call(self, name: str, *arguments: object) -> str:
        """Call a function of the database module in a child. Return its error message, if any."""
        code, result, printed = self.ask(60, call=f"{self.settings.database}:{name}", arguments=arguments)
        return str(result) if code == 0 else printed[-2000:] or "no answer"

    def test(self, tests: list[str], timeout: float, *, template: str = "mutants_template") -> tuple[int | None, Any, str]:
        """Run tests until one fails."""
        plugins = [[f"{self.settings.database}:Template", template]] if self.settings.database else []
        return self.ask(timeout, tests=["-x", *tests], plugins=plugins)

    def record(self, file: str) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
        """Run a file of tests. Return outcome, seconds, executed lines and queries of each test."""
        from . import recording

        data, config, queries = (self._results / name for name in ("coverage", "coveragerc", "queries.json"))
        targets = [str(self.place / path) for path in self.settings.python_files()]
        config.write_text(recording.settings(targets, data))
        plugins: list[list[str]] = [["checks.mutants.recording:Lines", str(config)]]
        if self.settings.database:
            plugins += [[f"{self.settings.database}:Template", "mutants_template"]]
            plugins += [[f"{self.settings.database}:QueriesRun", str(queries)]]
        _, tests, printed = self.ask(600, tests=[file], plugins=plugins)
        if tests is None:
            raise Stopped(f"{file} could not be recorded: {printed[-2000:]}")
        ran = json.loads(queries.read_text()) if queries.exists() else {}
        return tests, recording.lines(data, self.place), ran

    def apply(self, mutant: Mutant | None, path: str, text: str) -> None:
        """Write a file with a mutant or its original text, with a new modification time, so that no stale bytecode is used."""
        file = self.place / path
        file.write_text(mutant.apply(text) if mutant else text, "utf-8")
        self._clock += 10
        os.utime(file, (self._clock, self._clock))

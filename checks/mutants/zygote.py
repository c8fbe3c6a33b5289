"""A process in a copy of the tree that has imported pytest and the like, and forks for each run of tests.

Requests are lines of JSON on stdin: `tests`, arguments for pytest; or `call`, a function as "module:name" with `arguments`.
`result` names the file that the child writes its result to, `output` that of what it prints, `timeout` is in seconds. The
answer on stdout is a line with the child's exit code, null where it took too long.
"""

import gc
import importlib
import json
import os
import signal
import sys
import time
from contextlib import suppress
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import pytest
from _pytest.config import default_plugins

Request = dict[str, Any]


def main() -> None:
    """Answer requests until stdin ends. sys.argv: the modules to import first."""
    signal.signal(signal.SIGTERM, _end)
    for module in [*(f"_pytest.{name}" for name in default_plugins), *sys.argv[1:]]:
        importlib.import_module(module)
    for plugin in entry_points(group="pytest11"):
        plugin.load()
    gc.freeze()
    sys.path.insert(0, str(Path.cwd()))
    for line in sys.stdin:
        request = json.loads(line)
        print(json.dumps(_in_child(request)), flush=True)


_child = 0


def _in_child(request: Request) -> int | None:
    global _child
    _child = os.fork()
    if not _child:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it, and tests need it
        _run(request)
    code = _wait(_child, time.monotonic() + request["timeout"])
    _child = 0
    return code


def _end(*_: object) -> None:
    """End the child, and this process."""
    if _child:
        with suppress(ProcessLookupError):
            os.killpg(_child, signal.SIGKILL)
        with suppress(ProcessLookupError):
            os.kill(_child, signal.SIGKILL)
    os._exit(1)


def _wait(child: int, deadline: float) -> int | None:
    """Return the exit code of a child; None where it did not end in time.

    Nothing that it started is left in its process group.
    """
    status = None
    while status is None and time.monotonic() < deadline:
        ended, found = os.waitpid(child, os.WNOHANG)
        if ended:
            status = found
        else:
            time.sleep(0.02)
    with suppress(ProcessLookupError):
        os.killpg(child, signal.SIGKILL)
    if status is None:
        with suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)  # it may not have its group yet
        os.waitpid(child, 0)
        return None
    return os.waitstatus_to_exitcode(status)


def _run(request: Request) -> None:
    """In the child: do what is requested, and never return."""
    code = 70
    try:
        os.setsid()
        _redirect(request["output"])
        if "tests" in request:
            code = _run_tests(request)
        else:
            module, _, name = request["call"].partition(":")
            result = getattr(importlib.import_module(module), name)(*request["arguments"])
            Path(request["result"]).write_text(json.dumps(result))
            code = 0
    except BaseException:  # noqa: BLE001 (a fork must not go on as its parent would)
        import traceback

        traceback.print_exc()
    finally:
        with suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


def _redirect(output: str) -> None:
    descriptor = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    os.close(descriptor)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
    sys.stdin = open(0, closefd=False)  # noqa: SIM115
    sys.stdout = open(1, "w", closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", closefd=False)  # noqa: SIM115


def _run_tests(request: Request) -> int:
    plugins: list[object] = [Report(request["result"])]
    for name, *arguments in request.get("plugins", ()):
        module, _, attribute = name.partition(":")
        plugins.append(getattr(importlib.import_module(module), attribute)(*arguments))
    return int(
        pytest.main(
            ["-q", "-p", "no:cacheprovider", "-W", "ignore::pytest.PytestAssertRewriteWarning", *request["tests"]],
            plugins=plugins,
        )
    )


class Report:
    """A plugin that writes which tests passed, which failed, and how long each took."""

    def __init__(self, result: str) -> None:
        self._result = Path(result)
        self._tests: dict[str, tuple[str, float]] = {}

    def pytest_configure(self) -> None:
        """Have Hypothesis not look for the smallest example: that one fails is enough."""
        if (hypothesis := sys.modules.get("hypothesis")) is not None:
            phases = [hypothesis.Phase.explicit, hypothesis.Phase.generate]
            hypothesis.settings.register_profile("mutants", phases=phases, database=None)
            hypothesis.settings.load_profile("mutants")

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Note a step of a test: the worst outcome, and the sum of the times."""
        outcome, seconds = self._tests.get(report.nodeid, ("passed", 0.0))
        if report.failed:
            outcome = "failed"
        elif report.skipped:
            outcome = "skipped"
        self._tests[report.nodeid] = outcome, round(seconds + report.duration, 3)

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self) -> None:
        """Write the file."""
        self._result.write_text(json.dumps(self._tests))


if __name__ == "__main__":
    main()

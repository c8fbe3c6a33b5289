"""The run: workers, each with a copy of the tree, that record tests and try mutants until the time is over."""

import queue
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from .copies import Copy, Stopped
from .mutant import Mutant
from .record import Choice, Record
from .results import KILLED, STILLBORN, SURVIVED, TIMED_OUT, Results
from .settings import Settings

_PATIENCE = 3.0  # times the recorded seconds of its tests that a mutant gets, and
_START = 20.0  # seconds to start
_CONTROL = 20  # killed one after the other on a copy, before it is looked whether its tests pass without a mutant

Say = Callable[[str], None]


class Run:
    """A run over some mutants, in the order given."""

    def __init__(self, settings: Settings, place: Path, say: Say, *, workers: int) -> None:
        self.settings = settings
        self.say = say
        self._place = place
        self._workers = workers
        self._guard = threading.Lock()
        self._failure: BaseException | None = None
        self._copies: list[Copy] = []

    def record(self, record: Record) -> None:
        """Record the files of tests that are not recorded as they are."""
        stale = record.stale()
        if stale:
            self.say(
                f"recording what the tests of {len(stale)} files run; this is done once, and does not count as time of the run"
            )

        def work(copy: Copy, file: str) -> None:
            begun = time.monotonic()
            found = copy.record(file)
            with self._guard:
                record.add(file, *found)
                self.say(f"  {file}: {len(found[0])} tests, {time.monotonic() - begun:.0f} s")

        self._each(stale, work, deadline=None)

    def mutants(self, mutants: list[Mutant], choice: Choice, results: Results, deadline: float) -> None:
        """Try mutants until the deadline, by the monotonic clock."""
        killed: dict[Copy, list[str]] = {}

        def work(copy: Copy, mutant: Mutant) -> None:
            begun = time.monotonic()
            found = _Trial(copy, mutant, choice).result(deadline)
            if found is None:
                return
            outcome, fields = found
            streak = killed.setdefault(copy, [])
            with self._guard:
                results.put(mutant, outcome, time.monotonic() - begun, **fields)
            if outcome != KILLED:
                streak.clear()
                return
            streak.append(mutant.name)
            if len(streak) >= _CONTROL:
                if not _passes(copy, fields["by"]):
                    with self._guard:
                        results.forget(streak)
                    raise Stopped(f"{fields['by'] or 'the tests'} fails without a mutant as well")
                streak.clear()

        self._each(mutants, work, deadline)

    def _each(self, items: list[Any], work: Callable[[Copy, Any], None], deadline: float | None) -> None:
        """Have each item worked on by one of the workers. Raises what a worker raises."""
        pending: queue.SimpleQueue[Any] = queue.SimpleQueue()
        for item in items:
            pending.put(item)

        def run(number: int) -> None:
            try:
                copy = Copy(self.settings, self._place / f"copy-{number}")
                self._copies.append(copy)
            except BaseException as error:  # noqa: BLE001
                self._failure = error
                return
            try:
                while self._failure is None and (deadline is None or time.monotonic() < deadline):
                    work(copy, pending.get_nowait())
            except queue.Empty:
                pass
            except BaseException as error:  # noqa: BLE001
                self._failure = self._failure or error
            finally:
                with suppress(Exception):
                    copy.close()

        threads = [threading.Thread(target=run, args=[n + 1]) for n in range(min(self._workers, len(items)))]
        for thread in threads:
            thread.start()
        try:
            for thread in threads:
                thread.join()
        except KeyboardInterrupt as interrupt:
            self._failure = interrupt
            for copy in self._copies:
                copy.stop()
            for thread in threads:
                thread.join()
        if self._failure:
            raise self._failure


def _passes(copy: Copy, test: str) -> bool:
    return not test or copy.test([test], 120)[0] == 0


class _Trial:
    """A mutant on a copy."""

    def __init__(self, copy: Copy, mutant: Mutant, choice: Choice) -> None:
        self._copy = copy
        self._mutant = mutant
        self._tests, self._of = choice.tests(mutant)

    def result(self, deadline: float) -> tuple[str, dict[str, Any]] | None:
        """Its outcome and the fields of its result; None where the time was over first."""
        copy, mutant = self._copy, self._mutant
        text = (copy.settings.root / mutant.path).read_text("utf-8")
        if mutant.kind == "python" and not _compiles(mutant.apply(text)):
            return STILLBORN, {}
        copy.apply(mutant, mutant.path, text)
        try:
            template = "mutants_template"
            if mutant.kind == "query":
                wrong = copy.call("probe_query", copy.url, f"{Path(mutant.path).stem}.{mutant.change.scope}")
            elif mutant.kind == "migration":
                template = "mutants_own_template"
                wrong = copy.call("probe_migration", copy.url)
            else:
                wrong = ""
            return (STILLBORN, {}) if wrong else self._test(template, deadline)
        finally:
            copy.apply(None, mutant.path, text)

    def _test(self, template: str, deadline: float) -> tuple[str, dict[str, Any]] | None:
        if not self._tests:
            return SURVIVED, {}
        patience = _START + _PATIENCE * sum(test.seconds for test in self._tests)
        limit = min(patience, max(1.0, deadline - time.monotonic()))
        code, tests, _ = self._copy.test([test.name for test in self._tests], limit, template=template)
        if code is None and self._copy.url:
            self._copy.call("tidy", self._copy.url)
        if code is None and limit < patience:
            return None
        failed = next((name for name, (outcome, _) in (tests or {}).items() if outcome == "failed"), "")
        fields = {"by": failed, "ran": len(tests or {}), "of": self._of}
        if code is None:
            return TIMED_OUT, fields
        return (SURVIVED if code in (0, 5) else KILLED), fields


def _compiles(text: str) -> bool:
    try:
        compile(text, "mutant", "exec")
    except (SyntaxError, ValueError):
        return False
    return True

"""The record of what each test runs: made once per file of tests, kept in var/, and used to choose the tests of a mutant.

A file of tests is recorded anew when it has changed. When a file of the product has changed, its lines are found again by
their text.
"""

import difflib
import hashlib
import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .mutant import Mutant
from .reach import reaching
from .settings import Settings

MOST = 40.0  # recorded seconds of the tests that one mutant gets
_COMMON = 0.2  # a line or query that a larger share of the tests run tells nothing of what a test is about

_WORD = re.compile(r"[a-z]{4,}")
_WEIGHT = 20.0  # times as many tests of the only file that has a line's word


def digest(text: str) -> str:
    """Return a short name of a text."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]


@dataclass
class Test:
    """The code that a test was seen to run. lines: by file of the product, as the file is now."""

    name: str
    seconds: float
    lines: dict[str, set[int]] = field(default_factory=dict)
    queries: set[str] = field(default_factory=set)

    @property
    def file(self) -> str:
        """The file that the test is in."""
        return self.name.partition("::")[0]


class Record:
    """The record, in a directory: a file for each file of tests, and the product's texts that it was made with."""

    def __init__(self, settings: Settings, place: Path) -> None:
        self.settings = settings
        self.place = place
        place.mkdir(parents=True, exist_ok=True)
        self.texts = {path: (settings.root / path).read_text("utf-8") for path in settings.python_files()}
        self.tests: dict[str, Test] = {}
        self.failed: list[str] = []
        self.imported: dict[str, set[int]] = defaultdict(set)  # the lines that importing a file of the product runs

    def stale(self) -> list[str]:
        """Return the files of tests that are not recorded as they are now."""
        return [file for file in self.settings.test_files() if self._entry(file) is None]

    def add(self, file: str, tests: dict[str, Any], lines: dict[str, Any], queries: dict[str, Any]) -> None:
        """Keep what a file of tests was seen to do."""
        for text in self.texts.values():
            (self.place / digest(text)).write_text(text, "utf-8")
        entry = {
            "text": digest(self.text(file)),
            "sources": {path: digest(text) for path, text in self.texts.items()},
            "tests": tests,
            "lines": lines,
            "queries": queries,
        }
        self._path(file).write_text(json.dumps(entry))

    def load(self) -> None:
        """Read what is kept. Tests that failed are no use, and listed in `failed`."""
        moved: dict[tuple[str, str], dict[int, list[int]]] = {}
        entries = [entry for file in self.settings.test_files() if (entry := self._entry(file))]
        # What any import runs is left out of what tests run: a test whose subprocess imports a module runs the module's
        # constants, but says nothing about them.
        at_import: dict[tuple[str, str], set[int]] = defaultdict(set)
        for entry in entries:
            for path, lines in entry["lines"].get("", {}).items():
                at_import[path, entry["sources"].get(path, "")].update(lines)
        for entry in entries:
            for name, (outcome, seconds) in entry["tests"].items():
                if outcome != "passed":
                    self.failed += [name] * (outcome == "failed")
                    continue
                test = self.tests[name] = Test(name, seconds, queries=set(entry["queries"].get(name, ())))
                for path, lines in entry["lines"].get(name, {}).items():
                    if path not in self.texts:
                        continue
                    key = path, entry["sources"][path]
                    if key not in moved:
                        moved[key] = self._moves(*key)
                        self.imported[path].update(new for line in at_import[key] for new in moved[key].get(line, ()))
                    ran = set(lines) - at_import[key]
                    test.lines[path] = {new for line in ran for new in moved[key].get(line, ())}

    def _moves(self, path: str, source: str) -> dict[int, list[int]]:
        """Return where the lines of a recorded text are now. A new line counts as run where the line before it was."""
        text = self.texts[path]
        if digest(text) == source:
            return {line: [line] for line in range(1, text.count("\n") + 2)}
        old, new = (self.place / source).read_text("utf-8").splitlines(), text.splitlines()
        moves: dict[int, list[int]] = defaultdict(list)
        last = 1
        for _, begin, end, first, after in difflib.SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
            for n, line in enumerate(range(first, after)):
                last = min(begin + n, end - 1) + 1 if end > begin else last
                moves[last].append(line + 1)
            last = end or last
        return moves

    def _entry(self, file: str) -> dict[str, Any] | None:
        path = self._path(file)
        if not path.exists():
            return None
        entry: dict[str, Any] = json.loads(path.read_text())
        return entry if entry["text"] == digest(self.text(file)) else None

    def _path(self, file: str) -> Path:
        return self.place / f"{file.replace('/', '-')}.json"

    def text(self, file: str) -> str:
        """Return the text of a file of tests."""
        return (self.settings.root / file).read_text("utf-8")


class Choice:
    """Chooses the tests of a mutant."""

    def __init__(self, record: Record) -> None:
        self._tests = list(record.tests.values())
        self._settings = record.settings
        self._lines: dict[str, dict[int, list[Test]]] = defaultdict(lambda: defaultdict(list))
        self._of_query: dict[str, list[Test]] = defaultdict(list)
        for test in self._tests:
            for path, lines in test.lines.items():
                for line in lines:
                    self._lines[path][line].append(test)
            for query in test.queries:
                self._of_query[query].append(test)
        self._sources = record.texts
        self._imported = record.imported
        self._texts = {file: record.text(file) for file in {test.file for test in self._tests}}
        self._words = {file: set(_WORD.findall(text)) for file, text in self._texts.items()}
        self._reached: dict[str, set[str]] | None = None

    def tests(self, mutant: Mutant) -> tuple[list[Test], int]:
        """The tests to run, fastest first; and how many would see the change."""
        if mutant.kind == "python":
            found = self._by_line(mutant)
        elif mutant.kind == "query":
            found = self._by_query([f"{Path(mutant.path).stem}.{mutant.change.scope}"], Path(mutant.path).stem)
        else:
            queries = self._reaching().get(mutant.change.scope, set())
            found = self._by_query(queries, mutant.change.scope)
        chosen: list[Test] = []
        seconds = 0.0
        for test in found:
            if chosen and seconds + test.seconds > MOST:
                continue
            chosen.append(test)
            seconds += test.seconds
        return sorted(chosen, key=lambda test: test.seconds), len(found)

    def _by_line(self, mutant: Mutant) -> list[Test]:
        """Return the tests that run a line, some of each file: more of those files that have the line's words.

        Of a file those come first that run much of what few others run, for their time.
        """
        by_line = self._lines[mutant.path]
        first, last = mutant.change.lines
        # “anywhere” is for lines that run at import only: a constant from which only others are made, or a function that is
        # called there.
        anywhere = tuple(by_line) if first in self._imported[mutant.path] else ()
        for lines in (range(first, last + 1), mutant.change.related, anywhere):
            found = {test.name: test for line in lines for test in by_line.get(line, ())}
            if found:
                break
        rare = {line for line, tests in by_line.items() if len(tests) <= _COMMON * len(self._tests)}
        order = sorted(found.values(), key=lambda test: -(1 + len(test.lines[mutant.path] & rare)) / (0.3 + test.seconds))
        nearness = self._nearness(mutant)
        places: Counter[str] = Counter()
        keys: dict[str, float] = {}
        for test in order:
            places[test.file] += 1
            keys[test.name] = places[test.file] / (1 + nearness[test.file]) * (0.5 + test.seconds)
        return sorted(order, key=lambda test: keys[test.name])

    def _nearness(self, mutant: Mutant) -> dict[str, float]:
        """Score test files by how many of a line's words they have; rare words count more."""
        lines = self._sources[mutant.path].splitlines()[mutant.change.lines[0] - 1 : mutant.change.lines[1]]
        words = set(_WORD.findall(" ".join([mutant.change.scope, Path(mutant.path).stem, *lines])))
        having = {word: [file for file, text in self._words.items() if word in text] for word in words}
        return {
            file: sum(_WEIGHT / len(files) for files in having.values() if file in files and len(files) < len(self._words) / 2)
            for file in self._words
        }

    def _by_query(self, queries: Iterable[str], word: str) -> list[Test]:
        """Return the tests that run one of the queries; those first whose file has the word, then those that run few others."""
        found = {test.name: test for query in queries for test in self._of_query.get(query, ())}
        near = re.compile(rf"\b{word}\b")
        naming = {file for file, text in self._texts.items() if near.search(text)}
        if not found:
            found = {test.name: test for test in self._tests if test.file in naming}
        common = Counter({query: len(tests) for query, tests in self._of_query.items()})

        def key(test: Test) -> tuple[bool, float]:
            rarest = min((common[query] for query in queries if query in test.queries), default=0)
            return test.file not in naming, rarest * 0.01 + test.seconds

        return sorted(found.values(), key=key)

    def _reaching(self) -> dict[str, set[str]]:
        """Return the queries that use or fire each function, view or trigger, directly or through others."""
        if self._reached is None:
            self._reached = reaching(
                {path: (self._settings.root / path).read_text("utf-8") for path in self._settings.sql_files()}
            )
        return self._reached

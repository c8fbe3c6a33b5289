"""Mutants: small changes of one file, named so that a name stays when lines move."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

_LONGEST = 60  # characters of a piece of text in a name


@dataclass(frozen=True, slots=True)
class Change:
    """A change of a text: the characters from start to end become new.

    scope: the function or query that it is in. lines: first and last line of the statement that it is in, from 1.
    related: lines of other statements whose tests see the change, where it is in none that a test runs.
    """

    scope: str
    start: int
    end: int
    new: str
    lines: tuple[int, int]
    related: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Mutant:
    """A change of a file.

    module: the row of the table that it counts for. kind: python, query or migration.
    """

    name: str
    module: str
    kind: str
    path: str
    change: Change

    def apply(self, text: str) -> str:
        """Return the file's text with the change."""
        return text[: self.change.start] + self.change.new + text[self.change.end :]


def named(module: str, kind: str, path: str, text: str, changes: Iterable[Change]) -> list[Mutant]:
    """Return the mutants of a file.

    A name holds the function, the old and the new text and the line's text, but no line number.
    """
    seen: Counter[str] = Counter()
    mutants = []
    for change in changes:
        begin = text.rfind("\n", 0, change.start) + 1
        line = text[begin:].partition("\n")[0]
        old = text[change.start : change.end]
        name = f"{path}::{change.scope}: {_short(old)} -> {_short(change.new)}"
        if " ".join(line.split()) != " ".join(old.split()):
            name += f" in {_short(line)}"
        seen[name] += 1
        if seen[name] > 1:
            name += f" #{seen[name]}"
        mutants.append(Mutant(name, module, kind, path, change))
    return mutants


def files(root: Path, patterns: Iterable[str]) -> list[Path]:
    """Return the files that match, in order."""
    return sorted({path for pattern in patterns for path in root.glob(pattern)})


def _short(text: str) -> str:
    words = " ".join(text.split())
    return f"`{words[: _LONGEST - 1]}…`" if len(words) > _LONGEST else f"`{words}`"

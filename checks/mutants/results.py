"""Results of mutants, kept in var/ from run to run, and the survivors that are accepted."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from .mutant import Mutant
from .record import digest
from .settings import Settings

KILLED, SURVIVED, TIMED_OUT, STILLBORN = "killed", "survived", "timed out", "stillborn"


@dataclass(frozen=True, slots=True)
class Result:
    """The result of trying a mutant.

    source: the mutated file's digest. by: the test that failed. tests: the digest of that test's file; of a survivor, of all
    tests. ran: how many tests ran, of how many that would see the change.
    """

    outcome: str
    source: str
    tests: str
    seconds: float
    by: str = ""
    ran: int = 0
    of: int = 0


class Results:
    """The results that are kept: a result is good for as long as the files that it is of are as they were."""

    def __init__(self, settings: Settings, place: Path) -> None:
        self._settings = settings
        self._file = place
        self._digests: dict[str, str] = {}
        kept = json.loads(place.read_text()) if place.exists() else {}
        self._kept = {name: Result(**fields) for name, fields in kept.items()}

    def get(self, mutant: Mutant) -> Result | None:
        """Return the result of a mutant; None where there is none that is still good."""
        result = self._kept.get(mutant.name)
        if result is None or result.source != self.digest(mutant.path):
            return None
        return result if result.tests == self.tests_digest(result.outcome, result.by) else None

    def put(self, mutant: Mutant, outcome: str, seconds: float, *, by: str = "", ran: int = 0, of: int = 0) -> Result:
        """Keep a result."""
        tests = self.tests_digest(outcome, by)
        result = Result(outcome, self.digest(mutant.path), tests, round(seconds, 1), by, ran, of)
        self._kept[mutant.name] = result
        new = self._file.with_suffix(".new")
        new.write_text(json.dumps({name: asdict(kept) for name, kept in self._kept.items()}, indent=0))
        new.replace(self._file)
        return result

    def forget(self, names: list[str]) -> None:
        """Drop results that can't be trusted."""
        for name in names:
            self._kept.pop(name, None)

    def digest(self, path: str) -> str:
        """Return the digest of a file as it is now."""
        if path not in self._digests:
            file = self._settings.root / path
            self._digests[path] = digest(file.read_text("utf-8")) if file.exists() else ""
        return self._digests[path]

    def tests_digest(self, outcome: str, by: str) -> str:
        """The digest of the tests that a result depends on."""
        if outcome == STILLBORN:
            return ""
        if outcome == KILLED and by:
            return self.digest(by.partition("::")[0])
        return digest(" ".join(self.digest(file) for file in self._settings.test_files()))


def accepted(file: Path) -> dict[str, str]:
    """Return the accepted survivors in a file: reasons by name.

    A name stands at the beginning of a line, its reason indented below. Lines that begin with “#” are comments. Raises
    ValueError for a name without a reason.
    """
    reasons: dict[str, str] = {}
    name = ""
    for line in file.read_text("utf-8").splitlines() if file.exists() else ():
        if not line.strip() or line.startswith("#"):
            continue
        if not line[0].isspace():
            name = line.strip()
            reasons[name] = ""
        elif name:
            reasons[name] = f"{reasons[name]} {line.strip()}".strip()
    if missing := [name for name, reason in reasons.items() if not reason]:
        raise ValueError(f"{file}: no reason stands below {missing[0]}")
    return reasons

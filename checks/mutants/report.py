"""The report of a run: the survivors, the accepted ones that are wrong, and the table."""

from collections import Counter
from collections.abc import Mapping, Sequence

from .mutant import Mutant
from .results import KILLED, STILLBORN, SURVIVED, TIMED_OUT, Result

_COLUMNS = ("module", "mutants", "tried", "killed", "timed out", "survived", "accepted", "stillborn", "killed %", "seconds")


class Report:
    """The findings: what is not right, and the table."""

    def __init__(
        self, mutants: Sequence[Mutant], found: Mapping[str, Result], accepted: Mapping[str, str], paths: Sequence[str]
    ) -> None:
        """paths: the files that were chosen; accepted survivors of others are left alone."""
        self._mutants = mutants
        self._found = found
        self._accepted = accepted
        names = {mutant.name for mutant in mutants}
        self.survivors = [m.name for m in mutants if self._outcome(m) == SURVIVED and m.name not in accepted]
        self.dead = [m.name for m in mutants if self._outcome(m) in (KILLED, TIMED_OUT, STILLBORN) and m.name in accepted]
        self.unknown = [name for name in accepted if name not in names and self._is_chosen(name, paths)]

    def _outcome(self, mutant: Mutant) -> str:
        result = self._found.get(mutant.name)
        return result.outcome if result else ""

    @staticmethod
    def _is_chosen(name: str, paths: Sequence[str]) -> bool:
        return name.partition("::")[0] in paths

    def is_good(self) -> bool:
        """Return whether nothing survived that is not accepted, and what is accepted survives."""
        return not (self.survivors or self.dead or self.unknown)

    def lines(self) -> list[str]:
        """Return the report's lines."""
        lines = []
        places = {mutant.name: mutant.change.lines[0] for mutant in self._mutants}
        for name in self.survivors:
            result = self._found[name]
            lines.append(f"survived: {name}")
            lines.append(f"    line {places[name]}; {_how_many(result)}")
        for name in self.dead:
            result = self._found[name]
            by = f" by {result.by}" if result.by else ""
            lines.append(f"accepted, but {result.outcome}{by}: remove it from the accepted ones: {name}")
        lines += [f"accepted, but there is no such mutant (any more): remove it: {name}" for name in self.unknown]
        return [*lines, "", *self.table()]

    def table(self) -> list[str]:
        """Return the figures per module."""
        modules = list(dict.fromkeys(mutant.module for mutant in self._mutants))
        rows = [_COLUMNS, *(self._row(module, [m for m in self._mutants if m.module == module]) for module in modules)]
        if len(modules) > 1:
            rows.append(self._row("all", self._mutants))
        widths = [max(len(row[n]) for row in rows) for n in range(len(_COLUMNS))]
        return [
            "  ".join(
                cell.ljust(width) if n == 0 else cell.rjust(width)
                for n, (cell, width) in enumerate(zip(row, widths, strict=True))
            )
            for row in rows
        ]

    def _row(self, module: str, mutants: Sequence[Mutant]) -> tuple[str, ...]:
        results = [self._found[mutant.name] for mutant in mutants if mutant.name in self._found]
        counts = Counter(result.outcome for result in results)
        accepted = sum(self._outcome(mutant) == SURVIVED and mutant.name in self._accepted for mutant in mutants)
        killed = counts[KILLED] + counts[TIMED_OUT]
        judged = killed + counts[SURVIVED] - accepted
        share = f"{100 * killed / judged:.1f}" if judged else "-"
        numbers = (len(mutants), len(results), counts[KILLED], counts[TIMED_OUT], counts[SURVIVED], accepted, counts[STILLBORN])
        return (module, *map(str, numbers), share, f"{sum(result.seconds for result in results):.0f}")


def _how_many(result: Result) -> str:
    if not result.of:
        return "no test runs it"
    return f"{result.ran} tests ran it" + (f", of {result.of} that do" if result.of > result.ran else "")

"""Reports of dumps and loads: progress and summary."""

from collections.abc import Callable
from dataclasses import dataclass

from ..printable import printable
from ..sql.wording import counted


@dataclass(frozen=True, slots=True)
class Progress:
    """Progress: the current activity, the fraction of it that is done (0 to 1, or None), and the bytes and rows so far."""

    doing: str
    part: float | None
    size: int
    rows: int


Report = Callable[[Progress], None]


@dataclass(frozen=True, slots=True)
class Summary:
    """Summary: the rows of each model, and the duration in seconds."""

    models: dict[str, int]
    seconds: float

    @property
    def rows(self) -> int:
        """Return the number of rows of all models."""
        return sum(self.models.values())

    def __str__(self) -> str:
        models = ", ".join(f"{printable(model, 60)} {rows:,}" for model, rows in self.models.items() if rows)
        return f"{counted(self.rows, 'row')} in {self.seconds:.1f} s{f': {models}' if models else ''}"

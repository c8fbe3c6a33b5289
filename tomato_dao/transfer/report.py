"""Reports of dumps and loads: how far it is, and what it carried."""

from collections.abc import Callable
from dataclasses import dataclass

from ..printable import printable
from ..sql.wording import counted


@dataclass(frozen=True, slots=True)
class Progress:
    """Progress: what it is doing; which part of that is done (0 to 1; None: unknown); bytes and rows so far."""

    doing: str
    part: float | None
    size: int
    rows: int


Report = Callable[[Progress], None]


@dataclass(frozen=True, slots=True)
class Summary:
    """Rows per model, and how many seconds it took."""

    models: dict[str, int]
    seconds: float

    @property
    def rows(self) -> int:
        """Return the sum over all models."""
        return sum(self.models.values())

    def __str__(self) -> str:
        models = ", ".join(f"{printable(model, 60)} {rows:,}" for model, rows in self.models.items() if rows)
        return f"{counted(self.rows, 'row')} in {self.seconds:.1f} s{f': {models}' if models else ''}"

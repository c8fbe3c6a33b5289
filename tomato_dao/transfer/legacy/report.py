"""Reports on the records of an old dump and their violations of rules."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import msgspec

from ...errors import InvalidValue
from ...printable import printable
from ...sql.wording import counted
from ..report import Summary


@dataclass(frozen=True, slots=True)
class Refusal:
    """A value that the schema refuses, and the violated rule. field: its name in the file."""

    model: str
    pk: str
    field: str
    value: str | None
    rule: str

    def __str__(self) -> str:
        model, pk, field = printable(self.model, 60), printable(self.pk, 60), printable(self.field, 60)
        return f"{model} {pk}: {field} is {printable(self.value or 'null')}: {printable(self.rule)}"


@dataclass(frozen=True, slots=True)
class Mended:
    """A value that is loaded as another one, and the reason. became: “null”, “left out” or the new value."""

    model: str
    pk: str
    field: str
    value: str | None
    became: str
    reason: str


@dataclass(frozen=True, slots=True)
class Drop:
    """Records of a model that were dropped for one reason, and the field that caused it, if any. pks: a JSON array."""

    model: str
    field: str
    reason: str
    records: int
    pks: str

    @property
    def why(self) -> str:
        """The field and the reason."""
        return f"{self.field}: {self.reason}" if self.field else self.reason


@dataclass(frozen=True, slots=True)
class Merge:
    """A record that was merged into another one of its model, and its differing values by column."""

    model: str
    pk: str
    into: str
    differs: dict[str, Any]


@dataclass(frozen=True, slots=True)
class LegacySummary(Summary):
    """Summary of a load of an old dump. For each model, read = models (loaded records) + merged + dropped.

    refused: violations of rules. mended: values that are loaded as other values, since they could not be kept. Unless invalid
    records are skipped, only refused is filled.
    """

    read: dict[str, int] = field(default_factory=dict)
    merged: dict[str, int] = field(default_factory=dict)
    drops: list[Drop] = field(default_factory=list)
    merges: list[Merge] = field(default_factory=list)
    refused: list[Refusal] = field(default_factory=list)
    mended: list[Mended] = field(default_factory=list)

    def dropped(self, model: str) -> int:
        """Return the number of dropped records of a model."""
        return sum(drop.records for drop in self.drops if drop.model == model)

    def __str__(self) -> str:
        head = f"{counted(sum(self.read.values()), 'record')} in {self.seconds:.1f} s"
        lines = [f"{'':<36}{'read':>12}{'loaded':>12}{'merged':>12}{'dropped':>12}"]
        for model, read in sorted(self.read.items()):
            numbers = (read, self.models.get(model, 0), self.merged.get(model, 0), self.dropped(model))
            lines.append(
                f"  {printable(model, 60):<34}" + "".join(f"{number:>12,}" if number else f"{'-':>12}" for number in numbers)
            )
        lines += [f"  dropped {drop.records:,} {printable(drop.model, 60)}: {printable(drop.why)}" for drop in self.drops]
        lines += [
            f"  {merge.model} {printable(merge.pk, 60)} was merged into {printable(merge.into, 60)}{_differences(merge)}"
            for merge in self.merges
        ]
        mended = Counter((one.model, one.field, one.became, one.reason) for one in self.mended)
        lines += [
            f"  {number:,} × {printable(model, 60)}'s {printable(field, 60)} → "
            f"{printable(became or '“”', 60)}: {printable(reason)}"
            for (model, field, became, reason), number in mended.items()
        ]
        return "\n".join([head, *lines])

    def as_json(self) -> bytes:
        """Return everything, for people and programs."""
        models = {
            model: {
                "read": read,
                "loaded": self.models.get(model, 0),
                "merged": self.merged.get(model, 0),
                "dropped": self.dropped(model),
                "reasons": {
                    drop.why: {"records": drop.records, "pks": msgspec.Raw(drop.pks)}
                    for drop in self.drops
                    if drop.model == model
                },
            }
            for model, read in sorted(self.read.items())
        }
        told = {
            "seconds": self.seconds,
            "models": models,
            "merges": self.merges,
            "refused": self.refused,
            "mended": self.mended,
        }
        return msgspec.json.format(msgspec.json.encode(told)) + b"\n"


class InvalidRecords(InvalidValue):
    """An old dump has records that cannot be loaded without loss; `summary.refused` lists them all."""

    def __init__(self, summary: LegacySummary) -> None:
        super().__init__(
            f"{counted(len(summary.refused), 'value')} of the old dump can't be loaded without loss, so nothing was written. "
            "Correct them in the old backend, or drop them with skip_invalid, and their records where no default is possible:"
        )
        self.summary = summary

    def __str__(self) -> str:
        """Return the message, and each refusal on a separate line."""
        return "\n  ".join([super().__str__(), *map(str, self.summary.refused)])


def _differences(merge: Merge) -> str:
    return f"; it differed in {printable(msgspec.json.encode(merge.differs).decode())}" if merge.differs else ""

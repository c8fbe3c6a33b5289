"""A named query, as its file declares it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import Call, entity_of

if TYPE_CHECKING:
    from .choices import Choices

# Parameters that, like those that end in _id, identify the object of a call.
_WHICH = ("id", "name", "key", "source")


@dataclass(frozen=True, slots=True, eq=False)
class Query:
    """A named query.

    name: file and name, "hosts.get"; parameters: in order; kind: its suffix, "" many rows, "^" one or none,
    "$" one value, "!" affected rows, "<!" exactly one row; record_class: the class of its rows, or None;
    nullable: parameters (and "result") that may be null; claims: annotations that the server cannot derive ("not null", "one
    row", "plan", "twice", "repeatable", "writes"), used by the checks; sql: the text sent to the server; verb: its first word;
    repeatable: whether a call may be repeated if its session has ended and the server may have executed it; choices: optional
    parameters and orders, in which case sql has all lines and the variants are run; lines: for a variant, the line number in
    the file of each line of its sql; reads_only: whether it was proved to be read-only, computed once since each call asks.
    """

    name: str
    parameters: tuple[str, ...]
    kind: str
    record_class: type | None
    nullable: frozenset[str]
    claims: dict[str, str]
    doc: str
    sql: str
    verb: str
    path: Path
    line: int
    sql_line: int
    repeatable: bool
    choices: "Choices | None" = None
    lines: tuple[int, ...] = ()
    reads_only: bool = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "reads_only", self.repeatable and "repeatable" not in self.claims)

    @property
    def base(self) -> str:
        """The name of a variant's query; for any other query, its own name."""
        return self.name.partition("[")[0]

    @property
    def file(self) -> str:
        """The name of the file, "hosts"."""
        return self.name.partition(".")[0]

    @property
    def entity(self) -> str:
        """The entity of the query, "host"."""
        return entity_of(self.file)

    @property
    def is_read(self) -> bool:
        """True if it returns rows and changes none."""
        return self.verb == "select"

    @property
    def not_null(self) -> frozenset[str]:
        """The columns that the query declares as not null."""
        return frozenset(self.claims.get("not null", "").replace(",", " ").split())

    def line_at(self, position: int) -> int:
        """Return the line number in the file, from 1, of a character of the sql."""
        place = self.sql.count("\n", 0, position - 1)
        return self.lines[place] if self.lines else self.sql_line + place

    def variants(self) -> "Iterator[Query]":
        """Return the query's variants, or the query itself if it has no choices."""
        if self.choices is None:
            yield self
        else:
            yield from self.choices.variants()

    def call(self, values: Sequence[object]) -> Call:
        """Describe a call of the query with its values, for an error message."""
        if self.verb == "insert" and "on conflict" not in self.sql:  # a new object has at most a name
            which = [p for p in self.parameters if p == "name"]
        else:
            which = [p for p in self.parameters if (p in _WHICH or p.endswith("_id")) and "list" not in self.name]
        return Call(self.entity, self.verb, tuple(which), dict(zip(self.parameters, values, strict=True)))

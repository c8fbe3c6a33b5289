"""One named query, as its file tells of it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import Call, entity_of

if TYPE_CHECKING:
    from .choices import Choices

# Parameters that say, beside those that end in _id, which one a call is about.
_WHICH = ("id", "name", "key", "source")


@dataclass(frozen=True, slots=True, eq=False)
class Query:
    """One named query.

    name: file and name, "hosts.get"; parameters: in order; kind: its suffix, "" many rows, "^" one or none,
    "$" one value, "!" affected rows, "<!" exactly one row; record_class: the class of its rows, or None;
    nullable: parameters (and "result") that may be null; claims: what it says where the server can't know ("not null", "one
    row", "plan", "twice", "repeatable", "writes"), for the checks; sql: what the server gets; verb: what it does;
    repeatable: whether a call may be run again where its session has ended, and the server may have carried it out.
    choices: what it leaves open; its sql has all lines then, and its variants are what runs. lines: of a variant, the place in
    the file of each line of its sql.
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

    @property
    def base(self) -> str:
        """The name of the query that a variant is of; of any other query its own name."""
        return self.name.partition("[")[0]

    @property
    def reads_only(self) -> bool:
        """True if it was proved that the query only reads."""
        return self.repeatable and "repeatable" not in self.claims

    @property
    def file(self) -> str:
        """The name of the file, "hosts"."""
        return self.name.partition(".")[0]

    @property
    def entity(self) -> str:
        """The entity that the query is about, "host"."""
        return entity_of(self.file)

    @property
    def is_read(self) -> bool:
        """True if it returns rows and changes none."""
        return self.verb == "select"

    @property
    def not_null(self) -> frozenset[str]:
        """The columns that it says can't be null."""
        return frozenset(self.claims.get("not null", "").replace(",", " ").split())

    def line_at(self, position: int) -> int:
        """Return the line of the file in which a character of the sql stands, counted from 1."""
        place = self.sql.count("\n", 0, position - 1)
        return self.lines[place] if self.lines else self.sql_line + place

    def variants(self) -> "Iterator[Query]":
        """Return what may run: the query's variants, or the query itself where it leaves nothing open."""
        if self.choices is None:
            yield self
        else:
            yield from self.choices.variants()

    def call(self, values: Sequence[object]) -> Call:
        """Return a call of the query with its values, for an error to tell."""
        if self.verb == "insert" and "on conflict" not in self.sql:  # what is new has at most a name
            which = [p for p in self.parameters if p == "name"]
        else:
            which = [p for p in self.parameters if (p in _WHICH or p.endswith("_id")) and "list" not in self.name]
        return Call(self.entity, self.verb, tuple(which), dict(zip(self.parameters, values, strict=True)))

"""Conversion of the old dump's records to rows of their model's temporary table, or to offences (violations of rules)."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from ...printable import printable
from .models import Model
from .reader import Record
from .values import READERS, json_or_text, parse, written

_NEVER = datetime(1970, 1, 1, tzinfo=UTC)
_SHOWN = 200  # maximum characters of an offending value

Reader = Callable[[Any], object]
# Callback for an offence: field, value, rule and cost.
Refuse = Callable[[str, object, object, "Cost"], None]


@dataclass(frozen=True, slots=True)
class Cost:
    """Cost of dropping a value: the record, only the value, or a part, which is decided by the record that uses it.

    became: the replacement. reset: the column that must still be set to it.
    """

    costs: str
    became: str | None = None
    reset: str | None = None


RECORD = Cost("record")
LEFT_OUT = Cost("value", "left out")


@dataclass(frozen=True, slots=True)
class StagedColumn:
    """A temporary table's column: its type, whether the schema's column is nullable, and its default.

    in_schema: whether the table's rows are stored in one of the schema's tables unchanged.
    """

    type: str
    nullable: bool
    default: str | None
    in_schema: bool

    @property
    def read(self) -> Reader:
        """Convert a value for this column. In a nullable column of times, 0 means never."""
        read = READERS[self.type]
        if self.type != "instant" or not self.nullable:
            return read

        def read_or_never(value: object) -> object:
            instant = read(value)
            return None if instant == _NEVER else instant

        return read_or_never

    @property
    def absent(self) -> str | None:
        """Return the value for a missing or null attribute."""
        if self.default is not None or self.nullable:
            return self.default
        return {"text": "", "jsonb": "null"}.get(self.type)

    def cost(self, name: str) -> Cost:
        """Return the cost of dropping this column's value, which becomes null."""
        if self.nullable:
            return Cost("value", "null")
        if self.default is not None:
            return Cost("value", self.default, name)
        return RECORD if self.in_schema else Cost("part")


class Rows:
    """Conversion of one model's records to rows."""

    def __init__(self, model: Model, columns: Mapping[str, StagedColumn]) -> None:
        self.table = model.table
        self._key = READERS[columns[model.key].type if model.key else "bigint"]
        self._with_key = model.key is not None
        self._fields = [
            (field, json_or_text if columns[name].type == "jsonb" else columns[name].read)
            for field, name in model.fields.items()
        ]
        self._costs = {field: columns[name].cost(name) for field, name in model.fields.items()}
        self._attrs = None
        self.columns = ["model", "pk", *([model.key] if model.key else []), *model.fields.values()]
        if model.attrs is not None:
            self._attrs = [(path, columns[name].read, columns[name].absent) for path, name in model.attrs.items()]
            self.columns += [*model.attrs.values(), "attrs"]
        self._names = model.fields.keys() | (set() if model.attrs is None else {"attrs"})

    def row(self, record: Record, refuse: Refuse) -> list[object] | None:
        """Return the row, with null for refused values, or None for a record without a usable pk."""
        try:
            pk = self._key(record.pk)
        except ValueError as error:
            refuse("pk", record.pk, error, RECORD)
            return None
        row: list[object] = [record.model, str(pk)]
        if self._with_key:
            row.append(pk)
        fields = record.fields
        for field, read in self._fields:
            value = fields.get(field)
            if value is not None:
                try:
                    value = read(value)
                except ValueError as error:
                    refuse(field, value, error, self._costs[field])
                    value = None
            row.append(value)
        if self._attrs is not None:
            row += self._of_attrs(self._attrs, fields.get("attrs"), refuse)
        if fields.keys() != self._names:
            for field in sorted(fields.keys() - self._names):
                refuse(field, fields[field], "there is no such field in schema 0038", LEFT_OUT)
            for field in sorted(self._names - fields.keys()):
                refuse(field, None, "the field is missing", self._costs.get(field, Cost("value", "{}")))
        return row

    def _of_attrs(self, own: list[tuple[str, Reader, str | None]], text: object, refuse: Refuse) -> list[object]:
        """Return the values of the columns from attrs, and the JSON text of the remaining attrs."""
        if text is None or text in ("", "{}"):
            return [*(absent for _, _, absent in own), "{}"]
        try:
            attrs = parse(text)
            if not isinstance(attrs, dict):
                raise ValueError("must hold an object")
        except ValueError as error:
            refuse("attrs", text, error, Cost("value", "{}"))
            return [*(absent for _, _, absent in own), "{}"]
        values: list[object] = []
        for path, read, absent in own:
            value = None
            try:
                value = _taken(attrs, path)
                values.append(absent if value is None else read(value))
            except ValueError as error:
                refuse(f"attrs.{path}", value, error, Cost("value", "null" if absent is None else absent))
                values.append(absent)
        try:
            return [*values, written(attrs)]
        except ValueError:
            for name, value in list(attrs.items()):
                try:
                    written({name: value})
                except ValueError as error:
                    refuse(f"attrs.{shown(name)}", value, error, LEFT_OUT)
                    del attrs[name]
        return [*values, written(attrs)]


def _taken(attrs: dict[str, Any], path: str) -> Any:
    """Remove a value from attrs, together with enclosing objects that become empty."""
    outer, _, name = path.rpartition(".")
    if not outer:
        return attrs.pop(name, None)
    inner = attrs.get(outer)
    if inner is None:
        return attrs.pop(outer, None)
    if not isinstance(inner, dict):
        raise ValueError(f"{outer} must be an object")
    value = inner.pop(name, None)
    if not inner:
        del attrs[outer]
    return value


def sendable(text: str) -> str:
    """Make a text of the file acceptable for the server: U+0000 and lone surrogates are escaped as in JSON."""
    if text.isascii() and "\0" not in text:
        return text
    return "".join(json.dumps(c)[1:-1] if c == "\0" or "\ud800" <= c <= "\udfff" else c for c in text)


def shown(value: object) -> str:
    """Format a value for messages: as JSON of limited length."""
    try:
        text = written(value)
    except ValueError:
        text = json.dumps(value)
    return printable(text, _SHOWN)

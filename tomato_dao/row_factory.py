"""How a query's columns become a row: positionally, and what came as JSON inside a row gets its types back."""

from collections.abc import Callable, Sequence
from dataclasses import fields, is_dataclass, make_dataclass
from datetime import datetime
from functools import cache, partial
from typing import get_args, get_origin


def row_factory(record_class: type | None) -> Callable[[Sequence[object]], object]:
    """The function that makes a row of a query's columns; without a class: the value, or the tuple of several."""
    if record_class is None:
        return lambda columns: columns[0] if len(columns) == 1 else columns
    make = _builder(record_class)
    inner = [(n, convert) for n, (convert, is_row) in _converters(record_class).items() if is_row]
    if not inner:
        return make

    def make_tree(columns: Sequence[object]) -> object:
        values = list(columns)
        for n, convert in inner:
            if values[n] is not None:
                values[n] = convert(values[n])
        return make(values)

    return make_tree


def _from_json(record_class: type, columns: list[object]) -> object:
    """A row that came inside a row, as a JSON list of its columns."""
    for n, (convert, _) in _converters(record_class).items():
        if columns[n] is not None:
            columns[n] = convert(columns[n])
    return _builder(record_class)(columns)


@cache
def _builder(record_class: type) -> Callable[[Sequence[object]], object]:
    """What builds a row of a class out of its columns.

    A frozen dataclass sets each field through object.__setattr__. An instance of a twin, with the same base and slots but not
    frozen, that then becomes one of the class is the same object in a sixth of the time.
    """
    init = make_dataclass("Twin", [field.name for field in fields(record_class)]).__dict__["__init__"]
    thawed = {"__setattr__": object.__setattr__, "__delattr__": object.__delattr__}
    members = {"__slots__": record_class.__dict__["__slots__"], "__init__": init, **thawed}
    twin = type(f"_{record_class.__name__}", record_class.__bases__, members)

    def build(columns: Sequence[object]) -> object:
        row = twin(*columns)
        row.__class__ = record_class
        return row

    return build


@cache
def _converters(record_class: type) -> dict[int, tuple[Callable[..., object], bool]]:
    """How columns get back the types that JSON does not know, by position, and whether they are rows or ids themselves."""
    found: dict[int, tuple[Callable[..., object], bool]] = {}
    for n, field in enumerate(fields(record_class)):
        first, *_ = get_args(field.type) or (None,)
        if field.type in (datetime, datetime | None):
            found[n] = datetime.fromisoformat, False
        elif field.type in (float, float | None):
            found[n] = float, False
        elif field.type == dict[int, int]:
            found[n] = dict, True
        elif get_origin(field.type) is tuple:
            found[n] = partial(_all_from_json, first), True
        elif isinstance(first, type) and is_dataclass(first):
            found[n] = partial(_from_json, first), True
    return found


def _all_from_json(record_class: type, items: list[list[object]]) -> tuple[object, ...]:
    return tuple(_from_json(record_class, columns) for columns in items)

"""Check of row classes against the columns of queries: order, types and nullability."""

import inspect
import os
import re
from collections.abc import Iterator, Sequence, Set
from functools import cache
from pathlib import Path
from types import NoneType, UnionType
from typing import get_args, get_origin

from msgspec.structs import fields

from tomato_dao import rows
from tomato_dao.sql.rows import Row

from . import faces
from .described import Described, ResultColumn

# The types whose values are the same in a JSON row and in a column.
_SCALARS_IN_JSON = {"bool", "int2", "int4", "int8", "float4", "float8", "text", "varchar", "name"}
_IN_JSON = {*_SCALARS_IN_JSON, *(f"{type_}[]" for type_ in _SCALARS_IN_JSON), *faces.JSON, "timestamptz"}


def check_row(columns: Sequence[ResultColumn], record: type, not_null: Set[str]) -> Iterator[str]:
    """Return mismatches with a record class: its fields, their order and types."""
    declared = {field.name: (n, field.type) for n, field in enumerate(fields(record))}
    names = [column.name for column in columns]
    if missing := [name for name in declared if name not in names]:
        yield f"{_place(record)} declares {', '.join(missing)}; the server says that it returns {', '.join(names)}"
    for n, column in enumerate(columns):
        if column.name not in declared:
            yield f"{_place(record)} does not declare {column.name}, which the server says is column {n + 1}"
            continue
        position, annotation = declared[column.name]
        where = f"{_place(record, column.name)} declares {record.__name__}.{column.name}"
        if len(names) == len(declared) and position != n:
            yield f"{where} as field {position + 1}; the server says that it is column {n + 1}"
        yield from _field(column, annotation, where, not_null)


def _field(column: ResultColumn, annotation: object, where: str, not_null: Set[str] = frozenset()) -> Iterator[str]:
    """Return mismatches with one field of a record class. The parts of a JSON row are checked against its class."""
    inner, optional = _without_none(annotation)
    where = f"{where}: {_text(annotation)}"
    if not column.name and column.type not in _IN_JSON:
        yield f"{where}; the server has {column.type or 'an unknown type'} in a JSON row, which does not get its type back"
    elif faces.is_known(column.type) and not _fits(column.type, inner):
        yield f"{where}; the server says {column.type}"
    if not optional and (column.name or "it") not in not_null:
        yield from check_nullability(column, where)
    is_many = get_origin(inner) is tuple
    record, may_hold_null = _without_none(get_args(inner)[0] if is_many or get_origin(inner) is list else inner)
    is_row = isinstance(record, type) and issubclass(record, Row)
    has_rows = column.parts is not None and column.is_many == is_many
    if is_row and not has_rows:
        made = "json_agg(json_build_array(…))" if is_many else "json_build_array(…)"
        yield f"{where}; the server can't know that {column.name or 'it'} is {'rows' if is_many else 'a row'}: use {made}"
        return
    if not may_hold_null and (is_many or column.type.endswith("[]")) and f"{column.name}[]" not in not_null:
        yield from check_elements(column, where)
    if isinstance(record, type) and issubclass(record, Row):
        yield from _parts(column, column.parts or [], record)


def _parts(column: ResultColumn, parts: Sequence[ResultColumn], record: type) -> Iterator[str]:
    """Return mismatches with the class of a column's JSON row or rows."""
    declared = fields(record)
    if len(declared) != len(parts):
        yield f"{_place(record)} declares {len(declared)} fields; {column.name}'s JSON rows have {len(parts)}"
        return
    for field, part in zip(declared, parts, strict=True):
        yield from _field(part, field.type, f"{_place(record, field.name)} declares {record.__name__}.{field.name}")


def check_elements(column: ResultColumn, declared: str) -> Iterator[str]:
    """Return faults of arrays, or lists of rows, whose elements are declared as not null."""
    if column.can_hold_null is not False:
        name = column.name or "it"
        said = f"says that {name} can" if column.can_hold_null else f"can't know whether {name} can"
        yield f"{declared}; the server {said} hold nulls: say “-- not null: {column.name}[]” where it can't"


def check_nullability(column: ResultColumn, declared: str) -> Iterator[str]:
    """Return faults of columns that are declared as not null."""
    name = column.name or "it"
    if column.can_be_null:
        yield f"{declared}; the server says that {name} can be null"
    elif column.can_be_null is None:
        yield f"{declared}; the server can't know whether {name} can be null: say “-- not null: {name}” where it can't"


def needlessly_optional(queries: Sequence[Described]) -> Iterator[str]:
    """Return fields that are declared as optional although no query returns null for them."""
    returned: dict[tuple[type, str], set[bool | None]] = {}

    def note(columns: Sequence[ResultColumn], record: type, not_null: Set[str]) -> None:
        for field, column in zip(fields(record), columns, strict=False):
            can_be_null = column.can_be_null if column.name not in not_null else False
            returned.setdefault((_declaring(record, field.name), field.name), set()).add(can_be_null)
            inner, _ = _without_none(field.type)
            inner = get_args(inner)[0] if get_origin(inner) is tuple else inner
            if column.parts is not None and isinstance(inner, type) and issubclass(inner, Row):
                note(column.parts, inner, set())

    for q in queries:
        if q.query.record_class:
            note(q.columns, q.query.record_class, q.query.not_null)
    for (record, name), answers in returned.items():
        annotation = next(field.type for field in fields(record) if field.name == name)
        if _without_none(annotation)[1] and annotation != rows.Json and answers == {False}:
            yield f"{_place(record, name)}: {record.__name__}.{name}: {_text(annotation)}; no query can return null for it"


def _fits(type_: str, declared: object) -> bool:
    """Return whether a class accepts the Python class of a server type."""
    element = type_.removesuffix("[]")
    if element != type_:
        return get_origin(declared) is list and _fits(element, get_args(declared)[0])
    if type_ in faces.JSON:
        return declared not in faces.PYTHON.values()
    return declared is faces.PYTHON[type_]


def _without_none(annotation: object) -> tuple[object, bool]:
    """Return an annotation without “| None”, and whether it had one."""
    parts = get_args(annotation)
    if annotation == rows.Json:
        return annotation, True
    if isinstance(annotation, UnionType) and NoneType in parts and len(parts) == 2:
        return next(part for part in parts if part is not NoneType), True
    return annotation, False


def _text(annotation: object) -> str:
    return annotation.__name__ if isinstance(annotation, type) and not get_args(annotation) else str(annotation)


@cache
def _source(record: type) -> tuple[list[str], int]:
    return inspect.getsourcelines(record)


def _declaring(record: type, field: str) -> type:
    """Return the class that declares a field: the record class, or one that it extends."""
    return next(cls for cls in record.__mro__ if field in inspect.get_annotations(cls))


def _place(record: type, field: str = "") -> str:
    """Return where a class, or a field of it, is declared: "tomato_dao/rows/places.py:12"."""
    record = _declaring(record, field) if field else record
    lines, first = _source(record)
    wanted = rf"    {field}: " if field else rf"class {record.__name__}\b"
    line = next(n for n, text in enumerate(lines, first) if re.match(wanted, text))
    return f"{short(Path(inspect.getfile(record)))}:{line}"


def short(path: Path) -> str:
    """Return a path relative to the current directory."""
    return os.path.relpath(path) if path.is_relative_to(Path.cwd()) else str(path)

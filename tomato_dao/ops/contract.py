"""`make check-queries`: the contract between db/queries, rows, the DAOs and the layout, each held against the others.

Every query is prepared on the embedded server, against the migrations' layout. What differs is told as a compiler would, all
at once: file, line, query, what is declared and what the server says.
"""

import argparse
import inspect
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence, Set
from dataclasses import fields, is_dataclass
from functools import cache
from pathlib import Path
from types import NoneType, UnionType
from typing import get_args, get_origin

from .. import rows
from ..database import QUERIES
from ..errors import TomatoError
from ..wording import counted
from . import faces, uses
from .cli import run_command
from .described import Column, Described, Refused, describe, layout_connection

_PACKAGE = Path(__file__).parent.parent


def findings(queries: Sequence[Described | Refused]) -> list[str]:
    """What is wrong, a line each: in the queries as they were described, in their rows, and in who uses them."""
    found: list[str] = []
    used = uses.used(_PACKAGE)
    for q in queries:
        messages = [q.message] if isinstance(q, Refused) else [*_statement(q), *_columns(q)]
        if q.query.name not in used:
            messages.append("no DAO uses it")
        line = q.line if isinstance(q, Refused) else q.query.line
        found += [f"{short(q.query.path)}:{line}: {q.query.name}: {message}" for message in messages]
    return found + list(_needlessly_optional([q for q in queries if isinstance(q, Described)]))


def _statement(q: Described) -> Iterator[str]:
    """What does not fit the query's suffix, and types that Python has no class for."""
    query, kind = q.query, q.query.kind
    names = ", ".join(column.name for column in q.columns)
    if kind == "!" and q.columns:
        yield f"“!” is for a statement that returns no rows; the server says that it returns {names}"
    elif kind != "!" and not q.columns:
        yield f"{f'“{kind}”' if kind else 'no suffix'} is for what returns rows; the server says that it returns none"
    elif kind == "$" and (len(q.columns) != 1 or query.record_class):
        yield f"“$” is for one value; the server says that it returns {names}"
    elif not query.record_class and len(q.columns) > 1:
        yield f"it has no record class; the server says that it returns {names}"
    if kind in ("^", "$", "<!") and q.columns and not q.at_most_one_row and "one row" not in query.claims:
        yield f"“{kind}” is for at most one row; no unique key ensures that: add one, or say “-- one row: why”"
    if q.at_most_one_row and "one row" in query.claims:
        yield "it says “one row”, which the server ensures anyway: remove the comment"
    yield from _untold(q)


def _untold(q: Described) -> Iterator[str]:
    types = [*zip(q.query.parameters, q.parameters, strict=True), *((column.name, column.type) for column in q.columns)]
    for name, type_ in types:
        if not faces.is_known(type_):
            yield f"{name} is of the type {type_}, for which faces.py has no class of Python"


def _columns(q: Described) -> Iterator[str]:
    """What does not fit the record class, or what is said to be null or not."""
    query = q.query
    not_null = query.not_null
    for name in sorted(not_null - {column.name for column in q.columns}):
        yield f"it says “not null” of {name}, which it does not return"
    for column in q.columns:
        if column.name in not_null and column.can_be_null is False:
            yield f"it says “not null” of {column.name}, which the server knows anyway: remove it from the comment"
    if not q.columns:
        return
    first = q.columns[0]
    if query.record_class:
        yield from _row(q.columns, query.record_class, not_null)
    elif "result" not in query.nullable and first.name not in not_null:
        yield from _nullability(first, "“result” is not said to be nullable")
    elif "result" in query.nullable and first.can_be_null is False:
        yield f"it says “nullable” of its result; the server says that {first.name} can't be null"


def _row(columns: Sequence[Column], record: type, not_null: Set[str]) -> Iterator[str]:
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
        yield from _field(column, annotation, where, says_not_null=column.name in not_null)


def _field(column: Column, annotation: object, where: str, *, says_not_null: bool = False) -> Iterator[str]:
    """What does not fit one field of a record class; the parts of a JSON row are held against its class."""
    inner, optional = _without_none(annotation)
    where = f"{where}: {_text(annotation)}"
    if faces.is_known(column.type) and not _fits(column.type, inner):
        yield f"{where}; the server says {column.type}"
    if not says_not_null and not optional:
        yield from _nullability(column, where)
    record = get_args(inner)[0] if get_origin(inner) is tuple else inner
    if column.parts is not None and isinstance(record, type) and is_dataclass(record):
        declared = fields(record)
        if len(declared) != len(column.parts):
            yield f"{_place(record)} declares {len(declared)} fields; {column.name}'s JSON rows have {len(column.parts)}"
            return
        for field, part in zip(declared, column.parts, strict=True):
            yield from _field(part, field.type, f"{_place(record, field.name)} declares {record.__name__}.{field.name}")


def _nullability(column: Column, declared: str) -> Iterator[str]:
    """What is wrong where a column is declared never to be null."""
    name = column.name or "it"
    if column.can_be_null:
        yield f"{declared}; the server says that {name} can be null"
    elif column.can_be_null is None:
        yield f"{declared}; the server can't know whether {name} can be null: say “-- not null: {name}” where it can't"


def _needlessly_optional(queries: Sequence[Described]) -> Iterator[str]:
    """Fields that are declared to be possibly None, where no query can return them so."""
    returned: dict[tuple[type, str], set[bool | None]] = {}

    def note(columns: Sequence[Column], record: type, not_null: Set[str]) -> None:
        for field, column in zip(fields(record), columns, strict=False):
            can_be_null = column.can_be_null if column.name not in not_null else False
            returned.setdefault((_declaring(record, field.name), field.name), set()).add(can_be_null)
            inner, _ = _without_none(field.type)
            inner = get_args(inner)[0] if get_origin(inner) is tuple else inner
            if column.parts is not None and isinstance(inner, type) and is_dataclass(inner):
                note(column.parts, inner, set())

    for q in queries:
        if q.query.record_class:
            note(q.columns, q.query.record_class, q.query.not_null)
    for (record, name), answers in returned.items():
        annotation = next(field.type for field in fields(record) if field.name == name)
        if _without_none(annotation)[1] and annotation != rows.Json and answers == {False}:
            yield f"{_place(record, name)}: {record.__name__}.{name}: {_text(annotation)}; no query can return null for it"


def _fits(type_: str, declared: object) -> bool:
    """Whether a class takes what the server's type becomes."""
    element = type_.removesuffix("[]")
    if element != type_:
        return get_origin(declared) is list and _fits(element, get_args(declared)[0])
    if type_ in faces.JSON:
        return declared not in faces.PYTHON.values()
    return declared is faces.PYTHON[type_]


def _without_none(annotation: object) -> tuple[object, bool]:
    """An annotation without “| None”, and whether it had that."""
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
    """The class that declares a field: the record class, or one that it extends."""
    return next(cls for cls in record.__mro__ if field in inspect.get_annotations(cls))


def _place(record: type, field: str = "") -> str:
    """Where a class, or a field of it, is declared: "tomato_dao/rows/places.py:12"."""
    record = _declaring(record, field) if field else record
    lines, first = _source(record)
    wanted = rf"    {field}: " if field else rf"class {record.__name__}\b"
    line = next(n for n, text in enumerate(lines, first) if re.match(wanted, text))
    return f"{short(Path(inspect.getfile(record)))}:{line}"


def short(path: Path) -> str:
    """A path as one would type it here."""
    return os.path.relpath(path) if path.is_relative_to(Path.cwd()) else str(path)


def made_faces(queries: Sequence[Described | Refused]) -> str | None:
    """The text of faces.pyi; None where a query can't be told, for which there is a finding then."""
    described = [q for q in queries if isinstance(q, Described) and not [*_untold(q)] and (q.columns or q.query.kind == "!")]
    return faces.faces(described) if len(described) == len(queries) else None


def type_errors(made: str | None) -> list[str]:
    """What mypy says of the DAOs, where each query is what the text of faces.pyi says that was made (None: the file's)."""
    package = _PACKAGE.name  # relative, so that mypy's cache serves any checkout
    with tempfile.TemporaryDirectory() as directory:
        fresh = Path(directory, "faces.pyi")
        fresh.write_text(made or "", "utf-8")
        shadow = ["--shadow-file", f"{package}/dao/faces.pyi", str(fresh)] if made and not _is_fresh(made) else []
        command = [sys.executable, "-m", "mypy", "--no-error-summary", *shadow, f"{package}/dao"]
        done = subprocess.run(command, cwd=_PACKAGE.parent, capture_output=True, text=True, check=False)
    return (done.stdout + done.stderr).splitlines() if done.returncode else []


def _is_fresh(made: str) -> bool:
    return faces.FACES_FILE.exists() and faces.FACES_FILE.read_text("utf-8") == made


def main() -> None:
    """`python -m tomato_dao.ops.contract [--write]`"""
    parser = argparse.ArgumentParser(prog="contract", description="Hold queries, rows, DAOs and layout against each other.")
    parser.add_argument("--write", action="store_true", help="only write tomato_dao/dao/faces.pyi")
    write = parser.parse_args().write
    with layout_connection() as connection:
        queries = describe(connection, QUERIES.values())
    found = findings(queries)
    made = made_faces(queries)
    if write and made:
        faces.FACES_FILE.write_text(made, "utf-8")
        return
    if made and not _is_fresh(made):
        found.append(f"{short(faces.FACES_FILE)}:1: it is stale: run make schema")
    found += type_errors(made)
    for line in found:
        print(line, file=sys.stderr)
    if found:
        raise TomatoError(f"{counted(len(found), 'finding')} in {len(queries)} queries")


if __name__ == "__main__":
    run_command(main)

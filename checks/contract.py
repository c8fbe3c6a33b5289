"""`make check-queries`: the contract between db/queries, row classes, DAOs and the schema.

Every query is prepared on the embedded server with the migrations' schema. All differences are reported at once, in the format
of compilers: file, line, query, the declaration and the server's description.
"""

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from tomato_dao.database import QUERIES
from tomato_dao.errors import TomatoError
from tomato_dao.ops.cli import run_command
from tomato_dao.server import schema
from tomato_dao.sql.query_files import READ_ONLY, fingerprint, strays
from tomato_dao.sql.wording import counted

from . import faces, uses
from .described import Described, Refused, ResultColumn, describe, schema_connection
from .row_classes import check_elements, check_nullability, check_row, needlessly_optional, short

MARKS_FILE = schema.DB_DIR / "queries" / READ_ONLY
_PACKAGE = Path(__file__).parents[1] / "tomato_dao"


def findings(queries: Sequence[Described | Refused]) -> list[str]:
    """Return the faults of described queries, their row classes and their uses, a line each."""
    found: list[str] = []
    used = uses.used(_PACKAGE)
    for q in queries:
        messages = check(q)
        if q.query.base not in used:
            messages.append("no DAO uses it")
        line = q.line if isinstance(q, Refused) else q.query.line
        found += [f"{short(q.query.path)}:{line}: {q.query.name}: {message}" for message in messages]
    return found + list(needlessly_optional([q for q in queries if isinstance(q, Described)]))


def check(q: Described | Refused) -> list[str]:
    """Return the faults of a query: of its suffix, its verb, its columns and its claims."""
    return [q.message] if isinstance(q, Refused) else [*_statement(q), *_columns(q)]


def _statement(q: Described) -> Iterator[str]:
    """Return mismatches with the query's suffix, and types without a Python class."""
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
    needs_a_row = kind in ("$", "<!")
    if kind in ("^", "$", "<!") and q.columns and "one row" not in query.claims:
        if not q.at_most_one_row:
            yield f"“{kind}” is for at most one row; no unique key ensures that: add one, or say “-- one row: why”"
        if needs_a_row and not q.has_a_row:
            yield f"“{kind}” is for a row that is always there; nothing ensures that: use “^”, or say “-- one row: why”"
    if "one row" in query.claims and q.at_most_one_row and (q.has_a_row or not needs_a_row):
        yield "it says “one row”, which the server ensures anyway: remove the comment"
    yield from _changes(q)
    yield from q.orders
    yield from _untold(q)


def _changes(q: Described) -> Iterator[str]:
    """Return mismatches with the query's text: a query without a proof of reading only is never repeated."""
    claims = q.query.claims
    said = ", ".join(f"“{claim}”" for claim in ("repeatable", "writes") if claim in claims)
    if said and not q.changes:
        yield f"it says {said}; the server says that it only reads: remove the comment"
    elif q.query.verb == "select" and q.changes and not said:
        what = ", ".join(q.changes)
        yield f"its text only reads; the server says that it {what}: say “-- repeatable: why”, or “-- writes: what”"


def _untold(q: Described) -> Iterator[str]:
    types = [*zip(q.query.parameters, q.parameters, strict=True), *((column.name, column.type) for column in q.columns)]
    for name, type_ in types:
        if not faces.is_known(type_):
            yield f"{name} is of the type {type_}, for which faces.py has no class of Python"


def _columns(q: Described) -> Iterator[str]:
    """Return mismatches with the record class, or with the declared nullability."""
    query = q.query
    not_null = query.not_null
    known = {column.name: column.can_be_null for column in q.columns}
    known |= {f"{column.name}[]": column.can_hold_null for column in q.columns if column.type.endswith("[]")}
    for name in sorted(not_null - known.keys()):
        yield f"it says “not null” of {name}, which it does not return"
    for name in known:
        if name in not_null and known[name] is False:
            yield f"it says “not null” of {name}, which the server knows anyway: remove it from the comment"
    yield from _twice(q)
    if not q.columns:
        return
    first = q.columns[0]
    if query.record_class:
        yield from check_row(q.columns, query.record_class, not_null)
        return
    if "result" not in query.nullable and first.name not in not_null:
        yield from check_nullability(first, "“result” is not said to be nullable")
    elif "result" in query.nullable and first.can_be_null is False:
        yield f"it says “nullable” of its result; the server says that {first.name} can't be null"
    if first.type.endswith("[]") and f"{first.name}[]" not in not_null:
        yield from check_elements(first, "what its result holds is not said to be nullable")


def _twice(q: Described) -> Iterator[str]:
    """Return columns with duplicate names or contents: usually one of them belongs to another column."""
    names = [column.name for column in q.columns]
    for name in sorted({name for name in names if names.count(name) > 1}):
        yield f"it returns two columns called {name}"
    found = [*_same(q.columns)]
    if found and "twice" not in q.query.claims:
        yield f"{found[0]} are the same column: say “-- twice: why” where that is meant"
    if not found and "twice" in q.query.claims:
        yield "it says “twice”, but its columns differ: remove the comment"


def _same(columns: Sequence[ResultColumn]) -> Iterator[str]:
    """Return pairs of identical columns, also in JSON rows."""
    for n, column in enumerate(columns):
        for before, other in enumerate(columns[:n]):
            if column.source and column.source == other.source:
                yield f"{other.name or f'part {before + 1}'} and {column.name or f'part {n + 1}'}"
        yield from _same(column.parts or [])


def made_faces(queries: Sequence[Described | Refused]) -> str | None:
    """Return the text of faces.pyi, or None if a query cannot be described, which is a finding."""
    described = [q for q in queries if isinstance(q, Described) and not [*_untold(q)] and (q.columns or q.query.kind == "!")]
    return faces.faces(described) if len(described) == len(queries) else None


def made_marks(queries: Sequence[Described | Refused]) -> str:
    """Return the text of db/queries/read_only.txt: the queries that are proved to be read-only and may be repeated."""
    proved = sorted((q.query.name, fingerprint(q.query.sql)) for q in queries if isinstance(q, Described) and not q.changes)
    return "# Proved to read only, each with the fingerprint of its text. Made by make schema.\n" + "".join(
        f"{name} {mark}\n" for name, mark in proved
    )


def type_errors(made: str | None) -> list[str]:
    """Return mypy's findings in the DAOs for a text of faces.pyi (None: the existing file)."""
    package = _PACKAGE.name  # relative, so that mypy's cache serves any checkout
    with tempfile.TemporaryDirectory() as directory:
        fresh = Path(directory, "faces.pyi")
        fresh.write_text(made or "", "utf-8")
        shadow = ["--shadow-file", f"{package}/dao/faces.pyi", str(fresh)] if made and not _is_fresh(made) else []
        command = [sys.executable, "-m", "mypy", "--no-error-summary", *shadow, f"{package}/dao"]
        done = subprocess.run(command, cwd=_PACKAGE.parent, capture_output=True, text=True, check=False)
    return (done.stdout + done.stderr).splitlines() if done.returncode else []


def _is_fresh(made: str, file: Path = faces.FACES_FILE) -> bool:
    return file.exists() and file.read_text("utf-8") == made


def main() -> None:
    """Run `python -m checks.contract [--write]`."""
    parser = argparse.ArgumentParser(prog="contract", description="Hold queries, rows, DAOs and schema against each other.")
    parser.add_argument("--write", action="store_true", help="only write faces.pyi and read_only.txt")
    write = parser.parse_args().write
    with schema_connection() as connection:
        queries = describe(connection, QUERIES.values())
    stray = "it holds no query of a DAO, and is not read: rename or remove it"
    found = [f"{short(path)}:1: {stray}" for path in strays(schema.DB_DIR / "queries")]
    found += findings(queries)
    made = made_faces(queries)
    files = {MARKS_FILE: made_marks(queries)} | ({faces.FACES_FILE: made} if made else {})
    if write and made:
        for file, text in files.items():
            file.write_text(text, "utf-8")
        return
    found += [f"{short(file)}:1: it is stale: run make schema" for file, text in files.items() if not _is_fresh(text, file)]
    found += type_errors(made)
    for line in found:
        print(line, file=sys.stderr)
    if found:
        raise TomatoError(f"{counted(len(found), 'finding')} in {len(queries)} queries")


if __name__ == "__main__":
    run_command(main, "check-queries")

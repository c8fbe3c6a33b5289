"""Loader of the named queries in db/queries: checks them and turns their parameters into $1, $2 and so on."""

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import replace
from functools import partial
from itertools import pairwise
from pathlib import Path
from types import MappingProxyType

from ..errors import QueryFileError
from . import marks
from .choices import Order
from .lexer import Kind, Unterminated, tokens
from .query import Query

_FILE_NAME = re.compile(r"[a-z][a-z0-9_]*\.sql")
_NAME = re.compile(r"^--\s*name\s*:\s*(?P<definition>.*?)\s*$")
_DEFINITION = re.compile(r"^(?P<name>[a-z]\w*)\s*(?:\((?P<parameters>[\w\s,]*)\))?\s*(?P<kind>\^|\$|!|<!|)$")
_RECORD_CLASS = re.compile(r"^--\s*record_class\s*:\s*(\w+)\s*$")
_NULLABLE = re.compile(r"^--\s*nullable\s*:\s*(.+?)\s*$")
_OPTIONAL = re.compile(r"^--\s*optional\s*:\s*(.*?)\s*$")
_ORDER = re.compile(r"^--\s*order\s*:\s*(.*?)\s*$")
_MISPLACED = re.compile(r"^--\s*(?:(?:if|after)\s*:.*|order\s*)$")
_CLAIM = re.compile(r"^--\s*(?P<what>not null|one row|plan|twice|repeatable|writes)\s*:\s*(?P<text>.+?)\s*$")
_FIRST_WORD = re.compile(r"[\s(]*\w+")
_CHANGES = re.compile(
    r"\b(insert)\s+into\b|(?<!for\s)(?<!key\s)(?<!do\s)\b(update)\b|\b(delete)\s+from\b|\b(merge)\b(?=.*\busing\b.*\bwhen\b)",
    re.IGNORECASE,
)
_CAST_OR_SLICE = re.compile(r"\[[^\[\]]*:")
# A file beside the query files that names the queries that were proved to be read-only, each with its SQL's fingerprint.
READ_ONLY = "read_only.txt"


class QueryFiles(Mapping[str, Query]):
    """The queries of all *.sql files in a directory, by name ("hosts.get").

    All files are read at once, so that they are of one version. A file is parsed when one of its queries is first requested,
    since parsing all of them takes a third of the time of an import.

    A query may be repeated after its session has ended if READ_ONLY proves that it only reads, or if “-- repeatable:” gives a
    reason.

    A lookup raises QueryFileError, which names file and line, for any error in the file.
    """

    def __init__(self, directory: Path, row_classes: Mapping[str, type] = MappingProxyType({})) -> None:
        """Read a directory. row_classes: the classes that “-- record_class:” may name (default: none)."""
        self._row_classes = row_classes
        self._proved = _proved(directory / READ_ONLY)
        self._lines = {path.stem: (path, _lines(path)) for path in sorted(filter(_is_query_file, directory.iterdir()))}
        self._parsed: dict[str, dict[str, Query]] = {}

    def __getitem__(self, name: str) -> Query:
        """Return the query with this name."""
        return self._of(name.partition(".")[0])[name]

    def __iter__(self) -> Iterator[str]:
        """Iterate over the names of all queries, file by file."""
        for file in self._lines:
            yield from self._of(file)

    def __len__(self) -> int:
        """Return the number of queries."""
        return sum(len(self._of(file)) for file in self._lines)

    def _of(self, file: str) -> dict[str, Query]:
        parsed = self._parsed.get(file)
        if parsed is None:
            found: dict[str, Query] = {}
            path, lines = self._lines.get(file, (Path(file), []))
            for query in _read(path, lines, self._row_classes, self._proved):
                if query.name in found:
                    raise _wrong(path, query.line, f"{query.name} is already defined in line {found[query.name].line}")
                found[query.name] = query
            parsed = self._parsed.setdefault(file, found)  # another thread may have parsed it first
        return parsed


def load(directory: Path, row_classes: Mapping[str, type] = MappingProxyType({})) -> dict[str, Query]:
    """Return all queries of a directory, parsed immediately. Parameters and errors are those of `QueryFiles`."""
    return dict(QueryFiles(directory, row_classes))


def fingerprint(sql: str) -> str:
    """Return a hash of a query's text, so that a proof is valid for this text only."""
    return hashlib.sha256(sql.encode()).hexdigest()[:16]


def _proved(file: Path) -> Set[tuple[str, str]]:
    """Return names and fingerprints of the queries proved to be read-only; none if the file does not exist."""
    if not file.exists():
        return frozenset()
    lines = (line.split() for line in file.read_text("utf-8").splitlines() if not line.startswith("#"))
    return {(line[0], line[-1]) for line in lines if line}


def strays(directory: Path) -> list[Path]:
    """Return the visible files that are no query files: by their name, or with SQL but no “-- name:”."""
    return [
        path
        for path in sorted(directory.glob("[!.]*.sql"))
        if not _is_query_file(path) or not (any(_NAME.match(line) for line in _lines(path)) or _is_comment(_lines(path)))
    ]


def _is_query_file(path: Path) -> bool:
    """Return whether a file name is valid for a query file. Copies and leftovers of editors or archives are not."""
    return bool(_FILE_NAME.fullmatch(path.name))


def _is_comment(lines: Sequence[str]) -> bool:
    return all(line.startswith("--") or not line.strip() for line in lines)


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text("utf-8-sig").split("\n")
    except UnicodeDecodeError as error:
        raise QueryFileError(f"{path}: not UTF-8: {error}") from error


def _read(path: Path, lines: list[str], row_classes: Mapping[str, type], proved: Set[tuple[str, str]]) -> Iterator[Query]:
    starts = [n for n, line in enumerate(lines) if _NAME.match(line)]
    for n, line in enumerate(lines[: starts[0] if starts else 0]):  # without any: notes, which the checks report
        if line.strip() and not line.startswith("--"):
            raise _wrong(path, n + 1, "SQL before the first “-- name:”")
    for start, end in pairwise([*starts, len(lines)]):
        yield _parse(path, start + 1, lines[start:end], row_classes, proved)


def _parse(path: Path, line: int, lines: list[str], row_classes: Mapping[str, type], proved: Set[tuple[str, str]]) -> Query:
    head = _NAME.match(lines[0])
    definition = _DEFINITION.match(head["definition"]) if head else None
    if definition is None:
        raise _wrong(path, line, f"not a definition, such as “-- name: get(id)^”: {lines[0].strip()}")
    name = f"{path.stem}.{definition['name']}"
    declared = tuple(p.strip() for p in (definition["parameters"] or "").split(",") if p.strip())
    if len(set(declared)) < len(declared):
        raise _wrong(path, line, f"{name} declares a parameter twice")
    record_class: type | None = None
    nullable: frozenset[str] = frozenset()
    optional: tuple[str, ...] = ()
    optional_line = line
    orders: dict[str, Order] = {}
    claims: dict[str, str] = {}
    doc: list[str] = []
    body = 1
    for n, text in enumerate(lines[1:], 1):
        if not text.startswith("--"):
            break
        body = n + 1
        if found := _RECORD_CLASS.match(text):
            record_class = row_classes.get(found[1])
            if record_class is None:
                raise _wrong(path, line + n, f"{name} names a record class that does not exist: {found[1]}")
        elif found := _NULLABLE.match(text):
            nullable = frozenset(p.strip() for p in found[1].split(","))
        elif found := _OPTIONAL.match(text):
            optional, optional_line = tuple(p.strip() for p in found[1].split(",")), line + n
        elif found := _ORDER.match(text):
            order = marks.order(found[1], line + n, partial(_wrong, path))
            if order.name in orders:
                raise _wrong(path, line + n, f"{name} has two orders called {order.name}")
            orders[order.name] = order
        elif _MISPLACED.match(text):
            raise _wrong(path, line + n, f"“{text.strip()}” stands in the head of {name}: it ends a line of SQL")
        elif found := _CLAIM.match(text):
            claims[found["what"]] = found["text"]
        else:
            doc.append(text.removeprefix("--").strip())
    while body < len(lines) and not lines[body].strip():
        body += 1
    text = "\n".join(lines[body:]).strip().removesuffix(";").rstrip()
    try:
        sql, used, bare = _number(text, declared, name)
    except ValueError as error:
        at = text.count("\n", 0, error.position) if isinstance(error, Unterminated) else 0
        raise _wrong(path, line + body + at, f"{name}: {error}") from None
    if not sql.strip() or not (bare.strip() or used):
        raise _wrong(path, line, f"{name} is empty")
    undeclared, unused = used - set(declared), set(declared) - used
    advice = ""
    if (undeclared or unused) and _CAST_OR_SLICE.search(text):
        advice = " (in [1:n] and [:low::n], n is no parameter: in a slice, put blanks around the colon, [:low : :n])"
    if undeclared:
        raise _wrong(path, line, f"{name} uses parameters that it does not declare: {', '.join(sorted(undeclared))}{advice}")
    if unused:
        raise _wrong(path, line, f"{name} declares parameters that it does not use: {', '.join(sorted(unused))}{advice}")
    if unknown := nullable - set(declared) - {"result"}:
        raise _wrong(path, line, f"{name} says “nullable” of what it does not have: {', '.join(sorted(unknown))}")
    change = _CHANGES.search(bare)
    verb = next(g for g in change.groups() if g).lower() if change else "update" if "writes" in claims else "select"
    query = Query(
        name=name,
        parameters=declared,
        kind=definition["kind"],
        record_class=record_class,
        nullable=nullable,
        claims=claims,
        doc="\n".join(doc),
        sql=sql,
        verb="update" if verb == "merge" else verb,
        path=path,
        line=line,
        sql_line=line + body,
        repeatable="repeatable" in claims or (name, fingerprint(sql)) in proved,
    )
    if not optional and not orders and not marks.may_be_there(text):
        return query
    said = marks.Head(name, query.entity, declared, nullable, optional, orders, optional_line)
    make = partial(_variant, query)
    return replace(query, choices=marks.read(said, text, line + body, _tokens(text), make, partial(_wrong, path)))


def _variant(query: Query, name: str, parameters: tuple[str, ...], text: str, lines: tuple[int, ...]) -> Query:
    """Return the variant of a query with some of its lines and parameters."""
    sql, _, _ = _number(text, parameters, name)
    return replace(query, name=name, parameters=parameters, sql=sql, lines=lines)


def _tokens(text: str) -> marks.Tokens:
    skipped: list[tuple[int, int]] = []
    parameters: list[tuple[int, str]] = []
    at = 0
    for kind, token in tokens(text):
        if kind in (Kind.QUOTED, Kind.COMMENT):
            skipped.append((at, at + len(token)))
        elif kind is Kind.PARAMETER:
            parameters.append((at, token[1:]))
        at += len(token)
    return marks.Tokens(skipped, parameters)


def _number(text: str, declared: tuple[str, ...], label: str) -> tuple[str, set[str], str]:
    """Return the text with $n for each :name, the names used, and the text without strings and comments.

    The label follows the first word, since PostgreSQL 18 strips leading comments.
    """
    parts: list[str] = []
    bare: list[str] = []
    used: set[str] = set()
    is_labelled = False
    for kind, token in tokens(text):
        part = token
        if kind is Kind.NUMBER:
            raise ValueError(f"{token} is a parameter without a name: declare one, and write it as :name")
        if kind is Kind.PARAMETER:
            used.add(token[1:])
            if token[1:] in declared:
                part = f"${declared.index(token[1:]) + 1}"
        elif kind is Kind.TEXT and not is_labelled and (first := _FIRST_WORD.match(token)):
            part = f"{first[0]} /* {label} */{token[first.end() :]}"
            is_labelled = True
        parts.append(part)
        bare.append(token if kind is Kind.TEXT else " ")
    return "".join(parts), used, " ".join("".join(bare).split())


def _wrong(path: Path, line: int, message: str) -> QueryFileError:
    return QueryFileError(f"{path}:{line}: {message}")

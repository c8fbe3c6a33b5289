"""The named queries of db/queries: read once, checked as they are read, parameters turned into $1, $2, …"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial
from itertools import pairwise
from pathlib import Path
from types import MappingProxyType

from ..errors import QueryFileError
from . import marks
from .choices import Order
from .query import Query

_NAME = re.compile(r"^--\s*name\s*:\s*(?P<definition>.*?)\s*$")
_DEFINITION = re.compile(r"^(?P<name>[a-z]\w*)\s*(?:\((?P<parameters>[\w\s,]*)\))?\s*(?P<kind>\^|\$|!|<!|)$")
_RECORD_CLASS = re.compile(r"^--\s*record_class\s*:\s*(\w+)\s*$")
_NULLABLE = re.compile(r"^--\s*nullable\s*:\s*(.+?)\s*$")
_OPTIONAL = re.compile(r"^--\s*optional\s*:\s*(.*?)\s*$")
_ORDER = re.compile(r"^--\s*order\s*:\s*(.*?)\s*$")
_MISPLACED = re.compile(r"^--\s*(?:(?:if|after)\s*:.*|order\s*)$")
_CLAIM = re.compile(r"^--\s*(?P<what>not null|one row|plan|twice|may repeat|writes)\s*:\s*(?P<text>.+?)\s*$")
# What is no parameter: strings, quoted names, dollar quotes, comments and casts. Then the parameters.
_TOKEN = re.compile(
    r"""(?P<skip>(?<!\w)e'(?:[^'\\]|\\.|'')*'|'(?:[^']|'')*'|"(?:[^"]|"")*"|\$(?P<tag>\w*)\$.*?\$(?P=tag)\$|--[^\n]*|/\*(?:/\*.*?\*/|.)*?\*/|::)|:(?P<name>[a-z_]\w*)""",
    re.DOTALL | re.IGNORECASE,
)
_FIRST_WORD = re.compile(r"^(?:[\s(]|--[^\n]*\n|/\*(?:/\*.*?\*/|.)*?\*/)*\w+", re.DOTALL)
_CHANGES = re.compile(
    r"\b(insert)\s+into\b|(?<!for\s)(?<!key\s)(?<!do\s)\b(update)\b|\b(delete)\s+from\b|\b(merge)\s+into\b", re.IGNORECASE
)


def load(directory: Path, row_classes: Mapping[str, type] = MappingProxyType({})) -> dict[str, Query]:
    """Return all queries of a directory's *.sql files, by name ("hosts.get").

    row_classes: the classes that “-- record_class:” may name (default: none).

    Raises QueryFileError, which names file and line, for anything that is wrong in them.
    """
    found: dict[str, Query] = {}
    for path in sorted(directory.glob("*.sql")):
        for query in _read(path, row_classes):
            if query.name in found:
                raise _wrong(path, query.line, f"{query.name} is already defined in line {found[query.name].line}")
            found[query.name] = query
    return found


def _read(path: Path, row_classes: Mapping[str, type]) -> Iterator[Query]:
    try:
        lines = path.read_text("utf-8").split("\n")
    except UnicodeDecodeError as error:
        raise QueryFileError(f"{path}: not UTF-8: {error}") from error
    starts = [n for n, line in enumerate(lines) if _NAME.match(line)]
    for n, line in enumerate(lines[: starts[0] if starts else None]):
        if line.strip() and not line.startswith("--"):
            raise _wrong(path, n + 1, "SQL before the first “-- name:”")
    for start, end in pairwise([*starts, len(lines)]):
        yield _parse(path, start + 1, lines[start:end], row_classes)


def _parse(path: Path, line: int, lines: list[str], row_classes: Mapping[str, type]) -> Query:
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
    bare = _TOKEN.sub(lambda m: "" if m["skip"] and m["skip"] != "::" else m[0], text).strip()
    if not bare:
        raise _wrong(path, line, f"{name} is empty")
    sql, used = _number(text, declared)
    if undeclared := used - set(declared):
        raise _wrong(path, line, f"{name} uses parameters that it does not declare: {', '.join(sorted(undeclared))}")
    if unused := set(declared) - used:
        raise _wrong(path, line, f"{name} declares parameters that it does not use: {', '.join(sorted(unused))}")
    if unknown := nullable - set(declared) - {"result"}:
        raise _wrong(path, line, f"{name} says “nullable” of what it does not have: {', '.join(sorted(unknown))}")
    change = _CHANGES.search(" ".join(bare.split()))
    verb = next(g for g in change.groups() if g).lower() if change else "update" if "writes" in claims else "select"
    query = Query(
        name=name,
        parameters=declared,
        kind=definition["kind"],
        record_class=record_class,
        nullable=nullable,
        claims=claims,
        doc="\n".join(doc),
        sql=_label(sql, name),
        verb="update" if verb == "merge" else verb,
        path=path,
        line=line,
        sql_line=line + body,
    )
    if not optional and not orders and not marks.may_be_there(text):
        return query
    said = marks.Head(name, query.entity, declared, nullable, optional, orders, optional_line)
    make = partial(_variant, query)
    return replace(query, choices=marks.read(said, text, line + body, _tokens(text), make, partial(_wrong, path)))


def _variant(query: Query, name: str, parameters: tuple[str, ...], text: str, lines: tuple[int, ...]) -> Query:
    """The query with some of its lines and parameters."""
    sql, _ = _number(text, parameters)
    return replace(query, name=name, parameters=parameters, sql=_label(sql, name), lines=lines)


def _tokens(text: str) -> marks.Tokens:
    found = list(_TOKEN.finditer(text))
    parameters = [(token.start(), token["name"]) for token in found if not token["skip"]]
    return marks.Tokens([token.span() for token in found if token["skip"]], parameters)


def _number(text: str, declared: tuple[str, ...]) -> tuple[str, set[str]]:
    """The text with $n for each :name, and the names that it uses."""
    used: set[str] = set()

    def replace(match: re.Match[str]) -> str:
        if match["skip"]:
            return match["skip"]
        used.add(match["name"])
        return f"${declared.index(match['name']) + 1}" if match["name"] in declared else match[0]

    return _TOKEN.sub(replace, text), used


def _label(sql: str, name: str) -> str:
    """The query's name stands after the first word: leading comments are stripped by PostgreSQL 18."""
    return _FIRST_WORD.sub(lambda m: f"{m[0]} /* {name} */", sql, count=1)


def _wrong(path: Path, line: int, message: str) -> QueryFileError:
    return QueryFileError(f"{path}:{line}: {message}")

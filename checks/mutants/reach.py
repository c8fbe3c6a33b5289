"""Which queries reach a function, a view or a trigger, by the names that stand in their texts."""

import re
from pathlib import Path

from . import sql

_TABLE = re.compile(r"^create table (\w+) \((.*?)\);", re.MULTILINE | re.DOTALL)
_REFERENCE = re.compile(r"\breferences (\w+)[^,]*?\bon delete (?:cascade|set null)")


def reaching(texts: dict[str, str]) -> dict[str, set[str]]:
    """Return the queries that use or fire each function, view or trigger, directly or through others.

    texts: of query files and migrations, by path. A row's removal fires the triggers of the rows that it takes along too.
    """
    queries: dict[str, str] = {}
    objects: dict[str, str] = {}
    tables: dict[str, str] = {}  # of triggers
    parents: dict[str, set[str]] = {}
    for path, text in texts.items():
        for piece in sql.queries(text):
            queries[f"{Path(path).stem}.{piece.name}"] = text[piece.start : piece.end]
        for table, columns in _TABLE.findall(text):
            parents[table] = set(_REFERENCE.findall(columns))
        for piece in sql.objects(text):
            objects[piece.name] = text[piece.start : piece.end]
            if piece.kind == "trigger" and (on := re.search(r"\bon (\w+)", text[piece.start : piece.end])):
                tables[piece.name] = on[1]
    patterns = {name: _use(name) if name not in tables else _change(tables[name], parents) for name in objects}
    found: dict[str, set[str]] = {name: set() for name in objects}
    for query, text in queries.items():
        pending = [text]
        while pending:
            at = pending.pop()
            for name, pattern in patterns.items():
                if query not in found[name] and pattern.search(at):
                    found[name].add(query)
                    pending.append(objects[name])
    return found


def _use(name: str) -> re.Pattern[str]:
    return re.compile(rf"\b{name}\b")


def _change(table: str, parents: dict[str, set[str]]) -> re.Pattern[str]:
    """Return a change of a table, or a removal from one that its rows depend on."""
    above: set[str] = set()
    pending = [table]
    while pending:
        for parent in parents.get(pending.pop(), set()) - above - {table}:
            above.add(parent)
            pending.append(parent)
    removed = "|".join([table, *sorted(above)])
    return re.compile(rf"\b(?:(?:insert into|update) {table}|delete from (?:{removed}))\b")  # noqa: S608

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
    objects: list[tuple[str, str, re.Pattern[str]]] = []  # name, text, and what uses or fires it; triggers may share a name
    triggers: list[tuple[str, str]] = []
    parents: dict[str, set[str]] = {}
    for path, text in texts.items():
        for piece in sql.queries(text):
            queries[f"{Path(path).stem}.{piece.name}"] = text[piece.start : piece.end]
        for table, columns in _TABLE.findall(text):
            parents[table] = set(_REFERENCE.findall(columns))
        for piece in sql.objects(text):
            body = text[piece.start : piece.end]
            if piece.kind == "trigger":
                triggers.append((piece.name, body))
            else:
                objects.append((piece.name, body, _use(piece.name)))
    for name, body in triggers:
        on = re.search(r"\bon (\w+)", body)
        if on is None:
            raise ValueError(f"the trigger {name} names no table")
        objects.append((name, body, _change(on[1], parents)))
    found: dict[str, set[str]] = {name: set() for name, _, _ in objects}
    for query, text in queries.items():
        pending, reached = [text], set[int]()
        while pending:
            at = pending.pop()
            for n, (name, body, pattern) in enumerate(objects):
                if n not in reached and pattern.search(at):
                    reached.add(n)
                    found[name].add(query)
                    pending.append(body)
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

"""Writes of statements, parsed from their text: inserted and updated columns, and tables with deletes."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from pglast import parse_sql
from pglast.visitors import Visitor


@dataclass(slots=True)
class Writes:
    """Tables with the column sets of inserts, the columns set by updates, and the tables of deletes."""

    inserts: dict[str, list[frozenset[str]]] = field(default_factory=dict)
    deletes: set[str] = field(default_factory=set)


def writes(statements: Iterable[str]) -> Writes:
    """Return the writes of statements."""
    found = Writes()
    for sql in statements:
        inserts, deletes = _of(sql)
        for table, columns in inserts:
            found.inserts.setdefault(table, []).append(columns)
        found.deletes |= deletes
    return found


@cache
def _of(sql: str) -> tuple[list[tuple[str, frozenset[str]]], set[str]]:
    finder = _Finder()
    finder(parse_sql(sql))
    return finder.inserts, finder.deletes


class _Finder(Visitor):
    def __init__(self) -> None:
        super().__init__()
        self.inserts: list[tuple[str, frozenset[str]]] = []
        self.deletes: set[str] = set()

    def visit_InsertStmt(self, _: Any, node: Any) -> None:  # noqa: N802 (pglast's name)
        self.inserts.append((node.relation.relname, frozenset(column.name for column in node.cols or ())))

    def visit_DeleteStmt(self, _: Any, node: Any) -> None:  # noqa: N802
        self.deletes.add(node.relation.relname)

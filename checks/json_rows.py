"""JSON rows inside a row: what json_build_array gets, alone or in a json_agg."""

from dataclasses import dataclass

from .aggregates import values
from .node_tree import Node
from .nullability import can_be_null, origin
from .query_tree import EXPRESSION, QueryTree

_ROW = {"json_build_array", "jsonb_build_array"}
_ROWS = {"json_agg", "jsonb_agg"}
_NO_ROWS = (b"[]", b"\0\0\0\x40")  # the bytes of '[]' as json and as jsonb


@dataclass(frozen=True, slots=True)
class JsonRows:
    """A JSON row, or a list of many. parts: the expressions in a row. can_hold_null: whether one of many can be null."""

    tree: QueryTree
    parts: list[Node]
    is_many: bool
    can_hold_null: bool | None


def json_rows(tree: QueryTree, expr: Node) -> JsonRows | None:
    """Return the JSON rows that an expression amounts to; None where it can be anything else."""
    if expr.label == "COALESCEEXPR":
        return _of_all(tree, expr.nodes("args"))
    if expr.label == "SUBLINK" and expr.number("subLinkType") == EXPRESSION:
        inner = tree.inside(expr.node("subselect"))
        return None if inner.node.has("setOperations") else json_rows(inner, inner.columns()[0])
    if expr.label == "VAR":
        found = origin(tree, expr)
        return json_rows(*found) if found else None
    name = tree.function(expr)
    if name in _ROW and not expr.has("funcvariadic"):
        return JsonRows(tree, expr.nodes("args"), is_many=False, can_hold_null=False)
    if name in _ROWS:
        value = values(expr)[0]
        row = json_rows(tree, value)
        return (row and not row.is_many and JsonRows(row.tree, row.parts, True, can_be_null(tree, value))) or None
    return None


def _of_all(tree: QueryTree, arms: list[Node]) -> JsonRows | None:
    """Return the JSON rows that the first of some expressions is, where each other is null or an empty list of them."""
    first = json_rows(tree, arms[0])
    for arm in arms[1:]:
        is_empty = arm.label == "CONST" and (arm.has("constisnull") or (first and first.is_many and _is_empty_list(arm)))
        if not is_empty:
            return None
    return first


def _is_empty_list(const: Node) -> bool:
    return (const.constant() or b"")[4:] in _NO_ROWS

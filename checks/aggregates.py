"""Nullability of aggregates and window functions: the arguments that decide it."""

from .node_tree import Node
from .query_tree import QueryTree
from .total import NEVER_NULL, OF_A_GROUP, OF_A_GROUPS_VALUES

# FrameOptions of frames that may lack their own row: they end before, begin after, or exclude it.
_WITHOUT_OWN_ROW = 0x1000 | 0x2000 | 0x8000 | 0x10000


def deciding_values(tree: QueryTree, expr: Node) -> list[Node] | bool | None:
    """Return the arguments that decide whether an aggregate or window function can be null, or the answer itself."""
    name = tree.function(expr)
    if name in NEVER_NULL:
        return False
    if expr.number("agglevelsup"):
        return None
    if expr.has("aggfilter") or not (_is_of_a_group(tree) if expr.label == "AGGREF" else _has_own_row(tree, expr)):
        return True
    if name in OF_A_GROUPS_VALUES:
        return values(expr)
    return False if name in OF_A_GROUP else None


def values(expr: Node) -> list[Node]:
    """Return the arguments of an aggregate or a window function."""
    entries = expr.nodes("args")
    return [value for e in entries if (value := e.node("expr"))] if expr.label == "AGGREF" else entries


def _is_of_a_group(tree: QueryTree) -> bool:
    """Return whether each group has a row. Without GROUP BY, and in the empty grouping set, it may have none."""
    return tree.node.has("groupClause") and not tree.node.has("groupingSets")


def _has_own_row(tree: QueryTree, expr: Node) -> bool:
    window = next(w for w in tree.node.nodes("windowClause") if w.number("winref") == expr.number("winref"))
    return not window.number("frameOptions") & _WITHOUT_OWN_ROW

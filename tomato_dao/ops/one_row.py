"""Whether a query leaves room for a second row, as unique keys and its form tell."""

from collections.abc import Iterator

from .node_tree import Node, RteKind, numbers
from .query_tree import QueryTree

_INNER, _LEFT = 0, 1  # JoinType


def returns_at_most_one_row(tree: QueryTree) -> bool:
    """Whether the server's unique keys, or the query's form, leave no room for a second row."""
    node = tree.node
    if node.has("hasTargetSRFs") or node.has("setOperations"):
        return False
    if (node.has("hasAggs") and not node.has("groupClause") and not node.has("groupingSets")) or _limit(node) == 1:
        return True
    jointree = node.node("jointree")
    return jointree is None or _is_pinned(tree, jointree)


def _limit(node: Node) -> int | None:
    """The limit that is a number; None where it is none."""
    count = node.node("limitCount")
    if count and count.label == "FUNCEXPR":  # the number as a bigint
        count = count.nodes("args")[0]
    for value in count.items("constvalue") if count else []:
        if isinstance(value, list):
            return int.from_bytes([int(str(byte)) & 255 for byte in value], "little")
    return None


def _is_pinned(tree: QueryTree, jointree: Node) -> bool:
    """Whether each thing that is joined has at most one row for what is given, or for what is pinned already."""
    wanted: set[int] = set()
    equal: list[tuple[Node, Node]] = []
    if not _gather(tree, jointree, wanted, equal):
        return False
    pinned = {n for n in wanted if _is_single(tree, tree.rte(n))}
    while True:
        bound: dict[int, set[int]] = {}
        for column, other in equal:
            if set(_own_rels(other)) <= pinned:
                bound.setdefault(column.number("varno"), set()).add(column.number("varattno"))
        more = {
            n
            for n in wanted - pinned
            if any(key <= bound.get(n, set()) for key in tree.catalog.unique.get(tree.rte(n).number("relid"), ()))
        }
        if not more:
            return wanted == pinned
        pinned |= more


def _gather(tree: QueryTree, item: Node, wanted: set[int], equal: list[tuple[Node, Node]]) -> bool:
    """Collect what is joined, and columns with what they are said to be equal to; False for a join that can't be followed."""
    if item.label == "RANGETBLREF":
        wanted.add(item.number("rtindex"))
        return True
    if item.label == "JOINEXPR" and item.number("jointype") not in (_INNER, _LEFT):
        return False
    joined: set[int] = set()
    followed = [_gather(tree, inner, joined, equal) for inner in item.nodes("rarg")]
    followed += [_gather(tree, inner, wanted, equal) for inner in item.nodes("fromlist") + item.nodes("larg")]
    wanted |= joined
    filtered = joined if item.label == "JOINEXPR" and item.number("jointype") == _LEFT else wanted
    for condition in _conjuncts(item.node("quals")):
        if condition.label == "OPEXPR" and tree.catalog.operators.get(condition.number("opno")) == "=":
            left, right = map(_bare, condition.nodes("args"))
            for column, other in ((left, right), (right, left)):
                if column.label == "VAR" and not column.number("varlevelsup") and column.number("varno") in filtered:
                    equal.append((column, other))
    return all(followed)


def _is_single(tree: QueryTree, rte: Node) -> bool:
    """Whether what stands in a FROM has at most one row by itself."""
    kind = rte.number("rtekind")
    if kind == RteKind.FUNCTION:
        calls = [call for f in rte.nodes("functions") if (call := f.node("funcexpr"))]
        if not any(call.has("funcretset") for call in calls):
            return True
    if kind == RteKind.VALUES:
        return len(rte.items("values_lists")) == 1
    inner = tree.query_of(rte)
    return kind == RteKind.RESULT or (inner is not None and returns_at_most_one_row(inner))


def _own_rels(expr: Node) -> Iterator[int]:
    """What in this query's FROM an expression looks at; nothing for parameters and outer columns; 0 where it is unclear."""
    if expr.label == "VAR" and expr.number("varlevelsup"):
        return
    yield from numbers(expr, "VAR", "varno")
    if expr.label == "SUBLINK":
        yield 0


def _conjuncts(condition: Node | None) -> list[Node]:
    if condition is None:
        return []
    if condition.label == "BOOLEXPR" and condition.text("boolop") == "and":
        return [inner for argument in condition.nodes("args") for inner in _conjuncts(argument)]
    return [condition]


def _bare(expr: Node) -> Node:
    """An expression without a cast that changes nothing."""
    inner = expr.node("arg")
    return _bare(inner) if expr.label == "RELABELTYPE" and inner else expr

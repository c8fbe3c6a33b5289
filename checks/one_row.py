"""Number of a query's rows, as unique keys and its form tell: at most one, at least one."""

from .facts import FULL, INNER, LEFT, RIGHT
from .node_tree import Node, RteKind
from .pins import Pins
from .query_tree import DELETE, INSERT, MERGE, SELECT, UPDATE, Parameters, QueryTree

_BY_SOURCE = 1  # MergeMatchKind
_NOTHING, _DO_NOTHING, _DO_UPDATE = 0, 1, 2  # OnConflictAction
_INTERSECT, _EXCEPT = 2, 3  # SetOperation
_EMPTY, _ROLLUP, _CUBE, _SETS = 0, 2, 3, 4  # GroupingSetKind


def returns_at_most_one_row(tree: QueryTree) -> bool:
    """Return whether unique keys, or the query's form, leave no room for a second row."""
    node = tree.node
    if _limit(node) in (0, 1) and not node.number("limitOption"):
        return True
    if operations := node.node("setOperations"):
        return _arms_have_one_row_at_most(tree, operations)
    if node.has("hasTargetSRFs"):
        return False
    if node.has("groupingSets"):
        return False
    if node.has("hasAggs") and not node.has("groupClause"):
        return True
    jointree = node.node("jointree")
    if jointree is None:
        return True
    pins = Pins(tree, returns_at_most_one_row)
    if tree.command == MERGE:
        return _merges_one_row(tree, pins)
    if tree.command in (UPDATE, DELETE) and node.number("resultRelation") in pins.relations:
        return True  # each of its rows is changed once
    return pins.is_all or _has_one_group(tree, pins)


def has_a_row(tree: QueryTree) -> bool:
    """Return whether a query's form ensures a row."""
    node = tree.node
    if any(node.has(key) for key in ("setOperations", "hasTargetSRFs", "havingQual", "limitOffset", "rowMarks")):
        return False
    if node.has("limitCount") and not _limit(node):
        return False
    if tree.command == INSERT:
        return _stores_a_row(tree)
    if tree.command != SELECT:
        return False
    sets = node.nodes("groupingSets")
    if sets or node.has("groupClause"):
        return bool(sets) and all(map(_has_empty_set, sets))
    if node.has("hasAggs"):
        return True
    jointree = node.node("jointree")
    return jointree is None or _has_a_row_inside(tree, jointree)


def _has_empty_set(item: Node) -> bool:
    """Return whether a part of GROUP BY has the empty grouping set, of which there is a row even for no rows."""
    kind = item.number("kind")
    return kind in (_EMPTY, _ROLLUP, _CUBE) or (kind == _SETS and any(map(_has_empty_set, item.nodes("content"))))


def _limit(node: Node) -> int | None:
    """Return the limit that is a number; None where it is none."""
    count = node.node("limitCount")
    if count and count.label == "FUNCEXPR":  # the number as a bigint
        count = count.nodes("args")[0]
    value = count.constant() if count else None
    return None if value is None else int.from_bytes(value, "little")


def _arms_have_one_row_at_most(tree: QueryTree, operation: Node) -> bool:
    """Return whether a set operation leaves none of its arms room for a second row: of UNION both are one too many."""
    if operation.label == "RANGETBLREF":
        return returns_at_most_one_row(tree.inside(tree.rte(operation.number("rtindex")).node("subquery")))
    left, right = operation.nodes("larg")[0], operation.nodes("rarg")[0]
    kind = operation.number("op")
    if kind == _INTERSECT and _arms_have_one_row_at_most(tree, right):
        return True
    return kind in (_INTERSECT, _EXCEPT) and _arms_have_one_row_at_most(tree, left)


def _has_one_group(tree: QueryTree, pins: Pins) -> bool:
    """Return whether all that rows are grouped by, or made distinct by, has one value only."""
    clauses = tree.node.nodes("distinctClause") or tree.node.nodes("groupClause")
    entries = {e.number("ressortgroupref"): e.node("expr") for e in tree.node.nodes("targetList") if e.has("ressortgroupref")}
    values = [(entries.get(clause.number("tleSortGroupRef")), clause.number("eqop")) for clause in clauses]
    return bool(values) and all(expr is not None and pins.is_constant(expr, equality) for expr, equality in values)


def _merges_one_row(tree: QueryTree, pins: Pins) -> bool:
    """Return whether a MERGE has one source row at most, which is joined to one target row at most."""
    actions = tree.node.nodes("mergeActionList")
    return pins.is_all and all(action.number("matchKind") != _BY_SOURCE for action in actions)


def _stores_a_row(tree: QueryTree) -> bool:
    """Return whether an INSERT returns a row: nothing keeps it from that, neither a conflict nor a trigger."""
    node = tree.node
    table = tree.rte(node.number("resultRelation")).number("relid")
    conflict = node.node("onConflict")
    action = conflict.number("action") if conflict else _NOTHING
    if action == _DO_NOTHING or (action == _DO_UPDATE and conflict and conflict.has("onConflictWhere")):
        return False
    jointree = node.node("jointree")
    is_plain = table not in tree.catalog.triggers and table not in tree.catalog.views
    return is_plain and (jointree is None or _has_a_row_inside(tree, jointree))


def _has_a_row_inside(tree: QueryTree, item: Node) -> bool:
    """Return whether an item of FROM has a row: a join, where each that has to have one has it, without a condition."""
    if item.label == "RANGETBLREF":
        return _is_never_empty(tree, tree.rte(item.number("rtindex")))
    left, right = item.nodes("fromlist") + item.nodes("larg"), item.nodes("rarg")
    kind = item.number("jointype") if item.label == "JOINEXPR" else INNER
    has = [all(_has_a_row_inside(tree, inner) for inner in side) for side in (left, right)]
    if kind == INNER:
        return all(has) and _is_true(item.node("quals"))
    return {LEFT: has[0], RIGHT: has[1], FULL: any(has)}[kind]


def _is_true(condition: Node | None) -> bool:
    return condition is None or any(condition.constant() or b"")


def _is_never_empty(tree: QueryTree, rte: Node) -> bool:
    kind = rte.number("rtekind")
    if kind == RteKind.FUNCTION:
        return any(not call.has("funcretset") for call in tree.calls(rte))
    inner = tree.query_of(rte)
    if inner is None and (body := tree.body_of(rte)):
        function = tree.catalog.functions[tree.calls(rte)[0].number("funcid")]
        inner = None if function.is_strict else tree.apart(body, Parameters())
    return kind in (RteKind.RESULT, RteKind.VALUES) or (inner is not None and has_a_row(inner))

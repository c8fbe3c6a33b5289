"""Facts that a query's conditions tell of its rows: columns that are not null, and outer joins that add no nulls.

A condition that holds is true, so that what it is strict in is not null. A fact about a relation inside an outer join holds
where that join has not put nulls in the relation's place.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from .node_tree import Node
from .query_tree import QueryTree, conjuncts

INNER, LEFT, FULL, RIGHT = 0, 1, 2, 3  # JoinType
_IS_NOT_NULL = 1  # NullTestType
_IS_TRUE, _IS_FALSE, _IS_NOT_UNKNOWN = 0, 2, 5  # BoolTestType
_HANDS_ON = {"RELABELTYPE", "COERCEVIAIO", "COLLATEEXPR", "ARRAYCOERCEEXPR", "COERCETODOMAIN"}

RelationColumn = tuple[int, int, frozenset[int]]  # the relation, the column's number, the outer joins around it


@dataclass(slots=True)
class Facts:
    """columns: those that are not null, as relation and number. present: relations, and the outer joins that let them be."""

    columns: set[tuple[int, int]] = field(default_factory=set)
    present: set[tuple[int, int]] = field(default_factory=set)
    sides: dict[int, list[set[int]]] = field(default_factory=dict)

    def note(self, columns: Iterable[RelationColumn]) -> None:
        """Add that columns are not null where a condition holds."""
        for relation, number, joins in columns:
            self.columns.add((relation, number))
            for join in joins:
                for side in self.sides.get(join, []):
                    if relation in side:
                        self.present |= {(other, join) for other in side}


def facts_of(tree: QueryTree) -> Facts:
    """Return the facts of a query, which are found once."""
    found = tree.cache.get(id(tree.node))
    if not isinstance(found, Facts):
        found = tree.cache[id(tree.node)] = Facts()
        if jointree := tree.node.node("jointree"):
            _walk(tree, jointree, found)
    return found


def nulling_joins(var: Node) -> set[int]:
    """Return the outer joins that may put a null in a Var's place."""
    return {int(str(n)) for n in var.items("varnullingrels")[1:]}


def results_of(tree: QueryTree, case: Node) -> Iterator[tuple[QueryTree, Node]]:
    """Yield the results of a CASE, each with the query as it is where its condition holds; without ELSE there is a null."""
    for when in case.nodes("args"):
        conditions = when.nodes("expr")
        yield tree.assuming(frozenset(where_true(tree, conditions[0]))), when.nodes("result")[0]
    yield tree, case.nodes("defresult")[0]


def _walk(tree: QueryTree, item: Node, facts: Facts) -> set[int]:
    """Collect the facts inside an item of FROM, and return its relations."""
    if item.label == "RANGETBLREF":
        return {item.number("rtindex")}
    left = {n for inner in item.nodes("fromlist") + item.nodes("larg") for n in _walk(tree, inner, facts)}
    right = {n for inner in item.nodes("rarg") for n in _walk(tree, inner, facts)}
    kind = item.number("jointype") if item.label == "JOINEXPR" else INNER
    facts.sides[item.number("rtindex")] = {INNER: [], LEFT: [right], RIGHT: [left], FULL: [left, right]}[kind]
    about = {INNER: left | right, LEFT: right, RIGHT: left, FULL: set()}[kind]
    for condition in conjuncts(item.node("quals")):
        facts.note(column for column in where_true(tree, condition) if column[0] in about)
    return left | right | {item.number("rtindex")}


def where_true(tree: QueryTree, expr: Node) -> set[RelationColumn]:
    """Return the columns that are not null where an expression is true."""
    arguments = expr.nodes("args") + expr.nodes("arg")
    match expr.label:
        case "BOOLEXPR" if expr.text("boolop") == "and":
            return set().union(*(where_true(tree, a) for a in arguments))
        case "BOOLEXPR" if expr.text("boolop") == "or":
            return set.intersection(*(where_true(tree, a) for a in arguments))
        case "NULLTEST" if expr.number("nulltesttype") == _IS_NOT_NULL and not expr.has("argisrow"):
            return _where_not_null(tree, arguments[0])
        case "BOOLEANTEST" if expr.number("booltesttype") == _IS_TRUE:
            return where_true(tree, arguments[0])
        case "BOOLEANTEST" if expr.number("booltesttype") in (_IS_FALSE, _IS_NOT_UNKNOWN):
            return _where_not_null(tree, arguments[0])
        case "SCALARARRAYOPEXPR" if expr.has("useOr") and _is_strict(tree, expr):
            return _where_not_null(tree, arguments[0])
    return _where_not_null(tree, expr)


def _where_not_null(tree: QueryTree, expr: Node) -> set[RelationColumn]:
    """Return the columns that are not null where an expression is not."""
    if expr.label == "VAR":
        is_own = not expr.number("varlevelsup")
        return {(expr.number("varno"), expr.number("varattno"), frozenset(nulling_joins(expr)))} if is_own else set()
    is_not = expr.label == "BOOLEXPR" and expr.text("boolop") == "not"
    if is_not or expr.label in _HANDS_ON or (expr.label in ("OPEXPR", "FUNCEXPR") and _is_strict(tree, expr)):
        return set().union(*(_where_not_null(tree, a) for a in expr.nodes("args") + expr.nodes("arg")))
    return set()


def _is_strict(tree: QueryTree, expr: Node) -> bool:
    """Return whether a call of a function or operator is null where an argument is."""
    function = tree.catalog.functions.get(tree.catalog.function_of(expr))
    return function is not None and function.is_strict and not expr.has("funcretset")

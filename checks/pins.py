"""Relations of which a query's conditions leave one row at most, as unique keys tell."""

from collections.abc import Callable, Iterator

from .catalog import KeyColumn
from .facts import FULL, INNER, LEFT, facts_of, nulling_joins
from .node_tree import Node, RteKind
from .query_tree import MERGE, Parameters, QueryTree, bare, conjuncts

# Nodes that are not one value for one row.
_EXCEPTED = {"SUBLINK", "AGGREF", "WINDOWFUNC"}
# Fields that hold the oid of the function that an expression calls.
_CALLS = ("funcid", "opfuncid")


class Pins:
    """The relations that a query's FROM joins. relations: those with at most one row; is_all: whether all of them are."""

    def __init__(self, tree: QueryTree, is_single: Callable[[QueryTree], bool]) -> None:
        self._tree = tree
        self._is_single = is_single
        self._wanted: set[int] = set()
        self._equal: list[tuple[Node, Node, Node]] = []
        jointree = tree.node.node("jointree")
        can_follow = jointree is None or self._gather(jointree, self._wanted)
        if tree.command == MERGE:
            self._wanted.add(tree.node.number("resultRelation"))
            self._note(tree.node.node("mergeJoinCondition"), {tree.node.number("resultRelation")})
        self.relations = self._pinned()
        self.is_all = can_follow and self._wanted == self.relations

    def is_constant(self, expr: Node, equality: int) -> bool:
        """Return whether all rows have values of an expression that an operator takes for equal."""
        if expr.label == "VAR" and not expr.number("varlevelsup") and (alias := self._tree.alias_of(expr)):
            return self.is_constant(alias[1], equality)
        expr = bare(expr)
        if self._is_given(expr):
            return True
        catalog = self._tree.catalog
        families = catalog.equalities.get(equality, set())
        return not self._is_nulled(expr) and any(
            _is_same(column, expr)
            and self._is_given(other)
            and families & catalog.equalities.get(condition.number("opno"), set())
            and condition.number("inputcollid") not in catalog.loose
            for column, other, condition in self._equal
        )

    def _is_given(self, expr: Node) -> bool:
        """Return whether an expression has one value: it looks at pinned relations only, which no join makes null."""
        return not any(map(self._is_nulled, nodes_of(expr))) and set(self._relations_of(expr)) <= self.relations

    def _is_nulled(self, node: Node) -> bool:
        present = facts_of(self._tree).present
        return any((node.number("varno"), join) not in present for join in nulling_joins(node))

    def _pinned(self) -> set[int]:
        pinned = {n for n in self._wanted if self._has_one_row(self._tree.rte(n))}
        while True:
            bound: dict[int, list[tuple[Node, Node]]] = {}
            for column, other, condition in self._equal:
                if set(self._relations_of(other)) <= pinned:
                    bound.setdefault(column.number("varno"), []).append((column, condition))
            more = {
                n
                for n in self._wanted - pinned
                for key in self._tree.catalog.unique.get(self._tree.rte(n).number("relid"), ())
                if all(any(self._binds(part, *pair) for pair in bound.get(n, [])) for part in key)
            }
            if not more:
                return pinned
            pinned |= more

    def _binds(self, part: KeyColumn, column: Node, condition: Node) -> bool:
        """Return whether a condition leaves a key's column one value: it takes only those for equal that the key does."""
        catalog = self._tree.catalog
        collation = condition.number("inputcollid")
        return (
            column.number("varattno") == part.number
            and part.family in catalog.equalities.get(condition.number("opno"), set())
            and (collation == part.collation or collation not in catalog.loose)
        )

    def _gather(self, item: Node, wanted: set[int]) -> bool:
        """Collect what is joined, and the conditions that it keeps to; False for a join that can't be followed."""
        if item.label == "RANGETBLREF":
            wanted.add(item.number("rtindex"))
            return True
        kind = item.number("jointype") if item.label == "JOINEXPR" else INNER
        left: set[int] = set()
        right: set[int] = set()
        followed = [self._gather(inner, left) for inner in item.nodes("fromlist") + item.nodes("larg")]
        followed += [self._gather(inner, right) for inner in item.nodes("rarg")]
        wanted |= left | right
        if kind == FULL:
            return False
        self._note(item.node("quals"), left | right if kind == INNER else right if kind == LEFT else left)
        return all(followed)

    def _note(self, condition: Node | None, filtered: set[int]) -> None:
        """Collect the columns that a condition says to be equal to something."""
        for part in conjuncts(condition):
            if part.label == "OPEXPR" and len(part.nodes("args")) == 2:
                left, right = map(bare, part.nodes("args"))
                for column, other in ((left, right), (right, left)):
                    if column.label == "VAR" and not column.number("varlevelsup") and column.number("varno") in filtered:
                        self._equal.append((column, other, part))

    def _has_one_row(self, rte: Node) -> bool:
        """Return whether what stands in FROM has at most one row by itself."""
        tree = self._tree
        kind = rte.number("rtekind")
        if kind == RteKind.FUNCTION and not any(call.has("funcretset") for call in tree.calls(rte)):
            return True
        if kind == RteKind.VALUES:
            return len(rte.items("values_lists")) == 1
        inner = tree.query_of(rte)
        if inner is None and (body := tree.body_of(rte)):
            inner = tree.apart(body, Parameters())
        return kind == RteKind.RESULT or (inner is not None and self._is_single(inner))

    def _relations_of(self, expr: Node) -> Iterator[int]:
        """Yield the query's relations that an expression looks at; 0 where it can have several values for one row of them."""
        functions = self._tree.catalog.functions
        for node in nodes_of(expr):
            if node.label == "VAR" and not node.number("varlevelsup"):
                yield node.number("varno")
            called = [node.number(key) for key in _CALLS if node.number(key)]
            if node.label in _EXCEPTED or any(functions[oid].volatility not in ("i", "s") for oid in called):
                yield 0


def _is_same(one: Node, other: Node) -> bool:
    keys = ("varno", "varattno", "varlevelsup")
    return other.label == "VAR" and [one.number(key) for key in keys] == [other.number(key) for key in keys]


def nodes_of(value: object) -> Iterator[Node]:
    """All nodes of an expression."""
    if isinstance(value, Node):
        yield value
        value = list(value.fields.values())
    if isinstance(value, list):
        for inner in value:
            yield from nodes_of(inner)

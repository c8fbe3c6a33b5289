"""A query as the server has analysed it: its range table, what its columns are, and the queries inside it.

PostgreSQL keeps the analysed body of a SQL function as text (pg_node_tree).
"""

from collections.abc import Container, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from .catalog import Catalog
from .node_tree import Node, RteKind
from .total import name_of

SELECT, UPDATE, INSERT, DELETE, MERGE = 1, 2, 3, 4, 5  # CmdType
EXISTS, ALL, ANY, EXPRESSION, ARRAY = 0, 1, 2, 4, 6  # SubLinkType
EXTERNAL = 0  # ParamKind
_TYPES = (
    "vartype", "consttype", "paramtype", "funcresulttype", "opresulttype", "aggtype", "wintype", "coalescetype", "minmaxtype",
    "casetype", "resulttype", "array_typeid", "refrestype", "msftype", "type",
)  # fmt: skip
_BOOLEAN = 16
_DEEPEST = 6  # a function may call itself
_BOOLEANS = {"BOOLEXPR", "NULLTEST", "BOOLEANTEST", "SCALARARRAYOPEXPR", "ROWCOMPAREEXPR", "JSONISPREDICATE"}


@dataclass(slots=True, eq=False)
class Parameters:
    """The parameters of a query, by number: which may be null, and which arrays may hold nulls (None: not known)."""

    null: Container[int] = ()
    null_elements: Container[int] | None = ()


@dataclass(slots=True, eq=False)
class QueryTree:
    """A query, or one inside it.

    is_old: whether columns of the table that it changes are those before the change. asked: the columns about which is being
    asked already, in a recursive query. cache: what was found out about queries, by the id of their node. depth: how many views
    and functions it is inside. assumed: columns that are not null where its expression is looked at.
    """

    node: Node
    catalog: Catalog
    parameters: Parameters
    outer: "QueryTree | None" = None
    is_old: bool = False
    asked: set[tuple[int, int]] = field(default_factory=set)
    cache: dict[int, Any] = field(default_factory=dict)
    depth: int = 0
    assumed: frozenset[tuple[int, int, frozenset[int]]] = frozenset()

    @property
    def command(self) -> int:
        """The kind of statement that it is."""
        return self.node.number("commandType")

    def columns(self) -> list[Node]:
        """Return the expressions of what it returns, in order."""
        returned = "targetList" if self.command == SELECT else "returningList"
        entries = [e for e in self.node.nodes(returned) if not e.has("resjunk")]
        return [expr for e in entries if (expr := e.node("expr"))]

    def rte(self, n: int) -> Node:
        """Return what stands at place n of its range table."""
        return self.node.nodes("rtable")[n - 1]

    def up(self, levels: int) -> "QueryTree":
        """Return the query so many levels around it."""
        tree = self
        for _ in range(levels):
            if tree.outer is None:
                raise AssertionError("a reference beyond the outermost query")
            tree = tree.outer
        return tree

    def of(self, var: Node) -> "tuple[QueryTree, Node]":
        """Return the query whose column a Var is, and what it is a column of there."""
        tree = self.up(var.number("varlevelsup"))
        return tree, tree.rte(var.number("varno"))

    def query_of(self, rte: Node) -> "QueryTree | None":
        """Return the query of a subquery, CTE or view in FROM; None for anything else."""
        kind = rte.number("rtekind")
        if kind == RteKind.SUBQUERY:
            return self.inside(rte.node("subquery"))
        if kind == RteKind.CTE:
            tree = self.up(rte.number("ctelevelsup"))
            named = {cte.text("ctename"): cte.node("ctequery") for cte in tree.node.nodes("cteList")}
            return tree.inside(named[rte.text("ctename")])
        view = self.catalog.view(rte.number("relid")) if kind == RteKind.RELATION else None
        return self.apart(view, Parameters()) if view else None

    def inside(self, node: Node | None) -> "QueryTree":
        """Return a query that stands in this one."""
        if node is None:
            raise AssertionError("a subquery without a query")
        return QueryTree(node, self.catalog, self.parameters, self, asked=self.asked, cache=self.cache, depth=self.depth)

    def apart(self, node: Node, parameters: Parameters) -> "QueryTree":
        """Return a query that this one refers to: a view's, or a function's with parameters of its own."""
        return QueryTree(node, self.catalog, parameters, cache=self.cache, depth=self.depth + 1)

    def before(self) -> "QueryTree":
        """Return the same query, whose table's columns are those before the change."""
        return replace(self, is_old=True)

    def assuming(self, columns: frozenset[tuple[int, int, frozenset[int]]]) -> "QueryTree":
        """Return the same query where some columns, of relations below some outer joins, are not null."""
        return replace(self, assumed=self.assumed | columns)

    def calls(self, rte: Node) -> list[Node]:
        """Return the calls in FROM of something, where it is functions."""
        return [call for f in rte.nodes("functions") if (call := f.node("funcexpr"))]

    def body_of(self, rte: Node) -> Node | None:
        """Return the query whose columns are those of a SQL function in FROM; None for anything else."""
        calls = self.calls(rte)
        if len(calls) != 1 or rte.has("funcordinality") or not calls[0].has("funcretset") or self.depth >= _DEEPEST:
            return None
        body = self.catalog.body(calls[0].number("funcid"))
        columns = self.apart(body, Parameters()).columns() if body else []
        if len(columns) != rte.nodes("functions")[0].number("funccolcount"):
            return None
        types = {self.type_of(column) for column in columns}
        return None if types & self.catalog.composites else body  # a column may stand for a whole row

    def function(self, expr: Node) -> str:
        """Return the name of the server's own function that an expression calls; empty where it calls none."""
        return name_of(self.catalog.signature(expr))

    def alias_of(self, var: Node) -> "tuple[QueryTree, Node] | None":
        """Return the query and expression of a join's merged column, or of what is grouped by; None for any other Var."""
        tree, rte = self.of(var)
        kind = rte.number("rtekind")
        if kind not in (RteKind.JOIN, RteKind.GROUP):
            return None
        return tree, rte.nodes("joinaliasvars" if kind == RteKind.JOIN else "groupexprs")[var.number("varattno") - 1]

    def type_of(self, expr: Node) -> int:
        """Return the oid of an expression's type; 0 where the tree does not tell."""
        if expr.label == "SUBLINK" and expr.number("subLinkType") == EXPRESSION:
            inner = self.inside(expr.node("subselect"))
            return inner.type_of(inner.columns()[0])
        if expr.label in _BOOLEANS or (expr.label == "SUBLINK" and expr.number("subLinkType") <= ANY):
            return _BOOLEAN
        return next((expr.number(key) for key in _TYPES if key in expr.fields), 0)


def any_null(answers: Iterator[bool | None]) -> bool | None:
    """Return True where one is, else None where one is not known, else False."""
    found = set(answers)
    return True if True in found else None if None in found else False


def all_null(answers: Iterator[bool | None]) -> bool | None:
    """Return False where one is not null, else None where one is not known, else True."""
    found = set(answers)
    return False if False in found else None if None in found else True


def conjuncts(condition: Node | None) -> list[Node]:
    """Return the conditions that a condition joins with AND."""
    if condition is None:
        return []
    if condition.label == "BOOLEXPR" and condition.text("boolop") == "and":
        return [inner for argument in condition.nodes("args") for inner in conjuncts(argument)]
    return [condition]


def bare(expr: Node) -> Node:
    """Return an expression without a cast that keeps its bytes."""
    inner = expr.node("arg")
    return bare(inner) if expr.label == "RELABELTYPE" and inner else expr


def values_of(rte: Node, number: int) -> list[Node]:
    """Return the expressions of a column of VALUES."""
    rows = [row for row in rte.items("values_lists") if isinstance(row, list)]
    return [value for row in rows if isinstance(value := row[number - 1], Node)]


def without_join(expr: Node, join: int) -> Node:
    """Return an expression as it is below an outer join, which may put nulls in the place of its columns."""
    fields = dict(expr.fields)
    if expr.label == "VAR":
        fields["varnullingrels"] = [item for item in expr.items("varnullingrels") if item != str(join)]
    for key in ("arg", "args"):
        if inner := expr.nodes(key):
            fields[key] = [without_join(node, join) for node in inner]
    return Node(expr.label, fields)

"""What the server knows of a query once it has analysed it: where a column comes from, and whether it can be null.

PostgreSQL keeps the analysed body of a SQL function as text (pg_node_tree). Its Vars say which outer joins may null them.
"""

from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field

from .node_tree import Node, RteKind, numbers

_SELECT = 1
_EXISTS, _EXPRESSION, _ARRAY = 0, 4, 6  # SubLinkType
_NEVER_NULL = {"NULLTEST", "BOOLEANTEST", "DISTINCTEXPR", "ROWEXPR", "ARRAYEXPR", "SQLVALUEFUNCTION"}
# What hands a null on, and makes none.
_AS_ARGUMENT = {"RELABELTYPE", "COERCEVIAIO", "COERCETODOMAIN", "ARRAYCOERCEEXPR", "COLLATEEXPR"}
_TOTAL_OPERATORS = {"+", "-", "*", "/", "%", "||", "=", "<>", "<", "<=", ">", ">=", "~", "!~", "~~", "@>", "<@", "&&", "?"}
_TOTAL_FUNCTIONS = {
    "abs", "array_append", "array_remove", "ceil", "clock_timestamp", "floor", "length", "lower", "nextval", "now", "round",
    "statement_timestamp", "to_json", "to_jsonb", "upper",
}  # fmt: skip
_NEVER_NULL_FUNCTIONS = {
    "concat", "count", "json_build_array", "json_build_object", "jsonb_build_array", "jsonb_build_object", "rank", "row_number",
}  # fmt: skip
# Aggregates of which a group, which has a row, has a value.
_OF_A_GROUP = {"array_agg", "json_agg", "json_object_agg", "jsonb_agg", "jsonb_object_agg"}
_OF_A_GROUPS_VALUES = {"avg", "bool_and", "bool_or", "every", "max", "min", "string_agg", "sum"}
_TYPES = (
    "vartype", "consttype", "paramtype", "funcresulttype", "opresulttype", "aggtype", "wintype", "coalescetype", "minmaxtype",
    "casetype", "resulttype", "array_typeid", "refrestype",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Catalog:
    """What the server's catalog adds to a tree.

    not_null, unique: of each table, by oid, the numbers of columns that can't be null, and those of each unique key;
    functions, operators: names by oid; views, bodies: the queries of views and of SQL functions, by oid.
    """

    not_null: Mapping[int, Set[int]]
    unique: Mapping[int, Sequence[Set[int]]]
    functions: Mapping[int, str]
    operators: Mapping[int, str]
    views: Mapping[int, Node]
    bodies: Mapping[int, Node]


@dataclass(slots=True, eq=False)
class QueryTree:
    """A query, or one inside it; nullable: the numbers of the parameters that may be null."""

    node: Node
    catalog: Catalog
    nullable: Set[int]
    outer: "QueryTree | None" = None
    _asked: set[tuple[int, int]] = field(default_factory=set)

    def columns(self) -> list[Node]:
        """The expressions of what it returns, in order."""
        returned = "targetList" if self.node.number("commandType") == _SELECT else "returningList"
        entries = [e for e in self.node.nodes(returned) if not e.has("resjunk")]
        return [expr for e in entries if (expr := e.node("expr"))]

    def column_can_be_null(self, n: int) -> bool | None:
        """Whether its column n, from 0, can be null; None where the server can't know."""
        arms = list(numbers(self.node.node("setOperations"), "RANGETBLREF", "rtindex"))
        if arms:
            return _any(self._inside(self.rte(i).node("subquery")).column_can_be_null(n) for i in arms)
        return self.can_be_null(self.columns()[n])

    def can_be_null(self, expr: Node) -> bool | None:
        """Whether an expression of this query can be null; None where the server can't know."""
        label = expr.label
        arguments = [a for key in ("arg", "args", "elements") for a in expr.nodes(key)]
        if label == "VAR":
            return self._var_can_be_null(expr)
        if label == "CONST":
            return expr.has("constisnull")
        if label == "PARAM":
            return expr.number("paramid") in self.nullable
        if label in _NEVER_NULL:
            return False
        if label in ("COALESCEEXPR", "MINMAXEXPR"):
            return _all(self.can_be_null(a) for a in arguments)
        if label == "CASEEXPR":
            results = [w.node("result") for w in expr.nodes("args")] + [expr.node("defresult")]
            return _any(self.can_be_null(r) if r else True for r in results)
        if label == "SUBLINK":
            return self._sublink_can_be_null(expr)
        if label == "AGGREF":
            return self._aggregate_can_be_null(expr)
        if label in _AS_ARGUMENT | {"BOOLEXPR", "SCALARARRAYOPEXPR"} or self._is_total(expr):
            return _any(self.can_be_null(a) for a in arguments)
        return False if self.function(expr) in _NEVER_NULL_FUNCTIONS else None

    def function(self, expr: Node) -> str:
        """The name of the function that an expression calls; empty where it is no call."""
        oid = expr.number("funcid") or expr.number("aggfnoid") or expr.number("winfnoid")
        return self.catalog.functions.get(oid, "")

    def origin(self, var: Node) -> "tuple[QueryTree, Node] | None":
        """The query and expression inside this one that a Var stands for; None where it is a table's or a function's column."""
        tree, rte = self._of(var)
        n = var.number("varattno") - 1
        kind = rte.number("rtekind")
        if kind in (RteKind.JOIN, RteKind.GROUP):
            return tree, rte.nodes("joinaliasvars" if kind == RteKind.JOIN else "groupexprs")[n]
        inner = tree.query_of(rte)
        if inner is None or n < 0 or inner.node.has("setOperations"):
            return None
        return inner, inner.columns()[n]

    def parts(self, expr: Node) -> "tuple[QueryTree, list[Node]] | None":
        """What json_build_array gets, alone or in a json_agg, where that is what an expression amounts to."""
        if expr.label == "COALESCEEXPR":
            return self.parts(expr.nodes("args")[0])
        if expr.label == "SUBLINK":
            inner = self._inside(expr.node("subselect"))
            return inner.parts(inner.columns()[0]) if expr.number("subLinkType") == _EXPRESSION else None
        if expr.label == "VAR":
            origin = self.origin(expr)
            return origin[0].parts(origin[1]) if origin else None
        arguments = expr.nodes("args")
        if self.function(expr) in ("json_agg", "jsonb_agg"):
            argument = arguments[0].node("expr")
            return self.parts(argument) if argument else None
        return (self, arguments) if self.function(expr) in ("json_build_array", "jsonb_build_array") else None

    def type_of(self, expr: Node) -> int:
        """The oid of an expression's type; 0 where the tree does not tell."""
        if expr.label == "SUBLINK" and expr.number("subLinkType") == _EXPRESSION:
            inner = self._inside(expr.node("subselect"))
            return inner.type_of(inner.columns()[0])
        return next((expr.number(key) for key in _TYPES if key in expr.fields), 0)

    def _var_can_be_null(self, var: Node) -> bool | None:
        if var.has("varnullingrels"):
            return True
        tree, rte = self._of(var)
        number = var.number("varattno")
        kind = rte.number("rtekind")
        if kind == RteKind.RELATION and rte.number("relid") not in tree.catalog.views:
            return number > 0 and number not in tree.catalog.not_null.get(rte.number("relid"), set())
        if kind == RteKind.VALUES:
            values = [row[number - 1] for row in rte.items("values_lists") if isinstance(row, list)]
            return _any(tree.can_be_null(value) for value in values if isinstance(value, Node))
        if kind in (RteKind.JOIN, RteKind.GROUP):
            origin = self.origin(var)
            return origin[0].can_be_null(origin[1]) if origin else None
        inner = tree.query_of(rte)
        if inner is None or number < 1:
            return None
        asked = (id(inner.node), number)
        if asked in self._asked:  # a recursive query: what it starts with decides
            return False
        self._asked.add(asked)
        try:
            return inner.column_can_be_null(number - 1)
        finally:
            self._asked.discard(asked)

    def _sublink_can_be_null(self, expr: Node) -> bool | None:
        kind = expr.number("subLinkType")
        if kind in (_EXISTS, _ARRAY):
            return False
        if kind != _EXPRESSION:
            return None
        inner = self._inside(expr.node("subselect"))
        node = inner.node
        has_a_row = node.has("hasAggs") and not any(
            node.has(key) for key in ("groupClause", "groupingSets", "havingQual", "limitCount", "limitOffset")
        )
        return inner.column_can_be_null(0) if has_a_row else True

    def _aggregate_can_be_null(self, expr: Node) -> bool | None:
        name = self.function(expr)
        if name in _NEVER_NULL_FUNCTIONS:
            return False
        if not self.node.has("groupClause") or expr.has("aggfilter"):
            return True
        values = [value for argument in expr.nodes("args") if (value := argument.node("expr"))]
        if name in _OF_A_GROUPS_VALUES:
            return _any(self.can_be_null(value) for value in values)
        return False if name in _OF_A_GROUP else None

    def _is_total(self, expr: Node) -> bool:
        """Whether a call or operator makes no null of its own."""
        cast = expr.label == "FUNCEXPR" and expr.number("funcformat") in (1, 2)
        return (
            cast
            or self.function(expr) in _TOTAL_FUNCTIONS
            or (expr.label == "OPEXPR" and self.catalog.operators.get(expr.number("opno")) in _TOTAL_OPERATORS)
        )

    def _of(self, var: Node) -> "tuple[QueryTree, Node]":
        tree = self._up(var.number("varlevelsup"))
        return tree, tree.rte(var.number("varno"))

    def rte(self, n: int) -> Node:
        """What stands at place n of its range table."""
        return self.node.nodes("rtable")[n - 1]

    def _up(self, levels: int) -> "QueryTree":
        tree = self
        for _ in range(levels):
            if tree.outer is None:
                raise AssertionError("a reference beyond the outermost query")
            tree = tree.outer
        return tree

    def query_of(self, rte: Node) -> "QueryTree | None":
        """The query of a subquery, CTE, view or SQL function in FROM; None for anything else."""
        kind = rte.number("rtekind")
        if kind == RteKind.SUBQUERY:
            return self._inside(rte.node("subquery"))
        if kind == RteKind.CTE:
            tree = self._up(rte.number("ctelevelsup"))
            named = {cte.text("ctename"): cte.node("ctequery") for cte in tree.node.nodes("cteList")}
            return tree._inside(named[rte.text("ctename")])
        if kind == RteKind.RELATION:
            view = self.catalog.views.get(rte.number("relid"))
            return QueryTree(view, self.catalog, frozenset(), None, self._asked) if view else None
        calls = [call for f in rte.nodes("functions") if (call := f.node("funcexpr")) and call.has("funcretset")]
        body = self.catalog.bodies.get(calls[0].number("funcid")) if len(calls) == 1 else None
        if body is None or rte.has("funcordinality"):
            return None
        nullable = {n for n, argument in enumerate(calls[0].nodes("args"), 1) if self.can_be_null(argument) is not False}
        return QueryTree(body, self.catalog, nullable, None, self._asked)

    def _inside(self, node: Node | None) -> "QueryTree":
        if node is None:
            raise AssertionError("a subquery without a query")
        return QueryTree(node, self.catalog, self.nullable, self, self._asked)


def _any(answers: Iterator[bool | None]) -> bool | None:
    """True where one is, else None where one is not known, else False."""
    found = set(answers)
    return True if True in found else None if None in found else False


def _all(answers: Iterator[bool | None]) -> bool | None:
    found = set(answers)
    return False if False in found else None if None in found else True

"""Nullability of a query's expressions: what is not proved to be never null is nullable, or not known."""

from collections.abc import Callable
from dataclasses import dataclass

from .aggregates import deciding_values, values
from .facts import FULL, facts_of, nulling_joins, results_of
from .node_tree import Node, RteKind, numbers
from .one_row import has_a_row
from .query_tree import (  # fmt: skip
    ALL,
    ANY,
    ARRAY,
    DELETE,
    EXISTS,
    EXPRESSION,
    EXTERNAL,
    INSERT,
    MERGE,
    SELECT,
    UPDATE,
    Parameters,
    QueryTree,
    all_null,
    any_null,
    values_of,
    without_join,
)
from .total import ARRAYS_JOINED, ROWS_NEVER_NULL, arguments_of, is_never_null, is_total

_NEVER_NULL = {"NULLTEST", "BOOLEANTEST", "DISTINCTEXPR", "ROWEXPR", "ARRAYEXPR", "MERGESUPPORTFUNC", "GROUPINGFUNC"}
# Nodes that hand a null on and make none.
_AS_ARGUMENT = {"RELABELTYPE", "COERCEVIAIO", "COERCETODOMAIN", "ARRAYCOERCEEXPR", "COLLATEEXPR", "BOOLEXPR", "NAMEDARGEXPR"}
_CURRENT_SCHEMA = 14  # SQLValueFunctionOp
_OLD, _NEW = 1, 2  # VarReturningType
_BY_SOURCE = 1  # MergeMatchKind
_DO_UPDATE = 2  # OnConflictAction


def column_can_be_null(tree: QueryTree, n: int) -> bool | None:
    """Return whether a query's column n, from 0, can be null; None where the server can't know."""
    arms = list(numbers(tree.node.node("setOperations"), "RANGETBLREF", "rtindex"))
    if arms:
        return any_null(column_can_be_null(tree.inside(tree.rte(i).node("subquery")), n) for i in arms)
    columns = tree.columns()
    return can_be_null(tree, columns[n]) if n < len(columns) else None


def can_be_null(tree: QueryTree, expr: Node) -> bool | None:
    """Return whether an expression of a query can be null; None where the server can't know."""
    label = expr.label
    arguments = [a for key in ("arg", "args", "elements") for a in expr.nodes(key)]
    if label == "VAR":
        return _var_can_be_null(tree, expr)
    if label == "CONST":
        return expr.has("constisnull")
    if label == "PARAM":
        return _parameter_can_be_null(tree, expr)
    if label in _NEVER_NULL or is_never_null(tree.catalog, expr):
        return False
    if label == "SQLVALUEFUNCTION":
        return expr.number("op") == _CURRENT_SCHEMA
    if label in ("COALESCEEXPR", "MINMAXEXPR"):
        return all_null(can_be_null(tree, a) for a in arguments)
    if label == "CASEEXPR":
        return any_null(can_be_null(*result) for result in results_of(tree, expr))
    if label == "SUBLINK":
        return _sublink_can_be_null(tree, expr)
    if label in ("AGGREF", "WINDOWFUNC"):
        decide = deciding_values(tree, expr)
        return any_null(can_be_null(tree, value) for value in decide) if isinstance(decide, list) else decide
    if label == "SCALARARRAYOPEXPR":
        return any_null(iter([*(can_be_null(tree, a) for a in arguments), elements_can_be_null(tree, arguments[1])]))
    if label in _AS_ARGUMENT or is_total(tree.catalog, expr):
        deciding = arguments[:1] if tree.function(expr) == "array_remove" else arguments
        return any_null(can_be_null(tree, a) for a in deciding)
    return None


def elements_can_be_null(tree: QueryTree, expr: Node) -> bool | None:
    """Return whether an array, where it is not null itself, can hold nulls; None where the server can't know."""
    arguments = [a for key in ("arg", "args", "elements") for a in expr.nodes(key)]
    name = tree.function(expr)
    if expr.label == "PARAM" and expr.number("paramkind") == EXTERNAL:
        held = tree.parameters.null_elements
        return None if held is None else expr.number("paramid") in held
    if expr.label == "CONST":
        return _has_nulls(expr)
    if expr.label == "ARRAYEXPR":
        inner = elements_can_be_null if expr.has("multidims") else can_be_null
        return any_null(inner(tree, a) for a in arguments)
    if expr.label in ("RELABELTYPE", "COLLATEEXPR", "COALESCEEXPR", "COERCETODOMAIN"):
        return any_null(elements_can_be_null(tree, a) for a in arguments)
    if expr.label == "CASEEXPR":
        return any_null(elements_can_be_null(*result) for result in results_of(tree, expr))
    if expr.label == "ARRAYCOERCEEXPR":
        cast = expr.node("elemexpr")
        keeps = cast is None or cast.label in ("RELABELTYPE", "COERCEVIAIO") or is_total(tree.catalog, cast)
        return elements_can_be_null(tree, arguments[0]) if keeps else None
    if expr.label == "SUBLINK" and expr.number("subLinkType") in (ARRAY, EXPRESSION):
        query = tree.inside(expr.node("subselect"))
        return column_can_be_null(query, 0) if expr.number("subLinkType") == ARRAY else column_elements(query, 0)
    if expr.label == "AGGREF" and name == "array_agg" and not expr.number("agglevelsup"):
        return can_be_null(tree, values(expr)[0])
    if name == "array_remove":
        removed = arguments[1]
        return elements_can_be_null(tree, arguments[0]) if not removed.has("constisnull") else False
    signature = tree.catalog.operator(expr)
    if name == "array_append" or signature in ARRAYS_JOINED:  # an array brings what it holds, a value itself
        are_arrays = [type_.endswith("array") for type_ in arguments_of(signature)] if signature else [True, False]
        pairs = zip(arguments, are_arrays, strict=True)
        return any_null((elements_can_be_null if is_array else can_be_null)(tree, a) for a, is_array in pairs)
    if expr.label == "VAR":
        return _var_elements(tree, expr)
    return None


def query_of(tree: QueryTree, rte: Node) -> QueryTree | None:
    """Return the query of a subquery, CTE, view or SQL function in FROM; None for anything else."""
    if found := tree.query_of(rte):
        return found
    body = tree.body_of(rte)
    return tree.apart(body, Parameters(_NullArguments(tree, tree.calls(rte)[0]), None)) if body else None


def origin(tree: QueryTree, var: Node) -> tuple[QueryTree, Node] | None:
    """Return the query and expression inside one that a Var stands for; None where it is a table's or a function's column."""
    if alias := tree.alias_of(var):
        return alias
    around, rte = tree.of(var)
    n = var.number("varattno") - 1
    inner = query_of(around, rte)
    if inner is None or inner.node.has("setOperations") or not 0 <= n < len(inner.columns()):
        return None
    return inner, inner.columns()[n]


@dataclass(frozen=True, slots=True)
class _NullArguments:
    """The numbers of a call's arguments that are not proved to be never null: given ones, and defaults of omitted ones."""

    tree: QueryTree
    call: Node

    def __contains__(self, number: object) -> bool:
        argument = self.tree.catalog.argument(self.call, number)
        return argument is None or can_be_null(self.tree, argument) is not False


def _parameter_can_be_null(tree: QueryTree, expr: Node) -> bool:
    return expr.number("paramkind") != EXTERNAL or expr.number("paramid") in tree.parameters.null


def _var_can_be_null(tree: QueryTree, var: Node) -> bool | None:
    around, rte = tree.of(var)
    relation, number = var.number("varno"), var.number("varattno")
    if (relation, number, frozenset(nulling_joins(var))) in around.assumed:
        return False
    facts = facts_of(around)
    if any((relation, join) not in facts.present for join in nulling_joins(var)):
        return True
    if around.command != SELECT and not around.is_old:
        if relation == around.node.number("resultRelation"):
            return _changed_can_be_null(around, rte, var)
        if any(action.number("matchKind") == _BY_SOURCE for action in around.node.nodes("mergeActionList")):
            return True
    if (relation, number) in facts.columns:
        return False
    conflict = around.node.node("onConflict")
    if conflict and relation == conflict.number("exclRelIndex") and around.command == INSERT:
        return _proposed_can_be_null(around, rte, number)
    kind = rte.number("rtekind")
    if alias := around.alias_of(var):
        return _alias_can_be_null(*alias, rte, relation)
    if kind == RteKind.RELATION and rte.number("relid") not in around.catalog.views:
        return table_column_can_be_null(around, rte, number)
    if kind == RteKind.VALUES:
        return any_null(can_be_null(around, value) for value in values_of(rte, number))
    inner = query_of(around, rte)
    if inner is None:
        return _call_can_be_null(around, rte)
    return _once(tree, rte, number, lambda: column_can_be_null(inner, number - 1)) if number > 0 else None


def _once(tree: QueryTree, rte: Node, number: int, ask: Callable[[], bool | None]) -> bool | None:
    """Return the answer about the column of a query in FROM; False where it depends on itself.

    In a recursive query a column is not null where it begins so, and each step keeps that.
    """
    asked = (id(rte), number)
    if asked in tree.asked:
        return False
    tree.asked.add(asked)
    try:
        return ask()
    finally:
        tree.asked.discard(asked)


def _alias_can_be_null(tree: QueryTree, expr: Node, rte: Node, relation: int) -> bool | None:
    """Return whether what is grouped by, or a merged column, can be null: of a full join, one side is there at any rate."""
    if expr.label == "COALESCEEXPR" and rte.number("jointype") == FULL:
        return any_null(can_be_null(tree, without_join(argument, relation)) for argument in expr.nodes("args"))
    return can_be_null(tree, expr)


def table_column_can_be_null(tree: QueryTree, rte: Node, number: int) -> bool:
    """Return whether a column of a table that is there can be null."""
    table = rte.number("relid")
    generated = tree.catalog.generated.get((table, number))
    if number <= 0 or number in tree.catalog.not_null.get(table, set()):
        return False
    return generated is None or can_be_null(tree.apart(Node("QUERY", {"rtable": [rte]}), Parameters()), generated) is not False


def _changed_can_be_null(tree: QueryTree, rte: Node, var: Node) -> bool | None:
    """Return whether a column of the table that a statement changes can be null in what it returns."""
    command, number, returned = tree.command, var.number("varattno"), var.number("varreturningtype")
    table = rte.number("relid")
    is_absent = {INSERT: returned == _OLD, DELETE: returned == _NEW, MERGE: returned != 0, UPDATE: False}[command]
    if is_absent or table in tree.catalog.views:
        return True
    if command == DELETE or returned == _OLD:
        return can_be_null(tree.before(), var)
    if not table_column_can_be_null(tree, rte, number):
        return False
    conflict = tree.node.node("onConflict")
    lists = [tree.node.nodes("targetList")]
    lists += [conflict.nodes("onConflictSet")] if conflict and conflict.number("action") == _DO_UPDATE else []
    if command == MERGE or table in tree.catalog.triggers:
        return True
    given = [e.node("expr") for entries in lists for e in entries if e.number("resno") == number and not e.has("resjunk")]
    if command == UPDATE and not given:
        return can_be_null(tree.before(), var)
    return len(given) < len(lists) or any_null(can_be_null(tree.before(), e) if e else True for e in given)


def _proposed_can_be_null(tree: QueryTree, rte: Node, number: int) -> bool | None:
    """Return whether a column of the row that an INSERT proposes can be null."""
    if not table_column_can_be_null(tree, rte, number):
        return False
    given = [e.node("expr") for e in tree.node.nodes("targetList") if e.number("resno") == number]
    if not given or rte.number("relid") in tree.catalog.triggers:
        return True
    return any_null(can_be_null(tree, e) if e else True for e in given)


def _call_can_be_null(tree: QueryTree, rte: Node) -> bool | None:
    """Return whether the value of one of the server's own functions in FROM can be null."""
    calls = tree.calls(rte)
    if len(calls) != 1 or rte.has("funcordinality"):
        return None
    if tree.function(calls[0]) in ROWS_NEVER_NULL:
        return False
    arguments = calls[0].nodes("args")
    if tree.function(calls[0]) == "unnest" and len(arguments) == 1 and tree.type_of(arguments[0]) in tree.catalog.arrays:
        return elements_can_be_null(tree, arguments[0])
    return None


def _sublink_can_be_null(tree: QueryTree, expr: Node) -> bool | None:
    kind = expr.number("subLinkType")
    if kind in (EXISTS, ARRAY):
        return False
    inner = tree.inside(expr.node("subselect"))
    if kind == EXPRESSION:
        return column_can_be_null(inner, 0) if has_a_row(inner) else True
    test = expr.node("testexpr")
    if kind not in (ALL, ANY) or test is None or not is_total(tree.catalog, test):
        return None
    return any_null(iter([can_be_null(tree, test.nodes("args")[0]), column_can_be_null(inner, 0)]))


def _has_nulls(const: Node) -> bool:
    """Return whether an array that is a constant has a bitmap of nulls: the offset of its values is not 0 then."""
    return any((const.constant() or b"")[8:12])


def _var_elements(tree: QueryTree, var: Node) -> bool | None:
    around, rte = tree.of(var)
    number = var.number("varattno")
    kind = rte.number("rtekind")
    if alias := around.alias_of(var):
        return elements_can_be_null(*alias)
    if kind == RteKind.RELATION and rte.number("relid") not in around.catalog.views:
        return False if (rte.number("relid"), number) in around.catalog.whole else None
    if kind == RteKind.VALUES:
        return any_null(elements_can_be_null(around, value) for value in values_of(rte, number))
    inner = query_of(around, rte)
    return _once(tree, rte, -number, lambda: column_elements(inner, number - 1)) if inner and number > 0 else None


def column_elements(tree: QueryTree, n: int) -> bool | None:
    """Return whether an array that is a query's column n, from 0, can hold nulls; None where the server can't know."""
    arms = list(numbers(tree.node.node("setOperations"), "RANGETBLREF", "rtindex"))
    if arms:
        return any_null(column_elements(tree.inside(tree.rte(i).node("subquery")), n) for i in arms)
    columns = tree.columns()
    return elements_can_be_null(tree, columns[n]) if n < len(columns) else None

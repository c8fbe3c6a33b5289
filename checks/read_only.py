"""Proof that a query only reads: neither it nor the functions and views that it uses change or lock anything."""

from collections.abc import Iterator

from .catalog import Catalog
from .node_tree import Node, RteKind, parse_all
from .query_tree import DELETE, INSERT, MERGE, SELECT, UPDATE

_COMMANDS = {UPDATE: "update", INSERT: "insert", DELETE: "delete", MERGE: "merge"}
# Volatile functions of the server without side effects.
_HARMLESS = {
    "clock_timestamp", "currval", "gen_random_uuid", "lastval", "random", "random_normal", "timeofday", "uuidv4", "uuidv7",
}  # fmt: skip
_CALLS = ("funcid", "opfuncid", "aggfnoid", "winfnoid")
_OPERATORS = ("eqop", "sortop")


def changes(catalog: Catalog, query: Node) -> list[str]:
    """Return the possible side effects of a query, such as "calls nextval"; none if it is proved to be read-only."""
    return sorted(set(_changes(catalog, query, set())))


def _changes(catalog: Catalog, item: object, seen: set[tuple[str, int]]) -> Iterator[str]:
    if isinstance(item, list):
        for inner in item:
            yield from _changes(catalog, inner, seen)
    if not isinstance(item, Node):
        return
    if item.label == "QUERY":
        yield from _of_query(item)
    if item.label == "RANGETBLENTRY" and item.number("rtekind") == RteKind.RELATION:
        yield from _of_table(catalog, item.number("relid"), seen)
    if item.label == "COERCETODOMAIN":
        yield from _of_domain(catalog, item.number("resulttype"), seen)
    called = [item.number(key) for key in _CALLS if key in item.fields]
    called += [catalog.operator_functions.get(item.number(key), 0) for key in _OPERATORS if key in item.fields]
    for function in called:
        if function and ("function", function) not in seen:
            seen.add(("function", function))
            yield from _of_function(catalog, function, seen)
    for value in item.fields.values():
        yield from _changes(catalog, value, seen)


def _of_query(query: Node) -> Iterator[str]:
    command = query.number("commandType")
    if command != SELECT:
        yield f"has {_COMMANDS.get(command, 'a statement that is no query')}"
    if query.has("rowMarks"):
        yield "locks rows"


def _of_table(catalog: Catalog, table: int, seen: set[tuple[str, int]]) -> Iterator[str]:
    if ("table", table) in seen:
        return
    seen.add(("table", table))
    if table in catalog.unproved:
        yield catalog.unproved[table]
    if view := catalog.view(table):
        yield from _changes(catalog, view, seen)


def _of_domain(catalog: Catalog, domain: int, seen: set[tuple[str, int]]) -> Iterator[str]:
    for check in catalog.domains.get(domain, ()):
        yield from _changes(catalog, catalog.parse(check), seen)


def _of_function(catalog: Catalog, oid: int, seen: set[tuple[str, int]]) -> Iterator[str]:
    function = catalog.functions[oid]
    if function.is_servers:
        if function.volatility == "v" and function.name not in _HARMLESS:
            yield f"calls {function.name}"
    elif function.body:
        yield from _changes(catalog, parse_all(function.body), seen)
        yield from _changes(catalog, parse_all(function.defaults or "()"), seen)
    else:
        yield f"calls {function.name}"

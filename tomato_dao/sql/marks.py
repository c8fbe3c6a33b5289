"""Parser of the marks at the end of a query's lines, such as “-- if: group_id”, checked against its head."""

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from keyword import iskeyword

from ..errors import QueryFileError
from .choices import Choices, Line, Make, Order

MOST_VARIANTS = 64
_MOST_FILTERS = 10  # a query with more has too many variants in any case, and counting them takes long
_ANY = re.compile(r"--\s*(?:if|after|order)\b")
_MARK = re.compile(r"--\s*(?P<what>if|after|order)\s*(?::\s*(?P<names>.*?))?\s*")
_NAME = re.compile(r"[a-z_]\w*")
_COLUMN = re.compile(r"(?P<column>(?:[a-z_]\w*\.)?[a-z_]\w*)(?:\s+(?P<way>asc|desc))?")
_COMPARISON = re.compile(r"(?:and\s+)?(?P<left>\(.*?\)|\S+)\s*(?P<operator>[<>])\s*(?P<right>\(.*\)|\S+)")
_PARAMETER = re.compile(r":(?P<name>[a-z_]\w*)(?:::\w+)?")

Wrong = Callable[[int, str], QueryFileError]


@dataclass(frozen=True, slots=True)
class Head:
    """Annotations at a query's head: optional parameters, orders by name, and the line that names the former."""

    name: str
    entity: str
    parameters: tuple[str, ...]
    nullable: frozenset[str]
    optional: tuple[str, ...]
    orders: Mapping[str, Order]
    number: int


@dataclass(frozen=True, slots=True)
class Tokens:
    """Positions in a query's text: of parts without parameters (such as comments), and of its parameters."""

    skipped: Sequence[tuple[int, int]]
    parameters: Sequence[tuple[int, str]]


def may_be_there(text: str) -> bool:
    """Return whether a text may contain marks. Parsing them takes longer, and is skipped for other texts."""
    return _ANY.search(text) is not None


def order(text: str, number: int, wrong: Wrong) -> Order:
    """Parse an order from its line in the head: “newest = d.at desc, d.source, d.dump_id”."""
    name, equals, columns = (part.strip() for part in text.partition("="))
    if not equals or not _NAME.fullmatch(name) or not columns:
        raise wrong(number, f"not an order, such as “-- order: newest = d.at desc, d.id”: {text}")
    if re.search(r"(?<!:):[a-z_]|--|/\*|;", columns):
        raise wrong(number, f"order {name} has more than columns: a parameter, a comment or a semicolon")
    return Order(name, columns, number)


def read(head: Head, text: str, first: int, tokens: Tokens, make: Make, wrong: Wrong) -> Choices | None:
    """Return the choices that a query's marks and head leave open, or None if it has neither.

    first: the line number of the text's first line in its file. Raises QueryFileError if marks and head do not match.
    """
    lines = list(_lines(text, first, tokens, wrong))
    if not head.optional and not head.orders and not any(mark for _, mark, _ in lines):
        return None
    _check_head(head, wrong)
    found = [_marked(line, mark, used, head, wrong) for line, mark, used in lines]
    orders = _continued(head, [line for line in found if line.order], wrong)
    if bool(orders) != any(line.is_order for line in found):
        said = "names orders, but no line ends with “-- order”" if orders else "has a line with “-- order”, but names no order"
        raise wrong(head.number, f"{head.name} {said}")
    keys = {name for order in orders.values() for name in order.after}
    if keys and "after" in head.parameters:
        raise wrong(head.number, f"{head.name} has a parameter called after, beside lines with “-- after”")
    filters = tuple(name for name in head.optional if name not in keys)
    for name in filters:
        if not any(name in line.needs and not line.order for line in found):
            raise wrong(head.number, f"{head.name} declares {name} optional, but no line depends on it")
    for line in found:
        if not line.order and (misused := line.needs & keys):
            what = f"has {min(misused)} in “-- if”, which continues an order after a row"
            raise wrong(line.number, f"{head.name} {what}")
    required = tuple(name for name in head.parameters if name not in head.optional)
    choices = Choices(head.name, required, filters, orders, tuple(found), make, head.entity)
    count = len(list(choices.keys())) if len(filters) <= _MOST_FILTERS else 2 ** len(filters)
    if count > MOST_VARIANTS:
        raise wrong(head.number, f"{head.name} has {count} variants, more than {MOST_VARIANTS}: split it")
    return choices


def _check_head(head: Head, wrong: Wrong) -> None:
    if unknown := set(head.optional) - set(head.parameters):
        raise wrong(head.number, f"{head.name} says “optional” of what it does not have: {', '.join(sorted(unknown))}")
    if twice := [name for name, count in Counter(head.optional).items() if count > 1]:
        raise wrong(head.number, f"{head.name} says “optional” of {twice[0]} twice")
    if words := [name for name in head.parameters if iskeyword(name)]:
        raise wrong(head.number, f"{head.name} has a parameter {words[0]}, which is a word of Python and can't be a keyword")
    if head.orders and "order" in head.parameters:
        raise wrong(head.number, f"{head.name} has a parameter called order, by which callers name one of its orders")


def _lines(text: str, first: int, tokens: Tokens, wrong: Wrong) -> Iterator[tuple[Line, tuple[str, str] | None, list[str]]]:
    """Split a text into lines: each without its mark, the mark (“if”, “group_id”), and the parameters that it uses."""
    start = 0
    for number, whole in enumerate(text.split("\n"), first):
        end = start + len(whole)
        used = [name for place, name in tokens.parameters if start <= place < end]
        line, mark = Line(whole, number), None
        for comment, comment_end in tokens.skipped:
            if start <= comment and comment_end == end and (found := _MARK.fullmatch(text[comment:end])):
                mark = (found["what"], found["names"] or "")
                line = Line(whole[: comment - start].rstrip(), number)
                if not line.text.strip():
                    raise wrong(number, f"“-- {found['what']}” stands alone: it ends the line of SQL that it is about")
                if any(begin < start < stop for begin, stop in tokens.skipped):
                    raise wrong(number, f"“-- {found['what']}” ends a line that begins inside a string or comment")
        yield line, mark, used
        start = end + 1


def _marked(line: Line, mark: tuple[str, str] | None, used: Sequence[str], head: Head, wrong: Wrong) -> Line:
    """Return a line with its mark applied. The mark must name all optional parameters that the line uses."""
    what, text = mark or ("", "")
    optional = [name for name in used if name in head.optional]
    if what == "order":
        if text:
            raise wrong(line.number, f"{head.name} names an order among its SQL: that belongs into the head")
        return _place_of_order(line, head, wrong)
    names = [name.strip() for name in text.split(",")] if what else []
    if bad := [name for name in names if not _NAME.fullmatch(name)]:
        raise wrong(line.number, f"“-- {what}:” is followed by names, not by {bad[0]!r}")
    if what == "after":
        if len(names) != 1 or names[0] not in head.orders:
            raise wrong(line.number, f"“-- after: {text}” names none of the orders of {head.name}")
        return replace(line, needs=frozenset(optional), order=names[0])
    if unknown := [name for name in names if name not in head.optional]:
        raise wrong(line.number, f"“-- if: {text}”: {unknown[0]} is not an optional parameter of {head.name}")
    if missing := [name for name in optional if name not in names]:
        raise wrong(line.number, f"{head.name} uses the optional {missing[0]} in a line without “-- if: {missing[0]}”")
    return replace(line, needs=frozenset(names))


def _place_of_order(line: Line, head: Head, wrong: Wrong) -> Line:
    """Return the order's line. It must have the first order's columns, so that the file is valid SQL as it is."""
    if head.orders:
        first = next(iter(head.orders.values()))
        if line.text.split() != ["order", "by", *first.columns.split()]:
            raise wrong(line.number, f"a line with “-- order” is that of the first: order by {first.columns}")
    return replace(line, is_order=True)


def _continued(head: Head, lines: Sequence[Line], wrong: Wrong) -> dict[str, Order]:
    """Return the orders with the parameters that continue each after a row. Either all have them or none has."""
    orders = dict(head.orders)
    for line in lines:
        orders[line.order] = replace(orders[line.order], after=_compared(orders[line.order], line, head, wrong))
    if lines and (without := [order for order in orders.values() if not order.after]):
        raise wrong(without[0].number, f"{head.name} has no line “-- after: {without[0].name}”, as other orders have")
    return orders


def _compared(order: Order, line: Line, head: Head, wrong: Wrong) -> tuple[str, ...]:
    """Return the parameters of a row comparison. Its columns and direction must be the order's."""
    terms = [_COLUMN.fullmatch(term.strip()) for term in order.columns.split(",")]
    columns = [term["column"] for term in terms if term]
    ways = {term["way"] or "asc" for term in terms if term}
    if len(columns) != len(terms) or len(ways) != 1:
        said = "order that is continued has columns only, all up or all down: a row comparison has one direction"
        raise wrong(order.number, f"{head.name}: {order.name}: an {said}")
    operator = "<" if ways == {"desc"} else ">"
    comparison = _COMPARISON.fullmatch(line.text.strip())
    left, right = (_parts(comparison[side]) if comparison else [] for side in ("left", "right"))
    parameters = [found["name"] for part in right if (found := _PARAMETER.fullmatch(part))]
    fits = comparison is not None and left == columns and comparison["operator"] == operator
    if not fits or len(set(parameters)) != len(columns) or not set(parameters) <= set(head.optional) - head.nullable:
        row = columns[0] if len(columns) == 1 else f"({', '.join(columns)})"
        named = [f":after_{column.rpartition('.')[2]}" for column in columns]
        wanted = f"{row} {operator} {named[0] if len(named) == 1 else '(' + ', '.join(named) + ')'}"
        what = "with an optional parameter of its own, which is not nullable, for each column"
        raise wrong(line.number, f"a line with “-- after: {order.name}” is “{wanted}”, {what}")
    return tuple(parameters)


def _parts(row: str) -> list[str]:
    inner = row[1:-1] if row.startswith("(") else row
    return [part.strip() for part in inner.split(",")]

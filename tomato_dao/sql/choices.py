"""Choices that a query leaves to its callers: optional parameters and orders, and the resulting variants.

A variant's text depends only on the names of the given parameters and of the order, never on a value.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from itertools import combinations
from types import CodeType
from typing import TYPE_CHECKING, Any, final

from ..errors import InvalidValue

if TYPE_CHECKING:
    from .query import Query

NO_ORDER = ""  # the only order of a query without named orders


@final
class Null:
    """The value of an optional parameter that stands for SQL's null, since None omits the parameter."""


@dataclass(frozen=True, slots=True)
class Line:
    """A line of a query.

    text: without its mark. number: its line number in the file, from 1. needs: the optional parameters that it requires; the
    line is left out without them. order: the order that it belongs to, empty if it belongs to all. is_order: whether it is the
    order's own line.
    """

    text: str
    number: int
    needs: frozenset[str] = frozenset()
    order: str = NO_ORDER
    is_order: bool = False


@dataclass(frozen=True, slots=True)
class Order:
    """An order: its name, columns as SQL, line in the file, and the parameters that continue after a row."""

    name: str
    columns: str
    number: int
    after: tuple[str, ...] = ()


Make = Callable[[str, tuple[str, ...], str, tuple[int, ...]], "Query"]


@dataclass(frozen=True, slots=True, eq=False)
class Choices:
    """Choices that a query leaves open.

    required: the parameters that every call passes, in order. filters: the optional parameters, without those of orders. make:
    a function that creates a variant of a query.
    """

    name: str
    required: tuple[str, ...]
    filters: tuple[str, ...]
    orders: Mapping[str, Order]
    lines: tuple[Line, ...]
    make: Make
    entity: str
    _made: dict[tuple[str, ...], "Query"] = field(default_factory=dict, init=False, repr=False)
    _found: dict[tuple[str, int], tuple["Query", Sequence[int]]] = field(default_factory=dict, init=False, repr=False)
    _names: dict[str, tuple[str, ...]] = field(default_factory=dict, init=False, repr=False)

    def __post_init__(self) -> None:
        self._names.update((name, self.filters + order.after) for name, order in self.orders.items())
        if not self.orders:
            self._names[NO_ORDER] = self.filters

    @property
    def default(self) -> str:
        """The first order."""
        return next(iter(self._names))

    @property
    def optional(self) -> tuple[str, ...]:
        """The optional parameters: filters, and those that continue after a row."""
        return tuple(dict.fromkeys(name for names in self._names.values() for name in names))

    def choose(self, required: Sequence[object], order: str, chosen: Mapping[str, object]) -> tuple["Query", Sequence[object]]:
        """Return the variant of a call and its values, as `caller` determines them."""
        named = {"order": order} if self.orders else {}
        both: tuple[Query, Sequence[object]] = self.caller(lambda *both: both)(*required, **named, **chosen)
        return both

    def caller(self, run: Callable[["Query", Sequence[object]], Any]) -> Callable[..., Any]:
        """Return a function that runs the variant of a call.

        The function takes required parameters by position, the optional ones and the order by keyword. None omits an optional
        parameter. It raises InvalidValue for an unknown order and for parameters that only work together with others, and
        TypeError, like any function, for an unknown parameter.
        """
        # Compiled from text, as dataclasses does for methods: a loop over keywords takes three times as long (make
        # bench-filters).
        own = "_" * (1 + max(map(len, (*self.required, *self.optional, "order"))))  # longer than any parameter
        keywords = [*(f"{name}=None" for name in self.optional), *([f"order={self.default!r}"] if self.orders else [])]
        positional = [*self.required, "/"] if self.required else []
        lines = [f"def call({', '.join([*positional, *(['*'] if keywords else []), *keywords])}):"]
        lines += [f"    {own}values, {own}given = [{', '.join(self.required)}], 0"]
        for n, name in enumerate(self.optional):
            lines += [f"    if {name} is not None:", f"        {own}given += {1 << n}"]
            lines += [f"        {own}values.append(None if {name} is {own}Null else {name})"]
        key = f"({'order' if self.orders else repr(NO_ORDER)}, {own}given)"
        lines += [f"    {own}query, {own}places = {own}found.get({key}) or {own}find{key}"]
        lines += [f"    if {own}places:", f"        {own}values = [{own}values[place] for place in {own}places]"]
        lines += [f"    return {own}run({own}query, {own}values)"]
        names: dict[str, Any] = {f"{own}run": run, f"{own}found": self._found, f"{own}find": self._find, f"{own}Null": Null}
        exec(_compiled("\n".join(lines)), names)  # noqa: S102 (contains only names, which the loader has checked)
        call: Callable[..., Any] = names["call"]
        call.__name__ = call.__qualname__ = self.name
        return call

    def _find(self, order: str, mask: int) -> tuple["Query", Sequence[int]]:
        """Return the variant for an order and a bit set of optional parameters, and the positions of its values.

        The positions are empty if the given values are already in place. Otherwise they skip another order's parameters.
        """
        names = self._names.get(order)
        if names is None:
            raise self._refused("order", f"{order!r} is not an order of {self.name}: {_listed(self.orders) or 'it has none'}")
        given = [name for n, name in enumerate(self.optional) if mask >> n & 1]
        used = [name for name in names if name in given]
        places = [*range(len(self.required)), *(len(self.required) + given.index(name) for name in used)]
        found = (self.variant(order, used), () if used == given else places)
        return self._found.setdefault((order, mask), found)

    def variant(self, order: str, given: Sequence[str]) -> "Query":
        """Return the query for an order and the given parameters, in their order. It is created once.

        Raises InvalidValue if a parameter would have no effect, or if only some of the values to continue after are given.
        """
        after = self.orders[order].after if self.orders else ()
        if missing := [name for name in after if name not in given and not set(after).isdisjoint(given)]:
            raise self._refused(missing[0], f"{self.name} needs {_listed(after)} together: {missing[0]} is missing")
        if useless := self._useless(order, given):
            with_ = min((line.needs for line in self.lines if useless in line.needs), key=len) - {useless}
            raise self._refused(
                useless, f"{self.name} accepts {useless} only together with {_listed(sorted(with_ - set(given)))}"
            )
        if made := self._made.get((order, *given)):
            return made
        texts, numbers = zip(*self._text(order, frozenset(given)), strict=True)
        made = self.make(self._label(order, given), (*self.required, *given), "\n".join(texts), numbers)
        return self._made.setdefault((order, *given), made)  # another thread may have created it first

    def variants(self) -> Iterator["Query"]:
        """Return all variants: for each order, those with the fewest parameters first."""
        for order, given in self.keys():
            yield self.variant(order, given)

    def keys(self) -> Iterator[tuple[str, tuple[str, ...]]]:
        """Return the order and parameters of each variant."""
        for order, names in self._names.items():
            after = names[len(self.filters) :]
            for count in range(len(self.filters) + 1):
                for filters in combinations(self.filters, count):
                    for given in (filters, (*filters, *after)) if after else (filters,):
                        if not self._useless(order, given):
                            yield order, given

    def _useless(self, order: str, given: Sequence[str]) -> str:
        """Return the first parameter that no line uses, or an empty string if all are used."""
        needed = {
            name for line in self.lines if line.needs <= set(given) and line.order in (NO_ORDER, order) for name in line.needs
        }
        return next((name for name in given if name not in needed), "")

    def _text(self, order: str, given: frozenset[str]) -> Iterator[tuple[str, int]]:
        """Yield the lines of a variant, each with its number in the file."""
        for line in self.lines:
            if line.is_order:
                indent = line.text[: len(line.text) - len(line.text.lstrip())]
                yield f"{indent}order by {self.orders[order].columns}", self.orders[order].number
            elif line.needs <= given and line.order in (NO_ORDER, order):
                yield line.text, line.number

    def _label(self, order: str, given: Sequence[str]) -> str:
        """Return the name shown by the server, logs and statistics: “error_dumps.list[group_id,after,newest]”."""
        chosen = [name for name in given if name in self.filters]
        chosen += ["after"] * (len(given) > len(chosen)) + [order] * bool(order)
        return f"{self.name}[{','.join(chosen)}]" if chosen else self.name

    def _refused(self, key: str, text: str) -> InvalidValue:
        return InvalidValue(f"{self.entity}: {text}", entity=self.entity, key=key)


def _listed(names: "Sequence[str] | Mapping[str, Order]") -> str:
    """Join names for a message: “a, b and c”."""
    *most, last = names or [""]
    return f"{', '.join(most)} and {last}" if most else last


@cache
def _compiled(text: str) -> CodeType:
    """Compile a call's text once for all Databases, each of which creates its own function from it."""
    return compile(text, "<choices>", "exec")

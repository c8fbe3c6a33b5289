"""Choices that a query leaves to its callers: optional parameters, orders, and the variants that follow from them.

A variant's text depends on nothing but the names of the parameters that are given and of the order, never on a value.
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

NO_ORDER = ""  # the only one of a query without named orders


@final
class Null:
    """The value of an optional parameter that asks for SQL's null, as None leaves the parameter out."""


@dataclass(frozen=True, slots=True)
class Line:
    """A line of a query.

    text: without its mark; number: its place in the file, from 1; needs: optional parameters without which it is left out.
    order: the order that it belongs to, empty where it belongs to all; is_order: whether it is the place of the order.
    """

    text: str
    number: int
    needs: frozenset[str] = frozenset()
    order: str = NO_ORDER
    is_order: bool = False


@dataclass(frozen=True, slots=True)
class Order:
    """An order: its name, columns as SQL, the line of the file that names it, and the parameters that continue after a row."""

    name: str
    columns: str
    number: int
    after: tuple[str, ...] = ()


Make = Callable[[str, tuple[str, ...], str, tuple[int, ...]], "Query"]


@dataclass(frozen=True, slots=True, eq=False)
class Choices:
    """Choices that a query leaves open. filters: optional parameters but those of orders; make: makes a variant of a query.

    required: the parameters that every call gives, in order.
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
        """The optional parameters: filters, and what continues after a row."""
        return tuple(dict.fromkeys(name for names in self._names.values() for name in names))

    def choose(self, required: Sequence[object], order: str, chosen: Mapping[str, object]) -> tuple["Query", Sequence[object]]:
        """Return the variant of a call, and its values, as `caller` finds them."""
        named = {"order": order} if self.orders else {}
        both: tuple[Query, Sequence[object]] = self.caller(lambda *both: both)(*required, **named, **chosen)
        return both

    def caller(self, run: Callable[["Query", Sequence[object]], Any]) -> Callable[..., Any]:
        """Return the function that runs the variant of a call: required parameters by place, the others and the order by name.

        An optional parameter that is None is left out. The function raises InvalidValue for an unknown order and for parameters
        that only work with others, and TypeError as any function does for a parameter that it does not have.
        """
        # Made of text, as dataclasses makes methods: a loop over keywords takes three times as long (make bench-filters).
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
        exec(_compiled("\n".join(lines)), names)  # noqa: S102 (of names only, which the loader has checked)
        call: Callable[..., Any] = names["call"]
        call.__name__ = call.__qualname__ = self.name
        return call

    def _find(self, order: str, mask: int) -> tuple["Query", Sequence[int]]:
        """Return the variant for an order and optional parameters, by their bits, and where its values stand among those given.

        The places are empty where the values stand as they should: another order's parameters are passed over.
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
        """Return the query for an order and the parameters that are given, in their order; made once.

        Raises InvalidValue where one of the parameters would have no effect, and for half a place to continue after.
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
        return self._made.setdefault((order, *given), made)  # another thread may have been first

    def variants(self) -> Iterator["Query"]:
        """Return all variants: per order, those with the fewest parameters first."""
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
        """Return the first parameter that no line uses; empty where all are used."""
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
        """Return the name that the server, logs and figures show: “error_dumps.list[group_id,after,newest]”."""
        chosen = [name for name in given if name in self.filters]
        chosen += ["after"] * (len(given) > len(chosen)) + [order] * bool(order)
        return f"{self.name}[{','.join(chosen)}]" if chosen else self.name

    def _refused(self, key: str, text: str) -> InvalidValue:
        return InvalidValue(f"{self.entity}: {text}", entity=self.entity, key=key)


def _listed(names: "Sequence[str] | Mapping[str, Order]") -> str:
    """Names as a message lists them: “a, b and c”."""
    *most, last = names or [""]
    return f"{', '.join(most)} and {last}" if most else last


@cache
def _compiled(text: str) -> CodeType:
    """Compile a call's text once for all that run it: every Database has functions of its own."""
    return compile(text, "<choices>", "exec")

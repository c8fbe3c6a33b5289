"""Joins that Hypothesis makes, and what they return from random rows: the truth that the contract is held against."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import psycopg
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from checks.described import Described
from tests.helpers.corpus_cases import fill
from tomato_dao.sql.rows import Row

_Columns = Mapping[str, tuple[str, ...]]
_INTEGERS: _Columns = {"things": ("id", "size"), "parts": ("id", "thing_id")}
_TEXTS: _Columns = {"things": ("name", "kind"), "parts": ("code", "note")}
_JOINS = ("inner join", "inner join", "left join", "left join", "right join", "full join")
_ALIASES = "abc"
_CONDITIONS = (
    "{n} = 1", "{n} = 2", "{t} = 'a'", "{n} = {o}", "{n} > 1", "{n} in (1, 2)", "{t} is not null", "{n} is not null",
    "not {t} = 'b'", "({t} = 'a' or {n} = 2)", "coalesce({n}, 2) = 2", "{n} is distinct from {o}", "({n} > 1) is true", "true",
)  # fmt: skip
_VALUES = (
    "{n}", "{n}", "{o}", "coalesce({n}, {o})", "coalesce({n}, 0)", "{n} + {o}", "length({t})", "nullif({n}, {o})",
    "case when {n} > 1 then {n} else 0 end", "greatest({n}, {o})", "({t} is null)::int4",
)  # fmt: skip
_AGGREGATES = ("max({0})", "count({0})", "sum({0})", "coalesce(sum({0}), 0)", "max({0}) filter (where {0} > 1)")

_ROWS = "select {one} as c1, {other} as c2 {of}"
_SHAPES = (
    _ROWS,
    _ROWS,
    _ROWS,
    "select {key} as c1, {all} as c2 {of} group by {key}",
    "select {all} as c1, count(*) as c2 {of}",
    "select {key} as c1, {all} as c2 {of} group by cube ({key})",
    _ROWS + " order by 1, 2 limit 1",
    "select distinct on ({key}) {key} as c1, {one} as c2 {of} order by {key}, 2",
    "select {one} as c1, max({other}) over (partition by {key}) as c2 {of}",
    "select s.c1, coalesce(s.c2::text, 'x') as c2 from (" + _ROWS + ") s",
    "select o.id as c1, s.c2 from (values (1)) o (id) left join lateral (select {one} as c2 {of}) s on true",
    "select o.id as c1, (select {all} {of}) as c2 from parts o",
    "select {key}::text as c1, 1 as c2 {of} union all select o.kind, o.size from things o",
)


class Both(Row, frozen=True):
    """Two texts."""

    c1: str
    c2: str


class First(Row, frozen=True):
    """A text, and one that may be missing."""

    c1: str
    c2: str | None


class Second(Row, frozen=True):
    """A text that may be missing, and one that is there."""

    c1: str | None
    c2: str


class Neither(Row, frozen=True):
    """Two texts that may be missing."""

    c1: str | None
    c2: str | None


_CLASSES = {(False, False): Both, (False, True): First, (True, False): Second, (True, True): Neither}


@dataclass(slots=True)
class Seen:
    """Result of a query in all: how many rows, how many each time, and how many values were there per column."""

    rows: int = 0
    counts: set[int] = field(default_factory=set)
    values: list[int] = field(default_factory=lambda: [0, 0])

    @property
    def nulls(self) -> tuple[bool, bool]:
        """Return whether each column was null once."""
        one, other = (count < self.rows for count in self.values)
        return one, other

    @property
    def kind(self) -> str:
        """The suffix for as many rows."""
        return "" if max(self.counts) > 1 else "^" if min(self.counts) == 0 else "<!"


def right_declaration(q: Described, seen: Seen) -> Described:
    """Return a query declared as it was seen."""
    return declared(q, kind=seen.kind, record_class=_CLASSES[seen.nulls])


def wrong_declarations(q: Described, seen: Seen) -> list[Described]:
    """Return a query declared otherwise than it was seen: each time without room for one thing that was there."""
    one, other = seen.nulls
    right = right_declaration(q, seen)
    found = [declared(right, record_class=_CLASSES[False, other])] if one else []
    found += [declared(right, record_class=_CLASSES[one, False])] if other else []
    narrower = {"": "^", "^": "<!"}.get(seen.kind)
    return [*found, declared(right, kind=narrower)] if narrower else found


def with_claims(q: Described) -> Described:
    """Return a query that says what is not proved of it and is declared."""
    fields = q.query.record_class.__annotations__ if q.query.record_class else {}
    names = [column.name for column in q.columns if column.can_be_null is not False and fields[column.name] is str]
    is_proved = {"": True, "^": q.at_most_one_row, "<!": q.at_most_one_row and q.has_a_row}[q.query.kind]
    claims = {"not null": ", ".join(names)} if names else {}
    return declared(q, claims=claims if is_proved else claims | {"one row": "it was seen so"})


def declared(q: Described, **changes: Any) -> Described:
    """Return a query with another declaration."""
    return replace(q, query=replace(q.query, **changes))


def made_joins(how_many: int) -> list[str]:
    """Different queries of two columns, c1 and c2; the same ones at each call."""
    found: dict[str, None] = {}

    @settings(
        max_examples=how_many + how_many // 2,
        derandomize=True,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(_queries())
    def collect(sql: str) -> None:
        found[sql] = None

    collect()
    return list(found)[:how_many]


def seen_of(connection: psycopg.Connection, queries: Sequence[str], fills: int) -> list[Seen]:
    """Return what queries return from as many fillings of the tables with random rows."""
    chance = random.Random(17)  # noqa: S311
    seen = [Seen() for _ in queries]
    texts = [f"select count(*), count(q.c1), count(q.c2) from ({query}) q".encode() for query in queries]
    connection.prepared_max = None
    for _ in range(fills):
        fill(connection, chance)
        with connection.pipeline():
            cursors = [connection.execute(text, prepare=True) for text in texts]
        for one, cursor in zip(seen, cursors, strict=True):
            rows, *values = cursor.fetchone() or (0, 0, 0)
            one.rows += rows
            one.counts.add(rows)
            one.values = [before + now for before, now in zip(one.values, values, strict=True)]
    return seen


@st.composite
def _queries(draw: st.DrawFn) -> str:
    """Return a join of tables, filtered, and what is made of its rows."""
    tables = draw(st.lists(st.sampled_from(["things", "parts"]), min_size=1, max_size=3))
    aliases = dict(zip(_ALIASES, tables, strict=False))
    of = f"from {tables[0]} a" + "".join(f" {draw(_join(aliases, n))}" for n in range(1, len(tables)))
    if conditions := draw(st.lists(_filled(_CONDITIONS, aliases), max_size=2)):
        of += f" where {' and '.join(conditions)}"
    shape = draw(st.sampled_from(_SHAPES))
    one, other = draw(_filled(_VALUES, aliases)), draw(_filled(_VALUES, aliases))
    key = draw(_column(aliases, draw(st.sampled_from([_TEXTS, _INTEGERS]))))
    rows = shape.format(of=of, one=one, other=other, key=key, all=draw(st.sampled_from(_AGGREGATES)).format(one))
    return f"select q.c1::text as c1, q.c2::text as c2 from ({rows}) q"


@st.composite
def _join(draw: st.DrawFn, aliases: Mapping[str, str], n: int) -> str:
    """Return the join of the table that comes next."""
    alias = _ALIASES[n]
    before = {name: aliases[name] for name in _ALIASES[:n]}
    kind = draw(st.sampled_from(_JOINS))
    columns = draw(st.sampled_from([_INTEGERS, _INTEGERS, _TEXTS]))
    own = draw(_column({alias: aliases[alias]}, columns))
    other = draw(_column(before, columns))
    same = f"{alias}.{other[2:]}" == own and before[other[0]] == aliases[alias]  # each row would have itself for a partner
    condition = f"{other} = {own}" + (" + 1" if same and columns is _INTEGERS else " || 'a'" if same else "")
    if kind != "full join" and draw(st.integers(0, 3)) == 0:
        condition += f" and {draw(_filled(_CONDITIONS, {alias: aliases[alias]} | before))}"
    return f"{kind} {aliases[alias]} {alias} on {condition}"


@st.composite
def _filled(draw: st.DrawFn, templates: Sequence[str], aliases: Mapping[str, str]) -> str:
    """Return a template with columns for the numbers n and o and the text t in it."""
    template = draw(st.sampled_from(templates))
    places = {"n": _INTEGERS, "o": _INTEGERS, "t": _TEXTS}
    columns = {place: draw(_column(aliases, of)) for place, of in places.items() if f"{{{place}}}" in template}
    return template.format(**columns)


@st.composite
def _column(draw: st.DrawFn, aliases: Mapping[str, str], columns: _Columns) -> str:
    return draw(st.sampled_from([f"{alias}.{column}" for alias, table in aliases.items() for column in columns[table]]))

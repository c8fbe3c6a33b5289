"""Joins that Hypothesis makes, and what they return from random rows: the truth that the contract is held against."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import psycopg
from corpus_cases import fill
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

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


@dataclass(slots=True)
class Seen:
    """What a query returned in all: how many rows, the least and most at once, and how many values were there per column."""

    rows: int = 0
    counts: set[int] = field(default_factory=set)
    values: list[int] = field(default_factory=lambda: [0, 0])


def made_joins(how_many: int) -> list[str]:
    """Different queries of two columns, c1 and c2; the same ones at each call."""
    found: dict[str, None] = {}

    @settings(
        max_examples=3 * how_many,
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
    """What queries return from as many fillings of the tables with random rows."""
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
    """A join of tables, filtered, and what is made of its rows."""
    tables = draw(st.lists(st.sampled_from(["things", "parts"]), min_size=1, max_size=3))
    aliases = dict(zip(_ALIASES, tables, strict=False))
    source = f"{tables[0]} a"
    for n in range(1, len(tables)):
        source += f" {draw(_join(aliases, n))}"
    conditions = draw(st.lists(_condition(aliases), max_size=2))
    where = f" where {' and '.join(conditions)}" if conditions else ""
    of = f"from {source}{where}"
    one, other = draw(_value(aliases)), draw(_value(aliases))
    key = draw(_column(aliases, draw(st.sampled_from([_TEXTS, _INTEGERS]))))
    shapes = {
        "rows": f"select {one} as c1, {other} as c2 {of}",
        "groups": f"select {key} as c1, {draw(_aggregate(one))} as c2 {of} group by {key}",
        "total": f"select {draw(_aggregate(one))} as c1, count(*) as c2 {of}",
        "cube": f"select {key} as c1, {draw(_aggregate(one))} as c2 {of} group by cube ({key})",
        "first": f"select {one} as c1, {other} as c2 {of} order by 1, 2 limit 1",
        "firsts": f"select distinct on ({key}) {key} as c1, {one} as c2 {of} order by {key}, 2",
        "window": f"select {one} as c1, max({other}) over (partition by {key}) as c2 {of}",
        "inner": f"select s.c1, coalesce(s.c2::text, 'x') as c2 from (select {one} as c1, {other} as c2 {of}) s",
        "lateral": f"select b2.id as c1, s.c2 from things b2 left join lateral (select {one} as c2 {of}) s on true",
        "scalar": f"select b2.id as c1, (select {draw(_aggregate(one))} {of}) as c2 from parts b2",
        "union": f"select {key}::text as c1, 1 as c2 {of} union all select b2.kind, b2.size from things b2",
    }
    return shapes[draw(st.sampled_from(["rows", "rows", "rows", *shapes]))]


@st.composite
def _join(draw: st.DrawFn, aliases: Mapping[str, str], n: int) -> str:
    """The join of the table that comes next."""
    alias = _ALIASES[n]
    before = {name: aliases[name] for name in _ALIASES[:n]}
    kind = draw(st.sampled_from(_JOINS))
    columns = draw(st.sampled_from([_INTEGERS, _INTEGERS, _TEXTS]))
    own = draw(_column({alias: aliases[alias]}, columns))
    other = draw(_column(before, columns))
    same = f"{alias}.{other[2:]}" == own and before[other[0]] == aliases[alias]  # each row would have itself for a partner
    condition = f"{other} = {own}" + (" + 1" if same and columns is _INTEGERS else " || 'a'" if same else "")
    if kind != "full join" and draw(st.integers(0, 3)) == 0:
        condition += f" and {draw(_condition({alias: aliases[alias]} | before))}"
    return f"{kind} {aliases[alias]} {alias} on {condition}"


@st.composite
def _column(draw: st.DrawFn, aliases: Mapping[str, str], columns: _Columns) -> str:
    alias = draw(st.sampled_from(sorted(aliases)))
    return f"{alias}.{draw(st.sampled_from(columns[aliases[alias]]))}"


@st.composite
def _condition(draw: st.DrawFn, aliases: Mapping[str, str]) -> str:
    number, other, text = (draw(_column(aliases, columns)) for columns in (_INTEGERS, _INTEGERS, _TEXTS))
    template = draw(st.sampled_from(_CONDITIONS))
    return template.format(n=number, o=other, t=text)


@st.composite
def _value(draw: st.DrawFn, aliases: Mapping[str, str]) -> str:
    number, other, text = (draw(_column(aliases, columns)) for columns in (_INTEGERS, _INTEGERS, _TEXTS))
    return draw(st.sampled_from(_VALUES)).format(n=number, o=other, t=text)


def _aggregate(value: str) -> st.SearchStrategy[str]:
    return st.sampled_from([template.format(value) for template in _AGGREGATES])

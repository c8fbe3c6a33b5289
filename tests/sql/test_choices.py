"""Optional parameters and orders of query files: what the loader refuses, and the texts of variants."""

import re
from concurrent.futures import ThreadPoolExecutor
from inspect import Parameter
from pathlib import Path
from threading import Barrier
from typing import Any

import aiosql
import pytest

from tests.helpers.choice_cases import DUMPS, Read
from tomato_dao import InvalidValue
from tomato_dao.errors import QueryFileError
from tomato_dao.sql.binding import bound
from tomato_dao.sql.choices import Choices, Null
from tomato_dao.sql.query import Query

NESTED = """-- name: list(a, b)
-- optional: a, b
select t.x
from t
where true
  and t.a = :a -- if: a
  and t.b > :b -- if: a, b
"""


def choices_of(query: Query) -> Choices:
    """Return the choices that a query leaves open."""
    assert query.choices
    return query.choices


def head(*lines: str, name: str = "list(a, b)") -> str:
    """Return a query that takes a and b, with these lines in its head."""
    return "\n".join([f"-- name: {name}", *lines, ""])


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        (head("-- optional: a, c") + "select :a, :b", 2, "“optional” of what it does not have: c"),
        (head("-- optional: a, a") + "select :b\n, :a -- if: a", 2, "“optional” of a twice"),
        (head("-- optional: a") + "select :a, :b", 3, "uses the optional a in a line without “-- if: a”"),
        (head("-- optional: a, b") + "select 1\n, :a, :b -- if: a", 4, "uses the optional b in a line without “-- if: b”"),
        (head("-- optional: a") + "select :b\n, :a -- if a", 4, "uses the optional a in a line without"),
        (head("-- optional: a") + "select :b /* -- if: a */, :a", 3, "uses the optional a in a line without"),
        (head("-- optional: a") + "select :b, '-- if: a', :a", 3, "uses the optional a in a line without"),
        (head("-- optional: b", "-- optional: a, b") + "select 1\n, :a -- if: a\n", 1, "does not use: b"),
        (head("-- optional: a, b") + "select 1\n, :a -- if: a\n, 2 -- if: b", 1, "does not use: b"),
        (head() + "select :a\n, :b -- if: b", 3, "b is not an optional parameter of things.list"),
        (head() + "select :a, :b\n, 1 -- if: c", 3, "“-- if: c”: c is not an optional parameter of things.list"),
        (head("-- optional: a") + "select :b\n, :a -- if: a b", 4, "is followed by names, not by 'a b'"),
        (head("-- optional: a") + "select :b\n, :a -- if: a,", 4, "is followed by names, not by ''"),
        (head("-- optional: a") + "select :b\n, :a -- if", 4, "is followed by names, not by ''"),
        (head("-- optional: a") + "select :b\n-- if: a\n, :a -- if: a", 4, "“-- if” stands alone"),
        (head("-- optional: a") + "select :b, 'x\n' || :a -- if: a", 4, "begins inside a string or comment"),
        (head("-- optional: a") + "select :b /* x\n*/ , :a -- if: a", 4, "begins inside a string or comment"),
        (head("-- if: a") + "select :a, :b", 2, "stands in the head of things.list"),
        (head("-- after: a") + "select :a, :b", 2, "stands in the head of things.list"),
        (head("-- order") + "select :a, :b", 2, "stands in the head of things.list"),
        (head("-- order: newest") + "select :a, :b", 2, "not an order, such as"),
        (head("-- order: x y = t.a") + "select :a, :b", 2, "not an order, such as"),
        (head("-- order: x =") + "select :a, :b", 2, "not an order, such as"),
        (head("-- order: x = t.a = :a") + "select :a, :b", 2, "order x has more than columns"),
        (head("-- order: x = t.a; drop table t") + "select :a, :b", 2, "order x has more than columns"),
        (head("-- order: x = t.a -- down") + "select :a, :b", 2, "order x has more than columns"),
        (head("-- order: x = t.a", "-- order: x = t.b") + "select :a, :b", 3, "two orders called x"),
        (head("-- order: x = t.a") + "select :a, :b", 1, "names orders, but no line ends with “-- order”"),
        (head() + "select :a, :b\norder by 1 -- order", 1, "has a line with “-- order”, but names no order"),
        (head() + "select :a, :b\norder by 1 -- order: x", 3, "that belongs into the head"),
        (head("-- order: x = t.a") + "select :a, :b\norder by t.b -- order", 4, "is that of the first: order by t.a"),
        (head("-- order: x = t.a") + "select :a, :b\norder by t.a limit 1 -- order", 4, "is that of the first: order by t.a"),
        (head("-- optional: from", name="list(from)") + "select 1\n, :from -- if: from", 2, "from, which is a word of Python"),
        (head("-- order: x = t.a", name="list(order)") + "select :order\norder by t.a -- order", 1, "a parameter called order"),
    ],
)
def test_a_faulty_choice_is_refused_with_file_and_line(read: Read, tmp_path: Path, text: str, line: int, said: str) -> None:
    with pytest.raises(QueryFileError) as refused:
        read(text)
    assert str(refused.value).startswith(f"{tmp_path / 'things.sql'}:{line}: ")
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)


def paged(comparison: str, *, orders: str = "x = t.a desc, t.b desc", optional: str = "c, d", said: str = "x") -> str:
    """Return a query of two pages: its first order, and the line that continues it."""
    first, *more = orders.split("; ")
    heads = [f"-- optional: {optional}", *(f"-- order: {order}" for order in (first, *more))]
    columns = first.partition("=")[2].strip()
    body = f"select t.a from t where true\n{comparison} -- after: {said}\norder by {columns} -- order\n"
    return head(*heads, name="list(c, d)") + body


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        (paged("and (t.a, t.b) > (:c, :d)"), 5, "is “(t.a, t.b) < (:after_a, :after_b)”"),
        (paged("and (t.b, t.a) < (:c, :d)"), 5, "is “(t.a, t.b) < (:after_a, :after_b)”"),
        (paged("and (t.a, t.b) <= (:c, :d)"), 5, "is “(t.a, t.b) < (:after_a, :after_b)”"),
        (paged("and (t.a, t.b) < (:c, :d) or true"), 5, "is “(t.a, t.b) < (:after_a, :after_b)”"),
        (paged("and (t.a, t.b) < (:c, 1 + :d)"), 5, "is “(t.a, t.b) < (:after_a, :after_b)”"),
        (paged("and (t.a, t.b) < (:c, :c) and :d = 1"), 5, "is “(t.a, t.b) < (:after_a, :after_b)”"),
        (paged("and t.a < :c", optional="c") + "limit :d", 5, "is “(t.a, t.b) < (:after_a, :after_b)”"),
        (paged("and (t.a, t.b) < (:c, :d)", optional="c"), 5, "an optional parameter of its own"),
        (paged("and (t.a, t.b) < (:c, :d)", optional="c, d\n-- nullable: d"), 6, "which is not nullable"),
        (paged("and t.a > :c", orders="x = t.a", optional="c") + "limit :d\n", 0, ""),
        (paged("and (t.a, t.b) < (:c, :d)", orders="x = t.a desc, t.b"), 3, "a row comparison has one direction"),
        (paged("and (t.a, t.b) > (:c, :d)", orders="x = t.a, t.b nulls first"), 3, "a row comparison has one direction"),
        (paged("and (t.a, t.b) > (:c, :d)", orders="x = lower(t.a), t.b"), 3, "a row comparison has one direction"),
        (paged("and (t.a, t.b) < (:c, :d)", said="y"), 5, "“-- after: y” names none of the orders of things.list"),
        (paged("and (t.a, t.b) < (:c, :d)", said="x, x"), 5, "names none of the orders"),
        (paged("and (t.a, t.b) < (:c, :d)", said=""), 5, "is followed by names, not by ''"),
        (paged("and (t.a, t.b) < (:c, :d)", orders="x = t.a desc, t.b desc; y = t.b"), 4, "has no line “-- after: y”"),
        (paged("and t.e = :c -- if: c\nand (t.a, t.b) < (:c, :d)"), 5, "has c in “-- if”, which continues an order"),
        (paged("and (t.a, t.b) < (:c, :after)").replace("d)", "after)").replace("c, d", "c, after"), 2, "called after, beside"),
    ],
)
def test_a_comparison_that_does_not_continue_its_order_is_refused(
    read: Read, tmp_path: Path, text: str, line: int, said: str
) -> None:
    if not said:  # the one that is right
        assert [variant.name for variant in read(text).variants()] == ["things.list[x]", "things.list[after,x]"]
        return
    with pytest.raises(QueryFileError) as refused:
        read(text)
    assert str(refused.value).startswith(f"{tmp_path / 'things.sql'}:{line}: ")
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(("filters", "orders", "count"), [(7, 0, 128), (6, 2, 128), (5, 3, 96), (40, 0, 2**40)])
def test_more_than_64_variants_are_refused(read: Read, filters: int, orders: int, count: int) -> None:
    names = [f"p{n}" for n in range(filters)]
    heads = [f"-- optional: {', '.join(names)}", *(f"-- order: o{n} = t.a{n}" for n in range(orders))]
    lines = [f"and t.p = :{name} -- if: {name}" for name in names]
    last = ["order by t.a0 -- order"] * bool(orders)
    with pytest.raises(QueryFileError, match=rf":2: things\.list has {count} variants, more than 64"):
        read(head(*heads, name=f"list({', '.join(names)})") + "\n".join(["select 1 from t where true", *lines, *last]))


def test_64_variants_are_not_too_many(read: Read) -> None:
    names = [f"p{n}" for n in range(6)]
    lines = [f"and t.p = :{name} -- if: {name}" for name in names]
    query = read(
        head(f"-- optional: {', '.join(names)}", name=f"list({', '.join(names)})")
        + "\n".join(["select 1 from t where true", *lines])
    )
    assert len({variant.sql for variant in query.variants()}) == 64


def test_variants_that_would_not_use_a_parameter_do_not_count(read: Read) -> None:
    names = [f"p{n}" for n in range(9)]
    lines = [f"and t.p = :{name} -- if: {', '.join(names[: n + 1])}" for n, name in enumerate(names)]
    query = read(
        head(f"-- optional: {', '.join(names)}", name=f"list({', '.join(names)})")
        + "\n".join(["select 1 from t where true", *lines])
    )
    assert [len(variant.parameters) for variant in query.variants()] == list(range(10))


def test_a_variant_has_the_lines_of_what_is_given(read: Read) -> None:
    query, values = choices_of(read(DUMPS)).choose([10], "source", {"source": "a", "available": False})
    assert query.name == "things.list[source,available,source]"
    assert query.parameters == ("limit", "source", "available")
    assert values == [10, "a", False]
    assert query.sql.split("\n") == [
        "select /* things.list[source,available,source] */ d.at, d.source, d.dump_id",
        "from dumps d",
        "where true",
        "  and d.source = $2",
        "  and d.available = $3",
        "order by d.source, d.dump_id",
        "limit $1",
    ]


def test_a_variant_knows_the_lines_of_its_file(read: Read) -> None:
    query = choices_of(read(DUMPS)).variant("source", ("source",))
    assert [query.line_at(query.sql.index(text) + 1) for text in ("d.dump_id", "$2", "d.source, d.dump_id\nlimit", "$1")] == [
        6,
        10,
        4,
        15,
    ]


def test_the_whole_query_has_all_lines_in_its_first_order(read: Read) -> None:
    query = read(DUMPS)
    assert query.name == "things.list"
    assert query.parameters == ("group_id", "source", "available", "after_at", "after_source", "after_id", "limit")
    assert re.findall(r"\$\d", query.sql) == ["$1", "$2", "$3", "$4", "$5", "$6", "$5", "$6", "$7"]


def test_a_call_without_choices_has_the_first_order_and_no_filter(read: Read) -> None:
    query, values = choices_of(read(DUMPS)).choose([10], "newest", {})
    assert (query.name, values) == ("things.list[newest]", [10])
    assert query.sql.endswith("where true\norder by d.at desc, d.source desc, d.dump_id desc\nlimit $1")
    assert choices_of(read(NESTED)).choose([], "", {})[0].name == "things.list"


def test_a_variant_is_made_once(read: Read) -> None:
    choices = choices_of(read(DUMPS))
    assert (
        choices.choose([1], "newest", {"source": "a"})[0] is choices.choose([2], "newest", {"source": "b", "group_id": None})[0]
    )
    barrier = Barrier(8)

    def choose(n: int) -> Query:
        barrier.wait()
        return choices.choose([n], "source", {"group_id": "g"})[0]

    with ThreadPoolExecutor(8) as threads:
        assert len(set(threads.map(choose, range(8)))) == 1


def test_values_follow_the_parameters_however_a_call_names_them(read: Read) -> None:
    choices = choices_of(read(DUMPS))
    for _ in range(2):
        for chosen in ({"source": "s", "group_id": "g"}, {"group_id": "g", "source": "s"}):
            query, values = choices.choose([1], "newest", chosen)
            assert dict(zip(query.parameters, values, strict=True)) == {"limit": 1, "group_id": "g", "source": "s"}


def test_no_value_is_ever_part_of_a_text(read: Read) -> None:
    choices = choices_of(read(DUMPS))
    texts = {choices.choose([1], "newest", {"source": value})[0].sql for value in ("a", "'; drop table x; --", "$1", Null, 7)}
    assert len(texts) == 1


def test_none_leaves_a_parameter_out_and_null_gives_a_null(read: Read) -> None:
    choices = choices_of(read(DUMPS))
    assert choices.choose([1], "newest", {"source": None})[0].parameters == ("limit",)
    query, values = choices.choose([1], "newest", {"source": Null, "available": False, "group_id": ""})
    assert query.parameters == ("limit", "group_id", "source", "available")
    assert values == [1, "", None, False]


@pytest.mark.parametrize("order", ["oldest", "", None, 3])
def test_an_unknown_order_is_refused(read: Read, order: Any) -> None:
    with pytest.raises(
        InvalidValue, match=f"{re.escape(repr(order))} is not an order of things.list: newest and source"
    ) as refused:
        choices_of(read(DUMPS)).choose([1], order, {})
    assert refused.value.key == "order"
    with pytest.raises(TypeError, match="order"):
        bound({"things.list": read(NESTED)}, lambda *both: both, "things").list(order="newest")


def test_an_unknown_parameter_is_refused(read: Read) -> None:
    for unknown in ({"origin": "a"}, {"limit": 3}, {"origin": None}):
        with pytest.raises(TypeError, match=f"things.list.*'{next(iter(unknown))}'"):
            choices_of(read(DUMPS)).choose([1], "newest", unknown)


def test_a_parameter_that_would_have_no_effect_is_refused(read: Read) -> None:
    choices = choices_of(read(NESTED))
    assert choices.choose([], "", {"a": 1, "b": 2})[0].name == "things.list[a,b]"
    with pytest.raises(InvalidValue, match=r"things\.list accepts b only together with a") as refused:
        choices.choose([], "", {"b": 2})
    assert refused.value.key == "b"
    assert [variant.name for variant in read(NESTED).variants()] == ["things.list", "things.list[a]", "things.list[a,b]"]


def test_too_few_required_parameters_are_refused(read: Read) -> None:
    with pytest.raises(TypeError, match="limit"):
        choices_of(read(DUMPS)).choose([], "newest", {})


def test_a_parameter_may_have_any_name(read: Read) -> None:
    names = ["key", "found", "run", "_run", "__values", "call", "Null", "given", "places"]
    lines = [f"  and t.x = :{name} -- if: {name}" for name in names[:5]]
    query = read(
        f"-- name: list({', '.join(names)})\n-- optional: {', '.join(names[:5])}\nselect 1 from t\nwhere"
        f" t.y in ({', '.join(f':{name}' for name in names[5:])})\n" + "\n".join(lines)
    )
    variant, values = choices_of(query).choose(names[5:], "", {name: name for name in reversed(names[:5])})
    assert list(variant.parameters) == list(values) == names[5:] + names[:5]


def test_a_part_of_the_parameters_to_continue_after_is_refused(read: Read) -> None:
    choices = choices_of(read(DUMPS))
    with pytest.raises(InvalidValue, match="needs after_at, after_source and after_id together: after_at is missing"):
        choices.choose([1], "newest", {"after_source": "s", "after_id": "x"})
    query, values = choices.choose([1], "source", {"after_id": "x", "after_at": 5, "after_source": "s"})
    assert (query.name, values) == ("things.list[after,source]", [1, "s", "x"])  # an order passes over what others continue by


def test_aiosql_reads_choices_as_comments(tmp_path: Path) -> None:
    (tmp_path / "things.sql").write_text(DUMPS)
    theirs = aiosql.from_path(tmp_path / "things.sql", "psycopg")
    read = {p.name for p in theirs.list.__signature__.parameters.values() if p.kind is Parameter.KEYWORD_ONLY}
    assert read == {"group_id", "source", "available", "after_at", "after_source", "after_id", "limit"}


def test_comments_that_are_no_marks_stay(read: Read) -> None:
    query = read("-- name: list(a)\nselect 1 -- if so\n, :a -- order of things\n, 2 -- after all\n")
    assert query.choices is None
    assert query.sql == "select /* things.list */ 1 -- if so\n, $1 -- order of things\n, 2 -- after all"

"""Optional parameters and orders of query files: the rows and prepared statements of a call."""

from collections.abc import Callable, Iterator
from dataclasses import astuple, dataclass
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.helpers.choice_cases import DUMPS, Read
from tomato_dao import Database, InvalidValue
from tomato_dao.sql.binding import bound
from tomato_dao.sql.choices import Null
from tomato_dao.sql.query_files import load
from tomato_dao.sql.statements import QueryConnection


@dataclass(frozen=True)
class Dump:
    """A row of the tests' table."""

    at: int
    source: str
    dump_id: str
    group_id: str | None
    available: bool


@pytest.fixture(scope="module")
def dumps(lasting: Database) -> Iterator[QueryConnection]:
    """Provide a connection with a table of dumps, which is gone afterwards."""
    with lasting.connection() as connection:
        assert isinstance(connection, QueryConnection)
        connection.execute(
            'create temp table dumps (at int8, source text collate "C", dump_id text collate "C", group_id text,'
            " available bool, primary key (source, dump_id))"
        )
        yield connection


@pytest.fixture(scope="module")
def listed(dumps: QueryConnection, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., list[tuple[int, str, str]]]:
    """Provide the function that a DAO would have for the query on that table."""
    directory = tmp_path_factory.mktemp("queries")
    (directory / "things.sql").write_text(DUMPS)
    rows: Callable[..., list[tuple[int, str, str]]] = bound(load(directory), dumps.run, "things").list
    return rows


ROWS = st.lists(
    st.builds(
        Dump,
        at=st.integers(0, 3),
        source=st.sampled_from(["a", "B", "c"]),
        dump_id=st.sampled_from(["1", "2", "3"]),
        group_id=st.sampled_from(["g", "h", None]),
        available=st.booleans(),
    ),
    unique_by=lambda dump: (dump.source, dump.dump_id),
    max_size=9,
)
FILTERS = st.fixed_dictionaries(
    {},
    optional={
        "group_id": st.sampled_from(["g", "h", "x", None]),
        "source": st.sampled_from(["a", "B", "x", None]),
        "available": st.sampled_from([True, False, None]),
    },
)
KEYS: dict[str, Callable[[Dump], tuple[object, ...]]] = {
    "newest": lambda d: (d.at, d.source, d.dump_id),
    "source": lambda d: (d.source, d.dump_id),
}


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(rows=ROWS, filters=FILTERS, order=st.sampled_from(["newest", "source"]), page=st.integers(1, 4))
def test_rows_are_those_of_a_plain_filter_and_sort(
    dumps: QueryConnection, listed: Callable[..., list[tuple[int, str, str]]], rows: list[Dump], filters: dict[str, Any],
    order: str, page: int,
) -> None:  # fmt: skip
    dumps.execute("truncate dumps")
    dumps.cursor().executemany("insert into dumps values (%s, %s, %s, %s, %s)", [astuple(row) for row in rows])
    wanted = [d for d in rows if all(getattr(d, name) == value for name, value in filters.items() if value is not None)]
    wanted.sort(key=KEYS[order], reverse=order == "newest")
    keys = [(d.at, d.source, d.dump_id) for d in wanted]
    assert listed(100, order=order, **filters) == keys
    found: list[tuple[int, str, str]] = []
    while rest := listed(page, order=order, **filters, **_after(found)):
        found += rest
        assert len(found) <= len(keys)
    assert found == keys


def _after(found: list[tuple[int, str, str]]) -> dict[str, object]:
    """Return the parameters that continue after the last row; none at first."""
    return dict(zip(("after_at", "after_source", "after_id"), found[-1], strict=True)) if found else {}


def test_each_variant_is_a_prepared_statement_with_its_name(
    dumps: QueryConnection, listed: Callable[..., list[tuple[int, str, str]]]
) -> None:
    before = dumps.execute("select count(*) from pg_prepared_statements").fetchone()
    for source in ("a", "b", "c"):
        listed(1, source=source, order="source")
        listed(1, group_id="g", available=True)
    shown = "select count(*) filter (where statement like %s), count(*) from pg_prepared_statements"
    for name in ("things.list[source,source]", "things.list[group_id,available,newest]"):
        row = dumps.execute(shown, [f"select /* {name} */ %"]).fetchone()
        assert row
        assert row[0] == 1
        assert before
        assert row[1] <= before[0] + 2
    tallies = {query.name: tally.calls for query, tally in dumps.counts.tallies.items()}
    assert tallies["things.list[source,source]"] >= 3


def test_a_null_is_asked_for_where_a_parameter_may_be_null(dumps: QueryConnection, read: Read) -> None:
    dumps.execute("truncate dumps")
    dumps.execute("insert into dumps values (1, 'a', '1', null, true), (1, 'a', '2', 'g', true)")
    query = read(
        "-- name: list(group_id)\n-- optional: group_id\n-- nullable: group_id\nselect d.dump_id from dumps d\n"
        "where d.group_id is not distinct from :group_id -- if: group_id\norder by d.dump_id"
    )
    listed = bound({query.name: query}, dumps.run, "things").list
    assert [listed(), listed(group_id=None), listed(group_id="g"), listed(group_id=Null)] == [["1", "2"]] * 2 + [["2"], ["1"]]


def test_a_null_is_refused_where_a_parameter_may_not_be_null(listed: Callable[..., list[tuple[int, str, str]]]) -> None:
    with pytest.raises(InvalidValue, match="thing: group_id: None does not fit text"):
        listed(1, group_id=Null)


@pytest.mark.parametrize("kind", ["^", "$"])
def test_a_query_of_one_row_may_have_choices(dumps: QueryConnection, read: Read, kind: str) -> None:
    query = read(
        f"-- name: get(x){kind}\n-- optional: x\nselect v from (values ('a')) t (v)\nwhere true\n  and v = :x -- if: x\n"
    )
    get = bound({query.name: query}, dumps.run, "things").get
    assert get() == get(x="a") == "a"
    if kind == "^":
        assert get(x="b") is None

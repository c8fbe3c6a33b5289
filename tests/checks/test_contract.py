"""The contract between queries, rows, DAOs and schema: each kind of mistake is found, and named as a compiler would."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest

from checks import contract, faces, plans, uses
from checks.described import Described, Refused, describe, schema_connection
from checks.migration_lint import findings as lint
from tests.conftest import CHECKOUT
from tomato_dao.database import QUERIES
from tomato_dao.ops.embedded_server import default_data_dir
from tomato_dao.sql.query_files import load
from tomato_dao.sql.rows import Row

pytestmark = pytest.mark.slow

Run = Callable[..., tuple[int, str]]
Says = Callable[[str], list[str]]

PLACES = "tomato_dao/rows/places.py"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Run a check on a copy of the repository: its exit code, and what it says."""

    def run(copy: Path, module: str, *arguments: str) -> tuple[int, str]:
        environment = {
            **os.environ,
            "PYTHONPATH": str(copy),
            "TOMATO_DATA_DIR": str(default_data_dir()),
            "MYPY_CACHE_DIR": str(tmp_path_factory.getbasetemp() / "mypy"),
        }
        command = [sys.executable, "-m", f"checks.{module}", *arguments]
        done = subprocess.run(command, cwd=copy, env=environment, capture_output=True, text=True, timeout=600, check=False)
        return done.returncode, done.stdout + done.stderr

    return run


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """Provide a copy of the repository, as far as the checks look at it."""
    return copied_to(tmp_path / "a copy")


def copied_to(copy: Path) -> Path:
    for name in ("tomato_dao", "checks", "db", "tests/plans"):
        shutil.copytree(CHECKOUT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", ".squawk.toml"):
        shutil.copy(CHECKOUT / name, copy)
    return copy


@dataclass(frozen=True)
class Broken:
    """A copy in which there are mistakes of all kinds, and what the check says of it."""

    copy: Path
    said: str


@pytest.fixture(scope="module")
def broken(tmp_path_factory: pytest.TempPathFactory, run: Run) -> Broken:
    """Check a copy in which there is a mistake of each kind, in places of which none hides another."""
    copy = copied_to(tmp_path_factory.mktemp("broken") / "a copy")

    def edit(file: str, before: str, after: str) -> None:
        text = (copy / file).read_text("utf-8")
        assert text.count(before) == 1
        (copy / file).write_text(text.replace(before, after), "utf-8")

    longitude, latitude = "    longitude: float | None\n", "    latitude: float | None\n"
    edit(PLACES, longitude + latitude, latitude + longitude)
    rest = "    attrs: JsonObject\n\n\nclass Site(Row, frozen=True):"
    edit(PLACES, f"    usage_id: int | None\n{rest}", f"    usage_id: int\n{rest}")
    edit("tomato_dao/dao/error_groups.py", "return self._q.list(after, limit)", "return self._q.list(after)")
    edit("tomato_dao/dao/sites.py", "self._q.list(after, limit)", "self._q.list(after, str(limit))")
    count = "-- name: count()$\nselect count(*) from quotas;\n\n"
    edit("db/queries/quotas.sql", "-- name: get(user_id)^", f"{count}-- name: get(user_id)^")
    code, said = run(copy, "contract")
    assert code == 1
    return Broken(copy, said)


def line_of(file: Path, text: str) -> int:
    return next(n for n, line in enumerate(file.read_text("utf-8").splitlines(), 1) if text in line)


def test_two_fields_in_the_wrong_order_are_found(broken: Broken) -> None:
    at = f"{PLACES}:{line_of(broken.copy / PLACES, 'latitude: float | None')}"
    assert f"sites.get: {at} declares Site.latitude as field 6; the server says that it is column 7\n" in broken.said


def test_a_field_that_leaves_no_room_for_null_is_found(broken: Broken) -> None:
    at = f"{PLACES}:{line_of(broken.copy / PLACES, 'usage_id: int')}"
    declared = f"{at} declares Organization.usage_id: int; the server says that usage_id can be null"
    assert f"db/queries/organizations.sql:1: organizations.get: {declared}\n" in broken.said


def test_a_parameter_that_a_dao_forgets_is_found(broken: Broken) -> None:
    line = line_of(broken.copy / "tomato_dao/dao/error_groups.py", "self._q.list(after)")
    assert f'tomato_dao/dao/error_groups.py:{line}: error: Too few arguments for "list" of "ErrorGroupsQueries"' in broken.said


def test_a_query_that_no_dao_uses_is_found(broken: Broken) -> None:
    assert "db/queries/quotas.sql:1: quotas.count: no DAO uses it\n" in broken.said


def test_files_that_are_stale_are_found(broken: Broken) -> None:
    assert "tomato_dao/dao/faces.pyi:1: it is stale: run make schema\n" in broken.said
    assert "db/queries/read_only.txt:1: it is stale: run make schema\n" in broken.said


def test_a_parameter_of_another_type_is_found(broken: Broken) -> None:
    assert 'Argument 2 to "list" of "SitesQueries" has incompatible type "str"; expected "int"' in broken.said


def test_a_forgotten_index_is_found(copy: Path, run: Run) -> None:
    for file in (copy / "db/migrations").glob("*.sql"):
        text = file.read_text("utf-8")
        file.write_text(re.sub(r"(?m)^create index host_elements_element_id_idx .*\n", "", text), "utf-8")
    code, said = run(copy, "plans", "--topologies", "2000")
    line = line_of(copy / "db/queries/host_elements.sql", "-- name: list_of_element(")
    assert code == 1
    assert f"db/queries/host_elements.sql:{line}: host_elements.list_of_element: its plan scans all of host_elements\n" in said


def test_a_migration_that_rewrites_a_large_table_is_found(copy: Path, run: Run) -> None:
    (copy / "db/migrations/29990101000000_wide.sql").write_text(
        "-- breaks: it is meant\n-- migrate:up\n"
        "alter table usage_records alter column measurements type bigint;\n\n-- migrate:down\n"
    )
    code, said = run(copy, "migration_lint")
    assert code == 1
    assert said.startswith("db/migrations/29990101000000_wide.sql:3: changing-column-type: ")
    assert "while the table is rewritten" in said


@pytest.mark.parametrize(
    ("statement", "rule"),
    [
        ("create index elements_state_idx on elements (state);", "require-concurrent-index-creation"),
        ("alter table elements add constraint c check (type <> '');", "constraint-missing-not-valid"),
        ("alter table elements rename column type to kind;", "renaming-column"),
        ("alter table elements drop column usage_id;", "ban-drop-column"),
        ("create table things (id bigint primary key);\ncreate index things_idx on things (id);", None),
        ("-- squawk-ignore renaming-column\nalter table elements rename column type to kind;", None),
        ("alter table elements add column label text;", None),
    ],
)
def test_migrations_that_lock_a_table_for_long_or_break_users_are_found(
    tmp_path: Path, statement: str, rule: str | None
) -> None:
    file = tmp_path / "29990101000000_new.sql"
    file.write_text(f"-- migrate:up\n{statement}\n-- migrate:down\ndrop table hosts;\n")
    assert [found.split(": ")[1] for found in lint(file)] == ([rule] if rule else [])


def test_an_index_is_made_concurrently_outside_a_transaction(tmp_path: Path) -> None:
    file = tmp_path / "29990101000000_new.sql"
    statement = "create index concurrently if not exists elements_state_idx on elements (state);"
    file.write_text(f"-- migrate:up transaction:false\n{statement}\n")
    assert lint(file) == []


class Thing(Row, frozen=True):
    """Row class of the queries below."""

    id: int
    name: str | None


class Holder(Row, frozen=True):
    """A row that holds rows."""

    id: int
    things: tuple[Thing, ...]


@pytest.fixture(scope="session")
def schema() -> Iterator[psycopg.Connection]:
    """Provide a connection to a database with the schema and a table of things, seen through a view and functions, too."""
    with schema_connection() as connection:
        for statement in (
            "create table things (id bigint primary key, name text, kind text not null, unique (kind, name))",
            "create view all_things as select t.id, t.kind, t.name, json_build_array(t.id, t.name) as thing,"
            " json_build_array(t.id) as mistaken from things t",
            "create function things_of(of_kind text, named text) returns table (id bigint, name text) language sql stable"
            " begin atomic select t.id, coalesce(t.name, named) from things t where t.kind = of_kind; end",
            "create function last_thing() returns table (id bigint, name text) language sql stable"
            " begin atomic select t.id, t.name from things t order by t.id desc limit 1; end",
        ):
            connection.execute(statement.encode())
        yield connection


@pytest.fixture
def says(schema: psycopg.Connection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Says:
    """Return what is found in a file of one query, without the place."""
    monkeypatch.setattr(uses, "used", lambda _: {"things.q"})

    def of(text: str) -> list[str]:
        (tmp_path / "things.sql").write_text(text, "utf-8")
        described = describe(schema, load(tmp_path, {"Thing": Thing, "Holder": Holder}).values())
        contract.made_faces(described)  # never fails
        found = contract.findings(described)
        return [re.sub(r"^\S+ things.q: ", "", line) for line in found]

    return of


def assert_found(found: list[str], *fragments: str) -> None:
    """Each finding has its fragment, and there are no others."""
    assert len(found) == len(fragments), found
    for line, fragment in zip(found, fragments, strict=True):
        assert fragment in line


@pytest.mark.parametrize(
    ("head", "sql", "said"),
    [
        ("q()", "select t.id from things t where t.label = 'x'", "column t.label does not exist"),
        (
            "q()!",
            "select t.id from things t",
            "“!” is for a statement that returns no rows; the server says that it returns id",
        ),
        ("q()", "delete from things t", "no suffix is for what returns rows; the server says that it returns none"),
        (
            "q()$",
            "select 1 as id, 'x' as kind",
            "“$” is for one value; the server says that it returns id,",
        ),
        ("q()", "select t.id, t.kind from things t", "it has no record class; the server says that it returns id, kind"),
        ("q(x)", "select t.id from things t where t.ctid = :x", "x is of the type tid"),
        ("q()^", "select t.id from things t where t.kind = 'x'", "“^” is for at most one row; no unique key ensures that"),
        ("q()^\n-- one row: why", "select t.id from things t where t.kind = 'x'", None),
        ("q()^", "select t.id from things t order by t.id limit 1", None),
        (
            "q()^",
            "select t.id from things t inner join things o on o.kind = t.name where t.id = 1",
            "no unique key ensures that",
        ),
        ("q()^", "select t.id from things t inner join things o on o.id = t.id where t.kind = 'x' and t.name = 'y'", None),
        ("q()^", "select f.id from last_thing() f", None),
        ("q()^", "select f.id from things_of('x', 'y') f", "no unique key ensures that"),
        ("q()", "select f.n from things_of('x', 'y') with ordinality f (id, name, n)", "the server can't know whether n"),
        ("q()$", "show timezone", "the server can't analyse it: "),
        ("q()^", "delete from things t", "“^” is for what returns rows; the server says that it returns none"),
        ("q()$", "select exists (select from things) as is_there", None),
        (
            "q()^\n-- one row: why",
            "select t.id from things t where t.id = 1",
            "it says “one row”, which the server ensures anyway",
        ),
        (
            "q()^",
            "select t.name from things t where t.id = 1",
            "not said to be nullable; the server says that name can be null",
        ),
        ("q()^\n-- nullable: result", "select t.name from things t where t.id = 1", None),
        ("q()^\n-- nullable: result", "select t.kind from things t where t.id = 1", "the server says that kind can't be null"),
        ("q()^\n-- not null: name", "select t.name from things t where t.id = 1", None),
        ("q()\n-- not null: kind", "select t.kind from things t", "it says “not null” of kind, which the server knows anyway"),
        ("q()\n-- not null: id", "select t.kind from things t", "it says “not null” of id, which it does not return"),
        ("q()$", "select max(t.id) from things t", "the server says that max can be null"),
        ("q()$", "select '[]'::jsonb -> 0 as part", "the server can't know whether part can be null: say “-- not null: part”"),
    ],
)
def test_annotations_of_a_query_are_compared_with_the_server(says: Says, head: str, sql: str, said: str | None) -> None:
    assert_found(says(f"-- name: {head}\n{sql};"), *([said] if said else []))


@pytest.mark.parametrize(
    ("sql", "said"),
    [
        ("select t.id, t.name from things t", None),
        ("select t.id, o.kind as name from things t left join things o on o.id = t.id", None),
        ("with t as (insert into things (id, kind) values (1, 'x') returning id, name) select t.id, t.name from t", None),
        (
            "with recursive t as (select 1::int8 as id union select t.id + 1 from t) select t.id, null::text as name from t",
            None,
        ),
        (
            "select o.id, t.name from things t left join things o on o.id = t.id",
            "Thing.id: int; the server says that id can be null",
        ),
        ("select t.id, t.kind as name from things t", "Thing.name: str | None; no query can return null for it"),
        ("select t.id, coalesce(t.name, 'x') as name from things t", "Thing.name: str | None; no query can return null"),
        ("select min(t.id) as id, t.name from things t group by t.name, t.kind", None),
        ("select t.id::text as id, t.name from things t", "Thing.id: int; the server says text"),
        ("select v.id, v.name from all_things v", None),
        ("select v.id, v.kind as name from all_things v", "Thing.name: str | None; no query can return null for it"),
        ("select f.id, f.name from things_of('x', null) f", None),
        ("select f.id, f.name from things_of('x', 'y') f", "Thing.name: str | None; no query can return null for it"),
        (
            "select f.id, f.name from things t left join things_of(t.kind, t.name) f on true",
            "Thing.id: int; the server says that id can be null",
        ),
        ("select t.id, t.name, t.kind from things t", "does not declare kind, which the server says is column 3"),
        ("select t.id from things t", "declares name; the server says that it returns id"),
    ],
)
def test_a_record_class_is_held_against_what_its_query_returns(says: Says, sql: str, said: str | None) -> None:
    assert_found(says(f"-- name: q()\n-- record_class: Thing\n{sql};"), *([said] if said else []))


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("t.id, t.name", []),
        ("t.id", ["declares 2 fields; things's JSON rows have 1"]),
        (
            "t.name, nullif(t.kind, 'x')",
            ["Thing.id: int; the server says text", "Thing.id: int; the server says that it can be null"],
        ),
    ],
)
def test_rows_inside_a_row_are_held_against_their_class(says: Says, row: str, said: list[str]) -> None:
    inner = f"select coalesce(json_agg(json_build_array({row}) order by t.id), '[]') from things t where t.kind = h.kind"
    found = says(f"-- name: q()\n-- record_class: Holder\nselect h.id, ({inner}) as things from things h;")
    assert_found(found, *said)


@pytest.mark.parametrize(("column", "said"), [("thing", []), ("mistaken", ["declares 2 fields; things's JSON rows have 1"])])
def test_rows_that_a_view_makes_are_held_against_their_class(says: Says, column: str, said: list[str]) -> None:
    inner = f"select coalesce(json_agg(v.{column} order by v.id), '[]') from all_things v where v.kind = h.kind"
    found = says(f"-- name: q()\n-- record_class: Holder\nselect h.id, ({inner}) as things from things h;")
    assert_found(found, *said)


@pytest.mark.parametrize(
    ("sql", "is_one"),
    [
        ("select t.id from things t left join (values (1)) v (n) on t.id = v.n", False),
        ("select t.id from (values (1)) v (n) left join things t on t.id = v.n", True),
        ("select t.id from things t join (values (1)) v (n) on t.id = v.n", True),
    ],
)
def test_a_left_join_leaves_its_left_side_whole(says: Says, sql: str, is_one: bool) -> None:
    assert any("at most one row" in found for found in says(f"-- name: q()$\n{sql};")) != is_one


@pytest.fixture(scope="module")
def described(schema: psycopg.Connection) -> list[Described | Refused]:
    """Provide all queries as the server describes them."""
    return [*describe(schema, QUERIES.values())]


def test_a_column_that_a_migration_renames_is_missed_by_its_queries(schema: psycopg.Connection) -> None:
    with schema.transaction(force_rollback=True):
        schema.execute("alter table sites rename column location to place")
        found = contract.findings(describe(schema, [query for query in QUERIES.values() if query.file == "sites"]))
    line = line_of(CHECKOUT / "db/queries/sites.sql", "s.location")
    assert f"db/queries/sites.sql:{line}: sites.get: column s.location does not exist" in found
    assert any("sites.list: column s.location does not exist" in line for line in found)


def test_a_query_on_one_row_is_recognised(described: list[Described | Refused]) -> None:
    single = {q.query.name for q in described if isinstance(q, Described) and q.at_most_one_row}
    assert {"topologies.get", "users.get_by_name", "connections.create", "topology_exchange.export"} <= single
    assert not {name for name in single if ".list" in name}


def test_every_query_keeps_to_the_contract(described: list[Described | Refused]) -> None:
    assert contract.findings(described) == []
    assert contract.made_faces(described) == faces.FACES_FILE.read_text("utf-8")


def test_every_query_has_its_plan_kept() -> None:
    assert {file.stem for file in plans.PLANS.glob("*.txt")} == set(QUERIES)

"""Tables of every kind: a partitioned one is dumped by its own name; what can't be read exactly is refused by name."""

import io
import json
from collections.abc import Iterator

import psycopg
import pytest

import tomato_dao
from tests.helpers.transfer_cases import another_database, by_hand, dumped, records, rows_of, schema_of
from tomato_dao import AlreadyExists, Database, NotAllowed, NotFound, TomatoError, WrongSchema, connect
from tomato_dao.ops.examinations import BAD
from tomato_dao.ops.examinations.tables import tables

pytestmark = [pytest.mark.as_owner, pytest.mark.slow]  # which a load needs

# Two levels of partitions, whose columns stand in another order, with triggers, indexes and keys of their own.
PARTITIONED = """
create table readings (
  place int not null, kind text not null check (kind in ('a', 'b', 'c', 'd')), value numeric not null,
  organization_id bigint references organizations, primary key (kind, place)
) partition by list (kind);
create table readings_a partition of readings for values in ('a');
create table readings_b (
  value numeric not null, organization_id bigint, kind text not null, place int not null,
  constraint readings_kind_check check (kind in ('a', 'b', 'c', 'd')), unique (value)
);
alter table readings attach partition readings_b for values in ('b');
create table readings_rest partition of readings for values in ('c', 'd') partition by range (place);
create table readings_rest_low partition of readings_rest for values from (minvalue) to (100);
create table readings_rest_high partition of readings_rest for values from (100) to (maxvalue);
create unique index "readings on only x" on readings (place, kind, value);
create index readings_values on readings (value);
create index on readings_a (value, place);
create function touched() returns trigger language plpgsql as 'begin raise exception $$a trigger ran$$; end';
create trigger readings_touched before insert or delete on readings for each row execute function touched();
create trigger readings_b_touched before insert on readings_b for each row execute function touched();
create table notes (
  id int primary key, kind text, place int, foreign key (kind, place) references readings
);
"""
FILLED = """
alter table readings disable trigger readings_touched;
alter table readings_b disable trigger readings_b_touched;
insert into organizations (id, name) overriding system value values (1, 'uni');
insert into readings (place, kind, value, organization_id)
select n, substr('abcd', 1 + n % 4, 1), n * 1.5, nullif(n % 2, 0) from generate_series(1, 5000) n;
insert into notes select n, substr('abcd', 1 + n % 4, 1), n from generate_series(1, 200) n;
alter table readings enable trigger readings_touched;
alter table readings_b enable always trigger readings_b_touched;
"""


def run(connection: psycopg.Connection, statements: str) -> None:
    connection.execute(statements.encode())


@pytest.fixture
def partitioned(server: psycopg.Connection) -> psycopg.Connection:
    """Provide a connection to the test's database, which has a partitioned table with rows."""
    run(server, PARTITIONED + FILLED)
    return server


@pytest.fixture
def other(tomato_server_url: str, tomato_template: str) -> Iterator[Database]:
    """Provide another database, with the same tables and without rows."""
    with another_database(tomato_server_url, tomato_template) as other:
        with other.connection() as connection:
            run(connection, PARTITIONED)
        yield other


def test_a_partitioned_table_is_dumped_by_its_own_name(db: Database, partitioned: psycopg.Connection) -> None:
    text = dumped(db)
    found = [record for record in records(text) if record["model"].startswith("reading")]
    assert len(found) == 5000
    assert {record["model"] for record in found} == {"reading"}
    assert json.loads(text)[0]["fields"]["keys"]["reading"] == ["kind", "place"]
    assert {"model": "reading", "pk": ["b", 1], "fields": {"value": 1.5, "organization_id": 1}} in found
    assert [record["pk"][0] for record in found][:2500] == ["a"] * 1250 + ["b"] * 1250
    assert dumped(db, jobs=3) == text


@pytest.mark.one_server
def test_a_dump_of_a_partitioned_table_loads(db: Database, partitioned: psycopg.Connection, other: Database) -> None:
    text = dumped(db)
    without_triggers = [part for part in schema_of(partitioned) if part[0] != "trigger"]
    for merge in (False, True):
        tomato_dao.load(other, io.BytesIO(text), replace=not merge, merge=merge)
        with other.connection() as connection:
            found, schema = rows_of(connection), schema_of(connection)
        assert {name: sorted(rows) for name, rows in found.items()} == {
            name: sorted(rows) for name, rows in rows_of(partitioned).items()
        }
        assert [part for part in schema if part[0] != "trigger"] == without_triggers
    tomato_dao.load(other, io.BytesIO(text), replace=True)
    assert dumped(other) == text


def test_a_load_leaves_triggers_keys_and_indexes_of_partitions_as_they_were(
    db: Database, partitioned: psycopg.Connection
) -> None:
    before = schema_of(partitioned)
    run(partitioned, "alter table only readings_a disable trigger readings_touched")
    assert (changed := schema_of(partitioned)) != before
    tomato_dao.load(db, io.BytesIO(dumped(db)), replace=True)
    assert schema_of(partitioned) == changed


def test_dumps_of_a_whole_and_of_a_partitioned_table_load_into_each_other(
    db: Database, server: psycopg.Connection, other: Database
) -> None:
    columns = "place int, kind text, value numeric not null, organization_id bigint, primary key (kind, place)"
    run(server, f"create table readings ({columns}); create table notes (id int primary key, kind text, place int)")
    run(server, "insert into readings select n, substr('abcd', 1 + n % 4, 1), n, null from generate_series(1, 300) n")
    text = dumped(db)
    tomato_dao.load(other, io.BytesIO(text))
    back = dumped(other)
    assert sorted(records(back), key=str) == sorted(records(text), key=str)
    tomato_dao.load(db, io.BytesIO(back), replace=True)
    assert records(dumped(db)) == records(back)


def reading(kind: str, place: int, value: float = 1, organization_id: int | None = None) -> dict[str, object]:
    return {"model": "reading", "pk": [kind, place], "fields": {"value": value, "organization_id": organization_id}}


@pytest.mark.parametrize(
    ("rows", "error", "said"),
    [
        ([reading("a", 1), reading("c", 1), reading("c", 1)], AlreadyExists, "reading c, 1: it exists already"),
        ([reading("b", 1, 5), reading("a", 1, 5), reading("b", 2, 5)], AlreadyExists, "the same value already exists"),
        ([reading("a", 1), reading("d", 200, 1, 77)], NotFound, "d, 200: organization_id 77 refers to a missing organization"),
        ([reading("a", 1), reading("x", 200)], TomatoError, "line 4: reading x, 200"),
    ],
)  # fmt: skip
def test_faults_of_rows_of_a_partitioned_table_are_named(
    other: Database, rows: list[dict[str, object]], error: type[TomatoError], said: str
) -> None:
    with pytest.raises(error, match=said):
        tomato_dao.load(other, by_hand(other, rows))


def test_a_load_into_a_partitioned_table_that_is_not_empty_is_refused(db: Database, partitioned: psycopg.Connection) -> None:
    with pytest.raises(tomato_dao.NotEmpty):
        tomato_dao.load(db, io.BytesIO(dumped(db)))


REFUSED = {
    "foreign": "create foreign data wrapper elsewhere; create server far foreign data wrapper elsewhere;"
    " create foreign table far_away (id int not null) server far",
    "foreign partition": "create foreign data wrapper elsewhere; create server far foreign data wrapper elsewhere;"
    " create table parted (id int not null) partition by list (id);"
    " create foreign table far_away partition of parted for values in (1) server far",
    "of another method": "create access method other_heap type table handler heap_tableam_handler;"
    " create table far_away (id int primary key) using other_heap",
    "partition of another schema's": "create schema other;"
    " create table other.parted (id int primary key) partition by list (id);"
    " create table far_away partition of other.parted for values in (1)",
    "child in another schema": "create schema other; create table parted (id int primary key);"
    " create table other.far_away () inherits (parted)",
    "distributed": "create table far_away (id int primary key); set allow_system_table_mods = on;"
    " create table pg_catalog.pg_dist_partition (logicalrelid regclass);"
    " insert into pg_catalog.pg_dist_partition values ('far_away')",
}


@pytest.mark.one_server
@pytest.mark.parametrize("kind", REFUSED)
def test_a_table_whose_rows_cannot_be_read_exactly_is_refused_by_name(
    db: Database, server: psycopg.Connection, kind: str
) -> None:
    text = dumped(db)
    run(server, REFUSED[kind])
    with pytest.raises(WrongSchema, match=r"the table (other\.)?far_away (is|inherits)"):
        dumped(db)
    with pytest.raises(WrongSchema, match="far_away"):
        tomato_dao.load(db, io.BytesIO(text), replace=True)
    finding = tables(server)
    assert (finding.level, "far_away" in str(finding.details)) == (BAD, True)


def test_the_doctor_tells_a_partitioned_table_s_size_as_one(partitioned: psycopg.Connection) -> None:
    found = {row["name"]: row["bytes"] for row in tables(partitioned).figures["tables"]}
    assert [name for name in found if name.startswith("readings")] == ["readings"]
    assert found["readings"] > 5000 * 40


def test_rows_that_a_policy_hides_are_not_left_out_of_a_dump(reader_url: str, server: psycopg.Connection) -> None:
    run(server, "insert into organizations (name) values ('uni')")
    run(server, "alter table organizations enable row level security")
    with connect(reader_url, pool_size=1) as reader, pytest.raises(NotAllowed, match="organizations"):
        dumped(reader)

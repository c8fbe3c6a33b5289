"""The tables that are dumped: all of ours, in their order, whatever their names, types and checks are."""

import io
import json

import psycopg
import pytest

import tomato_dao
from tests.conftest import World
from tests.helpers.transfer_cases import another_database, dumped, rows_of
from tomato_dao import Database, WrongSchema
from tomato_dao.transfer import catalog

pytestmark = [pytest.mark.as_owner, pytest.mark.slow]  # which a load needs


@pytest.mark.one_server
def test_every_table_and_column_that_is_not_generated_is_in_it(server: psycopg.Connection) -> None:
    generated = {("elements", "parent_type"), ("templates", "torrent_data_md5")}
    expected = server.execute(
        "select table_name, column_name from information_schema.columns"
        " where table_schema = 'public' and table_name <> %s and (table_schema, table_name) in"
        " (select table_schema, table_name from information_schema.tables where table_type = 'BASE TABLE')",
        ["schema_migrations"],
    ).fetchall()
    found = {(table.name, column.name) for table in catalog.tables(server) for column in table.columns}
    assert found == set(expected) - generated


def test_models_are_named_after_their_tables(server: psycopg.Connection) -> None:
    models = {table.name: table.model for table in catalog.tables(server)}
    assert len(set(models.values())) == len(models)
    assert (models["topologies"], models["host_elements"], models["templates_on_hosts"]) == (
        "topology",
        "host_element",
        "template_on_host",
    )


def test_references_point_backwards_where_they_can(server: psycopg.Connection) -> None:
    order = [table.name for table in catalog.tables(server)]
    forwards = {(r.table, r.to_table) for r in catalog.references(server) if order.index(r.table) < order.index(r.to_table)}
    assert {table for pair in forwards for table in pair} <= {"connections", "elements", "host_elements", "host_connections"}


def test_no_json_column_is_nullable_so_that_null_is_json(server: psycopg.Connection) -> None:
    assert [
        (table.name, column.name)
        for table in catalog.tables(server)
        for column in table.columns
        if column.kind == "json" and column.nullable
    ] == []


def test_a_table_without_a_key_is_refused(db: Database, server: psycopg.Connection) -> None:
    server.execute("create table heap (x int)")
    with pytest.raises(WrongSchema, match="the table heap has no primary key"):
        dumped(db)


def test_two_tables_of_one_model_are_refused(db: Database, server: psycopg.Connection) -> None:
    server.execute("create table site (id int primary key)")
    with pytest.raises(WrongSchema, match="the tables site and sites would both be of the model site"):
        dumped(db)


def test_tables_of_other_schemas_and_sessions_are_left_alone(
    db: Database, world: World, server: psycopg.Connection, tomato_url: str
) -> None:
    text = dumped(db)
    server.execute("create schema other")
    server.execute("create table other.users (x int)")
    server.execute("insert into other.users values (1)")
    with tomato_dao.connect(tomato_url, pool_size=1) as one:
        with one.connection() as connection:
            connection.execute("create temporary table mine (x int)")
        assert dumped(one) == text
        tomato_dao.load(one, io.BytesIO(text), replace=True)
        assert dumped(one) == text
    assert server.execute("select x from other.users").fetchall() == [(1,)]


ODD_TABLES = """
create table p (id int primary key, p int not null, page int, t int, block int, b int);
create table "o""dd (\\" (id int primary key, "a""b\\%s{}" text not null);
create table parent (id int primary key, a text);
create table child (primary key (id)) inherits (parent);
create domain inner_int as int;
create domain outer_int as inner_int check (value > 0);
create type pair as (x int, y text);
create table typed (n outer_int, u uuid, d date, i interval, b bytea, c pair, primary key (n) include (u));
create table checked (
  id int primary key, word text check (word in ('low', 'high')), "Word" text check ("Word" in ('low', 'high')),
  odd text check (odd in ('a"b', 'c')), hashed text check (md5(hashed) in ('c8f88ec84680a7ec056720570290dd34', 'c')),
  either text check (either in ('low', 'high') or length(either) = 3)
);
"""
ODD_ROWS = """
insert into p select n, n % 3, n, n, n, n from generate_series(1, 3000) n;
insert into "o""dd (\\" values (1, 'x'), (2, 'y');
insert into parent values (1, 'of the parent');
insert into child values (1, 'of the child');
insert into typed values (1, gen_random_uuid(), '2026-01-31', '1 mon 2 days', '\\x00ff', (1, 'a, "b"'));
insert into checked values (1, 'low', 'high', 'a"b', 'a"b', '\\"\x1f');
insert into checked values (2, null, null, null, null, null);
"""


@pytest.mark.one_server
def test_odd_tables_survive(db: Database, server: psycopg.Connection, tomato_server_url: str, tomato_template: str) -> None:
    for statement in (ODD_TABLES + ODD_ROWS).split(";\n")[:-1]:
        server.execute(statement.encode())
    text = dumped(db)
    assert dumped(db, jobs=2) == text
    with another_database(tomato_server_url, tomato_template) as other:
        with other.connection() as connection:
            for statement in ODD_TABLES.split(";\n")[:-1]:
                connection.execute(statement.encode())
        for merge in (False, True):
            tomato_dao.load(other, io.BytesIO(text), replace=not merge, merge=merge)
            with other.connection() as connection:
                assert rows_of(connection) == rows_of(server)
            assert merge or dumped(other) == text


def test_words_that_a_check_was_too_late_for_are_escaped(db: Database, server: psycopg.Connection) -> None:
    server.execute("create table late (id int primary key, word text)")
    server.execute("insert into late values (1, 'a\"b')")
    server.execute("alter table late add check (word in ('low', 'high')) not valid")
    assert {"model": "late", "pk": 1, "fields": {"word": 'a"b'}} in json.loads(dumped(db))


def test_words_that_only_a_collation_says_are_equal_are_escaped(db: Database, server: psycopg.Connection) -> None:
    try:
        server.execute("create collation loose (provider = icu, locale = 'und-u-ka-shifted', deterministic = false)")
    except psycopg.errors.FeatureNotSupported:
        pytest.skip("this server is built without ICU")
    server.execute("create table loose (id int primary key, word text collate loose check (word in ('low', 'high')))")
    server.execute("insert into loose values (1, 'l\"ow')")
    assert {"model": "loose", "pk": 1, "fields": {"word": 'l"ow'}} in json.loads(dumped(db))

"""Objects that others put into the schema, or into one named like the user, gain nothing from owners and superusers."""

import io
from collections.abc import Iterator
from pathlib import Path
from secrets import token_hex

import psycopg
import pytest
from psycopg import sql

import tomato_dao
from tests.conftest import acting_as
from tests.helpers.transfer_cases import dumped
from tomato_dao import WrongSchema, connect
from tomato_dao.ops import roles
from tomato_dao.ops.backup import back_up
from tomato_dao.ops.examinations import BAD, examine
from tomato_dao.ops.migrate import migrate
from tomato_dao.server.probe import probe
from tomato_dao.server.session import SCHEMA_PATH

pytestmark = pytest.mark.slow

# Functions and operators for the very types of calls in owners' sessions, which PostgreSQL's own take by a conversion. Each
# notes who has run it.
GAINS = "create table public.gains (who text); grant all on public.gains to public;"
FUNCTIONS = [
    ("array_position", "int2[], int2", "int4"),
    ("format", "text, regclass, name", "text"),
    ("format", "text, regclass", "text"),
    ("format", "text, name", "text"),
    ("to_json", "text", "json"),
    ("to_jsonb", "public.schema_migrations", "jsonb"),
    ("pg_total_relation_size", "oid", "int8"),
    ("quote_ident", "name", "text"),
    ("unnest", "int2[]", "setof int2"),
    ("unnest", "text[]", "setof text"),
    ("counted_as", "oid, regclass", "bool"),
    ("counted_as", "oid, regnamespace", "bool"),
    ("counted_as", "float8, int4", "bool"),
]
OPERATORS = [("=", "oid", "regclass"), ("=", "oid", "regnamespace"), ("<>", "oid", "regclass"), (">", "float8", "int4")]


def plant(connection: psycopg.Connection) -> None:
    """Make all these as the connection's role."""
    connection.execute(GAINS)
    for name, types, result in FUNCTIONS:
        connection.execute(
            f"create function public.{name}({types}) returns {result} language plpgsql as"
            " 'begin insert into public.gains values (current_user); return null; end'"
            if not result.startswith("setof")
            else f"create function public.{name}({types}) returns {result} language plpgsql as"
            " 'begin insert into public.gains values (current_user); return; end'"
        )
    for operator, left, right in OPERATORS:
        connection.execute(
            f"create operator public.{operator} (leftarg = {left}, rightarg = {right}, function = public.counted_as)"
        )


@pytest.fixture
def mallory(server: psycopg.Connection) -> Iterator[str]:
    """Provide a role that may do nothing yet."""
    name = f"mallory_{token_hex(4)}"
    server.execute(f"create role {name}")
    yield name
    server.execute(f"drop owned by {name}")
    server.execute(f"drop role {name}")


@pytest.mark.one_server
def test_a_planted_function_gains_nothing(
    tomato_url: str, mallory: str, server: psycopg.Connection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BACKUP_DIR", str(tmp_path))
    with connect(tomato_url, pool_size=1) as db:
        dump = dumped(db)
    server.execute(f"grant create on schema public to {mallory}")
    with psycopg.connect(acting_as(mallory, tomato_url), autocommit=True) as connection:
        plant(connection)
    with psycopg.connect(tomato_url) as connection:  # as it would be without a pinned path
        connection.execute("select from pg_class where oid = 'users'::regclass")
        assert connection.execute("select count(*) from gains").fetchone() != (0,)
        connection.rollback()

    with probe(tomato_url) as connection:
        found = {finding.topic: finding for finding in examine(connection, 1)}
    assert found["schema"].level == BAD
    assert f"function public.format(pg_catalog.text,pg_catalog.regclass) of {mallory}" in found["schema"].details
    assert f'reassign owned by "{mallory}" to' in found["schema"].advice[0]
    assert {topic for topic, finding in found.items() if finding.level == "unknown"} <= {"queries"}
    with connect(tomato_url, pool_size=2) as db:
        for work in (
            lambda: migrate(tomato_url),
            lambda: roles.make_roles(tomato_url),
            lambda: tomato_dao.load(db, io.BytesIO(dump), replace=True),
            lambda: tomato_dao.load_legacy(db, io.BytesIO(b"[]"), check=True),
        ):
            with pytest.raises(
                WrongSchema, match=rf"\(function public.array_position.* of {mallory}, .* and 13 more\): drop them, or"
            ):
                work()
    back_up(tomato_url)
    assert server.execute("select who from gains").fetchall() == []


@pytest.mark.one_server
def test_objects_planted_before_the_roles_are_not_taken_over(
    tomato_url: str, mallory: str, has_roles: bool, server: psycopg.Connection
) -> None:
    if not has_roles:
        pytest.skip("the tests' user may not make roles")
    server.execute(f"grant create on schema public to {mallory}")
    server.execute(f"set role {mallory}")
    server.execute("create function public.lend() returns int language sql security definer return 1")
    server.execute("reset role")
    with pytest.raises(WrongSchema, match=rf"\(function public.lend\(\) of {mallory}\): drop them, or, .* reassign owned by"):
        roles.make_roles(tomato_url)
    owner_of = "select proowner::regrole::text from pg_proc where proname = 'lend'"
    assert server.execute(owner_of).fetchone() == (mallory,)
    server.execute(f"reassign owned by {mallory} to tomato_owner")
    roles.make_roles(tomato_url)
    assert server.execute(owner_of).fetchone() == (roles.OWNER,)


def test_a_schema_named_like_the_user_is_not_looked_into(tomato_url: str, server: psycopg.Connection) -> None:
    server.execute("create schema authorization current_user")
    server.execute(sql.SQL("create table {} (version text)").format(sql.Identifier(server.info.user, "schema_migrations")))
    assert migrate(tomato_url) == []
    with connect(tomato_url, pool_size=1) as db:
        assert db.organizations.list() == []


def test_the_databases_own_path_has_no_say(tomato_url: str, server: psycopg.Connection) -> None:
    server.execute(f"alter database {server.info.dbname} set search_path = pg_catalog")
    assert migrate(tomato_url) == []
    with connect(tomato_url, pool_size=1) as db:
        assert db.organizations.list() == []
        with db.connection() as connection:
            assert connection.execute("show search_path").fetchone() == (SCHEMA_PATH,)


@pytest.mark.one_server
def test_functions_that_are_not_merged_into_queries_have_a_path_of_their_own(server: psycopg.Connection) -> None:
    without = server.execute(
        "select p.proname from pg_proc p where p.pronamespace = 'public'::regnamespace and p.prosqlbody is null"
        " and not exists (select from unnest(p.proconfig) c where replace(c, ', ', ',') = %s) order by 1",
        [f"search_path={SCHEMA_PATH}"],
    ).fetchall()
    assert [name for (name,) in without] == ["host_after_update", "host_status", "host_supports"]


def test_schema_migrations_that_is_a_view_is_not_read(tomato_url: str, server: psycopg.Connection) -> None:
    server.execute("alter table schema_migrations rename to moved")
    server.execute("create view schema_migrations as select version from moved")
    with pytest.raises(WrongSchema, match="is not a table as dbmate creates it"):
        connect(tomato_url)

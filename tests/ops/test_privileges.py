"""What owners, workers and readers may do."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from secrets import token_hex
from typing import LiteralString

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo

from tests.helpers.dao_cases import until
from tomato_dao import InvalidValue, NotAllowed, connect
from tomato_dao.ops import migrate, roles
from tomato_dao.ops.scratch import scratch_database, with_database
from tomato_dao.server import schema

WAITS: LiteralString = "exists (select from pg_stat_activity where application_name = %s and wait_event_type = 'Lock')"


def refused_by_the_server(url: str, *statements: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        for statement in statements:
            with pytest.raises((psycopg.errors.InsufficientPrivilege, psycopg.errors.ReadOnlySqlTransaction)):
                connection.execute(statement.encode())


def test_a_worker_changes_rows_and_nothing_else(tomato_url: str, app_url: str) -> None:
    roles.make_roles(tomato_url)  # what is the database's own did not come along from the template
    refused_by_the_server(
        app_url,
        "create table mine (id int)",
        "create temporary table mine (id int)",
        "truncate organizations cascade",
        "alter table organizations add column mine int",
        "drop table organizations",
        "create schema mine",
        "delete from schema_migrations",
        "create role mine",
    )


def test_a_reader_reads_and_nothing_else(reader_url: str) -> None:
    with connect(reader_url) as db:
        assert db.organizations.list() == []
        with pytest.raises(NotAllowed):
            db.organizations.create("uni")
    refused_by_the_server(
        reader_url, "delete from organizations", "create table mine (id int)", "select nextval('hosts_id_seq')"
    )


def test_a_migrations_new_tables_are_covered(tomato_url: str, app_url: str, reader_url: str, next_migration: Path) -> None:
    owner = make_conninfo(tomato_url, options=f"-c role={roles.OWNER}")
    assert migrate.migrate(tomato_url)
    with psycopg.connect(owner) as connection:
        connection.execute("create table by_the_owner (id bigint generated always as identity primary key)")
    for table in ("later", "by_the_owner"):
        with psycopg.connect(app_url) as connection:
            connection.execute(f"insert into {table} default values".encode())
        with psycopg.connect(reader_url) as connection:
            assert connection.execute(f"select count(*) from {table}".encode()).fetchone() == (1,)


def test_a_worker_that_starts_on_an_old_layout_migrates_as_the_owner_or_says_that_it_cannot(
    tomato_url: str, app_url: str, next_migration: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OWNER_DATABASE_URL", raising=False)
    with pytest.raises(NotAllowed, match=r"may not migrate .*: name its owner, tomato_owner, in OWNER_DATABASE_URL"):
        connect(app_url, migrate=True)
    monkeypatch.setenv("OWNER_DATABASE_URL", with_database(tomato_url, "another"))
    with pytest.raises(InvalidValue, match="OWNER_DATABASE_URL names the database another, but tomato_scratch_"):
        connect(app_url, migrate=True)
    monkeypatch.setenv("OWNER_DATABASE_URL", tomato_url)
    with connect(app_url, migrate=True) as db:
        assert db.organizations.list() == []


@pytest.mark.parametrize("role", [roles.APP, roles.READER])
def test_who_may_not_make_roles_is_told(tomato_url: str, has_roles: bool, role: str) -> None:
    if not has_roles:
        pytest.skip("the tests' user may not make roles")
    options = f"-c role={role} -c default_transaction_read_only={'on' if role == roles.READER else 'off'}"
    with pytest.raises(NotAllowed, match=r"may not make the roles .*: run it as a superuser"):
        roles.make_roles(make_conninfo(tomato_url, options=options))


def test_who_may_not_read_is_told_as_whom_to_connect(tomato_url: str, app_url: str, server: psycopg.Connection) -> None:
    server.execute("revoke select on schema_migrations from tomato_app")
    with pytest.raises(NotAllowed, match=r"may not read the database .*: connect as another \(once make roles has run"):
        connect(app_url)


@pytest.fixture
def new_roles(
    tomato_server_url: str, has_roles: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[str, ...]]:
    """The roles that `make_roles` makes, under names that the server doesn't have yet."""
    if not has_roles:
        pytest.skip("the tests' user may not make roles")
    prefix = f"tomato_{token_hex(4)}_"
    (tmp_path / "roles.sql").write_text((schema.DB_DIR / "roles.sql").read_text("utf-8").replace("tomato_", prefix), "utf-8")
    monkeypatch.setattr(schema, "DB_DIR", tmp_path)
    names = tuple(role.replace("tomato_", prefix) for role in roles.ROLES)
    yield names
    with psycopg.connect(with_database(tomato_server_url, "postgres")) as server:
        for name in names:
            server.execute(sql.SQL("drop role if exists {}").format(sql.Identifier(name)))


def test_roles_can_be_made_in_two_databases_at_once(
    new_roles: tuple[str, ...], tomato_server_url: str, tomato_template: str, tomato_url: str, server: psycopg.Connection
) -> None:
    with scratch_database(tomato_server_url, template=tomato_template) as other_url, ThreadPoolExecutor(2) as threads:
        with server.transaction():
            server.execute("lock table organizations in access share mode")
            first = threads.submit(roles.make_roles, make_conninfo(tomato_url, application_name="first"))
            until(server, WAITS, "first")  # it has made the roles, but not yet committed
            second = threads.submit(roles.make_roles, make_conninfo(other_url, application_name="second"))
            until(server, WAITS, "second")
        first.result(20)
        second.result(20)
        for url in (tomato_url, other_url):
            with psycopg.connect(url) as connection:
                may_read = "select has_table_privilege(name, 'organizations', 'select') from unnest(%s::text[]) as name"
                assert connection.execute(may_read, [list(new_roles)]).fetchall() == [(True,)] * 3

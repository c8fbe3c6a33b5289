"""Privileges of owners, workers and readers."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from secrets import token_hex
from typing import LiteralString

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from tests.conftest import acting_as
from tests.fixtures.operations import dropped_afterwards
from tests.helpers.dao_cases import until
from tomato_dao import InvalidValue, NotAllowed, connect, dump, load
from tomato_dao.ops import backup, migrate, roles
from tomato_dao.ops.examinations import examine_roles
from tomato_dao.ops.restore import restore
from tomato_dao.ops.scratch import scratch_database, with_database
from tomato_dao.server import schema

WAITS: LiteralString = (
    "exists (select from pg_stat_activity where split_part(application_name, '/', 1) = %s and wait_event_type = 'Lock')"
)


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


def test_a_worker_that_starts_on_an_old_schema_migrates_as_the_owner_or_says_that_it_cannot(
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
def test_a_user_who_may_not_create_roles_is_refused(tomato_url: str, has_roles: bool, role: str) -> None:
    if not has_roles:
        pytest.skip("the tests' user may not make roles")
    options = f"-c role={role} -c default_transaction_read_only={'on' if role == roles.READER else 'off'}"
    with pytest.raises(NotAllowed, match=r"may not create the roles .*: run this as a superuser"):
        roles.make_roles(make_conninfo(tomato_url, options=options))


def test_a_user_who_may_not_read_learns_as_whom_to_connect(tomato_url: str, app_url: str, server: psycopg.Connection) -> None:
    server.execute("revoke select on schema_migrations from tomato_app")
    with pytest.raises(NotAllowed, match=r"may not read the database .*: connect as another user \(once make roles has run"):
        connect(app_url)


PRIVILEGES = """
with objects (kind, name, owner, acl) as (
  select 'database', '', d.datdba, coalesce(d.datacl, acldefault('d', d.datdba))
  from pg_database d
  where d.datname = current_database()
  union all
  select 'schema', n.nspname, n.nspowner, coalesce(n.nspacl, acldefault('n', n.nspowner))
  from pg_namespace n
  where n.nspname = 'public'
  union all
  select
    'relation', c.oid::regclass::text, c.relowner,
    coalesce(c.relacl, acldefault(case c.relkind when 'S' then 's'::"char" else 'r' end, c.relowner))
  from pg_class c
  where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'v', 'S')
  union all
  select 'type', t.oid::regtype::text, t.typowner, coalesce(t.typacl, acldefault('T', t.typowner))
  from pg_type t
  where t.typnamespace = 'public'::regnamespace and t.typtype = 'd'
  union all
  select 'function', p.oid::regprocedure::text, p.proowner, coalesce(p.proacl, acldefault('f', p.proowner))
  from pg_proc p
  where p.pronamespace = 'public'::regnamespace or p.proname like 'lo\\_%'
  union all
  select 'default', d.defaclobjtype::text, d.defaclrole, d.defaclacl
  from pg_default_acl d
)
select o.kind, o.name, pg_get_userbyid(o.owner), x.grantee::regrole::text, x.privilege_type, x.is_grantable
from objects o
cross join aclexplode(o.acl) x
order by 1, 2, 4, 5
"""


def privileges(url: str) -> list[tuple[object, ...]]:
    with psycopg.connect(url) as connection:
        return connection.execute(PRIVILEGES).fetchall()


@dataclass(frozen=True)
class Usual:
    """After make migrate and make roles: owners and privileges; and backups from before and after make roles."""

    privileges: list[tuple[object, ...]]
    backups: dict[str, Path]


@pytest.fixture(scope="module")
def usual(tomato_server_url: str, has_roles: bool, tmp_path_factory: pytest.TempPathFactory) -> Usual:
    """Provide a database of the usual order: make migrate, make roles."""
    if not has_roles:
        pytest.skip("the tests' user may not make roles")
    with scratch_database(tomato_server_url) as url, pytest.MonkeyPatch.context() as patch:
        patch.setenv("BACKUP_DIR", str(tmp_path_factory.mktemp("backups")))
        before = backup.back_up(url)
        roles.make_roles(url)
        found = Usual(privileges(url), {"before": before, "after": backup.back_up(url)})
    on_migrations = {row[3:] for row in found.privileges if row[1] == "schema_migrations" and row[3] != roles.OWNER}
    assert on_migrations == {(roles.APP, "SELECT", False), (roles.READER, "SELECT", False)}
    return found


def test_roles_may_be_made_before_the_first_migration(tomato_server_url: str, usual: Usual) -> None:
    with scratch_database(tomato_server_url, migrated=False) as url:
        roles.make_roles(url)
        migrate.migrate(url)
        assert privileges(url) == usual.privileges
        with psycopg.connect(url) as connection:
            assert examine_roles(connection).details == []


@pytest.mark.one_server
@pytest.mark.parametrize(("saved", "restored_by"), [("before", "superuser"), ("after", roles.OWNER)])
def test_a_restore_ends_in_the_same_privileges(tomato_url: str, usual: Usual, saved: str, restored_by: str) -> None:
    roles.make_roles(tomato_url)
    with dropped_afterwards(tomato_url):
        if restored_by == "superuser":
            restore(usual.backups[saved], tomato_url)
            assert privileges(tomato_url) == usual.privileges
            return
        restore(usual.backups[saved], acting_as(restored_by, tomato_url))
        assert without_large_objects(privileges(tomato_url)) == without_large_objects(usual.privileges)
        with psycopg.connect(tomato_url) as server:
            assert examine_roles(server).details == ["tomato_app and tomato_reader may create large objects"]
        roles.make_roles(tomato_url)
        assert privileges(tomato_url) == usual.privileges


def without_large_objects(found: list[tuple[object, ...]]) -> list[tuple[object, ...]]:
    return [row for row in found if not str(row[1]).startswith("lo_")]


@pytest.mark.one_server
def test_make_roles_takes_back_what_was_granted_and_a_load_changes_no_privilege(
    tomato_url: str, usual: Usual, tmp_path: Path
) -> None:
    roles.make_roles(tomato_url)
    with psycopg.connect(tomato_url, autocommit=True) as server:
        server.execute("grant all on schema_migrations, hosts to public, tomato_reader")
        server.execute("grant select (name) on hosts to tomato_app")
        roles.make_roles(tomato_url)
        before = server.execute("select xmin::text from pg_class order by oid").fetchall()
        roles.make_roles(tomato_url)
        assert server.execute("select xmin::text from pg_class order by oid").fetchall() == before  # nothing was locked
    with connect(acting_as(roles.OWNER, tomato_url), pool_size=1) as db:
        dump(db, tmp_path / "dump.json")
        load(db, tmp_path / "dump.json", replace=True)
    assert privileges(tomato_url) == usual.privileges


def test_settings_that_an_operator_gave_to_a_role_stay(new_roles: tuple[str, ...], tomato_url: str) -> None:
    _, app, _ = new_roles
    settings = "select array_agg(c order by c) from pg_db_role_setting, unnest(setconfig) c where setrole = %s::regrole"
    roles.make_roles(tomato_url)
    with psycopg.connect(tomato_url, autocommit=True) as server:
        idle = "idle_in_transaction_session_timeout=60s"
        assert server.execute(settings, [app]).fetchone() == ([idle, "statement_timeout=60s"],)
        server.execute(sql.SQL("alter role {} set statement_timeout = '5min'").format(sql.Identifier(app)))
        roles.make_roles(tomato_url)
        assert server.execute(settings, [app]).fetchone() == ([idle, "statement_timeout=5min"],)


def test_workers_and_readers_cannot_make_large_objects(tomato_url: str, app_url: str, reader_url: str) -> None:
    for url in (app_url, reader_url):
        refused_by_the_server(
            make_conninfo(url, options=f"{conninfo_to_dict(url)['options']} -c default_transaction_read_only=off"),
            "select lo_creat(-1)",
            "select lo_create(0)",
            "select lo_from_bytea(0, 'x')",
            "select lo_import('/etc/hostname')",
        )


@pytest.fixture
def new_roles(
    tomato_server_url: str, has_roles: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[str, ...]]:
    """Provide the roles that `make_roles` makes, under names that the server doesn't have yet."""
    if not has_roles:
        pytest.skip("the tests' user may not make roles")
    prefix = f"tomato_{token_hex(4)}_"
    (tmp_path / "roles").mkdir()
    for file in (schema.DB_DIR / "roles").iterdir():
        (tmp_path / "roles" / file.name).write_text(file.read_text("utf-8").replace("tomato_", prefix), "utf-8")
    (tmp_path / "migrations").symlink_to(schema.DB_DIR / "migrations")
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
        first.result(60)
        second.result(60)
        for url in (tomato_url, other_url):
            with psycopg.connect(url) as connection:
                may_read = "select has_table_privilege(name, 'organizations', 'select') from unnest(%s::text[]) as name"
                assert connection.execute(may_read, [list(new_roles)]).fetchall() == [(True,)] * 3

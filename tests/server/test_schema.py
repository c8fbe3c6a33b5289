"""The schema: migrations that can be undone, indexes for every foreign key, a schema file that is up to date."""

from pathlib import Path

import psycopg
import pytest

from checks.schema_file import made
from tomato_dao import WrongSchema, connect
from tomato_dao.errors import TomatoError
from tomato_dao.ops.dbmate import dbmate
from tomato_dao.ops.migrate import migrate
from tomato_dao.ops.scratch import scratch_database
from tomato_dao.server import schema
from tomato_dao.server.probe import probe
from tomato_dao.server.target import Target, target_of

pytestmark = pytest.mark.slow

CATALOG = """
select 'column', format('%s.%s', c.oid::regclass, a.attname), format_type(a.atttypid, a.atttypmod),
  a.attnotnull::text, a.attidentity::text, pg_get_expr(d.adbin, d.adrelid)
from pg_class c
join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
left join pg_attrdef d on d.adrelid = c.oid and d.adnum = a.attnum
where c.relkind = 'r' and c.relnamespace = 'public'::regnamespace and c.relname <> 'schema_migrations'
union all
select 'constraint', conname, pg_get_constraintdef(oid), conrelid::regclass::text, null, null
from pg_constraint
where connamespace = 'public'::regnamespace and conname !~ '^schema_migrations'
union all
select 'index', indexname, indexdef, null, null, null
from pg_indexes
where schemaname = 'public' and tablename <> 'schema_migrations'
union all
select 'trigger', t.tgname, pg_get_triggerdef(t.oid), null, null, null from pg_trigger t where not t.tgisinternal
union all
select 'function', p.oid::regprocedure::text, pg_get_functiondef(p.oid), null, null, null
from pg_proc p
where p.pronamespace = 'public'::regnamespace
union all
select 'type', t.typname, format_type(t.typbasetype, t.typtypmod), null, null, null
from pg_type t
where t.typnamespace = 'public'::regnamespace and t.typtype = 'd'
order by 1, 2, 3, 4, 5, 6
"""


def reached(url: str) -> Target:
    with probe(url) as connection:
        return target_of(connection)


def catalog(url: str) -> list[tuple[object, ...]]:
    with psycopg.connect(url) as connection:
        return connection.execute(CATALOG).fetchall()


def test_each_down_undoes_just_its_own_up_and_all_can_be_done_again(
    tomato_server_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = sorted((schema.DB_DIR / "migrations").glob("*.sql"))
    with scratch_database(tomato_server_url, migrated=False) as url:
        (tmp_path / "migrations").mkdir()
        monkeypatch.setattr(schema, "DB_DIR", tmp_path)
        states = []
        for file in files:
            states.append(catalog(url))
            (tmp_path / "migrations" / file.name).write_text(file.read_text("utf-8"), "utf-8")
            dbmate(reached(url), "migrate")
        up = catalog(url)
        for state in reversed(states):
            dbmate(reached(url), "rollback")
            assert catalog(url) == state
        assert states[0] == []
        migrate(url)
        assert catalog(url) == up


def test_every_foreign_key_has_an_index(server: psycopg.Connection) -> None:
    rows = server.execute(
        """
        select c.conname
        from pg_constraint c
        where c.contype = 'f' and not exists (
          select from pg_index i
          where i.indrelid = c.conrelid and i.indpred is null
            and array(select unnest(c.conkey) order by 1)
              = array(select unnest((i.indkey::int2[])[0:cardinality(c.conkey) - 1]) order by 1)
        )
        """
    ).fetchall()
    assert rows == []


def test_usage_records_can_be_distributed_by_usage_id(server: psycopg.Connection) -> None:
    rows = server.execute(
        """
        select pg_get_constraintdef(oid) from pg_constraint
        where conrelid = 'usage_records'::regclass and contype in ('p', 'u')
        """
    ).fetchall()
    assert rows == [("PRIMARY KEY (usage_id, type, end_at)",)]


@pytest.mark.parametrize("moment", ["infinity", "-infinity", "0001-01-01 00:00:00+00 BC", "10000-01-01 00:00:00+00"])
def test_moments_that_python_cannot_hold_are_refused(server: psycopg.Connection, moment: str) -> None:
    with pytest.raises(psycopg.errors.CheckViolation):
        server.execute("select %s::instant", [moment])


def test_migrating_twice_does_nothing(tomato_url: str) -> None:
    assert migrate(tomato_url) == []


def test_a_migration_that_fails_leaves_the_schema_before_it(
    tomato_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = catalog(tomato_url)
    (tmp_path / "migrations").mkdir()
    for file in (schema.DB_DIR / "migrations").glob("*.sql"):
        (tmp_path / "migrations" / file.name).write_text(file.read_text("utf-8"), "utf-8")
    broken = "-- migrate:up\ncreate table half (id int);\nselect 1 / 0;\n-- migrate:down\n"
    (tmp_path / "migrations" / "29990101000000_broken.sql").write_text(broken)
    monkeypatch.setattr(schema, "DB_DIR", tmp_path)
    with pytest.raises(TomatoError, match=r"dbmate migrate failed: .*division by zero"):
        migrate(tomato_url)
    assert catalog(tomato_url) == before


def test_a_database_of_a_newer_schema_is_refused(tomato_url: str, server: psycopg.Connection) -> None:
    server.execute("insert into schema_migrations values ('29990101000000')")
    server.execute("comment on table schema_migrations is null")
    with pytest.raises(WrongSchema, match="migrations that this code does not know \\(29990101000000\\)"):
        migrate(tomato_url)
    with pytest.raises(WrongSchema, match="schema version 29990101000000, which does not say which older code it supports"):
        connect(tomato_url)


def test_a_database_that_was_never_migrated_is_refused(tomato_server_url: str) -> None:
    with (
        scratch_database(tomato_server_url, migrated=False) as url,
        pytest.raises(WrongSchema, match=rf"lacks {len(schema.known())} of .* migrations .* run make migrate"),
    ):
        connect(url)


def test_the_files_that_the_migrations_make_are_up_to_date() -> None:
    for path, text in made().items():
        assert path.read_text("utf-8") == text

"""Migrations whose files were edited after they were applied: named, by the hash that was stored with them."""

import json
from pathlib import Path

import psycopg
import pytest

from tests.conftest import CHECKOUT
from tests.fixtures.operations import GOOD, NEXT
from tests.ops.test_commands import run
from tomato_dao import TomatoError, WrongSchema, connect
from tomato_dao.ops import migrate
from tomato_dao.ops.scratch import scratch_database
from tomato_dao.server import schema

pytestmark = pytest.mark.slow

VERSION, NAME = NEXT.partition("_")[0], NEXT.removesuffix(".sql")
BROKEN = "-- migrate:up\nselect 1 / 0;\n-- migrate:down\n"


def hashes(server: psycopg.Connection) -> dict[str, str]:
    return dict(server.execute("select version, sha256 from schema_migrations").fetchall())


def test_the_hash_of_each_applied_file_is_stored(server: psycopg.Connection) -> None:
    assert hashes(server) == {schema.version_of(path): schema.file_hash(path) for path in schema.files()}


def test_an_edited_migration_is_refused_by_name(tomato_url: str, next_migration: Path, server: psycopg.Connection) -> None:
    assert migrate.migrate(tomato_url) == [VERSION]
    next_migration.write_text(GOOD + "-- edited\n")
    last = next_migration.with_name("29990102000000_last.sql")
    refused = rf": {NAME} was edited after it was applied: restore the file, .*"
    with pytest.raises(WrongSchema, match=refused):
        migrate.migrate(tomato_url)
    last.write_text(GOOD.replace("later", "last"))
    with pytest.raises(WrongSchema, match=refused):
        migrate.migrate(tomato_url)
    assert schema.applied(server)[-1] == VERSION
    last.unlink()
    connect(tomato_url).close()  # a worker runs on what is there
    next_migration.write_text(GOOD)
    assert migrate.migrate(tomato_url) == []


def test_a_rollback_undoes_an_edited_migration_and_forgets_its_hash(
    tomato_url: str, next_migration: Path, server: psycopg.Connection
) -> None:
    migrate.migrate(tomato_url)
    next_migration.write_text(GOOD + "-- edited\n")
    assert migrate.roll_back(tomato_url) == VERSION
    assert VERSION not in hashes(server)
    assert migrate.migrate(tomato_url) == [VERSION]
    assert hashes(server)[VERSION] == schema.file_hash(next_migration)


def test_an_edit_stays_known_when_a_later_migration_is_undone(tomato_url: str, server: psycopg.Connection) -> None:
    first = schema.files()[0]
    server.execute("update schema_migrations set sha256 = %s where version = %s", ["0" * 64, schema.version_of(first)])
    migrate.roll_back(tomato_url)
    assert schema.edited(server) == [first.stem]


def test_migrations_before_the_one_that_fails_keep_their_hash(
    tomato_url: str, next_migration: Path, server: psycopg.Connection
) -> None:
    next_migration.with_name("29990102000000_last.sql").write_text(BROKEN)
    with pytest.raises(TomatoError, match="division by zero"):
        migrate.migrate(tomato_url)
    assert hashes(server)[VERSION] == schema.file_hash(next_migration)


def test_a_migration_without_a_hash_is_not_compared_and_gets_one_next_time(
    tomato_url: str, next_migration: Path, server: psycopg.Connection
) -> None:
    first = schema.files()[0]
    server.execute("update schema_migrations set sha256 = null where version = %s", [schema.version_of(first)])
    assert schema.edited(server) == []
    assert migrate.migrate(tomato_url) == [VERSION]
    assert hashes(server)[schema.version_of(first)] == schema.file_hash(first)


def test_the_first_migration_can_be_undone_and_applied_again(
    tomato_server_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = schema.files()[0]
    (tmp_path / "migrations").mkdir()
    (tmp_path / "migrations" / first.name).write_bytes(first.read_bytes())
    monkeypatch.setattr(schema, "DB_DIR", tmp_path)
    with scratch_database(tomato_server_url) as url:
        assert migrate.roll_back(url) == schema.version_of(first)
        assert migrate.migrate(url) == [schema.version_of(first)]
        with psycopg.connect(url) as server:
            assert hashes(server) == {schema.version_of(first): schema.file_hash(first)}


def test_status_and_doctor_name_an_edited_migration(tomato_url: str, server: psycopg.Connection) -> None:
    last = schema.files()[-1]
    server.execute("update schema_migrations set sha256 = %s where version = %s", ["0" * 64, schema.version_of(last)])
    status = run(["make", "-s", "-C", str(CHECKOUT), "migrate-status"], tomato_url)
    assert status.stdout.splitlines()[-1] == f"edited   {last.stem}"
    assert f"{last.stem} was edited after it was applied: restore the file" in status.stderr
    told = json.loads(run([str(CHECKOUT / "bin" / "doctor"), "--json"], tomato_url).stdout)["findings"]
    (found,) = (finding for finding in told if finding["topic"] == "schema")
    assert (found["level"], found["details"], found["advice"]) == ("bad", [last.stem], [schema.undo_edit()])

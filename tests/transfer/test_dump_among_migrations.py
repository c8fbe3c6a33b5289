"""A dump beside others who lock tables or change the schema: it waits or is refused, and never mixes two schema versions."""

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from typing import Any

import psycopg
import pytest

import tomato_dao
from tests.conftest import World
from tests.helpers.dao_cases import until
from tests.helpers.session_cases import LOCKS
from tests.helpers.transfer_cases import dumped
from tomato_dao import Conflict, Database, WrongSchema
from tomato_dao.transfer import snapshot

pytestmark = [pytest.mark.as_owner, pytest.mark.slow]  # which a load needs


def test_a_migration_that_waits_is_no_deadlock(db: Database, server: psycopg.Connection) -> None:
    """Whoever joins the snapshot must not queue behind who waits for it to end."""
    with db.connection() as reader, reader.transaction():
        reader.execute("lock table users in access share mode")
        blocked = threading.Thread(target=lambda: server.execute("alter table users add column x int"))
        blocked.start()
        with db.connection() as watcher:
            until(watcher, f"exists (select {LOCKS} and not granted and relation = 'users'::regclass)")
    blocked.join()
    assert "x" in json.loads(dumped(db, jobs=2))[0]["fields"]["columns"]["user"]


def test_a_joining_process_does_not_wait_for_a_migration_that_came_in_between(
    db: Database, server: psycopg.Connection, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    joined = snapshot._joined
    migration = threading.Thread(target=lambda: server.execute("alter table users add column x int"))

    def late(*args: Any) -> AbstractContextManager[psycopg.Connection]:
        migration.start()
        with db.connection() as watcher:
            until(watcher, f"exists (select {LOCKS} and not granted and relation = 'users'::regclass)")
        return joined(*args)

    monkeypatch.setattr(snapshot, "_joined", late)
    with pytest.raises(Conflict, match="another session waits to change the schema"):
        dumped(db, jobs=2)
    migration.join()
    assert "x" in json.loads(dumped(db))[0]["fields"]["columns"]["user"]


def test_a_dump_waits_for_tables_that_others_have_for_themselves(
    db: Database, server: psycopg.Connection, tomato_url: str
) -> None:
    server.execute(f"alter database {server.info.dbname} set lock_timeout = '1ms'")
    found: list[bytes] = []
    with tomato_dao.connect(tomato_url) as other:
        dump = threading.Thread(target=lambda: found.append(dumped(other)))
        with server.transaction():
            server.execute("lock table users in access exclusive mode")
            dump.start()
            with db.connection() as watcher:
                until(watcher, f"exists (select {LOCKS} and not granted and relation = 'users'::regclass)")
        dump.join()
    assert found


def test_a_migration_that_comes_before_the_locks_is_noticed(db: Database, server: psycopg.Connection) -> None:
    """The dump has checked the schema version and listed the tables when the migration commits."""
    with ThreadPoolExecutor(1) as threads:
        with server.transaction():
            server.execute("lock table users in access exclusive mode")
            dump = threads.submit(dumped, db)
            with db.connection() as watcher:
                until(watcher, f"exists (select {LOCKS} and not granted and relation = 'users'::regclass)")
            server.execute("create table later (id int primary key)")
            server.execute("insert into schema_migrations (version) values ('29990101000000')")
        with pytest.raises(WrongSchema, match=r"migrations that this code does not know \(29990101000000\)"):
            dump.result(60)

"""Operators' commands end in time, and tell the truth, where the server hangs or the session is lost."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import LiteralString

import psycopg
import pytest

from tests.helpers.dao_cases import until
from tests.helpers.hanging_cases import proxy, within
from tomato_dao import TomatoError, Unavailable, migrate
from tomato_dao.ops import doctor, migration_lock
from tomato_dao.ops.scratch import scratch_database

pytestmark = pytest.mark.slow
WAITING: LiteralString = "from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'"


def test_the_doctor_ends_where_the_server_answers_nothing(
    lasting_url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(doctor, "_PATIENCE", 0.5)
    with proxy(lasting_url) as way:
        way.dark.set()
        monkeypatch.setenv("OWNER_DATABASE_URL", way.url)
        with within(0.5), pytest.raises(SystemExit) as ended:
            doctor.main("doctor", [])
    assert ended.value.code == 1
    assert "BAD   server" in capsys.readouterr().out


def test_the_lock_of_migrations_is_not_waited_for_without_an_end(
    tomato_server_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(migration_lock, "_PATIENCE", 0.5)
    with scratch_database(tomato_server_url, migrated=False) as url, psycopg.connect(url) as other:
        other.execute("create table public.migration_lock ()")  # and does not commit, as if it hung
        with within(2), pytest.raises(Unavailable, match=r"no answer within 0\.5 s"):
            migrate(url)
        other.rollback()
        assert migrate(url)


def test_a_dbmate_that_hangs_is_ended_and_told(
    tomato_url: str, server: psycopg.Connection, next_migration: Path, saved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MIGRATION_LOCK_TIMEOUT", "0")
    monkeypatch.setenv("MIGRATION_TIMEOUT", "1s")
    next_migration.write_text("-- migrate:up\nalter table organizations add column later int;\n-- migrate:down\n")
    told = r"dbmate migrate was ended after 1s \(MIGRATION_TIMEOUT\).*the schema is unchanged"
    with server.transaction():
        server.execute("lock table organizations in share mode")
        with ThreadPoolExecutor(1) as threads:
            call = threads.submit(migrate, tomato_url)
            with pytest.raises(TomatoError, match=told):
                call.result(30)
        server.execute("select pg_terminate_backend(pid) " + WAITING)
    until(server, "not exists (select " + WAITING + ")")

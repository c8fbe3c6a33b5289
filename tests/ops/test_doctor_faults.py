"""Each fault that the doctor knows, made on a real server: it finds it, says what to do, and finds nothing without it."""

import os
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from time import monotonic
from types import SimpleNamespace

import psycopg
import pytest

from tests.fixtures.sick import configured, data_of, run_program, standby_of
from tests.helpers.dao_cases import until
from tests.helpers.doctor_cases import FAULTS, assert_sick, finding, made, until_level
from tomato_dao.ops import embedded
from tomato_dao.ops.examinations import examine, findings
from tomato_dao.ops.examinations.indexes import indexes
from tomato_dao.ops.examinations.server import NEWEST
from tomato_dao.ops.scratch import drop_database, scratch_database, with_database

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def _newest(sick: psycopg.Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the server's minor version be the newest one."""
    monkeypatch.setitem(NEWEST, *divmod(sick.info.server_version, 10000))


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_found_and_nothing_without_it(sick: psycopg.Connection, name: str) -> None:
    fault = FAULTS[name]
    with made(sick, fault):
        if name == "gaps":
            sick.execute("vacuum (analyze, truncate off) hollow")
        until_level(sick, fault.topic, fault.level)
        assert_sick(finding(sick, fault.topic), fault.level, fault.detail, fault.step)
    until_level(sick, fault.topic, "ok")


def test_nothing_is_reported_of_a_healthy_server(sick: psycopg.Connection) -> None:
    found = {f.topic: f for f in examine(sick, 1) if f.level not in ("ok", "absent")}
    assert set(found) <= {"backup"}, found


def test_a_minor_version_that_is_not_the_newest_gets_a_note(sick: psycopg.Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    major, minor = divmod(sick.info.server_version, 10000)
    for newest, level in ((minor, "ok"), (minor + 1, "note")):
        monkeypatch.setitem(NEWEST, major, newest)
        found = finding(sick, "server")
        assert (found.level, len(found.advice)) == (level, newest - minor)
    assert_sick(found, "note", f"PostgreSQL {major}.{minor}", f"install PostgreSQL {major}.{minor + 1} or later")


def test_a_failing_archive_is_bad(sick: psycopg.Connection) -> None:
    fault = FAULTS["archive without a command"]
    assert finding(sick, "archiving").level == "ok"
    try:
        sick.execute("alter system set archive_command = '/bin/false'")
        sick.execute("select pg_reload_conf()")
        sick.execute("create table written ()")
        sick.execute("select pg_switch_wal()")
        until(sick, "(select last_failed_time > coalesce(last_archived_time, '-infinity') from pg_stat_archiver)")
        assert_sick(finding(sick, "archiving"), "bad", "could not be archived", "archive_command said")
    finally:
        for statement in [*fault.mend.split("; "), "drop table if exists written"]:
            sick.execute(statement.encode())
    until(sick, "(select last_archived_time > last_failed_time from pg_stat_archiver)")
    assert finding(sick, "archiving").level == "ok"


def test_a_queue_of_notifications_that_fills_is_reported(sick: psycopg.Connection, sick_url: str) -> None:
    assert finding(sick, "notifications").level == "ok"
    with closing(psycopg.connect(sick_url, autocommit=True)) as listener:
        listener.execute("listen stuck")
        listener.execute("begin")
        listener.execute("select 1")
        for pages, level in ((10, "note"), (30, "bad")):
            for number in range(pages):
                sick.execute("select pg_notify('stuck', %s || repeat('x', 7000))", [str(number)])
            found = finding(sick, "notifications")
            assert_sick(
                found, level, "every write that sends an event fails", f"pg_terminate_backend({listener.info.backend_pid})"
            )
    sick.execute("select pg_notify('stuck', '')")
    until(sick, "pg_notification_queue_usage() = 0")
    assert finding(sick, "notifications").level == "ok"


def test_damaged_pages_are_bad(sick_directory: Path, sick_url: str, sick: psycopg.Connection) -> None:
    damaged_url = with_database(sick_url, "damaged")
    sick.execute("create database damaged_before")
    with psycopg.connect(with_database(sick_url, "damaged_before"), autocommit=True) as connection:
        connection.execute("create table pages as select generate_series(1, 1000) as id")
    assert finding(sick, "integrity").level == "ok"
    sick.execute("create database damaged template damaged_before strategy file_copy")  # on the disk, and not in memory
    try:
        with psycopg.connect(damaged_url, autocommit=True) as connection:
            ((path,),) = connection.execute("select pg_relation_filepath('pages')").fetchall()
            with (data_of(sick_directory) / path).open("r+b") as file:
                file.seek(4000)
                file.write(os.urandom(64))
            with pytest.raises(psycopg.errors.DataCorrupted):
                connection.execute("select count(*) from pages")
            connection.execute("select pg_stat_force_next_flush()")
        until(sick, "exists (select from pg_stat_database where checksum_failures > 0)")
        assert_sick(finding(sick, "integrity"), "bad", "damaged: 1 read of pages with a wrong checksum", "restore a backup")
    finally:
        for name in ("damaged", "damaged_before"):
            drop_database(with_database(sick_url, name))
    assert finding(sick, "integrity").level == "ok"


def test_a_cold_cache_gets_a_note(sick: psycopg.Connection) -> None:
    """A table of more than a quarter of shared_buffers never stays there."""
    sick.execute("create unlogged table large (id int, text text storage plain) with (autovacuum_enabled = off)")
    try:
        with sick.cursor() as cursor, cursor.copy("copy large from stdin") as copy:  # which leaves little in memory
            for number in range(9000):
                copy.write(f"{number}\t{8000 * 'x'}\n")
        sick.execute("select pg_stat_reset()")
        assert finding(sick, "cache").level == "ok"
        sick.execute("do $$ begin for n in 1..12 loop perform count(*) from large; end loop; end; $$")
        sick.execute("select pg_stat_force_next_flush()")
        until_level(sick, "cache", "note")
        assert_sick(finding(sick, "cache"), "note", "blocks were found in shared_buffers", "alter system set shared_buffers")
    finally:
        sick.execute("drop table large")
        sick.execute("select pg_stat_reset()")


@pytest.mark.parametrize(("free", "level"), [(0.16, "ok"), (0.14, "note"), (0.04, "bad")])
def test_a_disk_that_fills_is_reported(
    sick: psycopg.Connection, free: float, level: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def statvfs(place: str) -> SimpleNamespace:
        asked.append(place)
        return SimpleNamespace(f_bavail=int(1_000_000 * free), f_blocks=1_000_000, f_frsize=4096)

    monkeypatch.setattr(os, "statvfs", statvfs)
    found = finding(sick, "disk")
    ((data,),) = sick.execute("show data_directory").fetchall()
    assert (found.level, asked[0]) == (level, data)
    assert [row["place"] for row in found.figures["file_systems"]] == [data]
    assert found.advice == (["free space there: " + found.advice[0].partition(": ")[2]] if level != "ok" else [])


def test_a_large_index_that_nobody_uses_gets_a_note_after_a_week(
    sick: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    sick.execute("create table numbers as select generate_series(1, 60000) as id")
    sick.execute("create index rare on numbers (id) with (fillfactor = 10)")
    sick.execute("create schema aged")
    sick.execute(
        "create view aged.pg_stat_database as select d.datname, now() - current_setting('aged.days')::interval as stats_reset "
        "from pg_catalog.pg_stat_database d"
    )
    try:
        monkeypatch.setattr(findings, "CATALOG_PATH", "aged,pg_catalog")
        for days, level in (("6 days", "ok"), ("8 days", "note")):
            sick.execute("select set_config('aged.days', %s, false)", [days])
            found = indexes(sick)
            assert found.level == level
        assert_sick(found, "note", "rare on numbers", "drop index concurrently rare;  -- if no standby's query uses it")
    finally:
        sick.execute("drop schema aged cascade")
        sick.execute("drop table numbers")


@pytest.fixture(scope="module")
def old(tmp_path_factory: pytest.TempPathFactory) -> Iterator[psycopg.Connection]:
    """Provide a connection to a server whose rows are 1.6 billion transactions and multixacts old."""
    directory, age = tmp_path_factory.mktemp("old"), 1_600_000_000
    limits = ("transactions", "freeze_max_age = 2000000000"), ("multixacts", "multixact_freeze_max_age = 2000000000")
    try:
        configured(directory, ["autovacuum = off", *(f"autovacuum_{setting}" for _, setting in limits)])
        embedded.stop(directory)
        data = data_of(directory)
        # The page on which the next id's state stands must be there, as if ids had been used up to it.
        for place, per_file, size in (("pg_xact", 32 * 32768, 262144), ("pg_multixact/offsets", 32 * 2048, 262144)):
            file = data / place / f"{age // per_file:04X}"
            file.write_bytes(bytes(size))
            os.chown(file, data.stat().st_uid, data.stat().st_gid)
            file.chmod(0o600)
        ids = "-x", str(age // (32 * 32768) * 32 * 32768), "-m", f"{age // 65536 * 65536},1"
        run_program(directory, "pg_resetwal", "-D", os.fspath(data), *ids)
        with psycopg.connect(with_database(embedded.start(directory), "postgres"), autocommit=True) as connection:
            yield connection
    finally:
        embedded.remove(directory)


@pytest.mark.parametrize("what", ["transaction ids", "multixact ids"])
def test_old_ids_are_bad(old: psycopg.Connection, sick: psycopg.Connection, what: str) -> None:
    assert finding(sick, "freezing").level == "ok"
    assert_sick(finding(old, "freezing"), "bad", f"postgres: {what} as old as 1,599,", "in postgres: vacuum (freeze);")


def test_a_standby_that_is_behind_is_bad_on_both(
    sick_directory: Path, sick: psycopg.Connection, tmp_path_factory: pytest.TempPathFactory
) -> None:
    with standby_of(sick_directory, tmp_path_factory.mktemp("standby")) as url:
        until(sick, "exists (select from pg_stat_replication where state = 'streaming')")
        with psycopg.connect(with_database(url, sick.info.dbname), autocommit=True) as standby:
            for connection in (sick, standby):
                until_level(connection, "replication", "ok")
            assert finding(standby, "server").summary.endswith("a standby, which is read-only")
            standby.execute("select pg_wal_replay_pause()")
            until(standby, "pg_get_wal_replay_pause_state() = 'paused'")
            assert_sick(finding(standby, "replication"), "bad", "replay is paused", "select pg_wal_replay_resume();")
            for _ in range(4):
                sick.execute("create table x ()")
                sick.execute("drop table x")
                sick.execute("select pg_switch_wal()")
            until_level(sick, "replication", "bad")
            assert_sick(finding(sick, "replication"), "bad", "standby standby (streaming, async) is", "check its log")
            standby.execute("select pg_wal_replay_resume()")
            until_level(sick, "replication", "ok")
            standby.execute("alter system set primary_conninfo = 'host=/nowhere'")
            standby.execute("select pg_reload_conf()")
            until_level(standby, "replication", "bad")
            assert_sick(finding(standby, "replication"), "bad", "no WAL arrives", "look at the log here")


@pytest.mark.long
def test_a_database_of_5000_tables_is_examined_in_two_seconds(sick_url: str) -> None:
    with scratch_database(with_database(sick_url, "postgres")) as url, psycopg.connect(url, autocommit=True) as connection:
        connection.execute(
            "do $$ begin for n in 1..5000 loop"
            " execute format('create table t%s (id bigint generated always as identity primary key, other bigint)', n);"
            " execute format('create index on t%s (other)', n);"
            " if n % 100 = 0 then commit; end if; end loop; end $$"
        )
        connection.execute("analyze")
        seconds = []
        for _ in range(3):
            began = monotonic()
            (tables,) = (found for found in examine(connection, 1) if found.topic == "tables")
            seconds.append(monotonic() - began)
    assert len(tables.figures["tables"]) > 5000
    assert min(seconds) < 2, seconds

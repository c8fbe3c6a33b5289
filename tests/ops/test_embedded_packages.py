"""The packages that bring the embedded server: each runs the other's data, and queries are counted where the server can."""

import importlib.util
from pathlib import Path

import psycopg
import pytest

from tomato_dao import connect
from tomato_dao.ops import embedded, embedded_command, programs
from tomato_dao.ops.examinations import examinations
from tomato_dao.ops.scratch import scratch_database, with_database

pytestmark = pytest.mark.slow


@pytest.mark.skipif(not all(map(importlib.util.find_spec, programs.PACKAGES)), reason="not all packages are installed")
def test_each_package_runs_the_data_of_the_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    packages, versions = dict(programs.PACKAGES), set()
    monkeypatch.setattr(programs, "PACKAGES", packages)
    first, second = packages
    try:
        for number, package in enumerate((second, first, second)):
            packages.clear()
            packages[package] = {first: "pginstall", second: f"pginstall{programs.MAJOR}"}[package]
            with psycopg.connect(with_database(embedded.start(tmp_path), "postgres"), autocommit=True) as connection:
                versions.add(connection.info.server_version)
                connection.execute("create table if not exists kept (name text primary key)")
                connection.execute("insert into kept values (%s)", [f"Straße {number}"])
                assert connection.execute("select count(*) from kept").fetchone() == (number + 1,)
            embedded.stop(tmp_path)
    finally:
        embedded.remove(tmp_path)
    assert len(versions) == 2


@pytest.mark.skipif(not programs.library("pg_stat_statements"), reason="this embedded server has no pg_stat_statements")
def test_the_embedded_server_reports_its_slowest_queries(tmp_path: Path) -> None:
    try:
        with scratch_database(embedded.start(tmp_path)) as url, connect(url, pool_size=1) as db:
            for _ in range(3):
                db.organizations.list()
            with psycopg.connect(url, autocommit=True) as connection:
                found = examinations(connection, 1)["queries"]()
                left = connection.execute("select extname from pg_extension where extname <> 'plpgsql'").fetchall()
                schemas = connection.execute("select nspname from pg_namespace where nspname ~ 'tomato'").fetchall()
    finally:
        embedded.remove(tmp_path)
    assert found.level == "ok"
    assert {row["name"]: row["calls"] for row in found.figures["slowest"]}["organizations.list"] == 3
    assert (left, schemas) == ([], [])  # nothing stays that a server without the library could not restore


@pytest.mark.parametrize(("said", "taken"), [("psql (PostgreSQL) 18.1", True), ("psql (PostgreSQL) 15.9", False), ("?", False)])
def test_a_psql_of_the_user_s_is_taken_where_it_knows_the_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: str, taken: bool
) -> None:
    psql = tmp_path / "psql"
    psql.write_text(f"#!/bin/sh\necho '{said}'\n")
    psql.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    assert (embedded_command._own_psql() == psql) is taken

"""Everything works, and gives the same, whatever settings the database, its roles and the environment have."""

import io
import json
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo

import tomato_dao
from tests.fixtures.operations import NEXT, dropped_afterwards, organizations
from tests.helpers.pooler_cases import pgbouncer
from tests.helpers.transfer_cases import records
from tests.test_unprepared import flows, plain
from tomato_dao import Database, InvalidValue, Unavailable, WrongSchema, connect
from tomato_dao.ops import backup, examinations, query
from tomato_dao.ops.migrate import migrate, roll_back
from tomato_dao.ops.restore import restore
from tomato_dao.ops.roles import ROLES
from tomato_dao.ops.scratch import scratch_database
from tomato_dao.rows import UsageRecord
from tomato_dao.server.probe import probe
from tomato_dao.sql import pins

pytestmark = pytest.mark.slow

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
LIMIT = 1  # seconds that a statement, and a transaction, may take
ODD = {
    "search_path": "elsewhere, pg_catalog, public",
    # how values are written and read
    "datestyle": "SQL, MDY",
    "intervalstyle": "sql_standard",
    "timezone": "Pacific/Chatham",
    "bytea_output": "escape",
    "extra_float_digits": "-5",
    "lc_numeric": "POSIX",
    "lc_monetary": "POSIX",
    "lc_time": "POSIX",
    "array_nulls": "off",
    "xmloption": "document",
    "xmlbinary": "hex",
    "default_text_search_config": "pg_catalog.simple",
    "timezone_abbreviations": "India",
    # how statements are understood
    "standard_conforming_strings": "off",
    "escape_string_warning": "off",
    "backslash_quote": "on",
    "transform_null_equals": "on",
    "quote_all_identifiers": "on",
    "check_function_bodies": "off",
    # what statements see
    "default_transaction_isolation": "serializable",
    "default_transaction_deferrable": "on",
    "row_security": "off",
    "gin_fuzzy_search_limit": "1",
    "synchronize_seqscans": "off",
    # what ends them
    "statement_timeout": f"{LIMIT}s",
    "transaction_timeout": f"{LIMIT}s",
    "lock_timeout": f"{LIMIT}s",
    "idle_in_transaction_session_timeout": f"{LIMIT}s",
    "idle_session_timeout": f"{LIMIT}s",
    "exit_on_error": "on",
    "client_connection_check_interval": "10ms",
    # how they are carried out
    "client_min_messages": "error",
    "jit": "on",
    "jit_above_cost": "0",
    "plan_cache_mode": "force_generic_plan",
    "enable_seqscan": "off",
    "enable_sort": "off",
    "enable_nestloop": "off",
    "from_collapse_limit": "1",
    "join_collapse_limit": "1",
    "geqo_threshold": "2",
    "debug_parallel_query": "on",
    "parallel_setup_cost": "0",
    "min_parallel_table_scan_size": "0",
    "work_mem": "64kB",
    "maintenance_work_mem": "1MB",
    "constraint_exclusion": "on",
    "synchronous_commit": "off",
    "default_toast_compression": "pglz",
    "commit_siblings": "0",
}
ENVIRONMENT = {"PGTZ": "Asia/Kolkata", "PGDATESTYLE": "German", "PGOPTIONS": "-c extra_float_digits=-9"}


@pytest.fixture
def odd_url(tomato_url: str, server: psycopg.Connection, monkeypatch: pytest.MonkeyPatch) -> str:
    """Provide the URL of the test's database, with odd settings, and of tables of the same names in another schema."""
    server.execute("create schema elsewhere; create table elsewhere.hosts (id int); create table elsewhere.users (id int)")
    known = {name for (name,) in server.execute("select name from pg_settings where context = 'user'")}
    alter = sql.SQL("alter database {} set {} = {}")
    for name, value in ODD.items():
        if name in known:
            values = sql.SQL(", ").join(map(sql.Literal, value.split(", ")))
            server.execute(alter.format(sql.Identifier(server.info.dbname), sql.Identifier(name), values))
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    return tomato_url


def work(url: str, directory: Path, capsys: pytest.CaptureFixture[str]) -> list[object]:
    """Return what workers do on an empty database, and what a query by hand prints, without times."""
    directory.mkdir()
    with connect(url, pool_size=3) as db:
        came: list[object] = [plain(flows(db, directory))]
        came += [plain(accounting(db)), plain(claims(db))]
        topology = db.topologies.list()[0]
        with db.exclusive("topology", topology.id), db.listen("topologies", timeout=20) as listener:
            db.topologies.update(topology.id, {"timeout_step": 20})
            came.append(next(listener).change)
        text = io.BytesIO()
        tomato_dao.dump(db, text, jobs=2)
        came.append(sorted(value_of(record) for record in records(text.getvalue())))
        tomato_dao.load(db, io.BytesIO(text.getvalue()), replace=True)
        again = io.BytesIO()
        tomato_dao.dump(db, again)
        assert again.getvalue() == text.getvalue()
    os.environ["DATABASE_URL"] = url
    capsys.readouterr()
    query.main("query", ["users.list", "after=0", "limit=5", "--json"])
    came.append([{name: row[name] for name in ("id", "name", "attrs")} for row in json.loads(capsys.readouterr().out)])
    return came


def value_of(record: dict[str, Any]) -> str:
    """Return a record of a dump, but for its times, which are the test's."""
    fields = {name: value for name, value in record["fields"].items() if not name.endswith(("_at", "_until", "_since"))}
    return f"{record['model']} {json.dumps(fields, sort_keys=True)}"


def accounting(db: Database) -> list[object]:
    """Return a quarter of an hour of accounting."""
    organization = db.organizations.create("firm")
    user = db.users.create("bob", organization_id=organization.id)
    site = db.sites.create("room", organization_id=organization.id)
    host = db.hosts.create("host2", address="10.0.0.2", rpcurl="rpc://2", site_id=site.id)
    topology = db.topologies.create("lab", owner_id=user.id)
    element = db.elements.create(topology.id, "kvmqm")
    component = db.host_elements.create(host.id, 1, type="kvmqm", state="started", element_id=element.id)
    db.quotas.update(user.id, {"used_at": NOON - timedelta(days=400)})
    assert component.usage_id
    third = 1 / 3  # would lose digits
    measured = [UsageRecord(component.usage_id, "5minutes", NOON - 5 * MINUTE, NOON, 5, third, third, third, third)]
    later = NOON + 15 * MINUTE
    came: list[object] = [db.usage.import_records(measured, now=NOON), db.usage.aggregate(now=later)]
    came += [db.quotas.count_use(now=later), db.quotas.enforce(now=later), db.links.combine(now=later), db.quotas.get(user.id)]
    return [*came, db.usage.list(component.usage_id, "5minutes")]


def claims(db: Database) -> list[object]:
    """One of each claim."""
    came: list[object] = [db.tasks.claim("accounting", MINUTE, lease=MINUTE) for _ in range(2)]
    many = (db.elements.claim_syncs, db.hosts.claim_syncs, db.topologies.claim_timeouts, db.host_elements.claim_orphans)
    return [*came, *(claim(limit=5, lease=MINUTE) for claim in many)]


@pytest.mark.one_server
@pytest.mark.as_owner
def test_all_gives_the_same_with_odd_settings(
    tomato_server_url: str,
    tomato_template: str,
    odd_url: str,
    tmp_path: Path,
    saved: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("DATABASE_URL", odd_url)  # is put back afterwards
    monkeypatch.delenv("OWNER_DATABASE_URL", raising=False)
    with scratch_database(tomato_server_url, template=tomato_template) as url:
        usual = work(url, tmp_path / "usual", capsys)
    for here, there in zip(work(odd_url, tmp_path / "odd", capsys), usual, strict=True):
        assert here == there
    with probe(odd_url) as connection:
        findings = list(examinations.examine(connection, 8))
    levels = {finding.topic: finding.level for finding in findings}
    # The server never waits for disks, and the roles were not given this database.
    bad = [topic for topic, level in levels.items() if level == examinations.BAD and topic not in ("server", "roles")]
    assert (bad, levels["tables"]) == ([], examinations.OK), findings
    with dropped_afterwards(odd_url):
        assert restore(backup.back_up(odd_url), odd_url, end_sessions=True) is not None
        assert "uni" in organizations(odd_url)


def test_a_migration_takes_as_long_as_it_needs_with_odd_settings(odd_url: str, next_migration: Path, saved: Path) -> None:
    next_migration.write_text(
        f"-- migrate:up\nselect pg_sleep({LIMIT * 1.2});\ncreate table later (id int);\n-- migrate:down\ndrop table later;\n"
    )
    assert migrate(odd_url) == [NEXT.partition("_")[0]]
    with psycopg.connect(odd_url) as connection:
        assert connection.execute("select schemaname from pg_tables where tablename = 'later'").fetchall() == [("public",)]
    roll_back(odd_url)


def pinned(connection: psycopg.Connection) -> dict[str, str]:
    found = connection.execute("select name, setting from pg_settings where lower(name) = any(%s)", [[*pins.PINNED]]).fetchall()
    return {name.lower(): value.replace(", ", ",") for name, value in found}


def test_a_session_keeps_its_settings_whatever_its_user_changes(odd_url: str) -> None:
    with connect(odd_url, pool_size=1) as db:
        for change in ("set datestyle = 'German'", "reset all", "discard all", "set search_path = elsewhere"):
            with db.connection() as connection:
                assert pinned(connection) == pins.PINNED
                assert connection.execute("show statement_timeout").fetchone() == ("1min",)
                connection.execute(change)
        with db.connection() as connection:
            assert pinned(connection) == pins.PINNED
    with probe(odd_url) as connection:
        assert pinned(connection) == pins.PINNED


def test_roles_have_the_settings_for_sessions_behind_a_pooler(server: psycopg.Connection, has_roles: bool) -> None:
    if not has_roles:
        pytest.skip("the tests' user may not make roles")
    for role in ROLES:
        (found,) = server.execute(
            "select setconfig from pg_db_role_setting where setdatabase = 0 and setrole = %s::regrole", [role]
        ).fetchone() or ([],)
        settings = {name.lower(): value for name, value in (line.split("=", 1) for line in found)}
        assert {name: settings[name].replace(", ", ",") for name in pins.PINNED} == pins.PINNED


def test_the_options_of_a_url_stay_in_force(tomato_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for url, variable in ((make_conninfo(tomato_url, options="-c work_mem=77kB"), ""), (tomato_url, "-c work_mem=77kB")):
        monkeypatch.setenv("PGOPTIONS", variable)
        with connect(url, pool_size=1) as db, db.connection() as connection:
            assert connection.execute("show work_mem").fetchone() == ("77kB",)


def test_another_schema_is_refused_with_what_to_do(tomato_url: str, server: psycopg.Connection) -> None:
    with pytest.raises(InvalidValue, match="remove search_path"):
        connect(make_conninfo(tomato_url, options="-c search_path=elsewhere"))
    server.execute("alter schema public rename to elsewhere; create schema public")
    for refused in (connect, migrate):
        with pytest.raises(WrongSchema, match="are in the schema elsewhere, and tomato-dao only uses public"):
            refused(tomato_url)


def test_a_pooler_is_reported_with_what_it_does_not_keep(odd_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PGOPTIONS")  # which it refuses
    with pgbouncer(odd_url) as pooled:
        with connect(pooled, pool_size=1, prepare=False) as db, db.connection() as connection:
            kept = {name: connection.execute(f"show {name}").fetchone() for name in ("timezone", "datestyle")}
            assert kept == {"timezone": ("UTC",), "datestyle": ("ISO, MDY",)}
        with pytest.raises(Unavailable, match="connect with prepare=False"):
            connect(pooled)

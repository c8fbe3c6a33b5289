"""Rolling deployments: which schemas workers accept, and when a contract migration is applied."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest

from tests.conftest import CHECKOUT
from tests.helpers.dao_cases import until
from tests.helpers.rollout_cases import CONTRACT, EXPAND, PENDING, UNSUPPORTED, Rollout
from tests.ops.test_commands import run
from tomato_dao import WrongSchema, connect
from tomato_dao.ops import backfill, backfills, migrate, rollout
from tomato_dao.ops.scratch import scratch_database
from tomato_dao.server import rolling, schema

pytestmark = pytest.mark.slow


@pytest.fixture
def rolled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Rollout:
    """Provide a release after this one: an expand migration, a backfill and a contract migration."""
    return Rollout(tmp_path, monkeypatch)


def test_a_worker_accepts_a_newer_schema_that_supports_it_and_warns_once(
    tomato_url: str, rolled: Rollout, server: psycopg.Connection, caplog: pytest.LogCaptureFixture
) -> None:
    server.execute("insert into organizations (name) values ('uni')")
    rolled.newer()
    assert migrate.migrate(tomato_url, save=False) == [EXPAND]
    rolled.older()
    for _ in range(2):
        with connect(tomato_url, migrate=True) as db:
            assert [organization.name for organization in db.organizations.list()] == ["uni"]
    warned = [record.getMessage() for record in caplog.records if "still supported" in record.getMessage()]
    (database,) = {psycopg.conninfo.conninfo_to_dict(tomato_url)["dbname"]}
    assert warned == [
        f"the database {database} has schema version {EXPAND}; this code, of schema version {rolled.base}, is still supported: "
        "upgrade it soon"
    ]


def test_commands_need_their_exact_schema(tomato_url: str, rolled: Rollout) -> None:
    rolled.newer()
    migrate.migrate(tomato_url)
    rolled.older()
    for command in (
        ["dump"],
        ["load", os.devnull],
        ["query", "organizations.list", "after=0", "limit=1"],
        ["migrate"],
        ["migrate", "rollback"],
        ["backup"],
        ["roles"],
    ):
        done = run([sys.executable, "-m", "tomato_dao", *command], tomato_url)
        assert (done.returncode, "migrations that this code does not know" in done.stderr) == (1, True), done


def test_a_worker_refuses_a_newer_schema_that_does_not_support_it(tomato_url: str, rolled: Rollout) -> None:
    rolled.newer()
    rolled.fill(tomato_url)
    migrate.migrate(tomato_url)
    rolled.older()
    said = UNSUPPORTED.format(theirs=CONTRACT, oldest=CONTRACT, ours=rolled.base)
    for way in (False, True):
        with pytest.raises(WrongSchema, match=said):
            connect(tomato_url, migrate=way)
    told = json.loads(run([str(CHECKOUT / "bin" / "doctor"), "--json"], tomato_url).stdout)["findings"]
    assert next(found["level"] for found in told if found["topic"] == "schema") == "bad"


def test_new_code_connects_while_a_contract_migration_is_pending_but_not_before_an_expand(
    tomato_url: str, rolled: Rollout, server: psycopg.Connection
) -> None:
    server.execute("insert into organizations (name) values ('uni')")
    rolled.newer()
    with pytest.raises(WrongSchema, match="lacks 2 of"):
        connect(tomato_url)
    migrate.migrate(tomato_url, save=False)
    with connect(tomato_url) as db:
        assert [organization.name for organization in db.organizations.list()] == ["uni"]


def test_a_contract_migration_waits_for_its_backfill_and_for_older_workers(
    tomato_url: str, rolled: Rollout, server: psycopg.Connection, caplog: pytest.LogCaptureFixture
) -> None:
    server.execute("insert into organizations (name) select 'o' || n from generate_series(1, 2500) n")
    with connect(tomato_url, application_name="old") as old:
        rolled.newer()
        assert migrate.migrate(tomato_url, save=False) == [EXPAND]
        assert f"stopped before the contract migration {CONTRACT}_contract: the backfill fill is not finished" in caplog.text
        assert PENDING in caplog.text
        assert migrate.migrate(tomato_url, save=False, contract=True) == []
        rolled.fill(tomato_url, 2500)
        caplog.clear()
        assert migrate.migrate(tomato_url, save=False) == []
        assert re.search(rf"are connected: old/{rolled.base} \(\d\); end them", caplog.text)
        assert len(old.organizations.list(limit=3)) == 3
    assert migrate.migrate(tomato_url, save=False) == [CONTRACT]
    assert rolling.oldest_supported(server) == CONTRACT


def test_older_workers_do_not_hold_up_who_says_so(tomato_url: str, rolled: Rollout) -> None:
    with connect(tomato_url):
        rolled.newer()
        rolled.fill(tomato_url)
        assert migrate.migrate(tomato_url, contract=True) == [CONTRACT]


def test_sessions_that_are_no_workers_hold_up_nobody(tomato_url: str, rolled: Rollout) -> None:
    with psycopg.connect(tomato_url, application_name="psql"):
        rolled.newer()
        assert migrate.migrate(tomato_url) == [EXPAND, CONTRACT]


def test_a_schema_without_backfills_is_reported(
    tomato_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("OWNER_DATABASE_URL", tomato_url)
    monkeypatch.setattr(backfills, "directory", lambda: tmp_path)
    backfill.main("backfill", [])
    assert capsys.readouterr().out == "this schema has no backfills\n"


def test_the_command_says_by_its_exit_code_that_a_contract_migration_is_pending(
    tomato_url: str, rolled: Rollout, server: psycopg.Connection, saved: Path
) -> None:
    server.execute("insert into organizations (name) values ('uni')")
    rolled.newer()
    first, second = (rolled.command(tomato_url, "migrate") for _ in range(2))
    assert (first.returncode, second.returncode) == (rollout.STOPPED, rollout.STOPPED)
    assert first.stdout == f"applied {EXPAND}\nthe schema is {EXPAND}\n"
    assert second.stdout == f"the schema is {EXPAND}\n"
    assert "stopped before the contract migration" in second.stderr
    assert len(list(saved.iterdir())) == 1
    filled = rolled.command(tomato_url, "backfill", "fill")
    assert (filled.returncode, filled.stdout) == (0, "backfill: fill: 1 row in 0 s; nothing is left to do\n"), filled.stderr
    assert rolled.command(tomato_url, "backfill").stdout == "fill  done\n"
    last = rolled.command(tomato_url, "migrate")
    assert (last.returncode, last.stdout) == (0, f"applied {CONTRACT}\nthe schema is {CONTRACT}\n")


def test_an_empty_server_gets_all_migrations_at_once(tomato_server_url: str, rolled: Rollout) -> None:
    rolled.newer()
    with scratch_database(tomato_server_url) as url, psycopg.connect(url) as connection:
        assert schema.applied(connection)[-2:] == [EXPAND, CONTRACT]


def test_the_range_can_be_read_by_workers_and_changed_by_the_owner_only(app_url: str) -> None:
    with psycopg.connect(app_url, autocommit=True) as worker:
        assert rolling.oldest_supported(worker) == rolling.migrations()[-1].oldest
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            worker.execute(rolling.comment_for("20261128150100").encode())


def test_the_database_has_the_versions_of_the_headers(tomato_url: str, server: psycopg.Connection) -> None:
    assert rolling.oldest_supported(server) == rolling.migrations()[-1].oldest


def test_a_backfill_that_was_stopped_goes_on_where_it_was(tomato_url: str, rolled: Rollout, server: psycopg.Connection) -> None:
    server.execute("insert into organizations (name) select 'o' || n from generate_series(1, 100) n")
    rolled.newer()
    migrate.migrate(tomato_url, save=False)
    told: list[int] = []

    def stop_at(rows: int) -> Callable[[object], None]:
        def told_of(progress: object) -> None:
            told.append(progress.rows)  # type: ignore[attr-defined]
            if told[-1] >= rows:
                raise KeyboardInterrupt

        return told_of

    with pytest.raises(KeyboardInterrupt):
        backfills.backfill(server, "fill", batch=10, pause=0, progress=stop_at(40))
    assert not backfills.is_done(server, "fill")
    assert backfills.backfill(server, "fill", batch=10, pause=0, progress=stop_at(1000)) == 60
    assert told == [10, 20, 30, 40, 10, 20, 30, 40, 50, 60]
    assert backfills.is_done(server, "fill")


def test_a_row_that_a_worker_holds_holds_up_the_backfill_and_not_the_other_way(
    tomato_url: str, rolled: Rollout, server: psycopg.Connection
) -> None:
    server.execute("insert into organizations (name) select 'o' || n from generate_series(1, 20) n")
    rolled.newer()
    migrate.migrate(tomato_url, save=False)
    with psycopg.connect(tomato_url) as worker:
        worker.execute("update organizations set description = 'x' where name = 'o11'")
        filling = subprocess.Popen(
            [sys.executable, "-m", "tomato_dao", "backfill", "fill", "--batch", "10"],
            env=rolled.environment(tomato_url),
            cwd=rolled.directory,
        )
        until(server, "exists (select from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database())")
        assert server.execute("select count(*) from organizations where shown is not null").fetchone() == (10,)
        worker.execute("update organizations set description = 'y' where name = 'o12'")
    assert filling.wait(30) == 0


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "-- table: organizations\n-- key: id\nupdate x set y = 1 where id between :first and :last",
            "lacks the line “-- todo",
        ),
        ("-- table: organizations\n-- key: id\n-- todo: true\nupdate x set y = 1", "from :first to :last"),
        (
            "-- table: organizations\n-- key: id\n-- todo: shown is null\n"
            "update organizations set shown = null where id between :first and :last",
            r"1 row of organizations are still to do \(shown is null\)",
        ),
    ],
)
def test_a_faulty_backfill_is_reported(
    tomato_url: str, rolled: Rollout, server: psycopg.Connection, text: str, said: str
) -> None:
    server.execute("insert into organizations (name) values ('uni')")
    rolled.newer()
    migrate.migrate(tomato_url, save=False)
    (backfills.directory() / "fill.sql").write_text(text)
    done = rolled.command(tomato_url, "backfill", "fill")
    assert done.returncode == 1
    assert re.search(said, done.stderr), done.stderr


def test_a_long_name_of_a_worker_keeps_its_version(tomato_url: str, server: psycopg.Connection) -> None:
    with connect(tomato_url, application_name="ä" * 40) as db:
        db.organizations.list()
        shown = r"\xc3\xa4" * 6 if server.info.server_version >= 160000 else "?" * 12
        (told,) = rolling.older_workers(server, "99990101000000")
        assert told.startswith(f"{shown}/{schema.known()[-1]} (")  # how many sessions is the pool's
        assert list(rolling.older_workers(server, schema.known()[-1])) == []

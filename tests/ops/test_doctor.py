"""The doctor: what bin/doctor says of databases that are well and of others."""

import json
import os
import signal
import subprocess
import threading
from collections.abc import Iterator
from datetime import UTC, datetime

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

from tests.conftest import CHECKOUT
from tests.ops.test_commands import run
from tomato_dao import NotAllowed, connect
from tomato_dao.ops import roles
from tomato_dao.ops.databases import create_database
from tomato_dao.ops.doctor import worst_of
from tomato_dao.ops.examinations import Finding
from tomato_dao.ops.scratch import drop_database, scratch_database, with_database
from tomato_dao.server import schema

pytestmark = pytest.mark.slow
TOPICS = (
    "server connections schema roles transactions locks notifications tables indexes constraints sequences freezing integrity "
    "cache disk replication archiving leases accounting queries backup"
)


def doctor(url: str, *arguments: str) -> "subprocess.CompletedProcess[str]":
    return run([str(CHECKOUT / "bin" / "doctor"), *arguments], url)


@pytest.fixture
def url(durable_server_url: str, durable_template: str) -> Iterator[str]:
    """Provide a migrated database with its roles, on a server that is well."""
    with scratch_database(durable_server_url, template=durable_template) as url:
        try:
            roles.make_roles(url)
        except NotAllowed:
            pytest.skip("the tests' user may not make roles")
        yield url


def test_the_doctor_finds_a_healthy_database_well(url: str) -> None:
    with connect(url) as db:
        db.organizations.list()
        done = doctor(url, "--pool-size", "1")
    assert done.stdout.splitlines()[0].endswith(": all is well"), done.stdout
    assert done.returncode == 0
    topics = [line[6:].split()[0] for line in done.stdout.splitlines()[2:] if not line.startswith(" ")]
    assert " ".join(topics) == TOPICS
    assert "tomato-dao: " in done.stdout


def test_the_doctor_prints_json(url: str) -> None:
    with psycopg.connect(url) as server:
        server.execute("delete from schema_migrations where version = %s", [schema.known()[-1]])
        server.execute("drop index hosts_site_id_idx")
    done = doctor(url, "--json", "--pool-size", "1")
    assert done.returncode == 1
    told = json.loads(done.stdout)
    found = {finding["topic"]: finding for finding in told["findings"]}
    assert (told["version"], told["state"], told["well"]) == (1, "bad", False)
    assert [topic for topic in found if found[topic]["level"] == "bad"] == ["schema", "indexes"]
    assert [stem[:14] for stem in found["schema"]["figures"]["pending"]] == schema.known()[-1:]
    assert found["schema"]["advice"][0].startswith("make migrate")
    assert [row["name"] for row in found["indexes"]["figures"]["missing"]] == ["hosts_site_id_fkey"]
    assert "organizations" in [row["name"] for row in found["tables"]["figures"]["tables"]]


def test_the_doctor_is_a_monitoring_plugin(url: str) -> None:
    done = doctor(url, "--monitoring", "--pool-size", "1")
    assert done.returncode in (0, 1)  # a minor version that is not the newest gets a note, and so does a missing backup
    assert done.stdout.startswith(("TOMATO OK - ", "TOMATO WARNING - ")), done.stdout
    with psycopg.connect(url) as server:
        server.execute("drop index hosts_site_id_idx")
    done = doctor(url, "--monitoring", "--pool-size", "1")
    first, *others = done.stdout.splitlines()
    assert (done.returncode, first.partition(" - ")[0]) == (2, "TOMATO CRITICAL")
    assert ": indexes | bad=1 note=" in first
    assert any(line.startswith("indexes: 1 missing") for line in others)
    assert doctor("postgresql://127.0.0.1:1/none", "--monitoring").returncode == 2
    misuse = doctor(url, "--monitoring", "--pool-size", "none")
    assert (misuse.returncode, misuse.stdout.partition(" - ")[0]) == (3, "TOMATO UNKNOWN")
    assert doctor(url, "--pool-size", "none").returncode == 2


def test_a_failed_examination_is_unknown_to_monitoring() -> None:
    found = [Finding("server", "ok", ""), Finding("queries", "absent", "")]
    for more, worst in (([], "ok"), ([Finding("leases", "unknown", "")], "unknown"), ([Finding("disk", "note", "")], "note")):
        found += more
        assert worst_of(found) == worst


def test_the_doctor_watches_what_workers_do(tomato_url: str, server: psycopg.Connection) -> None:
    environment = {**os.environ, "DATABASE_URL": tomato_url}
    environment.pop("OWNER_DATABASE_URL", None)
    with connect(tomato_url, application_name="waits") as db, server.transaction():
        server.execute("lock table organizations")
        waiting = threading.Thread(target=db.organizations.list)
        waiting.start()
        with subprocess.Popen(
            [str(CHECKOUT / "bin" / "doctor"), "--watch", "0.2"],
            env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # ignored, where a shell runs it in the background
        ) as watch:  # fmt: skip
            assert watch.stdout
            page: list[str] = []
            for line in watch.stdout:
                page.append(line)
                if line.startswith("organizations.list") and "Lock:relation" in line:
                    break
            watch.send_signal(signal.SIGINT)
            assert watch.wait(60) == 130
    waiting.join(60)
    text = "".join(page)
    assert "transactions/s" in text
    assert "in a transaction after (no named query)" in text
    assert "query" in text.splitlines()[5]


def test_the_doctor_names_who_keeps_others_waiting(tomato_url: str, server: psycopg.Connection) -> None:
    with connect(tomato_url, application_name="waits") as db, server.transaction():
        server.execute("lock table organizations")
        waiting = threading.Thread(target=db.organizations.list)
        waiting.start()
        sql = "select exists (select from pg_stat_activity where application_name ~ '^waits' and wait_event_type = 'Lock')"
        with psycopg.connect(tomato_url, autocommit=True) as watcher:
            while watcher.execute(sql.encode()).fetchone() != (True,):
                pass
        (locks,) = [f for f in json.loads(doctor(tomato_url, "--json").stdout)["findings"] if f["topic"] == "locks"]
        assert [row["query"] for row in locks["figures"]["waiting"]] == ["organizations.list"]
        assert locks["figures"]["waiting"][0]["blocked_by"] == [server.info.backend_pid]
        assert locks["details"][0].endswith(f" (pid {server.info.backend_pid}) in (no named query), idle in its transaction")
    waiting.join(60)


def test_the_doctor_examines_what_a_plain_user_may_see(app_url: str) -> None:
    done = doctor(app_url, "--pool-size", "1")
    assert done.stderr == ""
    assert "ok    schema" in done.stdout


def test_the_doctor_says_which_server_it_did_not_reach(tomato_url: str) -> None:
    nowhere = "postgresql://me:s3cret@127.0.0.1:1/tomato"
    for url, said, step in (
        (nowhere, "127.0.0.1:1", "check that the server is running"),
        (with_database(tomato_url, "none"), "none", "make migrate creates it"),
        ("nonsense://", "is not of the form postgresql://", ""),
    ):
        done = doctor(url, "--json")
        (finding,) = json.loads(done.stdout)["findings"]
        assert done.returncode == 1
        assert finding["topic"] == "server"
        assert said in finding["summary"]
        assert step in " ".join(finding["advice"])
        assert "reserved connection" not in done.stdout  # which is for a full server
        assert "s3cret" not in done.stdout
    page = doctor(nowhere)
    assert (page.returncode, page.stderr) == (1, "")
    assert "s3cret" not in page.stdout


@pytest.mark.one_server
def test_the_doctor_reports_databases_that_restores_have_kept(tomato_url: str) -> None:
    name = conninfo_to_dict(tomato_url)["dbname"]
    old, new = f"{name}_before_20200101T000000", f"{name}_before_{datetime.now(UTC):%Y%m%dT%H%M%S}"
    for kept in (old, new, f"{name}_before_lunch"):
        create_database(with_database(tomato_url, kept))
    try:
        found = json.loads(doctor(tomato_url, "--json").stdout)["findings"][-1]
        assert (found["topic"], found["level"]) == ("backup", "note")
        assert [row["name"] for row in found["figures"]["kept_databases"]] == [old, new]
        assert [line for line in found["advice"] if "drop" in line] == [f'drop database "{old}";  -- if nobody needs it']
        assert found["details"][1].startswith(f"{new}, kept by a restore ")
    finally:
        for kept in (old, new, f"{name}_before_lunch"):
            drop_database(with_database(tomato_url, kept))

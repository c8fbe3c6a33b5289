"""Databases whose migrations are not this code's: refused everywhere, with a way out."""

import io
import json
import sys
from collections.abc import Callable

import psycopg
import pytest

import tomato_dao
from tests.conftest import CHECKOUT
from tests.helpers.transfer_cases import by_hand
from tests.ops.test_commands import run
from tomato_dao import Database, WrongSchema, connect
from tomato_dao.ops import migrate
from tomato_dao.server import schema

pytestmark = pytest.mark.slow

UNRELEASED = "20261122080100"
REFUSED = (
    rf"has a schema that was never released \({UNRELEASED} …\): recreate it: drop the database "
    r"\(make clean removes the embedded server with all its data\), then run make migrate; to keep its rows, first write them "
    "with bin/dump of the tomato-dao that created it, and load them afterwards$"
)


@pytest.fixture
def old_url(tomato_url: str, server: psycopg.Connection) -> str:
    """Provide the URL of a database whose migrations were squashed since."""
    server.execute("update schema_migrations set version = %s where version = %s", [UNRELEASED, schema.known()[0]])
    return tomato_url


@pytest.mark.parametrize("refused", [connect, migrate.migrate, migrate.roll_back])
def test_an_unreleased_schema_is_refused(old_url: str, refused: Callable[[str], object]) -> None:
    with pytest.raises(WrongSchema, match=REFUSED):
        refused(old_url)


def test_a_schema_that_becomes_unreleased_under_a_database_is_refused_by_dump_and_load(
    db: Database, server: psycopg.Connection
) -> None:
    file = by_hand(db, [])
    server.execute("insert into schema_migrations (version) values (%s)", [UNRELEASED])
    with pytest.raises(WrongSchema, match=REFUSED):
        tomato_dao.dump(db, io.BytesIO())
    with pytest.raises(WrongSchema, match=REFUSED):
        tomato_dao.load(db, file)


def test_commands_refuse_an_unreleased_schema_in_one_line(old_url: str) -> None:
    query = run([str(CHECKOUT / "bin" / "query"), "organizations.list", "after=0", "limit=1"], old_url)
    status = run([sys.executable, "-m", "tomato_dao", "migrate", "status"], old_url)
    for done in (query, status):
        assert (done.returncode, done.stderr.count("\n")) == (1, 1), done.stderr
        assert "recreate it: drop the database" in done.stderr
    assert status.stdout.startswith(f"unknown  {UNRELEASED}\npending  {schema.files()[0].stem}\napplied  ")


def test_the_doctor_advises_to_recreate_an_unreleased_schema(old_url: str) -> None:
    told = json.loads(run([str(CHECKOUT / "bin" / "doctor"), "--json"], old_url).stdout)["findings"]
    (found,) = (finding for finding in told if finding["topic"] == "schema")
    assert (found["level"], found["details"], found["advice"]) == ("bad", [UNRELEASED], [schema.recreate()])


def test_an_unknown_version_before_the_newest_is_unreleased_and_one_after_it_newer() -> None:
    first, last = schema.known()[0], schema.known()[-1]
    assert schema.compare([first, last, "29990101000000"]).unreleased == []
    between = str(int(last) - 1)
    differs = schema.compare([UNRELEASED, first, between, last])
    assert differs.unreleased == [UNRELEASED, between]
    assert (differs.unknown, differs.pending) == ([UNRELEASED, between], schema.known()[1:-1])
    assert not differs.equal
    assert schema.compare(schema.known()).equal


@pytest.mark.as_owner
def test_rows_of_an_unreleased_schema_can_be_loaded(db: Database) -> None:
    organization = {"name": "uni", "description": "", "homepage_url": "", "image_url": "", "description_text": ""}
    record = {"model": "organization", "pk": 5, "fields": {**organization, "usage_id": None, "attrs": {}}}
    tomato_dao.load(db, by_hand(db, [record], migrations=[UNRELEASED, "20261122120404"]))
    assert [found.id for found in db.organizations.list()] == [5]
    with pytest.raises(WrongSchema, match="migrations that this code does not know"):
        tomato_dao.load(db, by_hand(db, [], migrations=[UNRELEASED, *schema.known()]))

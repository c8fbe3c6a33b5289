"""Text that others wrote can neither end a message's line, nor reach a terminal as a command, nor flood it."""

import json
import logging
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql

import tomato_dao
from tests.conftest import World
from tests.helpers.legacy_cases import OldDump
from tests.helpers.transfer_cases import by_hand, organization
from tomato_dao import Database, TomatoError
from tomato_dao.ops import doctor, migrate, query
from tomato_dao.ops.cli import Parser
from tomato_dao.printable import json_escaped, message, one_line, printable, quoted
from tomato_dao.transfer.legacy.report import InvalidRecords

# Ends a line, clears a terminal by both forms of its escape, turns the direction of writing, and is long.
EVIL = "x\n\rload: 5 rows in 0.1 s\x1b[2J\x9b2J\u2028\u202e" + "y" * 200_000
LONGEST = 5000  # characters of a message


def refusal(call: Callable[[], object]) -> TomatoError:
    """Return the error that a call raises."""
    with pytest.raises(TomatoError) as refused:
        call()
    return refused.value


def is_harmless(text: str, *, lines: int = 1) -> bool:
    """Return whether a terminal shows all of a text, and nothing else happens, on so many lines."""
    shown = text.removesuffix("\n").split("\n")
    return len(shown) == lines and all(line.isprintable() and len(line) <= LONGEST for line in shown)


def test_foreign_text_is_escaped_and_shortened() -> None:
    assert printable("a\tb\nc\x1bd\x9be\u2028f\u202eg\ud800h\xa0ä€𝄞") == r"a\tb\nc\x1bd\x9be\u2028f\u202eg\ud800h\xa0ä€𝄞"
    assert printable("a" * 201) == "a" * 199 + "…"
    assert len(printable("\n" * 200)) == 200
    assert printable("a" * 201, None) == "a" * 201
    assert quoted("a'\n") == '"a\'\\n"'
    assert quoted(10**5000) == "a int that is too large to show"
    assert one_line(" a\n b\t\tc ") == "a b c"
    assert len(message(EVIL + "; do this")) < LONGEST
    assert message(EVIL + "; do this").endswith("; do this")


def test_json_for_a_terminal_says_the_same() -> None:
    text = json.dumps(["\x1b\x9b\x7f\u2028\u202e\ud800\n€"], ensure_ascii=False)
    assert json_escaped(text).isprintable()
    assert json.loads(json_escaped(text)) == json.loads(text)


def test_an_error_of_any_class_is_one_line() -> None:
    classes = [kind for kind in vars(tomato_dao.errors).values() if isinstance(kind, type) and issubclass(kind, TomatoError)]
    assert len(classes) > 10
    for kind in classes:
        assert is_harmless(str(kind(EVIL))), kind


def calls(db: Database, world: World) -> Iterator[Callable[[], object]]:
    """Calls that fail for a value, which their messages show."""
    yield lambda: db.hosts.get_by_name(EVIL)
    yield lambda: db.organizations.create(EVIL)
    yield lambda: db.users.create("u", organization_id=world.organization.id, flags=[EVIL])
    yield lambda: db.users.update(world.user.id, {EVIL: 1})  # type: ignore[misc]
    yield lambda: db.users.get_by_name(EVIL)
    yield lambda: db.hosts.get(10**5000)
    yield lambda: db.exclusive(EVIL, 1).__enter__()  # type: ignore[arg-type]
    yield lambda: db.listen(EVIL)  # type: ignore[arg-type]
    yield lambda: db.topologies.import_({"file_information": {"version": EVIL}}, owner_id=world.user.id)
    yield lambda: db.topologies.import_(EVIL, owner_id=world.user.id)


def test_values_of_a_call_do_not_leave_its_message(db: Database, world: World) -> None:
    for call in calls(db, world):
        error = refusal(call)
        assert is_harmless(str(error)), str(error)[:300]


def files(db: Database) -> Iterator[Any]:
    """Dumps that are refused for what they hold."""
    yield by_hand(db, [{**organization(5), "model": EVIL}])
    yield by_hand(db, [organization(5, **{EVIL: 1})])
    yield by_hand(db, [{**organization(5), EVIL: 1}])
    yield by_hand(db, [organization(5, usage_id=EVIL)])
    yield by_hand(db, [organization(5, name=EVIL)])
    yield by_hand(db, [], format=EVIL)
    yield by_hand(db, [], migrations=["9" + EVIL])
    yield by_hand(
        db, [{"model": "key_value", "pk": n, "fields": {"key": EVIL[:2000], "value": 1, "attrs": {}}} for n in (1, 2)]
    )
    yield OldDump().add_record(f"tomato.{EVIL}", 1, {}).file()
    yield OldDump().add("usage", EVIL, memory=1, diskspace=0.5, traffic=7, cputime=0.0).file()
    yield OldDump().change("element", 1, state=EVIL).file()
    yield OldDump().change("organization", 1, attrs={EVIL: "\ud800"}).file()


@pytest.mark.slow
@pytest.mark.as_owner
def test_a_files_content_stays_out_of_the_message_of_its_refusal(db: Database) -> None:
    for file in files(db):
        error = refusal(partial(tomato_dao.load, db, file))
        refused = error.summary.refused if isinstance(error, InvalidRecords) else []
        assert is_harmless(str(error), lines=1 + len(refused)), str(error)[:300]


@pytest.mark.as_owner
def test_content_of_an_old_dump_stays_escaped_in_the_summary(db: Database) -> None:
    old = OldDump().add_record(f"tomato.{EVIL}", EVIL, {}).change("element", 1, state=EVIL)
    told = str(old.load(db, skip_invalid=True, check=True))
    assert "dropped 1 tomato.x\\n" in told
    assert all(is_harmless(line) for line in told.split("\n"))


def test_notices_and_warnings_are_one_line(tomato_url: str, caplog: pytest.LogCaptureFixture) -> None:
    with tomato_dao.connect(tomato_url, pool_size=1) as db, caplog.at_level(logging.INFO), db.connection() as connection:
        connection.execute(sql.SQL("do $$ begin raise warning using message = {}; end $$").format(EVIL[:9000]))
    (record,) = [record for record in caplog.records if "5 rows" in record.getMessage()]
    assert is_harmless(record.getMessage())


def test_tables_of_queries_show_control_characters(
    tomato_url: str, db: Database, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    db.organizations.create("evil", description=EVIL[:300])
    monkeypatch.setenv("DATABASE_URL", tomato_url)
    name = "organizations.list"
    query.main("query", [name, "after=0", "limit=5"])
    out = capsys.readouterr().out
    assert len(out.splitlines()) == 4
    assert r"x\n\rload: 5 rows" in out
    assert out.replace("\n", "").isprintable()
    query.main("query", [name, "after=0", "limit=5", "--json"])
    out = capsys.readouterr().out
    assert out.replace("\n", "").isprintable()
    assert json.loads(out)[0]["description"] == EVIL[:300]
    query.main("query", ["organizations.get_by_name", "name=evil"])
    assert capsys.readouterr().out.replace("\n", "").isprintable()


def test_names_in_the_database_do_not_leave_the_doctors_page(
    tomato_url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], server: psycopg.Connection
) -> None:
    server.execute(sql.SQL("create table {} (id int)").format(sql.Identifier(EVIL[:50])))
    server.execute("insert into schema_migrations (version) values (%s)", ["9" + EVIL[:50]])
    monkeypatch.setenv("OWNER_DATABASE_URL", tomato_url)
    for arguments in ([], ["--json"]):
        with pytest.raises(SystemExit):
            doctor.main("doctor", arguments)
        out = capsys.readouterr().out
        assert "5 rows in 0.1 s" in out
        assert all(is_harmless(line) for line in out.splitlines())
    with pytest.raises(TomatoError):
        migrate.main("migrate", [])
    migrate.main("migrate", ["status"])
    assert all(is_harmless(line) for line in capsys.readouterr().out.splitlines())


def test_arguments_of_a_command_do_not_leave_its_message(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        Parser(prog="load").parse_args([EVIL])
    assert is_harmless(capsys.readouterr().err, lines=2)


def test_a_files_name_does_not_leave_the_message(tmp_path: Path, db: Database) -> None:
    with pytest.raises(TomatoError) as refused:
        tomato_dao.load(db, tmp_path / EVIL[:100])
    assert is_harmless(str(refused.value))

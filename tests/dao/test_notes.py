"""Key values: any JSON under a key, null too."""

from functools import partial

import psycopg

from tests.helpers.dao_cases import MOMENT, at_once, refused
from tomato_dao import Database, InvalidValue, NotFound
from tomato_dao.rows import Json, KeyValue


def test_any_json_comes_back_and_null_differs_from_nothing(db: Database, server: psycopg.Connection) -> None:
    values: list[Json] = [None, False, 0, 1.5, 2**63 - 1, "", "ü", [], {}, [None], {"a": [1, None, {"b": "c"}]}]
    for value in values:
        db.key_values.set("key", value)
        came = db.key_values.get("key")
        assert (came, type(came)) == (value, type(value))
        assert db.key_values.list() == [KeyValue("key", value)]
    db.key_values.set("key", None)
    assert server.execute("select value::text from key_values").fetchall() == [("null",)]
    db.key_values.delete("key")
    with refused(NotFound, "key value", "key", r"^key value 'key' does not exist$"):
        db.key_values.get("key")
    with refused(NotFound, "key value", "key"):
        db.key_values.delete("key")


def test_a_value_that_json_cannot_hold_is_refused_and_changes_nothing(db: Database) -> None:
    db.key_values.set("key", {"at": MOMENT})
    for value in (float("nan"), {"a": {1}}, "\ud800", b"x"):
        with refused(InvalidValue, "key value", "value"):
            db.key_values.set("key", value)  # type: ignore[arg-type]
    with refused(InvalidValue, "key value", "key", "unsupported Unicode escape sequence"):
        db.key_values.set("key", ["a\0b"])
    with refused(InvalidValue, "key value", "a\0b"):
        db.key_values.set("a\0b", 1)
    assert db.key_values.list() == [KeyValue("key", {"at": MOMENT.isoformat()})]


def test_notes_are_listed_in_pages_by_key(db: Database) -> None:
    for key in ("c", "b/1", "a"):
        db.key_values.set(key, key.upper())
    notes = [KeyValue("a", "A"), KeyValue("b/1", "B/1"), KeyValue("c", "C")]
    assert db.key_values.list() == notes
    assert db.key_values.list(limit=2) == notes[:2]
    assert db.key_values.list(after="b/1") == notes[2:]
    assert db.key_values.list(after="c") == []
    db.key_values.set("", "")
    assert db.key_values.list(limit=1) == [KeyValue("", "")]
    assert db.key_values.list(after="") == notes


def test_threads_that_set_one_key_leave_one_of_their_values(db: Database) -> None:
    assert at_once(*(partial(db.key_values.set, "key", n) for n in range(8))) == [None] * 8
    assert db.key_values.list() in [[KeyValue("key", n)] for n in range(8)]

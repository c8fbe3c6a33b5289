"""Arguments that can't be are refused with words, at once, and never by an exception of Python's."""

import io
from collections.abc import Callable
from datetime import timedelta
from math import inf, nan
from typing import Any

import pytest

import tomato_dao
from tomato_dao import Database, InvalidValue, connect
from tomato_dao.ops.migrate import migrate
from tomato_dao.ops.restore import restore
from tomato_dao.ops.urls import database_url, direct_database_url, owner_url

NO_SECONDS: list[object] = ["30", b"30", inf, -inf, nan, -1, 10**400, True, [], timedelta(seconds=1), 1j]
NO_COUNTS: list[object] = [None, "8", -1, 2.5, True, [], nan]


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("timeout", [None, *NO_SECONDS]),
        ("statement_timeout", [None, *NO_SECONDS, 2**31]),
        ("log_slower_than", NO_SECONDS),
        ("explain_slower_than", NO_SECONDS),
        ("pool_size", [*NO_COUNTS, 0]),
        ("max_waiting", NO_COUNTS[1:]),
        ("application_name", [None, b"x", "x\0y", "\ud800", "a\nb"]),
        ("url", [b"x", 1, 0, [], "\ud800", "postgresql://me@host/a\0b"]),
    ],
)
def test_connect_refuses_parameters_that_can_not_be(tomato_url: str, name: str, values: list[object]) -> None:
    for value in values:
        arguments: dict[str, Any] = {"url": tomato_url, name: value}
        with pytest.raises(InvalidValue) as refused:
            connect(**arguments)
        assert "\n" not in str(refused.value)
        assert len(str(refused.value)) < 200


def test_a_statement_timeout_below_a_millisecond_is_one_millisecond(tomato_url: str) -> None:
    with connect(tomato_url, pool_size=1, statement_timeout=0.0001) as db, db.connection() as connection:
        assert connection.execute("show statement_timeout").fetchone() == ("1ms",)


CALLS: dict[str, tuple[Callable[[Database, Any], object], str]] = {
    "exclusive": (lambda db, value: db.exclusive("topology", 1, wait=value).__enter__(), "topology 1: wait"),
    "listen": (lambda db, value: db.listen("topologies", timeout=value), "timeout"),
    "close": (lambda db, value: db.close(value), "grace"),
    "reads": (lambda db, value: db.reads(wait=value).__enter__(), "wait"),
    "timeout": (lambda db, value: db.timeout(value).__enter__(), "timeout"),
    "migrate": (lambda _, value: migrate("postgresql://nobody@127.0.0.1:1/x", value), "timeout"),
}


@pytest.mark.parametrize(("call", "name"), CALLS.values(), ids=CALLS.keys())
def test_numbers_of_seconds_that_can_not_be_are_refused(
    lasting: Database, call: Callable[[Database, Any], object], name: str
) -> None:
    for value in NO_SECONDS:
        with pytest.raises(InvalidValue, match=f"^{name} must be 0 or more seconds, not"):
            call(lasting, value)


PATH = "must be the path of a file, not"
OTHERS: dict[str, tuple[Callable[[Database, Any], object], list[object], str]] = {
    "kind of a lock": (
        lambda db, value: db.exclusive(value, 1).__enter__(),
        [None, [], {}, "user", 1],
        "a lock is on a topology",
    ),
    "isolation": (
        lambda db, value: db.transaction(isolation=value).__enter__(),
        ["serializable", 1, [], 9**9],
        "isolation must be a psycopg.IsolationLevel, not",
    ),
    "attempts": (
        lambda db, value: db.run(lambda: None, attempts=value),
        NO_COUNTS,
        "attempts must be a whole number of 0 or more",
    ),
    "work": (lambda db, value: db.run(value), [None, "x", 1], "work must be a function without parameters, not"),
    "jobs": (
        lambda db, value: tomato_dao.dump(db, io.BytesIO(), jobs=value),
        [*NO_COUNTS, 0],
        "a dump's jobs must be a whole number of 1 or more",
    ),
    "dump": (tomato_dao.dump, [None, 1, []], "a dump goes into a file or to a path, not"),
    "path": (tomato_dao.dump, ["", "a\0b", "\ud800"], f"a dump {PATH}"),
    "load": (tomato_dao.load, [None, 1, [], "", "a\0b", "\ud800"], f"a dump {PATH}"),
    "restore": (
        lambda _, value: restore(value, "postgresql://nobody@127.0.0.1:1/x"),
        [None, 1, "", "a\0b"],
        f"a backup {PATH}",
    ),
    "elements": (lambda db, value: db.elements.create_many(1, value), [None, 1, "x", {}], "elements must be a list, not"),
}


@pytest.mark.parametrize(("call", "values", "told"), OTHERS.values(), ids=OTHERS.keys())
def test_impossible_values_are_refused(
    lasting: Database, call: Callable[[Database, Any], object], values: list[object], told: str
) -> None:
    for value in values:
        with pytest.raises(InvalidValue, match=f"^{told}"):
            call(lasting, value)


def at_depth(frames: int, call: Callable[[], object]) -> object:
    return at_depth(frames - 1, call) if frames else call()


def test_json_that_is_nested_too_deeply_is_refused_at_any_depth_of_the_stack(db: Database) -> None:
    user = db.users.create("alice", organization_id=db.organizations.create("uni").id)
    topology = db.topologies.create("t", owner_id=user.id)
    deep: dict[str, Any] = {}
    for _ in range(700):
        deep = {"a": deep}
    db.topologies.set_attrs(topology.id, deep)
    calls: list[Callable[[], object]] = [
        lambda: db.topologies.export(topology.id),
        lambda: db.topologies.get(topology.id),
        lambda: db.key_values.set("k", deep),
    ]
    for call in calls:
        for frames in (0, 50, 200, 400, 600):
            try:
                at_depth(frames, call)
            except tomato_dao.TomatoError as error:
                assert "nested too deeply" in str(error) or "does not fit" in str(error)  # noqa: PT017


def test_blanks_around_a_url_are_no_part_of_it(tomato_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    connect(f" {tomato_url}\n", pool_size=1).close()
    for variable in ("DATABASE_URL", "OWNER_DATABASE_URL", "DIRECT_DATABASE_URL"):
        monkeypatch.setenv(variable, f"\t{tomato_url}\r\n")
    assert {database_url(), owner_url(), direct_database_url()} == {tomato_url}
    monkeypatch.setenv("OWNER_DATABASE_URL", "\n")
    assert owner_url() == tomato_url

"""Error groups and dumps: what a group keeps and counts, whoever stores and removes at the same moment."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import timedelta
from functools import partial
from itertools import product
from typing import Any

import psycopg
import pytest
from psycopg import IsolationLevel

from tests.helpers.dao_cases import BLOCKED, MOMENT, assert_wrong_types_are_refused, at_once, refused, until
from tomato_dao import Conflict, Database, InvalidValue, NotEmpty, NotFound
from tomato_dao.database import QUERIES
from tomato_dao.rows import ErrorDump, ErrorGroup, ErrorGroupSummary, FullErrorDump, JsonObject, asdict

VERSION: JsonObject = {"component": "backend", "version": "4.0"}
DATA = "eJyrViopSkxOVbJSUHLLzElV"


def store(db: Database, n: int, group_id: str = "g", *, source: str = "host1", **more: Any) -> bool:
    """Store dump number n of a group, which happened n seconds after the moment."""
    given: dict[str, Any] = {
        "group_id": group_id,
        "at": MOMENT + timedelta(seconds=n),
        "description": {"n": n},
        "software_version": VERSION,
    }
    return db.error_dumps.store(source, str(n), **given | more)


def kept(db: Database, group_id: str = "g") -> list[int]:
    """Return the numbers of a group's dumps, oldest first."""
    return [int(dump.dump_id) for dump in db.error_dumps.list_of_group(group_id)]


def removed(db: Database, group_id: str = "g") -> int:
    return db.error_groups.get(group_id).removed_dumps


def overfill(server: psycopg.Connection, db: Database, count: int) -> None:
    """A group of more dumps than it keeps, as an old installation's dump can bring it."""
    store(db, 0)
    with server.transaction():
        server.execute("alter table error_dumps disable trigger user")
        server.execute(
            "insert into error_dumps (source, dump_id, group_id, at)"
            " select 'host1', n::text, 'g', %s + n * interval '1 second' from generate_series(1, %s) n",
            [MOMENT, count - 1],
        )
        server.execute("alter table error_dumps enable trigger user")


def test_the_first_dump_brings_its_group(db: Database) -> None:
    assert store(db, 1, group_description="can't connect", origin="Exception", data=DATA, data_available=True, attrs={"a": 1})
    assert not store(db, 2, group_description="something else")
    assert store(db, 3, "other")
    assert db.error_groups.list() == [ErrorGroup("g", "can't connect", 0), ErrorGroup("other", "", 0)]
    full = FullErrorDump(
        "host1", "1", "g", MOMENT + timedelta(seconds=1), {"n": 1}, "Exception", VERSION, True, {"a": 1}, DATA
    )  # fmt: skip
    bare = FullErrorDump("host1", "2", "g", MOMENT + timedelta(seconds=2), {"n": 2}, "", VERSION, False, {}, None)
    assert db.error_dumps.get("host1", "1") == full
    assert db.error_dumps.list_full_of_group("g") == [full, bare]
    without = [{key: value for key, value in asdict(dump).items() if key != "data"} for dump in (full, bare)]
    assert db.error_dumps.list_of_group("g") == [ErrorDump(**dump) for dump in without]


def test_a_dump_that_is_there_already_changes_nothing(db: Database) -> None:
    for n in range(10):
        store(db, n)
    db.error_dumps.delete("host1", "9")
    before = db.error_groups.list_summaries(), db.error_dumps.list_full_of_group("g")
    for n in (0, 8):
        assert not store(db, n, description="other", data=DATA, group_description="other")
        assert not store(db, n, "another")
    assert (db.error_groups.list_summaries(), db.error_dumps.list_full_of_group("g")) == before


def test_another_source_may_use_the_same_id(db: Database) -> None:
    store(db, 1)
    db.error_dumps.store("host2", "1", group_id="g", at=MOMENT, description=None, software_version=None)
    assert db.error_dumps.get("host1", "1").description == {"n": 1}
    assert db.error_dumps.get("host2", "1").description is None
    assert [dump.source for dump in db.error_dumps.list_of_group("g")] == ["host2", "host1"]


def test_a_group_keeps_its_5_oldest_and_5_newest_in_whatever_order_they_come(db: Database) -> None:
    for group, order in {"up": range(14), "down": range(13, -1, -1), "mixed": [n * 5 % 14 for n in range(14)]}.items():
        for n in order:
            store(db, n, group, source=group)
        assert kept(db, group) == [0, 1, 2, 3, 4, 9, 10, 11, 12, 13]
        assert removed(db, group) == 4


def test_the_id_decides_among_dumps_of_the_same_moment(db: Database) -> None:
    for n in range(12):
        store(db, 10 + n * 5 % 12, at=MOMENT)
    assert (kept(db), removed(db)) == ([10, 11, 12, 13, 14, 17, 18, 19, 20, 21], 2)


def test_a_group_counts_what_is_removed_by_hand(db: Database) -> None:
    for n in range(12):
        store(db, n)
    db.error_dumps.delete("host1", "3")
    assert (kept(db), removed(db)) == ([0, 1, 2, 4, 7, 8, 9, 10, 11], 3)
    assert store(db, 12) is False
    assert (len(kept(db)), removed(db)) == (10, 3)
    for n in kept(db):
        db.error_dumps.delete("host1", str(n))
    assert db.error_groups.get("g").removed_dumps == 13
    with refused(NotFound, "error dump", ("host1", "3"), r"^error dump \('host1', '3'\) does not exist$"):
        db.error_dumps.delete("host1", "3")
    assert removed(db) == 13


def test_a_group_that_is_too_large_can_be_shrunk(db: Database, server: psycopg.Connection) -> None:
    overfill(server, db, 25)
    store(db, 100, "other")
    assert len(kept(db)) == 25
    assert db.error_groups.shrink("g") == 15
    assert (kept(db), removed(db)) == ([0, 1, 2, 3, 4, 20, 21, 22, 23, 24], 15)
    assert db.error_groups.shrink("g") == 0
    assert (removed(db), kept(db, "other")) == (15, [100])
    with refused(NotFound, "error group", "x"):
        db.error_groups.shrink("x")


def test_a_group_is_shrunk_without_a_look_at_others(db: Database, server: psycopg.Connection) -> None:
    server.execute("set plan_cache_mode = force_generic_plan")
    server.pgconn.prepare(b"shrink", QUERIES["error_groups.shrink"].sql.encode())
    plan = "\n".join(line for (line,) in server.execute("explain execute shrink('g')"))
    assert "Seq Scan" not in plan, plan
    assert plan.count("Index Cond: (group_id = $1)") == 2, plan


def test_shrinking_a_group_waits_for_its_lock(db: Database, server: psycopg.Connection) -> None:
    overfill(server, db, 12)
    with ThreadPoolExecutor() as threads:
        with server.transaction():
            server.execute("select from error_groups where group_id = 'g' for no key update")
            shrinking = threads.submit(db.error_groups.shrink, "g")
            until(server, BLOCKED, 1)
            server.execute("select from error_dumps for update nowait")  # as a new dump locks those that it drops
        assert shrinking.result(60) == 2


def test_a_new_dump_shrinks_a_group_that_is_too_large(db: Database, server: psycopg.Connection) -> None:
    overfill(server, db, 12)
    store(db, 12)
    assert (kept(db), removed(db)) == ([0, 1, 2, 3, 4, 8, 9, 10, 11, 12], 3)


def test_a_summary_describes_all_dumps_of_a_group(db: Database, server: psycopg.Connection) -> None:
    newer = VERSION | {"version": "4.1"}
    store(db, 1, "b", origin="Exception", group_description="b's")
    store(db, 2, "b", origin="RPCError", software_version=newer)
    db.error_dumps.store("host0", "1", group_id="b", at=MOMENT, description={}, software_version=VERSION, origin="RPCError")
    store(db, 3, "b", origin="Exception")
    db.error_dumps.delete("host1", "3")
    store(db, 4, "a")
    db.error_dumps.delete("host1", "4")
    a = ErrorGroupSummary("a", "", 1, 1, None, [], [], [], [], False)
    b = ErrorGroupSummary(
        "b", "b's", 1, 4, MOMENT + timedelta(seconds=2), ["host0", "host1"], ["Exception", "RPCError"], [VERSION, newer],
        [{}, {"n": 1}, {"n": 2}], False,
    )  # fmt: skip
    assert [db.error_groups.summary(id) for id in "ab"] == [a, b]
    assert db.error_groups.list_summaries() == [a, b]
    assert db.error_groups.list_summaries(limit=1) == [a]
    assert db.error_groups.list_summaries(after="a") == [b]
    assert [g.group_id for g in db.error_groups.list(after="a", limit=1)] == ["b"]
    store(db, 1, "", source="nameless")
    assert db.error_groups.list(limit=1) == [ErrorGroup("", "", 0)]
    assert [s.group_id for s in db.error_groups.list_summaries(limit=1)] == [""]
    assert db.error_groups.list_summaries(after="") == [a, b]


def test_a_summary_has_each_description_once_and_whether_any_dump_has_data(db: Database) -> None:
    for n in range(3):
        store(db, n, description={"text": "full"} if n else ["x"])
    store(db, 3, "other")
    told = [(["x"], {"text": "full"}), ({"n": 3},)]
    summaries = db.error_groups.list_summaries()
    assert [(tuple(s.descriptions), s.data_available) for s in summaries] == [(t, False) for t in told]
    db.error_dumps.update("host1", "1", {"data": DATA, "data_available": True})
    assert [(tuple(s.descriptions), s.data_available) for s in db.error_groups.list_summaries()] == [
        (told[0], True), (told[1], False)
    ]  # fmt: skip
    assert db.error_groups.summary("g") == db.error_groups.list_summaries()[0]


@pytest.fixture
def dumps(db: Database) -> list[ErrorDump]:
    """Dumps of two groups and two sources, some with data, by their keys."""
    for n, group, source, has_data in [
        (1, "g", "host1", True), (2, "h", "host1", False), (3, "g", "host0", False), (4, "h", "host0", True),
        (5, "g", "host0", True),
    ]:  # fmt: skip
        store(db, n, group, source=source, data=DATA, data_available=has_data)
    rows = db.error_dumps.list_of_group("g") + db.error_dumps.list_of_group("h")  # type: ignore[operator]
    return sorted(rows, key=lambda dump: (dump.source, dump.dump_id))


def test_dumps_are_listed_by_group_source_and_data(db: Database, dumps: list[ErrorDump]) -> None:
    for group_id, source, data_available in product([None, "g", "x"], [None, "host0"], [None, True, False]):
        chosen: dict[str, Any] = {"group_id": group_id, "source": source, "data_available": data_available}
        wanted = [d for d in dumps if all(value in (None, getattr(d, key)) for key, value in chosen.items())]
        assert db.error_dumps.list(**chosen) == wanted
        assert list(db.error_dumps.iterate(**chosen)) == wanted
        assert db.error_dumps.list(**chosen, limit=1) == wanted[:1]
        for n, dump in enumerate(wanted):
            assert db.error_dumps.list(**chosen, after=(dump.source, dump.dump_id)) == wanted[n + 1 :]


def test_a_group_and_its_dumps_can_be_changed(db: Database) -> None:
    store(db, 1)
    assert db.error_groups.update("g", {"description": "known"}) == ErrorGroup("g", "known", 0) == db.error_groups.get("g")
    assert_wrong_types_are_refused(db.error_groups, "error group", "g", [("description", None)])
    with refused(InvalidValue, "error group", "removed_dumps"):
        db.error_groups.update("g", {"removed_dumps": 0})  # type: ignore[typeddict-unknown-key]
    patch: dict[str, Any] = {
        "description": ["x"],
        "origin": "host",
        "software_version": "4",
        "data": DATA,
        "data_available": True,
    }
    for key, value in patch.items():
        changed = db.error_dumps.update("host1", "1", {key: value})  # type: ignore[misc]
        assert db.error_dumps.list_of_group("g") == [changed]
    assert asdict(db.error_dumps.get("host1", "1")).items() >= patch.items()
    db.error_dumps.update("host1", "1", {"data": None})
    assert db.error_dumps.get("host1", "1").data is None
    with refused(InvalidValue, "error dump", "group_id"):
        db.error_dumps.update("host1", "1", {"group_id": "x"})  # type: ignore[typeddict-unknown-key]
    with refused(InvalidValue, "error dump", ("host1", "1"), "null value"):
        db.error_dumps.update("host1", "1", {"description": None})
    assert db.error_dumps.set_attrs("host1", "1", {"a": 1, "b": 2}, ["a"]) == {"b": 2}


def test_missing_rows_are_not_found_and_invalid_ones_refused(db: Database) -> None:
    groups: list[Callable[[str], object]] = [
        db.error_groups.get,
        db.error_groups.summary,
        db.error_groups.delete,
        lambda id: db.error_groups.update(id, {"description": "x"}),
    ]
    for call in groups:
        with refused(NotFound, "error group", "x", r"^error group 'x' does not exist$"):
            call("x")
    dumps: list[Callable[[str, str], object]] = [
        db.error_dumps.get,
        lambda source, id: db.error_dumps.update(source, id, {"data": None}),
        lambda source, id: db.error_dumps.set_attrs(source, id, {}),
    ]
    for find in dumps:
        with refused(NotFound, "error dump", ("host1", "x")):
            find("host1", "x")
    with refused(InvalidValue, "error dump", ("host1", "1"), "unsupported Unicode escape sequence"):
        store(db, 1, description={"text": "a\0b"})
    with refused(InvalidValue, "error dump", "at", "time zone"):
        store(db, 1, at=MOMENT.replace(tzinfo=None))
    assert db.error_groups.list() == []


def test_a_group_stays_while_it_has_dumps(db: Database) -> None:
    store(db, 1)
    store(db, 2, "other")
    with refused(NotEmpty, "error group", "g", r"^error group 'g' cannot be deleted: it still has error dumps$"):
        db.error_groups.delete("g")
    assert (kept(db), kept(db, "other")) == ([1], [2])
    db.error_dumps.delete("host1", "1")
    db.error_groups.delete("g")
    assert (db.error_groups.list(), kept(db, "other")) == ([ErrorGroup("other", "", 0)], [2])
    assert store(db, 1)


def test_threads_that_store_into_one_new_group_leave_it_right(db: Database) -> None:
    for round in range(5):
        group = f"g{round}"
        results = at_once(*(partial(store, db, 100 * round + n, group) for n in range(25)))
        assert results.count(True) == 1, results
        assert results.count(False) == 24, results
        assert [n % 100 for n in kept(db, group)] == [0, 1, 2, 3, 4, 20, 21, 22, 23, 24]
        assert removed(db, group) == 15


def test_threads_that_store_the_same_dump_store_it_once(db: Database) -> None:
    for n in range(5):
        results = at_once(*(partial(store, db, n, f"{n}-{thread % 2}") for thread in range(8)))
        assert results.count(True) == 1, results
        assert results.count(False) == 7, results
    assert [summary.count for summary in db.error_groups.list_summaries()] == [1] * 5


def test_threads_that_store_and_remove_leave_the_count_right(db: Database) -> None:
    def work(thread: int) -> None:
        for n in range(thread, 60, 4):
            store(db, n)
            with suppress(NotFound):  # it may have been dropped
                db.error_dumps.delete("host1", str(n - 4))

    assert at_once(*(partial(work, thread) for thread in range(4))) == [None] * 4
    assert len(kept(db)) <= 10
    assert db.error_groups.summary("g").count == 60


def test_deleting_a_dump_waits_for_its_groups_lock(db: Database, server: psycopg.Connection) -> None:
    store(db, 1)
    with ThreadPoolExecutor() as threads:
        with server.transaction():
            server.execute("select from error_groups where group_id = 'g' for no key update")
            removal = threads.submit(db.error_dumps.delete, "host1", "1")
            until(server, BLOCKED, 1)
            server.execute("select from error_dumps for update nowait")  # so that it can be dropped meanwhile
            server.execute("delete from error_dumps")
        with refused(NotFound, "error dump", ("host1", "1")):
            removal.result(60)
    assert removed(db) == 1


def test_a_transaction_that_cannot_see_the_others_dumps_is_refused(db: Database) -> None:
    for n in range(9):
        store(db, n)

    def store_late() -> None:
        with db.transaction(isolation=IsolationLevel.REPEATABLE_READ):
            db.error_groups.list()
            with ThreadPoolExecutor() as threads:
                threads.submit(store, db, 11).result(60)
            store(db, 12)

    with pytest.raises(Conflict):
        store_late()
    assert (kept(db)[-1], removed(db)) == (11, 0)


def test_a_dump_that_comes_while_its_group_goes_brings_it_anew(db: Database, server: psycopg.Connection) -> None:
    store(db, 1)
    with ThreadPoolExecutor() as threads:
        with server.transaction():
            server.execute("delete from error_dumps")
            server.execute("delete from error_groups")
            coming = threads.submit(store, db, 2)
            until(server, BLOCKED, 1)
        assert coming.result(60) is True
    assert (kept(db), removed(db)) == ([2], 0)


def test_a_group_does_not_go_while_a_dump_comes(db: Database, server: psycopg.Connection) -> None:
    store(db, 1)
    server.execute(
        "create function wait() returns trigger language plpgsql as"
        " $$ begin perform pg_advisory_xact_lock(1); return null; end $$"
    )
    # Triggers fire in the order of their names; the foreign key's is one too.
    server.execute('create trigger "A first" after insert on error_dumps for each row execute function wait()')
    with ThreadPoolExecutor() as threads:
        with server.transaction():
            server.execute("select pg_advisory_xact_lock(1)")
            coming = threads.submit(store, db, 2)
            until(server, BLOCKED, 1)
            going = threads.submit(db.error_groups.delete, "g")
            until(server, BLOCKED, 2)
        assert coming.result(60) is False
        assert isinstance(going.exception(60), NotEmpty)
    assert kept(db) == [1, 2]

"""Problems and load of a host, and its availability after updates."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests.helpers.dao_cases import BLOCKED, at_once, refused, until
from tests.helpers.host_cases import ABSENT, WELL, info, listed, make_well, now, problems
from tomato_dao import Database, NotFound, connect
from tomato_dao.ops.scratch import scratch_database

MICROSECOND = timedelta(microseconds=1)
FACTOR = 0.5 ** (60 / (90 * 86400))

# A number, the last value that is fine, the first that isn't, and what is said then.
LIMITS: list[tuple[str, object, object, str]] = [
    ("uptime", 600, 599.999, "uptime: less than 600 s"),
    ("time_diff", 300, 300.001, "clock: off by more than 300 s"),
    ("time_diff", -300, -300.001, "clock: off by more than 300 s"),
    ("query_time", 5, 5.001, "last query: more than 5 s"),
    ("resources.cpus_present.count", 2, 1, "loadavg: more than CPUs"),
    ("resources.cpus_present.bogomips_avg", 1000, 999.999, "bogomips: less than 1000"),
    ("resources.diskspace.root.used", 8611492, 8611493, "root disk: less than 1e6 KiB free"),
    ("resources.diskspace.data.used", 930608808, 930608809, "data disk: less than 10e6 KiB free"),
    ("resources.memory.used", 15e6, 15e6 + 1, "memory: less than 1e6 KiB free"),
    ("dumps", 99, 100, "error dumps: 100 or more"),
]
# The numbers' names.
NUMBERS = {
    "uptime": "uptime",
    "time_diff": "clock",
    "query_time": "last query",
    "resources.cpus_present.count": "CPUs",
    "resources.cpus_present.bogomips_avg": "bogomips",
    "resources.loadavg": "loadavg",
    "resources.diskspace.root.total": "root disk",
    "resources.diskspace.root.used": "root disk",
    "resources.diskspace.data.total": "data disk",
    "resources.diskspace.data.used": "data disk",
    "resources.memory.total": "memory",
    "resources.memory.used": "memory",
    "dumps": "error dumps",
}
GARBAGE: list[object] = [
    ABSENT, None, True, "", "abc", "NaN", "Infinity", "1e999", "9" * 400, 10**400, 1e200, "12.5 s", "1_000", "0x10", "١٢",
    "\u00a05", "--5", [], [5], {"a": 5},
]  # fmt: skip


@pytest.fixture(scope="module")
def db(tomato_server_url: str, tomato_template: str) -> Iterator[Database]:
    """Provide a Database with one host, host1, which each test makes what it needs."""
    with scratch_database(tomato_server_url, template=tomato_template) as url, connect(url, pool_size=4) as db:
        site = db.sites.create("lab", organization_id=db.organizations.create("uni").id)
        db.hosts.create("host1", address="10.0.0.1", rpcurl="rpc://1", site_id=site.id)
        yield db


@pytest.fixture
def joined(db: Database) -> Iterator[None]:
    """Provide the test's calls in one transaction: hundreds of commits would cost more than the calls."""
    with db.transaction():
        yield


def test_a_host_that_is_well_has_no_problems(db: Database) -> None:
    assert problems(db, "host1") == []


def test_a_limit_is_broken_only_beyond_it(db: Database, joined: None) -> None:
    for path, fine, wrong, said in LIMITS:
        for as_reported in (lambda value: value, str, lambda value: f" {value}\n"):
            assert problems(db, "host1", info=info({path: as_reported(fine)})) == [], path
            assert problems(db, "host1", info=info({path: as_reported(wrong)})) == [said], path
    assert problems(db, "host1", component_errors=2) == []
    assert problems(db, "host1", component_errors=3) == ["component errors: more than 2"]


def test_a_host_needs_cpus(db: Database) -> None:
    idle = {"resources.cpus_present.count": 0, "resources.loadavg": [0, 0, 0]}
    assert problems(db, "host1", info=info(idle)) == ["CPUs: none"]


def test_a_value_that_is_not_a_number_is_named(db: Database, joined: None) -> None:
    for path, name in NUMBERS.items():
        for garbage in GARBAGE:
            if (path, garbage) != ("dumps", ABSENT):
                assert problems(db, "host1", info=info({path: garbage})) == [f"{name}: no number"], (path, garbage)


def test_a_host_need_not_count_its_error_dumps(db: Database) -> None:
    assert problems(db, "host1", info=info({"dumps": ABSENT})) == []


def test_only_a_clock_can_be_below_nothing(db: Database, joined: None) -> None:
    for path, name in NUMBERS.items():
        said = [] if path == "time_diff" else [f"{name}: no number"]
        assert problems(db, "host1", info=info({path: -5})) == said, path


def test_problems_that_a_host_reports_itself_come_last(db: Database, joined: None) -> None:
    for reported, said in (
        (["b", "a"], ["b", "a"]),
        (ABSENT, []),
        (None, []),
        ("one", ["one"]),
        (5, ["5"]),
        ({"a": 1}, ['{"a": 1}']),
        ([1, None, True, {}, "x"], ["1", "true", "{}", "x"]),
    ):
        assert problems(db, "host1", info=info({"problems": reported})) == said
        worn = info({"problems": reported, "dumps": 100})
        assert problems(db, "host1", info=worn) == ["error dumps: 100 or more", *said]


def test_all_problems_are_listed_in_order(db: Database) -> None:
    worst: dict[str, object] = {path: wrong for path, _, wrong, _ in LIMITS} | {"problems": ["fire", "water"]}
    worst |= {"resources.cpus_present.count": 0}
    assert problems(db, "host1", info=info(worst), component_errors=3, resources_synced_at=None) == [
        "resources: not synced for 1500 s",
        "uptime: less than 600 s",
        "clock: off by more than 300 s",
        "last query: more than 5 s",
        "CPUs: none",
        "bogomips: less than 1000",
        "loadavg: more than CPUs",
        "root disk: less than 1e6 KiB free",
        "data disk: less than 10e6 KiB free",
        "memory: less than 1e6 KiB free",
        "component errors: more than 2",
        "error dumps: 100 or more",
        "fire",
        "water",
    ]


def test_a_host_that_is_off_or_unheard_has_no_other_problem(db: Database) -> None:
    worn = info({"dumps": 100})
    assert problems(db, "host1", info=worn, enabled=False, info_at=None) == ["not enabled"]
    assert problems(db, "host1", info=worn, info_at=None) == ["unreachable"]
    nothings: tuple[Any, ...] = ({}, [], [1], "text", 5, False)
    for nothing in nothings:
        assert problems(db, "host1", info=nothing, resources_synced_at=None) == ["no info"]


def test_ages_have_limits(db: Database) -> None:
    with db.transaction():
        at = now(db)
        for column, seconds, said in (
            ("info_at", 420, "unreachable"),
            ("resources_synced_at", 1500, "resources: not synced for 1500 s"),
        ):
            limit = at - timedelta(seconds=seconds)
            assert problems(db, "host1", **{column: limit}) == []
            for late in (limit - MICROSECOND, None):
                assert problems(db, "host1", **{column: late}) == [said]
                assert listed(db, "host1", started_at=limit).problems == []
                assert listed(db, "host1", started_at=limit - MICROSECOND).problems == [said]
            make_well(db, "host1", **{column: limit})
            assert listed(db, "host1", started_at=limit - MICROSECOND).problems == []


def test_load_is_the_highest_of_three(db: Database, joined: None) -> None:
    cpu, memory, disk = "resources.loadavg", "resources.memory.used", "resources.diskspace.data.used"
    reports: tuple[tuple[dict[str, object], float | None], ...] = (
        ({cpu: [9, 0, 9], memory: 0, disk: 0}, 0),
        ({cpu: [9, "6", 9]}, 0.75),
        ({memory: 8e6}, 0.5),
        ({disk: "470304404"}, 0.5),
        ({cpu: [0, 80, 0]}, 1),
        ({memory: 17e6}, 1),
        ({cpu: "?", memory: 8e6}, 0.5),
        ({"resources.cpus_present.count": 0}, 0.25),
        ({"resources.memory.total": 0, cpu: [0, 4, 0]}, 0.5),
        ({"resources": None}, None),
        ({"resources": {}}, None),
    )
    for changes, load in reports:
        make_well(db, "host1", info=info(changes))
        assert listed(db, "host1").load == load, changes
    make_well(db, "host1", enabled=False)
    assert listed(db, "host1").load == 0.25


LEAVES = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
TEXTS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=30) | st.from_regex(
    r"\A\s?[+-]?\d{0,450}\.?\d{0,60}([eE][+-]?\d{0,5})?\s?\Z"
)
JSON: Any = st.recursive(
    LEAVES | TEXTS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4), max_leaves=5
)


@pytest.mark.slow
@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@example(changes={}, anything=None, types=None)
@example(changes={"resources.memory.total": 1e-320, "resources.memory.used": 1e99}, anything=None, types=[["a"], {"kind": {}}])
@example(changes={"resources.memory.total": 1e99, "resources.memory.used": 5e-324}, anything=None, types={"a": {"kind": 1}})
@given(
    changes=st.dictionaries(st.sampled_from([*NUMBERS, "problems"]), JSON),
    anything=JSON,
    types=JSON,
)
def test_nothing_that_a_host_reports_is_an_error(
    db: Database, changes: dict[str, object], anything: object, types: object
) -> None:
    with db.transaction():
        for reported in (info(changes), anything):
            if reported is None:
                continue
            columns = {"element_types": types, "connection_types": types, "networks": types} if types is not None else {}
            make_well(db, "host1", info=reported, **columns)
            host = listed(db, "host1")
            assert host.load is None or 0 <= host.load <= 1
            assert all(isinstance(problem, str) for problem in host.problems)
            assert 0 <= db.hosts.update_availability("host1") <= 1
            db.hosts.candidates(element_types=["a"], connection_types=["a"], network_kinds=["a"])


def test_availability_halves_in_90_days_of_updates(db: Database) -> None:
    make_well(db, "host1", info={}, availability=1.0)
    assert db.hosts.update_availability("host1") == pytest.approx(FACTOR, abs=1e-15)
    assert pytest.approx(0.5) == FACTOR ** (90 * 24 * 60)
    make_well(db, "host1", availability=0.25)
    assert db.hosts.update_availability("host1") == pytest.approx(0.25 * FACTOR + (1 - FACTOR), abs=1e-15)
    make_well(db, "host1", availability=1.0)
    assert db.hosts.update_availability("host1") == 1
    with refused(NotFound, "host", "nobody"):
        db.hosts.update_availability("nobody")


def test_availability_sees_the_same_problems(db: Database) -> None:
    make_well(db, "host1", info_at=None, availability=1.0)
    assert db.hosts.update_availability("host1") < 1
    make_well(db, "host1", info_at=None, availability=1.0)
    assert db.hosts.update_availability("host1", started_at=now(db)) == 1


def test_all_hosts_are_updated_at_once(db: Database) -> None:
    site_id = db.hosts.get_by_name("host1").site_id
    db.hosts.create("host2", address="10.0.0.2", rpcurl="rpc://2", site_id=site_id)
    make_well(db, "host1", component_errors=1, availability=1.0)
    assert db.hosts.update_all_availabilities(started_at=now(db)) == 2
    assert db.hosts.update_all_availabilities() == 2
    well, silent = db.hosts.list()
    assert (well.availability, well.component_errors, well.problem_since) == (1, 0, None)
    assert silent.availability == pytest.approx(FACTOR**2, abs=1e-12)
    assert silent.problem_since is not None
    db.hosts.delete("host2")


def test_an_update_of_all_hosts_waits_for_others_and_holds_nobody_up(db: Database) -> None:
    site_id = db.hosts.get_by_name("host1").site_id
    db.hosts.create("host2", address="10.0.0.2", rpcurl="rpc://2", site_id=site_id)
    make_well(db, "host1")  # which puts it behind the other
    with ThreadPoolExecutor(1) as thread:
        with db.transaction(), db.connection() as connection:
            for _ in range(4):
                db.hosts.count_error("host1")
            update = thread.submit(db.hosts.update_all_availabilities)
            until(connection, BLOCKED, 1)
            db.hosts.count_error("host2")
        assert update.result(60) == 2
    assert [host.component_errors for host in db.hosts.list()] == [2, 0]
    db.hosts.delete("host2")


def test_component_errors_are_counted_and_halved(db: Database) -> None:
    make_well(db, "host1")
    assert [db.hosts.count_error("host1") for _ in range(3)] == [1, 2, 3]
    halved = []
    for _ in range(3):
        db.hosts.update_availability("host1")
        halved.append(db.hosts.get_by_name("host1").component_errors)
    assert halved == [1, 0, 0]
    with refused(NotFound, "host", "nobody"):
        db.hosts.count_error("nobody")


def test_errors_are_halved_before_problems_are_judged(db: Database) -> None:
    make_well(db, "host1", component_errors=5, availability=1.0)
    assert listed(db, "host1").problems == ["component errors: more than 2"]
    assert db.hosts.update_availability("host1") == 1
    assert (listed(db, "host1").component_errors, listed(db, "host1").problem_since) == (2, None)
    make_well(db, "host1", component_errors=6, availability=1.0)
    assert db.hosts.update_availability("host1") < 1
    assert (listed(db, "host1").component_errors, listed(db, "host1").problems) == (3, ["component errors: more than 2"])
    assert listed(db, "host1").problem_since is not None


def test_no_error_is_lost(db: Database) -> None:
    make_well(db, "host1")
    calls: list[Callable[[], object]] = [partial(db.hosts.count_error, "host1")] * 8
    assert sorted(at_once(*calls)) == [1, 2, 3, 4, 5, 6, 7, 8]  # type: ignore[type-var]
    assert listed(db, "host1").component_errors == 8


def test_a_problem_begins_with_the_update_that_sees_it(db: Database) -> None:
    make_well(db, "host1")
    db.hosts.update_availability("host1")
    assert listed(db, "host1").problem_since is None
    db.hosts.update("host1", {"info": {}})
    with db.transaction():
        db.hosts.update_availability("host1")
        since = now(db)
    assert listed(db, "host1").problem_since == since
    db.hosts.update_availability("host1")
    assert listed(db, "host1").problem_since == since
    db.hosts.update("host1", {"info": WELL})
    db.hosts.update_availability("host1")
    assert listed(db, "host1").problem_since is None

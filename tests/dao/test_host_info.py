"""Info that a host reports makes it a candidate, with what the backend measured beside it."""

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import CHECKOUT, World
from tests.helpers.host_cases import listed
from tomato_dao import Database

MINUTE = timedelta(minutes=1)


def raw_info() -> Any:
    """Return the example of the guide."""
    text = Path(CHECKOUT, "docs", "guides", "hosts.md").read_text("utf-8")
    return json.loads(text.split("```json")[1].split("```")[0])


def update(db: Database, info: Any, query_time: float = 0.5, time_diff: float = -2) -> None:
    db.hosts.update("host1", {"info_at": None})
    (claim,) = db.hosts.claim_updates(limit=1, lease=MINUTE)
    kinds: dict[str, Any] = {"element_types": {"kvmqm": {}}, "connection_types": {"bridge": {}}, "networks": []}
    db.hosts.finish_update(claim.id, claim.lease_until, info=info, query_time=query_time, time_diff=time_diff, **kinds)
    for sync in db.hosts.claim_syncs(limit=1, lease=MINUTE):
        db.hosts.finish_sync(sync.id, sync.lease_until)


def test_the_guides_example_of_a_report_yields_a_candidate(db: Database, world: World) -> None:
    update(db, raw_info())
    assert [host.name for host in db.hosts.candidates(element_types=["kvmqm"], connection_types=["bridge"])] == ["host1"]
    assert db.hosts.get_by_name("host1").info == {**raw_info(), "query_time": 0.5, "time_diff": -2}


def test_each_part_of_the_example_but_the_port_is_needed(db: Database, world: World) -> None:
    info = raw_info()
    for outer, key in [(info, "uptime"), *((info["resources"], key) for key in list(info["resources"]))]:
        value = outer.pop(key)
        update(db, info)
        assert db.hosts.candidates() == [], key
        outer[key] = value
    del info["fileserver_port"]
    update(db, info)
    assert db.hosts.candidates() != []


@pytest.mark.parametrize(
    ("query_time", "time_diff", "problems"),
    [(5.5, 0, ["last query: more than 5 s"]), (1, -301, ["clock: off by more than 300 s"])],
)
def test_the_backends_measurements_are_judged_and_not_the_hosts_own(
    db: Database, world: World, query_time: float, time_diff: float, problems: list[str]
) -> None:
    update(db, {**raw_info(), "query_time": 0, "time_diff": 0}, query_time, time_diff)
    assert listed(db, "host1").problems == problems


def test_a_report_that_is_no_object_is_kept_as_it_is(db: Database, world: World) -> None:
    update(db, ["nothing"])
    assert db.hosts.get_by_name("host1").info == ["nothing"]
    assert listed(db, "host1").problems == ["no info"]

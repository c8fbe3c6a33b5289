"""Timeouts that pass while an installation is moved can be extended when its dump is loaded."""

import subprocess
import sys
from datetime import UTC, datetime, timedelta

import pytest

from tests.conftest import CHECKOUT
from tests.helpers.legacy_cases import NOW, OldDump
from tomato_dao import Database

pytestmark = [pytest.mark.as_owner, pytest.mark.slow]  # a load needs the owner

FAR = 4102444800.0  # 2100
# Topology → its timeout and step in the dump, and its step after it is extended by more than a day; None where it stays.
STEPS = {1: (NOW, 0, 0), 2: (NOW, 9, 0), 3: (NOW, 10, 10), 4: (NOW, 20, None), 5: (FAR, 0, None)}


def old_timeouts() -> OldDump:
    dump = OldDump().change("topology", 1, timeout=NOW, timeout_step=0)
    for pk in list(STEPS)[1:]:
        timeout, step, _ = STEPS[pk]
        dump.add("permissions", pk)
        dump.add("topology", pk, permissions=pk, totalUsage=None, timeout=timeout, timeout_step=step, attrs={}, site=None)
    return dump


def test_no_topology_times_out_before_that(db: Database) -> None:
    summary = old_timeouts().load(db, extend_timeouts=timedelta(days=3))
    for pk, (timeout, step, after) in STEPS.items():
        topology = db.topologies.get(pk)
        left = topology.timeout_at - datetime.now(UTC)
        if after is None:
            assert (topology.timeout_at, topology.timeout_step) == (datetime.fromtimestamp(timeout, UTC), step)
        else:
            assert topology.timeout_step == after
            assert timedelta(days=2, hours=23) < left <= timedelta(days=3)
    assert db.topologies.claim_timeouts(limit=9, lease=timedelta(minutes=1)) == []
    assert [(m.pk, m.field, m.reason) for m in summary.mended] == [(str(pk), "timeout", "extended") for pk in (1, 2, 3)]


def test_without_it_they_stay_as_they_were(db: Database) -> None:
    old_timeouts().load(db)
    due = db.topologies.claim_timeouts(limit=9, lease=timedelta(minutes=1))
    assert {claim.id for claim in due} == {1, 2, 3}


def test_a_day_or_less_sends_no_warning(db: Database) -> None:
    old_timeouts().load(db, extend_timeouts=timedelta(hours=24))
    assert [db.topologies.get(pk).timeout_step for pk in (1, 2, 3)] == [9, 9, 10]


@pytest.mark.parametrize(("given", "code"), [("36h", 0), ("36", 2)])
def test_the_command_takes_a_duration(tomato_url: str, db: Database, given: str, code: int) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tomato_dao", "load", "--extend-timeouts", given, "-"],
        input=old_timeouts().file().read(),
        env={"DATABASE_URL": tomato_url, "PYTHONPATH": str(CHECKOUT)},
        capture_output=True,
        timeout=60,
    )
    assert done.returncode == code, done.stderr
    assert (b"3 \xc3\x97 tomato.topology's timeout \xe2\x86\x92 " in done.stderr) == (code == 0)
    if code:
        assert b"a duration must be a number and s, min, h or d" in done.stderr

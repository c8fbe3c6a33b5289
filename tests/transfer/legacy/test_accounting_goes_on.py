"""Accounting goes on where the old backend's stopped: windows that were open then are built after the load."""

from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from tests.helpers.legacy_cases import NOW, OldDump
from tests.helpers.usage_cases import in_small_parts
from tomato_dao import Database

pytestmark = [pytest.mark.as_owner, pytest.mark.slow]  # a load needs the owner

WINDOW = 300
HOST_ELEMENT, ELEMENT, TOPOLOGY, USER, ORGANIZATION, HOST = 7, 5, 4, 3, 1, 2  # usage identities
STOP = datetime.fromtimestamp(NOW + 3 * WINDOW, UTC)


def stopped() -> OldDump:
    """An installation that stopped with three windows of a month; each level was rolled up less far than the one below."""
    dump = OldDump().remove("usagerecord", 1).remove("usage", 3).change("usage", 1, cputime=0)
    done = {HOST_ELEMENT: 3, ELEMENT: 2, TOPOLOGY: 1, USER: 1, HOST: 1, ORGANIZATION: 0}
    for usage_id, windows in done.items():
        for n in range(windows):
            add_record(dump, usage_id, n)
    return dump.change("quota", 1, used_time=NOW + WINDOW)


def add_record(dump: OldDump, usage_id: int, n: int, kind: str = "5minutes", length: int = WINDOW) -> None:
    pk = 100 * usage_id + n
    begin = NOW + n * length
    dump.add("usage", pk, memory=2.0, diskspace=4.0, traffic=5.0, cputime=10.0)
    dump.add(
        "usagerecord", pk, statistics=usage_id, type=kind, begin=begin, end=begin + length, measurements=5, usage=pk
    )  # fmt: skip


def go_on(db: Database) -> datetime:
    """Roll up again, hours later, until what was open is settled; when that was done."""
    for minutes in range(0, 25, 5):
        now = STOP + timedelta(hours=3, minutes=minutes)
        db.usage.aggregate(now=now)
    return now


def ends(db: Database, usage_id: int, kind: str = "5minutes") -> list[datetime]:
    first = datetime.fromtimestamp(0, UTC)
    return [record.end_at for record in db.usage.list(usage_id, kind, since=first, until=STOP + timedelta(days=40))]


@pytest.mark.parametrize("part", [50_000, 1])
def test_windows_that_were_open_are_built(db: Database, server: psycopg.Connection, part: int) -> None:
    in_small_parts(server, part)
    stopped().load(db)
    later = go_on(db)
    expected = [datetime.fromtimestamp(NOW + n * WINDOW, UTC) for n in (1, 2, 3)]
    for usage_id in (ELEMENT, TOPOLOGY, USER, ORGANIZATION, HOST):
        assert ends(db, usage_id) == expected
    (hour,) = db.usage.list(USER, "hour", since=STOP - timedelta(days=1), until=later)
    assert (hour.cputime, hour.memory, hour.measurements) == (30.0, 2.0, 15)


def test_records_counted_for_a_quota_are_not_counted_again(db: Database) -> None:
    stopped().load(db)
    later = go_on(db)
    db.quotas.count_use(now=later)
    quota = db.quotas.get(1)
    assert quota.used_cputime == pytest.approx(0.0 + 2 * 10.0)
    assert quota.used_at == STOP


def test_gaps_of_the_old_backend_stay(db: Database) -> None:
    dump = stopped()
    add_record(dump, ELEMENT, 2)  # the topology went on to its newest without the second window
    add_record(dump, TOPOLOGY, 2)
    dump.load(db)
    go_on(db)
    assert ends(db, TOPOLOGY) == [datetime.fromtimestamp(NOW + n * WINDOW, UTC) for n in (1, 3)]


def test_a_period_that_was_built_is_not_built_again(db: Database) -> None:
    dump = stopped()
    add_record(dump, USER, 900, "hour", 3600)
    dump.fields("usagerecord", 100 * USER + 900).update(begin=NOW, end=NOW + 3600, measurements=1)
    dump.load(db)
    go_on(db)
    (hour,) = db.usage.list(USER, "hour", since=STOP - timedelta(days=1), until=STOP + timedelta(hours=3))
    assert hour.measurements == 1

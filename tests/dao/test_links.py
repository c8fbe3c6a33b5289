"""Measurements between sites: how they are averaged, what is kept, and that it all happens once."""

from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from tests.conftest import World
from tomato_dao import Database, connect
from tomato_dao.rows import CombinedLinks, LinkMeasurement

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
Measured = tuple[datetime, int, float, float, float]
KEPT = {"single": 10, "5minutes": 12, "hour": 24, "day": 30, "month": 12, "year": 5}


def measure(server: psycopg.Connection, world: World, *measured: Measured, type: str = "single") -> None:
    """Store measurements between the world's site and itself: when, how many, loss, delay and its deviation."""
    server.cursor().executemany(
        "insert into link_measurements"
        " (site_a_id, site_b_id, type, begin_at, end_at, measurements, loss, delay_avg, delay_stddev)"
        f" values ({world.site.id}, {world.site.id}, '{type}', %s, %s, %s, %s, %s, %s)",
        [(end, end, *values) for end, *values in measured],
    )


def stored(server: psycopg.Connection, type: str) -> list[tuple[object, ...]]:
    found = server.execute(
        "select begin_at, end_at, measurements, loss, delay_avg, delay_stddev from link_measurements"
        " where type = %s order by end_at",
        [type],
    )
    return [(begin.astimezone(UTC), end.astimezone(UTC), *values) for begin, end, *values in found]


def test_loss_is_averaged_by_measurements_and_delays_by_what_was_not_lost(
    db: Database, world: World, server: psycopg.Connection
) -> None:
    measure(
        server, world, (NOON + MINUTE, 10, 0.5, 100, 10), (NOON + 5 * MINUTE, 30, 0, 20, 2), (NOON + 6 * MINUTE, 1, 0, 1, 1)
    )
    assert db.links.combine(now=NOON + 19 * MINUTE) == CombinedLinks(ran=True, written=0, pruned=0)
    assert db.links.combine(now=NOON + 20 * MINUTE) == CombinedLinks(ran=True, written=1, pruned=0)
    delays = pytest.approx((5 * 100 + 30 * 20) / 35), pytest.approx((5 * 10 + 30 * 2) / 35)
    assert stored(server, "5minutes") == [(NOON, NOON + 5 * MINUTE, 40, 0.125, *delays)]
    assert db.links.combine(now=NOON + 20 * MINUTE).written == 0


@pytest.mark.parametrize(("count", "loss"), [(0, 0.25), (5, 1.0)])
def test_if_all_weights_are_0_the_mean_is_plain(
    db: Database, world: World, server: psycopg.Connection, count: int, loss: float
) -> None:
    measure(server, world, (NOON + MINUTE, count, loss, 10, 1), (NOON + 2 * MINUTE, count, loss, 20, 3))
    db.links.combine(now=NOON + 20 * MINUTE)
    assert stored(server, "5minutes") == [(NOON, NOON + 5 * MINUTE, 2 * count, loss, 15, 2)]


def test_a_measurement_after_its_period_was_combined_changes_nothing(
    db: Database, world: World, server: psycopg.Connection
) -> None:
    measure(server, world, (NOON + 5 * MINUTE, 1, 0, 10, 1))
    db.links.combine(now=NOON + 20 * MINUTE)
    before = stored(server, "5minutes")
    measure(server, world, (NOON + MINUTE, 1, 0, 99, 9))
    assert db.links.combine(now=NOON + 60 * MINUTE).written == 0
    assert stored(server, "5minutes") == before


def test_pairs_of_sites_do_not_affect_each_other(db: Database, world: World, server: psycopg.Connection) -> None:
    sites = [db.sites.create(f"site {n}", organization_id=world.organization.id).id for n in range(3)]
    pairs = [(a, b) for a in sites for b in sites if a <= b]  # a pair is stored with the lower id first

    def combined(*pairs_: tuple[int, int]) -> list[tuple[object, ...]]:
        """Return what is left of two hours of measurements, each pair's at times and with values of its own."""
        server.execute("truncate link_measurements")
        for minute in range(0, 150, 10):
            now = NOON + minute * MINUTE
            for n, (a, b) in enumerate(pairs):
                ends = [now - k * MINUTE for k in range(10) if (minute + k) % (n + 2) == 0 and minute < 150 - 10 * n]
                ends += [now - 40 * MINUTE] if minute == 90 + 10 * n else []  # too late
                if (a, b) in pairs_ and ends:
                    db.link_measurements.store_all(
                        [
                            LinkMeasurement(a, b, "single", e, e, (n + e.minute) % 3 / 4, n + 1.5, e.minute + 0.5, n + 2)
                            for e in ends
                        ]
                    )
            db.links.combine(now=now)
        db.links.combine(now=NOON + 300 * MINUTE)
        rows = server.execute("select m.* from link_measurements m").fetchall()
        return [tuple(f"{v:.12g}" if isinstance(v, float) else v for v in row) for row in rows]

    together = combined(*pairs)
    assert sorted(together) == sorted(row for pair in pairs for row in combined(pair))
    assert {"single", "5minutes", "hour"} <= {value for row in together for value in row}


def test_what_could_not_be_combined_is_not_pruned(
    db: Database, world: World, server: psycopg.Connection, tomato_url: str
) -> None:
    """A site that is being removed is left alone; the removal may be rolled back."""
    free, locked = (db.sites.create(name, organization_id=world.organization.id).id for name in ("free", "locked"))
    ends = [NOON + n * MINUTE / 4 for n in range(1, 16)]
    for site in (free, locked):
        db.link_measurements.store_all([LinkMeasurement(world.site.id, site, "single", end, end, 0, 1, 1, 1) for end in ends])
    with psycopg.connect(tomato_url) as other:
        other.execute("select from sites where id = %s for update", [locked])
        db.links.combine(now=NOON + 20 * MINUTE)
        left = server.execute("select site_b_id, count(*) from link_measurements where type = 'single' group by 1 order by 1")
        assert left.fetchall() == [(free, 10), (locked, 15)]


def test_a_measurement_of_a_period_before_the_newest_comes_too_late(
    db: Database, world: World, server: psycopg.Connection
) -> None:
    measure(server, world, (NOON + 5 * MINUTE, 1, 0, 10, 1), (NOON + 15 * MINUTE, 1, 0, 10, 1))
    assert db.links.combine(now=NOON + 30 * MINUTE).written == 2
    measure(server, world, (NOON + 10 * MINUTE, 1, 0, 99, 9))
    assert db.links.combine(now=NOON + 60 * MINUTE).written == 0
    assert [end for _, end, *_ in stored(server, "5minutes")] == [NOON + 5 * MINUTE, NOON + 15 * MINUTE]


@pytest.mark.slow
def test_years_of_measurements_leave_what_is_kept(db: Database, world: World, server: psycopg.Connection) -> None:
    begin, days = datetime(2020, 1, 1, tzinfo=UTC), 6 * 365 + 2
    measure(server, world, *((begin + (n + 1) * timedelta(hours=6), 2, 0.5, 8, 1) for n in range(4 * days)))
    now = begin + timedelta(days=days, minutes=15)
    assert db.links.combine(now=now).written == 2 * 4 * days + days + 6 * 12 + 6
    assert {type: len(stored(server, type)) for type in KEPT} == KEPT
    assert [row[2:] for row in stored(server, "year")] == [(8 * days, 0.5, 8, 1) for days in (365, 365, 365, 366, 365)]
    assert db.links.combine(now=now) == CombinedLinks(ran=True, written=0, pruned=0)


def test_measurements_not_combined_yet_are_kept(db: Database, world: World, server: psycopg.Connection) -> None:
    measure(server, world, *((NOON + n * MINUTE, 1, 0, 10, 1) for n in range(20)))
    assert db.links.combine(now=NOON + 16 * MINUTE) == CombinedLinks(ran=True, written=2, pruned=1)  # until noon, and its hour
    assert len(stored(server, "single")) == 19


def test_while_a_worker_is_at_it_another_returns_at_once(db: Database, tomato_url: str) -> None:
    with connect(tomato_url) as other, other.transaction():
        assert other.links.combine().ran
        assert not db.links.combine().ran
    assert db.links.combine().ran

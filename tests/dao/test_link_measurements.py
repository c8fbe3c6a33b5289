"""Link measurements: between two sites in either order, each once, listed by type and time."""

from datetime import UTC, datetime, timedelta
from functools import partial

import psycopg
import pytest

from tests.conftest import World
from tests.helpers.dao_cases import MOMENT, NOBODY, at_once, refused
from tomato_dao import Database, InvalidValue, NotFound
from tomato_dao.database import QUERIES
from tomato_dao.rows import LinkHistory, LinkMeasurement, Site, replace

HOUR = timedelta(hours=1)


@pytest.fixture
def sites(db: Database, world: World) -> tuple[Site, Site]:
    """Provide the world's site and a later one."""
    return world.site, db.sites.create("hall", organization_id=world.organization.id)


@pytest.fixture
def measured(sites: tuple[Site, Site]) -> list[LinkMeasurement]:
    """Five hours between the two sites, as a list has them."""
    a, b = (site.id for site in sites)
    ends = [MOMENT + n * HOUR for n in range(5)]
    return [LinkMeasurement(a, b, "hour", end - HOUR, end, 0.25, 12.5, 0.5, 60) for end in ends]


def turned(m: LinkMeasurement) -> LinkMeasurement:
    return replace(m, site_a_id=m.site_b_id, site_b_id=m.site_a_id)


def test_a_measurement_is_kept_once_in_whichever_order_its_sites_are_given(
    db: Database, measured: list[LinkMeasurement]
) -> None:
    a, b, first = measured[0].site_a_id, measured[0].site_b_id, measured[0]
    assert db.link_measurements.store(turned(first))
    assert not db.link_measurements.store(replace(first, loss=0.5, begin_at=first.begin_at - HOUR))
    assert not db.link_measurements.store(turned(first))
    within = LinkMeasurement(a, a, "single", MOMENT, MOMENT, 0, 0, 0, 1)
    assert db.link_measurements.store(within)
    assert db.link_measurements.list_between(a, b, "hour") == [first] == db.link_measurements.list_between(b, a, "hour")
    assert db.link_measurements.list_between(a, a, "single") == [within]
    assert db.link_measurements.list_between(b, b, "single") == []


def test_many_measurements_are_kept_at_once_but_those_that_are_there(db: Database, measured: list[LinkMeasurement]) -> None:
    a, b = measured[0].site_a_id, measured[0].site_b_id
    assert db.link_measurements.store(measured[2])
    batch = [replace(measured[2], loss=1), *map(turned, measured[3:]), *measured]
    assert db.link_measurements.store_all(batch) == 4
    assert db.link_measurements.store_all(batch) == db.link_measurements.store_all([]) == 0
    assert db.link_measurements.list_between(a, b, "hour") == measured


def test_measurements_are_listed_by_type_and_time(
    db: Database, sites: tuple[Site, Site], measured: list[LinkMeasurement]
) -> None:
    a, b = (site.id for site in sites)
    day = replace(measured[0], type="day")
    elsewhere = replace(measured[0], site_b_id=a)
    ends = [datetime(1, 1, 1, 1, tzinfo=UTC), datetime.max.replace(tzinfo=UTC)]
    extremes = [replace(measured[0], type="year", begin_at=end - HOUR, end_at=end) for end in ends]
    db.link_measurements.store_all([*measured, day, elsewhere, *extremes])
    between = partial(db.link_measurements.list_between, b, a)
    assert between("day") == [day]
    assert between("year") == extremes
    assert between("month") == []
    assert between("hour", after=measured[1].end_at) == measured[2:]
    assert between("hour", until=measured[1].end_at) == measured[:2]
    assert between("hour", after=MOMENT, until=MOMENT + 3 * HOUR, limit=2) == measured[1:3]


def test_the_history_of_two_sites_has_all_types_by_time_and_the_names(
    db: Database, sites: tuple[Site, Site], measured: list[LinkMeasurement]
) -> None:
    lab, hall = sites
    single, short, day, month, year = (
        replace(measured[0], type=type) for type in ("single", "5minutes", "day", "month", "year")
    )
    here = replace(measured[0], site_b_id=lab.id)
    none = LinkHistory(lab.id, "lab", hall.id, "hall", (), (), (), (), (), ())
    assert db.link_measurements.history("hall", "lab") == none
    db.link_measurements.store_all([*reversed(measured), single, short, day, month, year, here])
    told = replace(
        none, single=(single,), five_minutes=(short,), hour=tuple(measured), day=(day,), month=(month,), year=(year,)
    )
    assert db.link_measurements.history("lab", "hall") == told == db.link_measurements.history("hall", "lab")
    assert db.link_measurements.history("lab", "lab") == LinkHistory(
        lab.id, "lab", lab.id, "lab", (), (), (here,), (), (), ()
    )  # fmt: skip
    for names in (("lab", "x"), ("x", "lab"), ("x", "y")):
        with refused(NotFound, "site", names):
            db.link_measurements.history(*names)


def test_an_impossible_record_is_refused_with_the_whole_batch(db: Database, measured: list[LinkMeasurement]) -> None:
    a, b, good = measured[0].site_a_id, measured[0].site_b_id, measured[1]
    key = (b, a)
    for bad, said in (
        (replace(measured[0], loss=1.5), "a loss is a fraction, from 0 to 1"),
        (replace(measured[0], type="minute"), "a type is single, 5minutes, hour, day, month or year"),
        (replace(measured[0], end_at=MOMENT - 2 * HOUR), "a measurement can't end before it begins"),
        (replace(measured[0], measurements=-1), "the value must be a number of 0 or more"),
    ):
        with refused(InvalidValue, "link measurement", key, said):
            db.link_measurements.store(turned(bad))
        with refused(InvalidValue, "link measurement", None, said):
            db.link_measurements.store_all([good, bad])
    for lost in (replace(good, site_a_id=NOBODY), replace(good, site_b_id=NOBODY)):
        with refused(NotFound, "site", NOBODY, f"^site {NOBODY} does not exist$"):
            db.link_measurements.store(lost)
        with refused(NotFound, "site", NOBODY, f"^site {NOBODY} does not exist$"):
            db.link_measurements.store_all([good, lost])
    with refused(InvalidValue, "link measurement", "begin_ats", "time zone"):
        db.link_measurements.store_all([good, replace(good, begin_at=datetime(2020, 1, 1))])
    assert db.link_measurements.list_between(a, b, "hour") == []


def test_threads_that_store_the_same_in_any_order_store_each_once(db: Database, measured: list[LinkMeasurement]) -> None:
    start = measured[0]
    many = [replace(start, begin_at=MOMENT, end_at=MOMENT + n * HOUR) for n in range(100)]
    batches = [many if n % 2 else [turned(m) for m in reversed(many)] for n in range(8)]
    results = at_once(*(partial(db.link_measurements.store_all, batch) for batch in batches))
    assert sorted(results, key=str) == [0] * 7 + [100]
    assert db.link_measurements.list_between(start.site_a_id, start.site_b_id, "hour") == many


def test_measurements_are_found_by_the_whole_key(server: psycopg.Connection) -> None:
    server.execute("set plan_cache_mode = force_generic_plan")
    server.execute("set enable_seqscan = off")
    server.pgconn.prepare(b"listed", QUERIES["link_measurements.list_between"].sql.encode())
    lines = server.execute("explain execute listed(1, 2, 'hour', '2020-01-01', '2021-01-01', 10)").fetchall()
    (condition,) = (line for (line,) in lines if "Index Cond" in line)
    assert all(column in condition for column in ("site_a_id = ", "site_b_id = ", "type = ", "> $4", "<= $5")), condition
    assert not any("Sort" in line for (line,) in lines), lines

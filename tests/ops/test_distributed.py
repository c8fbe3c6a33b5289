"""Usage records on several servers: the functions that stand in for the schema's, moving there and back, and refusals.

The functions are plain SQL, so that they are tried on any server; the cluster is that of DATABASE_URL, if it is one.
"""

from datetime import UTC, datetime, timedelta
from functools import partial
from threading import Event

import psycopg
import pytest
from psycopg import sql

from tests.dao.test_accounting import FEW, HISTORY, STARTS, Lab, Step, record, roll_up_history
from tests.helpers.accounting_model import WINDOW
from tests.helpers.dao_cases import at_once
from tests.helpers.usage_cases import in_small_parts
from tests.server.test_schema import catalog
from tomato_dao import Database, WrongSchema, WrongState, connect
from tomato_dao.ops import distributed
from tomato_dao.ops.distribute import distribute
from tomato_dao.ops.undistribute import undistribute
from tomato_dao.rows import UsageRecord

pytestmark = pytest.mark.slow

SHARDS = 4
TABLES = ("usage_records", "usage_due", "usage_arrivals", "usage_progress", "quotas")


@pytest.fixture
def second(server: psycopg.Connection) -> psycopg.Connection:
    """Provide a connection to the test's database, which has the second versions of functions, as on a coordinator."""
    stand_in(server)
    return server


def stand_in(server: psycopg.Connection) -> None:
    """Install what stands in for the schema's functions and foreign key."""
    with server.transaction():
        server.execute("set local search_path = public, pg_temp")
        distributed.replace_foreign_key(server)
        distributed.install(server)


def everything(server: psycopg.Connection) -> dict[str, list[tuple[object, ...]]]:
    """Return all rows of what accounting keeps, in an order of their own."""
    rows = sql.SQL("select t.* from {} t")
    return {table: sorted(server.execute(rows.format(sql.Identifier(table))), key=repr) for table in TABLES}


def live_some_hours(db: Database) -> Lab:
    """Account for a small testbed around new year, with gaps and late records, whose numbers are whole, and count quotas."""
    lab, now = Lab(db), STARTS[1]
    for n in range(48):
        now += WINDOW
        components = sorted(lab.structure.named)
        found = [record(c, now, c) for k, c in enumerate(components) if (n * 7 + k) % 11]
        found += [record(components[n % len(components)], now - 3 * WINDOW, 1)] if n % 13 == 0 else []
        db.usage.import_records(list({(r.usage_id, r.end_at): r for r in found}.values()), now=now)
        db.usage.aggregate(now=now)
        db.quotas.count_use(now=now)
        if n == 20:
            lab.change(1)
    for n in (1, 2, 3, 4):
        db.usage.aggregate(now=now + n * WINDOW)
    return lab


@FEW
@HISTORY
def test_second_versions_roll_random_histories_up_as_the_model(
    db: Database, second: psycopg.Connection, start: datetime, steps: list[Step]
) -> None:
    roll_up_history(db, second, start, steps)


@pytest.mark.parametrize("part", [None, 3])
def test_both_versions_leave_the_same_rows(db: Database, server: psycopg.Connection, part: int | None) -> None:
    found = []
    for _ in range(2):
        server.execute("truncate usage_statistics, organizations, usage_records, usage_arrivals restart identity cascade")
        server.execute("truncate usage_due, usage_progress")
        if part:
            in_small_parts(server, part)
        lab = live_an_hour_in_parts(db) if part else live_some_hours(db)
        usage_id = db.users.get(lab.users[0].id).usage_id or 0
        span = (STARTS[1], STARTS[1] + timedelta(days=1))
        found.append(
            (
                everything(server),
                db.usage.totals_by_user(*span),
                db.usage.totals_by_organization(*span),
                db.usage.history(usage_id),
                [topology.usage for topology in db.topologies.list_full()],
                db.statistics.counts().topologies_active,
            )
        )
        stand_in(server)
    assert found[0] == found[1]


def live_an_hour_in_parts(db: Database) -> Lab:
    """Account for an hour, in runs that do a part at a time."""
    lab, now = Lab(db, topologies=1), STARTS[1]
    for _ in range(14):
        now += WINDOW
        db.usage.import_records([record(c, now, c) for c in sorted(lab.structure.named)], now=now)
        while db.usage.aggregate(now=now).unfinished:
            pass
    return lab


def test_records_of_what_is_removed_go_with_the_next_run(db: Database, second: psycopg.Connection) -> None:
    lab, now = Lab(db, topologies=1), STARTS[1]
    gone, stays = sorted(lab.structure.named)[:2]
    db.usage.import_records([record(gone, now), record(stays, now)], now=now)
    table, id = lab.ids[gone]
    getattr(db, table).delete(id)
    assert second.execute("select usage_id from usage_removed").fetchall() == [(gone,)]
    db.usage.aggregate(now=now)
    assert [bool(db.usage.list(usage_id, "5minutes")) for usage_id in (gone, stays)] == [False, True]
    assert second.execute("select count(*) from usage_removed").fetchone() == (0,)


def test_a_removal_and_an_import_that_race_leave_no_record(tomato_url: str, db: Database, second: psycopg.Connection) -> None:
    """Either the import comes first, and the removal takes its records along, or it finds nobody to import for."""
    lab, now = Lab(db, topologies=3), STARTS[1]
    components = sorted(lab.structure.named)
    removals = [partial(getattr(db, lab.ids[c][0]).delete, lab.ids[c][1]) for c in components]
    imports = [partial(db.usage.import_records, [record(c, now)], now=now) for c in components]
    for pair in zip(imports, removals, strict=True):
        at_once(*pair)
    # Of one whose workers commit only after the note of the removal was taken up:
    db.usage.aggregate(now=now)
    with psycopg.connect(tomato_url) as late:
        late.execute(
            "insert into usage_records (usage_id, type, begin_at, end_at) values (%s, '5minutes', %s, %s)",
            [components[0], now, now + WINDOW],
        )
        late.execute("insert into usage_arrivals (usage_id, end_at) values (%s, %s)", [components[0], now + WINDOW])
    db.usage.aggregate(now=now + WINDOW)
    assert [r for c in components for r in db.usage.list(c, "5minutes")] == []


def test_an_import_that_is_open_holds_up_the_removal(tomato_url: str, db: Database, second: psycopg.Connection) -> None:
    lab, now = Lab(db, topologies=1), STARTS[1]
    component = min(lab.structure.named)
    table, id = lab.ids[component]
    imported = Event()

    def import_slowly() -> None:
        with connect(tomato_url, pool_size=1) as other, other.transaction():
            other.usage.import_records([record(component, now)], now=now)
            imported.set()
            while second.execute("select exists (select from pg_locks where not granted)").fetchone() != (True,):
                pass  # until the removal waits

    def remove() -> None:
        assert imported.wait(30)
        getattr(db, table).delete(id)

    at_once(import_slowly, remove)
    db.usage.aggregate(now=now)
    assert db.usage.list(component, "5minutes") == []


@pytest.mark.parametrize("dry_run", [True, False])
def test_a_server_without_citus_is_refused(tomato_url: str, dry_run: bool) -> None:
    before = catalog(tomato_url)
    with psycopg.connect(tomato_url) as server:
        if distributed.has_citus(server):
            pytest.skip("the server's databases have Citus from the start")
    with pytest.raises(WrongSchema, match="has no Citus: install Citus's package on all servers"):
        distribute(tomato_url, dry_run=dry_run)
    with pytest.raises(WrongState, match="are not distributed"):
        undistribute(tomato_url, dry_run=dry_run)
    assert catalog(tomato_url) == before


def test_distributing_and_back_leaves_the_schema_and_all_rows(clustered_url: str) -> None:
    with connect(clustered_url, pool_size=2) as db:
        live_some_hours(db)
    before = catalog(clustered_url)
    with psycopg.connect(clustered_url, autocommit=True) as server:
        rows = everything(server)
        plan = distribute(clustered_url, shards=SHARDS, dry_run=True)
        assert "distribute usage_records, usage_due, usage_arrivals by usage_id in 4 shards each" in plan[2]
        assert catalog(clustered_url) == before
        distribute(clustered_url, shards=SHARDS)
        assert distributed.distributed(server) == list(distributed.TABLES)
        assert server.execute("select pg_relation_size('usage_records')").fetchone() == (0,)
        assert everything(server) == rows
        assert distribute(clustered_url)[-1] == "the tables are distributed, and the functions are those of this version"
        undistribute(clustered_url)
        assert everything(server) == rows
    assert catalog(clustered_url) == before


def test_a_cluster_has_the_same_rows_and_totals_as_one_server(tomato_url: str, db: Database, distributed_url: str) -> None:
    live_some_hours(db)
    with connect(distributed_url, pool_size=2) as other, psycopg.connect(tomato_url) as one:
        live_some_hours(other)
        with psycopg.connect(distributed_url) as cluster:
            assert everything(cluster) == everything(one)
        span = (STARTS[1], STARTS[1] + timedelta(days=1))
        assert other.usage.totals_by_user(*span) == db.usage.totals_by_user(*span)


def test_an_import_into_a_cluster_without_a_run_before_it(distributed_url: str) -> None:
    now = datetime(2026, 3, 1, tzinfo=UTC)
    with connect(distributed_url, pool_size=1) as db:
        lab = Lab(db, topologies=1)
        component = min(lab.structure.named)
        done = db.usage.import_records([UsageRecord(component, "5minutes", now - WINDOW, now, 5, 1, 2, 3, 4)])
        assert (done.imported, done.late) == (1, 0)


def test_bringing_back_the_first_versions_leaves_the_schema_as_it_was(tomato_url: str, server: psycopg.Connection) -> None:
    before = catalog(tomato_url)
    stand_in(server)
    assert catalog(tomato_url) != before
    with server.transaction():
        distributed.restore_functions(server)
        distributed.restore_foreign_key(server)
    server.execute("alter table usage_records validate constraint usage_records_usage_id_fkey")
    assert catalog(tomato_url) == before

"""Usage records on several servers: the functions that stand in for the schema's, moving there and back, and refusals.

The functions are plain SQL, so that they are tried on any server; the cluster is that of DATABASE_URL, if it is one.
"""

import io
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import count
from pathlib import Path
from threading import Event

import psycopg
import pytest
from msgspec.structs import astuple
from psycopg import sql

from tests.dao.test_accounting import FEW, HISTORY, STARTS, Lab, Step, record, roll_up_history
from tests.fixtures.operations import dropped_afterwards
from tests.helpers.accounting_model import WINDOW
from tests.helpers.dao_cases import at_once
from tests.helpers.doctor_cases import assert_sick, finding
from tests.helpers.transfer_cases import by_hand, dumped, records
from tests.helpers.usage_cases import in_small_parts
from tests.server.test_schema import catalog
from tomato_dao import AlreadyExists, Database, NotFound, WrongSchema, WrongState, connect, load
from tomato_dao.ops import distributed, roles
from tomato_dao.ops.backup import back_up
from tomato_dao.ops.distribute import distribute
from tomato_dao.ops.restore import restore
from tomato_dao.ops.undistribute import undistribute
from tomato_dao.rows import UsageRecord, UsageTotal

pytestmark = [pytest.mark.slow, pytest.mark.one_server]

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


def nearly(totals: Sequence[UsageTotal]) -> list[tuple[object, ...]]:
    """Return the totals to twelve digits: they are added up in the order of the plan."""
    return [tuple(f"{v:.12g}" if isinstance(v, float) else v for v in astuple(total)) for total in totals]


def live_some_hours(db: Database) -> Lab:
    """Account for a small testbed around new year, with gaps, late records and fractions, and count quotas."""
    lab, now = Lab(db), STARTS[1]
    for n in range(48):
        now += WINDOW
        components = sorted(lab.structure.named)
        found = [record(c, now, c / 7 + n / 11) for k, c in enumerate(components) if (n * 7 + k) % 11]
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
                nearly(db.usage.totals_by_user(*span)),
                nearly(db.usage.totals_by_organization(*span)),
                db.usage.history(usage_id),
                [topology.usage for topology in db.topologies.list_full()],
                db.statistics.counts().topologies_active,
            )
        )
        stand_in(server)
    assert found[0] == found[1]


def test_sums_are_the_same_to_the_last_bit_whatever_the_plan(db: Database, server: psycopg.Connection) -> None:
    now, found = STARTS[1], []
    for index_scan in ("on", "off"):
        server.execute("truncate usage_statistics, organizations, usage_records, usage_arrivals restart identity cascade")
        server.execute("truncate usage_due, usage_progress")
        lab = Lab(db, topologies=1)
        with server.transaction():
            server.execute(f"set local enable_indexscan = {index_scan}".encode())
            for n in range(45):  # the newest come first, three of each window
                end = now - n * WINDOW / 3
                db.usage.import_records([record(c, end, c / 7 + n / 11) for c in sorted(lab.structure.named)], now=now)
                if n % 3 == 2:
                    server.execute("select aggregate_usage(%s, %s)", [now, now])
            for n in range(1, 5):
                server.execute("select aggregate_usage(%s, %s)", [now + n * WINDOW, now])
        found.append(everything(server))
    assert found[0] == found[1]
    assert server.execute("select distinct r.type from usage_records r order by r.type").fetchall() == [
        ("5minutes",),
        ("hour",),
    ]


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


def test_distributing_and_back_leaves_the_schema_and_all_rows(clustered_url: str, citus_workers: list[tuple[str, int]]) -> None:
    with connect(clustered_url, pool_size=2) as db:
        live_some_hours(db)
    before = catalog(clustered_url)
    with psycopg.connect(clustered_url, autocommit=True) as server:
        rows = everything(server)
        plan = distribute(clustered_url, shards=SHARDS, dry_run=True)
        assert "distribute usage_records, usage_due, usage_arrivals by usage_id in 4 shards each" in plan[2]
        assert f"in {4 * len(citus_workers)} shards each" in distribute(clustered_url, dry_run=True)[2]
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
        assert nearly(other.usage.totals_by_user(*span)) == nearly(db.usage.totals_by_user(*span))


def test_a_dump_of_a_cluster_is_that_of_one_server_and_either_loads_into_the_other(
    tomato_url: str, clustered_url: str, has_roles: bool
) -> None:
    with connect(clustered_url, pool_size=4) as far, connect(tomato_url, pool_size=2) as one:
        lab = live_some_hours(far)
        ours = dumped(far)
        distribute(clustered_url, shards=SHARDS)
        theirs = dumped(far, jobs=3)
        assert sorted(lines(theirs)) == sorted(lines(ours))
        load(one, io.BytesIO(theirs))
        assert sorted(lines(dumped(one))) == sorted(lines(ours))
        load(far, io.BytesIO(ours), replace=True)
        assert sorted(lines(dumped(far))) == sorted(lines(ours))
        load(far, io.BytesIO(ours), merge=True)
        assert sorted(lines(dumped(far))) == sorted(lines(ours))
        # What was removed, and what is not there, is neither dumped nor loaded.
        table, id = lab.ids[max(lab.structure.named)]
        getattr(far, table).delete(id)
        load(one, io.BytesIO(dumped(far)), replace=True)
        found = records(ours)
        next(r for r in found if r["model"] == "usage_record")["pk"][0] = 987654
        with pytest.raises(NotFound, match="usage_id 987654: names no usage_statistic"):
            load(far, by_hand(far, found), replace=True)
        twice = records(ours)
        twice.append(next(r for r in twice if r["model"] == "usage_record"))
        with pytest.raises(AlreadyExists, match=r"^usage_record .*: it is there twice$") as caught:
            load(far, by_hand(far, twice), replace=True)
        assert caught.value.entity == "usage_record"
        assert str(caught.value.key).startswith(f"{twice[-1]['pk'][0]}, {twice[-1]['pk'][1]}, ")
        kept = [r for r in records(ours) if r["model"] in ("usage_statistic", "usage_record")]
        for n, record_ in enumerate(r for r in kept if r["model"] == "usage_record"):
            record_["pk"][0] = 987654 + n
        with pytest.raises(NotFound, match=r"^the first 10 references to missing records: (usage_record of [^;]*(; )?){10}$"):
            load(far, by_hand(far, kept), replace=True)


def test_a_dump_among_importers_has_the_arrival_of_each_record_that_no_run_took_up(
    tomato_url: str, distributed_url: str
) -> None:
    ended = Event()
    with connect(distributed_url, pool_size=4) as far, connect(tomato_url, pool_size=2) as one:
        lab, begin = Lab(far), STARTS[1]
        components = sorted(lab.structure.named)

        def imports() -> int:
            for n in count(1):
                if ended.is_set():
                    return n
                far.usage.import_records([record(c, begin + n * WINDOW) for c in components], now=begin + n * WINDOW)
            raise AssertionError

        def dumps() -> list[bytes]:
            found = [dumped(far, jobs=2) for _ in range(4)]
            ended.set()
            return found

        _, found = at_once(imports, dumps)
        assert isinstance(found, list)
        for text in found:
            load(one, io.BytesIO(text), replace=True)
            with psycopg.connect(tomato_url) as server:
                without = """
                select count(*) from usage_records r
                left join usage_arrivals a on a.usage_id = r.usage_id and a.end_at = r.end_at
                where a.usage_id is null
                """
                assert server.execute(without).fetchone() == (0,)


def test_a_backup_of_a_cluster_is_restored_on_one_server(
    distributed_url: str, tomato_url: str, saved: Path, tomato_server_url: str
) -> None:
    with connect(distributed_url, pool_size=2) as far:
        live_some_hours(far)
    with psycopg.connect(distributed_url) as server:
        rows = everything(server)
    before = catalog(tomato_url)
    with dropped_afterwards(tomato_url):
        restore(back_up(distributed_url), tomato_url)
        with psycopg.connect(tomato_url) as server:
            assert everything(server) == rows
        assert catalog(tomato_url) == before


def test_a_backup_takes_the_place_of_a_distributed_database(distributed_url: str, saved: Path) -> None:
    """The sessions that Citus keeps in it by itself hold nothing up."""
    with connect(distributed_url, pool_size=2) as far:
        Lab(far, topologies=1)
        users = len(far.users.list())
    with psycopg.connect(distributed_url, autocommit=True) as server:
        ours = "select exists (select from pg_stat_activity where datname = current_database() and backend_type like 'Citus %')"
        assert server.execute(ours).fetchone() == (True,)
    with dropped_afterwards(distributed_url):
        assert restore(back_up(distributed_url), distributed_url)
        with connect(distributed_url, pool_size=1) as restored:
            assert len(restored.users.list()) == users


def test_the_doctor_tells_of_the_workers(distributed_url: str) -> None:
    with psycopg.connect(distributed_url, autocommit=True) as server:
        found = finding(server, "cluster")
        assert (found.level, found.figures["workers"][0]["answers"]) == ("ok", True)
        assert sum(worker["shards"] for worker in found.figures["shards"]) == 3 * SHARDS
        server.execute("set citus.enable_ddl_propagation = off")
        server.execute("drop function current_usage(bigint)")
        server.execute("create function current_usage(bigint) returns bigint return $1")
        assert_sick(finding(server, "cluster"), "bad", "functions are not as they are on a cluster", "distribute")


def test_workers_have_the_functions_that_queries_call_there(distributed_url: str) -> None:
    calls = ["usage_period_begin('hour', now())", "usage_period_end('5minutes', now())", "usage_beyond(3, 1)"]
    with psycopg.connect(distributed_url) as server:
        for call in calls:
            answers = server.execute("select success, result from run_command_on_workers(%s)", [f"select {call} is not null"])
            assert {tuple(answer) for answer in answers} == {(True, "t")}, call


def test_the_owner_of_distributed_tables_can_migrate_them(clustered_url: str, has_roles: bool) -> None:
    roles.make_roles(clustered_url)
    distribute(clustered_url, shards=SHARDS)
    with psycopg.connect(clustered_url, options="-c role=tomato_owner", autocommit=True) as owner:
        owner.execute("create function twice(n bigint) returns bigint language sql immutable return 2 * n")
        owner.execute("create index usage_due_twice on usage_due (twice(usage_id))")
        query = "select success from run_command_on_workers('select twice(1)')"
        assert {success for (success,) in owner.execute(query)} == {True}


def lines(text: bytes) -> list[bytes]:
    """Return a dump's records, without header and trailer."""
    return text.rstrip(b"]\n").split(b"\n")[2:-1]


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

"""Servers that keep no prepared statements, as behind a pooler: all is the same; and arrays of any length."""

import math
from collections.abc import Callable
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import cycle, islice
from pathlib import Path

import psycopg
import pytest
from psycopg import IsolationLevel

from tests.conftest import World
from tests.dao.test_exchange import add_names, two_linked_machines
from tests.helpers.busy_cases import Load, assert_nothing_was_lost_or_done_twice
from tests.helpers.pooler_cases import pgbouncer
from tests.helpers.session_cases import BACKENDS
from tests.helpers.statement_cases import NEW_YEAR, query, run
from tomato_dao import AlreadyExists, Database, TomatoError, connect
from tomato_dao.ops.scratch import scratch_database
from tomato_dao.rows import asdict
from tomato_dao.sql.rows import Row

pytestmark = pytest.mark.slow


def plain(value: object) -> object:
    """Return a value without its times."""
    if isinstance(value, Row):
        return type(value).__name__, plain(asdict(value))
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return "a time" if isinstance(value, datetime) else value


def flows(db: Database, directory: Path) -> list[object]:
    """Return what the main flows give on an empty database."""
    came: list[object] = []

    def refused(call: Callable[..., object], *values: object) -> None:
        with pytest.raises(TomatoError) as error:
            call(*values)
        came.append((type(error.value), str(error.value), error.value.entity, error.value.key))

    def fail(*names: str) -> None:
        with db.transaction():
            for name in names:
                db.organizations.create(name)

    with db.connection() as connection:
        add_names(connection)
        connection.execute("create type mood as enum ('sad', 'happy')")
        connection.execute("create domain positive as int4 check (value > 0)")
    uni = db.organizations.create("uni", description="Zürich", attrs={"a": [1, None, {"b": 1.5}]})
    site = db.sites.create("lab", organization_id=uni.id)
    host = db.hosts.create("host1", address="10.0.0.1", rpcurl="rpc://10.0.0.1", site_id=site.id)
    alice = db.users.create("alice", organization_id=uni.id)
    came += [uni, site, host, alice, db.quotas.get(alice.id)]
    came += [db.hosts.update("host1", {"info_at": NEW_YEAR, "availability": 0.5, "info": {"n": 2**70}, "problem_since": None})]
    came += [db.hosts.set_attrs("host1", {"a": 1, "b": [2]}), db.hosts.set_attrs("host1", {"c": None}, ["a", "none"])]
    came += [db.hosts.list(), db.hosts.list(after=host.id), db.users.add_flag(alice.id, "over_quota")]
    for _ in range(3):
        made = db.topologies.import_(two_linked_machines(), owner_id=alice.id)
        came += [made, db.topologies.full(made.topology_id), db.topologies.export(made.topology_id)]
    came += [db.topologies.list_of_user(alice.id, limit=2), db.topologies.renew(made.topology_id, timedelta(days=3))]
    came += [db.topologies.update(made.topology_id, {"name": "new"}), db.topologies.set_attrs(made.topology_id, {"x": "y"})]
    came += [db.elements.list_of_topology(made.topology_id), db.connections.list_of_topology(made.topology_id)]
    refused(db.organizations.create, "uni")
    refused(db.organizations.create, "a/b")
    refused(db.organizations.create, 5)
    refused(db.organizations.delete, "uni")
    refused(db.hosts.get, 2**63)
    refused(db.hosts.get, 2**40)
    refused(db.hosts.update, "host1", {"site_id": 2**40})
    refused(db.users.delete, 2**40)
    with db.transaction(isolation=IsolationLevel.SERIALIZABLE):
        came.append(db.organizations.create("kept"))
        came.append(db.topology_permissions.list_of_topology(made.topology_id))
        with pytest.raises(AlreadyExists):
            fail("lost", "kept")
        came.append(db.organizations.list())
    with pytest.raises(AlreadyExists):
        fail("lost", "uni")
    for kind, value in [
        ("mood", "happy"),
        ("mood", "angry"),
        ("mood[]", ["sad", None]),
        ("positive", 5),
        ("positive", -5),
        ("instant", NEW_YEAR),
        ("int8[]", [1, 2**40, None]),
        ("text[]", ["a", 'b"c', None, "ü"]),
        ("interval", timedelta(days=-3, microseconds=5)),
        ("numeric", Decimal("1e-30")),
        ("jsonb", {"a": [NEW_YEAR, None]}),
        ("int4", None),
        ("int4", "5"),
    ]:
        echo = query(directory, f"select :v::{kind} as v", "v")
        for _ in range(2):
            try:
                (row,) = run(db, echo, value)
            except TomatoError as error:
                row = type(error), str(error)
            came.append((kind, row if row != NEW_YEAR else str(row)))
    db.topologies.delete(made.topology_id)
    refused(db.topologies.full, made.topology_id)
    db.hosts.delete("host1")
    refused(db.hosts.delete, "host1")
    return [*came, db.topologies.list(), db.hosts.list(), db.organizations.list()]


@pytest.fixture(scope="module")
def usual(tomato_server_url: str, tomato_template: str, tmp_path_factory: pytest.TempPathFactory) -> object:
    """Return what the main flows give where statements are prepared."""
    with scratch_database(tomato_server_url, template=tomato_template) as url, connect(url) as db:
        return plain(flows(db, tmp_path_factory.mktemp("usual")))


def test_all_is_the_same_where_statements_are_sent_as_they_are(tomato_url: str, usual: object, tmp_path: Path) -> None:
    with connect(tomato_url, pool_size=3, prepare=False) as db:
        assert plain(flows(db, tmp_path)) == usual
        with ExitStack() as leases:
            for connection in [leases.enter_context(db.connection()) for _ in range(3)]:
                assert connection.execute("select name from pg_prepared_statements").fetchall() == []


def test_all_is_the_same_behind_a_pooler(tomato_url: str, usual: object, tmp_path: Path) -> None:
    with pgbouncer(tomato_url) as url, connect(url, prepare=False) as db:
        assert plain(flows(db, tmp_path)) == usual


def test_threads_behind_a_pooler_get_their_own_rows_only(tomato_url: str, world: World, server: psycopg.Connection) -> None:
    with pgbouncer(tomato_url) as url, connect(url, pool_size=8, prepare=False, application_name="load") as db:
        load = Load(db, world.host, world.user)
        load.progress(200)
        server.execute("alter table hosts alter column component_errors type int8")
        load.progress(200)
        server.execute("select pg_terminate_backend(pid) " + BACKENDS, ["load"])
        load.progress(200)
        assert_nothing_was_lost_or_done_twice(load.stop(), server)


# Long arrays.


@pytest.mark.parametrize("gaps", [False, True], ids=["without None", "with None"])
@pytest.mark.parametrize(
    ("kind", "some"),
    [
        ("int8", [0, -1, 2**63 - 1, -(2**63), 2**31]),
        ("float8", [0.0, -0.1, 1e300, 5e-324, -math.inf]),
        ("timestamptz", [NEW_YEAR, datetime(1, 1, 1, tzinfo=UTC), NEW_YEAR.replace(microsecond=1)]),
        ("text", ["", "null", 'a"b\\c,{}', "Zürich \U0001f345", "x" * 100]),
    ],
)
def test_a_long_array_comes_back_row_by_row(
    lasting_url: str, tmp_path: Path, kind: str, some: list[object], gaps: bool, prepare: bool
) -> None:
    sent = list(islice(cycle([*some, None] if gaps else some), 10_000))
    rows = query(tmp_path, f"select u.v, u.n from unnest(:v::{kind}[]) with ordinality u (v, n) order by u.n", "v")
    whole = query(tmp_path, f"select :v::{kind}[]", "v")
    with connect(lasting_url, pool_size=1, prepare=prepare) as db:
        assert run(db, rows, sent) == list(zip(sent, range(1, 10_001), strict=True))
        assert run(db, whole, tuple(sent)) == [sent]

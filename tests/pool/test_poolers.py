"""Behind PgBouncer: connect() names at once what the pooler does not keep; all else works, or says which URL to set."""

import logging
from concurrent.futures import ThreadPoolExecutor
from time import monotonic

import psycopg
import pytest

from tests.conftest import CHECKOUT
from tests.helpers.pooler_cases import keeps_statements, pgbouncer
from tests.helpers.transfer_cases import dumped
from tests.ops.test_commands import run
from tomato_dao import Busy, Database, Unavailable, connect
from tomato_dao.server.positions import Position

pytestmark = pytest.mark.slow
DROPS = "ignore_startup_parameters = extra_float_digits,options"


@pytest.mark.parametrize("settings", [(), (DROPS,)], ids=["refuses options", "drops options"])
def test_connect_names_at_once_a_pooler_that_keeps_no_prepared_statements(tomato_url: str, settings: tuple[str, ...]) -> None:
    with pgbouncer(tomato_url, *settings) as url:
        for _ in range(2):  # nothing is left behind that would change the answer
            began = monotonic()
            with pytest.raises(Unavailable, match=r"pooler .* connect with prepare=False"):
                connect(url, pool_size=2)
            assert monotonic() - began <= 2
        with connect(url, pool_size=2, prepare=False) as db:
            db.organizations.create("uni")
    with psycopg.connect(tomato_url) as connection:
        assert connection.execute("select count(*) from organizations").fetchone() == (1,)


@pytest.mark.parametrize("sessions", [1, 5])
def test_a_pooler_in_session_mode_is_as_good_as_the_server(
    tomato_url: str, sessions: int, caplog: pytest.LogCaptureFixture
) -> None:
    with (
        pgbouncer(tomato_url, DROPS, mode="session", sessions=sessions) as url,
        caplog.at_level(logging.WARNING),
        connect(url, pool_size=1) as db,
    ):
        for n in range(3):
            db.organizations.create(f"org{n}")
    assert "drops session settings" in caplog.text or sessions == 1


def test_the_words_of_a_pooler_that_lets_nobody_in_stand_in_the_error(tomato_url: str) -> None:
    with (
        pgbouncer(tomato_url, "max_client_conn = 1") as url,
        connect(url, prepare=False, pool_size=2, timeout=4) as db,
        db.connection(),
        pytest.raises(Unavailable, match=r"no more connections than 1: .*no more connections allowed"),
        ThreadPoolExecutor(1) as thread,
    ):
        thread.submit(db.organizations.list).result(60)


def test_a_listener_without_a_session_of_its_own_is_refused(
    tomato_url: str, db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pgbouncer(tomato_url) as url:
        with connect(url, prepare=False) as pooled:
            with pytest.raises(Unavailable, match=r"clients no session of their own.*DIRECT_DATABASE_URL"):
                pooled.listen("topologies")
            with pooled.exclusive("topology", 1), pytest.raises(Busy), db.exclusive("topology", 1):
                pass
        monkeypatch.setenv("DATABASE_URL", url)
        monkeypatch.setenv("DIRECT_DATABASE_URL", tomato_url)
        with connect(prepare=False) as pooled, pooled.listen("topologies", timeout=0) as listener:
            assert list(listener) == []


def test_a_dump_through_a_pooler_is_the_same(tomato_url: str, db: Database) -> None:
    for n in range(500):
        db.organizations.create(f"org{n}")
    direct = dumped(db)
    with pgbouncer(tomato_url) as url:
        done = run([str(CHECKOUT / "bin" / "dump"), "--jobs", "2"], url)
        assert (done.returncode, done.stdout.encode()) == (0, direct), done.stderr
        refused = run([str(CHECKOUT / "bin" / "load"), "--replace", "-"], url)
        assert refused.returncode == 1
        assert "set OWNER_DATABASE_URL to the server itself" in refused.stderr


def test_writes_through_a_pooler_bring_their_positions_along(tomato_url: str, db: Database) -> None:
    with pgbouncer(tomato_url, sessions=2) as url, connect(url, pool_size=4, prepare=False, tokens=True) as pooled:
        before = Position.parse(pooled.token(own=True))
        with ThreadPoolExecutor(4) as threads:
            list(threads.map(lambda n: pooled.organizations.create(f"org{n}"), range(100)))
        with pooled.transaction():
            pooled.organizations.create("uni")
        assert before < Position.parse(pooled.token(own=True)) <= Position.parse(db.token())
        assert pooled.stats().queries["positions.of_primary"].calls == 1


def test_a_pooler_that_keeps_prepared_statements_needs_nothing_special(
    tomato_url: str, db: Database, server: psycopg.Connection
) -> None:
    if not keeps_statements():
        pytest.skip("this pgbouncer keeps no prepared statements: 1.21 or later does")

    def work(n: int) -> str:
        name = f"org{n}"
        pooled.organizations.create(name)
        with pooled.transaction():
            pooled.organizations.set_attrs(name, {"n": n})
            return pooled.organizations.get_by_name(name).name

    recipe = (CHECKOUT / "docs" / "operations.md").read_text("utf-8").partition("    [pgbouncer]\n")[2].partition("\n\n")[0]
    with (
        pgbouncer(tomato_url, *recipe.split("\n"), sessions=3) as url,
        connect(url, pool_size=20, tokens=True) as pooled,
        ThreadPoolExecutor(40) as threads,
    ):
        assert [*threads.map(work, range(400))] == [f"org{n}" for n in range(400)]
        with pooled.connection() as connection:
            connection.execute("set work_mem = '1MB'")  # is undone before the session is another's
        assert Position.parse(pooled.token(own=True)) <= Position.parse(db.token())
        db.organizations.delete("org0")
        server.execute("alter table organizations alter homepage_url type varchar")  # makes what is prepared stale
        assert len(pooled.organizations.list(limit=1000)) == 399
        assert pooled.organizations.create("org0").name == "org0"


def test_hundreds_of_threads_share_twenty_sessions_of_a_pooler(tomato_url: str) -> None:
    with pgbouncer(tomato_url, sessions=20) as url, connect(url, pool_size=100, prepare=False) as db:
        db.organizations.create("uni")
        with ThreadPoolExecutor(200) as threads:
            found = list(threads.map(lambda _: db.organizations.get_by_name("uni").name, range(4000)))
        assert found == ["uni"] * 4000

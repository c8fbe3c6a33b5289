"""The Database: opening and closing, its pool, and the settings of its sessions."""

from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from tests.helpers.dao_cases import until
from tests.helpers.session_cases import BACKENDS, blocked, names, setting, until_waiting
from tomato_dao import Database, InvalidValue, NotFound, Unavailable, connect
from tomato_dao.server import schema


def test_a_with_block_closes_the_database_and_its_sessions(tomato_url: str, server: psycopg.Connection) -> None:
    with connect(tomato_url, application_name="brief") as db:
        assert names(db) == []
    until(server, "not exists (select " + BACKENDS + ")", "brief")
    with pytest.raises(Unavailable, match="the database is closed"):
        db.organizations.list()


def test_a_closed_database_is_unavailable_in_every_way(tomato_url: str) -> None:
    db = connect(tomato_url)
    db.close()
    db.close()
    with pytest.raises(Unavailable, match="closed"):
        db.hosts.get(1)
    with pytest.raises(Unavailable, match="closed"):
        db.organizations.create("uni")
    with pytest.raises(Unavailable, match="closed"):
        db.transaction().__enter__()
    with pytest.raises(Unavailable, match="closed"):
        db.connection().__enter__()


def test_a_task_that_waits_when_the_database_is_closed_gets_unavailable(single: Database) -> None:
    with ThreadPoolExecutor() as threads, single.connection():
        waiting = threads.submit(single.organizations.list)
        until_waiting(single, 1)
        single.close()
        with pytest.raises(Unavailable, match="closed"):
            waiting.result(60)


def test_a_task_that_waits_too_long_gets_the_figures(tomato_url: str) -> None:
    with connect(tomato_url, pool_size=2, timeout=0.1) as db, db.connection(), db.connection():
        for call in (db.organizations.list, db.transaction().__enter__, db.connection().__enter__):
            with pytest.raises(
                Unavailable, match=r"no connection free after 0.1 s: all 2 .*0 more tasks in the queue"
            ) as refused:
                call()
            assert "\n" not in str(refused.value)


def test_the_pool_never_holds_more_than_its_size(tomato_url: str, server: psycopg.Connection) -> None:
    with connect(tomato_url, pool_size=3, application_name="crowd") as db, ThreadPoolExecutor(12) as threads:
        with server.transaction():
            server.execute("lock table organizations")
            calls = [threads.submit(db.organizations.create, f"uni{n}") for n in range(12)]
            until(server, *blocked("crowd", 3))
            assert server.execute("select count(*) " + BACKENDS, ["crowd"]).fetchone() == (3,)
        assert sorted(call.result(60).name for call in calls) == sorted(f"uni{n}" for n in range(12))
        assert server.execute("select count(*) " + BACKENDS, ["crowd"]).fetchone() == (3,)


def test_a_failed_call_gives_its_connection_back(lasting: Database) -> None:
    for n in range(3):
        with pytest.raises(NotFound):
            lasting.organizations.get(n)
        with pytest.raises(InvalidValue):
            lasting.organizations.create("a/b")
    assert names(lasting) == []


def test_every_session_has_its_settings(tomato_url: str) -> None:
    expected = {
        "TimeZone": "UTC",
        "statement_timeout": "1500ms",
        "idle_in_transaction_session_timeout": "1500ms",
        "application_name": f"settings/{schema.known()[-1]}",
        "client_encoding": "UTF8",
    }
    with connect(tomato_url, statement_timeout=1.5, application_name="settings") as db:
        assert {name: setting(db, name) for name in expected} == expected
        with db.transaction():
            assert {name: setting(db, name) for name in expected} == expected


def test_a_leased_connection_is_in_autocommit_mode(lasting: Database) -> None:
    with lasting.connection() as connection:
        assert connection.autocommit


def test_the_urls_own_settings_win(tomato_url: str) -> None:
    url = f"{tomato_url}&application_name=mine&options=-c%20statement_timeout%3D7s%20-c%20work_mem%3D8MB"
    with connect(url, application_name="default") as db:
        found = [setting(db, name) for name in ("application_name", "statement_timeout", "work_mem", "TimeZone")]
    assert found == [f"mine/{schema.known()[-1]}", "7s", "8MB", "UTC"]


def test_a_url_may_be_given_as_key_and_value(tomato_url: str) -> None:
    with connect(make_conninfo(tomato_url)) as db:
        assert names(db) == []


def test_a_statement_that_takes_too_long_is_ended(tomato_url: str, server: psycopg.Connection) -> None:
    with connect(tomato_url, statement_timeout=0.1) as db:
        with server.transaction():
            server.execute("lock table organizations")
            with pytest.raises(Unavailable, match="statement timeout"):
                db.organizations.list()
        assert names(db) == []


def test_a_transaction_that_idles_too_long_is_ended(tomato_url: str, server: psycopg.Connection) -> None:
    with connect(tomato_url, statement_timeout=0.1, pool_size=1, application_name="idle") as db:

        def idle() -> None:
            with db.transaction():
                db.organizations.create("lost")
                until(server, "not exists (select " + BACKENDS + ")", "idle")
                db.organizations.list()

        with pytest.raises(Unavailable):
            idle()
        assert names(db) == []

"""Slow reads explained: the server's plan in the log, without values, and not too often."""

import asyncio
import logging
from typing import Any

import psycopg
import pytest
from psycopg.pq import TransactionStatus

from tomato_dao import NotFound, connect, connect_async
from tomato_dao.pool import Pool
from tomato_dao.sql import statements


def plans(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if "plan" in record.getMessage()]


@pytest.mark.parametrize("generic_plans", [160000, 10**9], ids=["generic_plan", "as before 16"])
def test_a_slow_read_is_logged_with_its_plan_once_a_minute(
    tomato_url: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, generic_plans: int
) -> None:
    monkeypatch.setattr(statements, "_GENERIC_PLANS", generic_plans)
    with connect(tomato_url, pool_size=1, explain_slower_than=0) as db:
        for _ in range(2):
            db.organizations.list()
        (told,) = plans(caplog)
        assert told.startswith("slow call: organizations.list took ")
        assert "organizations" in told.partition("\n")[2]
        assert "cost=" in told
        db.organizations.create("a secret")
        assert len(plans(caplog)) == 1  # a write is not explained
        with db.transaction():
            db.sites.list()
            db.sites.list()
        assert [text.split()[2] for text in plans(caplog)] == ["organizations.list", "sites.list"]
        with db.connection() as connection:
            assert connection.execute("select count(*) from pg_prepared_statements where name = 'explained'").fetchone() == (0,)
            assert connection.execute("show plan_cache_mode").fetchone() == ("auto",)
    assert "secret" not in caplog.text


@pytest.mark.parametrize("sql", [None, b"explain nonsense"], ids=["explained", "refused"])
@pytest.mark.parametrize("generic_plans", [160000, 10**9], ids=["generic_plan", "as before 16"])
def test_an_explained_read_leaves_no_transaction_open(
    tomato_url: str, monkeypatch: pytest.MonkeyPatch, sql: bytes | None, generic_plans: int
) -> None:
    monkeypatch.setattr(statements, "_GENERIC_PLANS", generic_plans)
    if sql:
        monkeypatch.setattr(statements.QueryRunner, "_plan", lambda self, *_: self._ask(sql))
    released: list[TransactionStatus] = []
    release = Pool.release

    def noted(self: Pool, connection: Any) -> None:
        released.append(connection.pgconn.transaction_status)
        release(self, connection)

    monkeypatch.setattr(Pool, "release", noted)
    with connect(tomato_url, pool_size=1, explain_slower_than=0) as db:
        db.organizations.list()
    assert set(released) == {TransactionStatus.IDLE}


def test_a_plan_holds_no_values(tomato_url: str, caplog: pytest.LogCaptureFixture) -> None:
    with connect(tomato_url, pool_size=1, explain_slower_than=0) as db, pytest.raises(NotFound):
        db.organizations.get_by_name("a secret")
    assert "secret" not in caplog.text
    assert len(plans(caplog)) == 1


def test_a_transaction_goes_on_where_nothing_can_be_explained(
    tomato_url: str, server: psycopg.Connection, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(statements.QueryRunner, "_plan", lambda self, *_: self._ask(b"explain nonsense"))
    with connect(tomato_url, pool_size=1, explain_slower_than=0) as db, db.transaction():
        db.organizations.list()
        db.organizations.create("uni")
    assert plans(caplog) == []
    assert server.execute("select name from organizations").fetchall() == [("uni",)]


def test_quick_reads_are_not_explained(tomato_url: str, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO), connect(tomato_url, pool_size=1, explain_slower_than=60) as db:
        db.organizations.list()
    assert plans(caplog) == []


def test_slow_reads_of_asyncio_are_explained(tomato_url: str, caplog: pytest.LogCaptureFixture) -> None:
    async def work() -> None:
        async with connect_async(tomato_url, pool_size=1, explain_slower_than=0) as db:
            await db.organizations.list()

    asyncio.run(work())
    assert plans(caplog)[0].startswith("slow call: organizations.list took ")

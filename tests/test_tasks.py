"""Coroutines that share a thread: the transaction of one is refused to the others."""

import asyncio
from collections.abc import Callable

import pytest

from tests.helpers.session_cases import names
from tomato_dao import Database, WrongState

pytestmark = pytest.mark.slow

REFUSED = "another asyncio task of this thread is inside transaction"


def in_transaction(db: Database) -> None:
    with db.transaction():
        db.organizations.create("lost")


def in_connection(db: Database) -> None:
    with db.connection() as connection:
        connection.execute("select 1")


CALLS: list[Callable[[Database], object]] = [
    in_transaction,
    in_connection,
    lambda db: db.organizations.create("lost"),
    lambda db: db.run(lambda: db.organizations.create("lost")),
]


@pytest.mark.parametrize("call", CALLS, ids=["transaction", "connection", "call", "run"])
def test_a_coroutine_is_refused_at_once_while_another_is_in_a_transaction(
    db: Database, call: Callable[[Database], object]
) -> None:
    inside, over = asyncio.Event(), asyncio.Event()

    async def first() -> None:
        with db.transaction():
            db.organizations.create("first")
            inside.set()
            await over.wait()
            with db.transaction():
                db.organizations.create("nested")

    async def second() -> None:
        await inside.wait()
        with pytest.raises(WrongState, match=REFUSED):
            call(db)
        over.set()

    async def both() -> None:
        await asyncio.gather(first(), second())
        call(db)  # once the other is over

    asyncio.run(both())
    assert {"first", "nested"} <= set(names(db))


def test_coroutines_inside_a_transaction_that_began_before_their_loop_take_turns_with_nested_ones(db: Database) -> None:
    inside, over = asyncio.Event(), asyncio.Event()

    async def first() -> None:
        with db.transaction():
            inside.set()
            await over.wait()

    async def second() -> None:
        await inside.wait()
        with pytest.raises(WrongState, match=REFUSED):
            in_transaction(db)
        over.set()

    async def both() -> None:
        await asyncio.gather(first(), second())
        in_transaction(db)

    with db.transaction():
        asyncio.run(both())
    assert names(db) == ["lost"]


def test_a_coroutine_may_use_another_thread_while_one_is_in_a_transaction(db: Database) -> None:
    async def work() -> None:
        with db.transaction():
            db.organizations.create("first")
            await asyncio.to_thread(in_transaction, db)

    asyncio.run(work())
    assert names(db) == ["first", "lost"]

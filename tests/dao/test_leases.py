"""Leases, alike for all that is claimed: each is for one thing, ends at its moment, and only its holder finishes."""

import psycopg
import pytest
from psycopg import sql

from tests.conftest import World
from tests.helpers.dao_cases import timed
from tests.helpers.leased_cases import MICROSECOND, MINUTE, TABLES, Leased, make_leased
from tomato_dao import Database, LockLost

pytestmark = pytest.mark.slow


@pytest.fixture(params=TABLES)
def kind(request: pytest.FixtureRequest) -> str:
    """Each kind of what is claimed."""
    return str(request.param)


@pytest.fixture
def leased(db: Database, world: World, kind: str) -> Leased:
    """Two things of the kind that are due."""
    return make_leased(db, world, kind)


def end_leases(db: Database, kind: str, ahead: int) -> None:
    """Let all leases end so many microseconds after the time of the transaction."""
    table, column = map(sql.Identifier, TABLES[kind])
    set_ = sql.SQL("update {} set {} = now() + %s * interval '1 microsecond'").format(table, column)
    with db.connection() as connection:
        connection.execute(set_, [ahead])


def test_items_that_are_claimed_together_are_finished_alone(leased: Leased) -> None:
    first, second = leased.claim()
    assert first.lease_until == second.lease_until
    leased.finish(leased.key_of(first), first.lease_until)
    with pytest.raises(LockLost):
        leased.finish(leased.key_of(first), first.lease_until)
    leased.finish(leased.key_of(second), second.lease_until)


def test_only_who_has_the_lease_finishes(db: Database, leased: Leased) -> None:
    (first, _), at = timed(db, leased.claim)
    assert first.lease_until == at + MINUTE
    for other in (first.lease_until - MICROSECOND, first.lease_until + MICROSECOND):
        with pytest.raises(LockLost):
            leased.finish(leased.key_of(first), other)
    leased.finish(leased.key_of(first), first.lease_until)


def test_an_extended_lease_is_its_holders_until_the_new_end(db: Database, kind: str, leased: Leased) -> None:
    with db.transaction():  # where the time stands still
        first, second = leased.claim()
        key, at = leased.key_of(first), first.lease_until - MINUTE
        until = leased.extend(key, first.lease_until, 2 * MINUTE)
        assert until == at + 2 * MINUTE
        for lost in (first.lease_until, until + MICROSECOND):
            with pytest.raises(LockLost), db.transaction():
                leased.extend(key, lost, MINUTE)
            with pytest.raises(LockLost), db.transaction():
                leased.finish(key, lost)
        leased.finish(leased.key_of(second), second.lease_until)
        leased.finish(key, until)
        assert kind == "timeout" or leased.claim() == []  # of a timeout, the next step is due at once


def test_a_lease_ends_at_its_very_moment(db: Database, kind: str, leased: Leased) -> None:
    with db.transaction():  # where the time stands still
        both = {leased.key_of(claim) for claim in leased.claim()}
        end_leases(db, kind, 1)
        assert leased.claim() == []
        end_leases(db, kind, 0)
        assert {leased.key_of(claim) for claim in leased.claim()} == both
        assert len(both) == 2


def test_rows_that_another_transaction_has_locked_are_left_to_it(
    db: Database, server: psycopg.Connection, kind: str, leased: Leased
) -> None:
    if kind == "task":
        pytest.skip("a task is claimed by its name, by who waits for it")
    table, _ = TABLES[kind]
    with server.transaction():
        locked = server.execute(
            sql.SQL("select id from {0} where id = (select max(id) from {0}) for update").format(sql.Identifier(table))
        ).fetchone()
        with db.transaction():
            with db.connection() as connection:
                connection.execute("set local lock_timeout = '1s'")
            (claim,) = leased.claim()
    assert locked
    assert claim
    assert leased.key_of(claim) != locked[0]
    assert [leased.key_of(claim) for claim in leased.claim()] == [locked[0]]

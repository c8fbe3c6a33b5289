"""Work that `run` repeats: as often as is asked for, after pauses that grow, in transactions of one isolation level."""

from itertools import repeat

import pytest
from psycopg import IsolationLevel

from tests.helpers.session_cases import setting
from tomato_dao import Conflict, Database, transactions

pytestmark = pytest.mark.slow


def always_second() -> None:
    raise Conflict("another was first")


def test_each_try_has_the_isolation_level(lasting: Database) -> None:
    levels: list[str] = []

    def work() -> None:
        levels.append(setting(lasting, "transaction_isolation"))
        if len(levels) < 3:
            always_second()

    lasting.run(work, attempts=3, isolation=IsolationLevel.SERIALIZABLE)
    assert levels == ["serializable"] * 3


def test_pauses_between_tries_grow_to_a_second(lasting: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """Note the pauses instead of making them, since they are seconds together."""
    pauses: list[float] = []
    monkeypatch.setattr(transactions, "sleep", pauses.append)
    with pytest.raises(Conflict):
        lasting.run(always_second)
    limits = [0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1, 1, 1]
    assert all(limit / 2 <= pause <= limit for pause, limit in zip(pauses, limits, strict=True))


@pytest.mark.parametrize("attempts", [1, 0])
def test_work_is_done_at_least_once_and_pauses_follow_only_where_it_is_done_again(
    lasting: Database, monkeypatch: pytest.MonkeyPatch, attempts: int
) -> None:
    pauses: list[float] = []
    done: list[int] = []
    monkeypatch.setattr(transactions, "sleep", pauses.append)
    lasting.run(lambda: done.append(1), attempts=attempts)
    with pytest.raises(Conflict):
        lasting.run(always_second, attempts=attempts)
    assert (done, pauses) == ([1], [])


def test_work_is_not_repeated_where_the_pause_would_last_beyond_the_deadline(
    single: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[int] = []

    def lose() -> None:
        done.append(1)
        always_second()

    monkeypatch.setattr(transactions, "pauses", lambda *_: repeat(3.0))
    with pytest.raises(Conflict), single.timeout(2.5):
        single.run(lose)
    assert done == [1]

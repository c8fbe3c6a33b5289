"""Errors of the server: each becomes the kind of refusal that callers are promised, and none shows a row."""

import pytest

from tests.helpers.statement_cases import sqlstate
from tomato_dao import Database, InvalidValue, TomatoError, Unavailable

# Errors that name no constraint, by the class that a caller gets; some are of a class of SQLSTATEs, some an exception to it.
KINDS = {
    "AlreadyExists": ["23505"],
    "NotFound": ["23503"],
    "NotEmpty": ["23001"],
    "InvalidValue": ["23000", "23502", "23514", "22000", "22003", "22P02", "21000", "54000", "54001", "0A000"],
    "NotAllowed": ["25006", "42501"],
    "WrongState": ["25P02"],
    "Conflict": ["40001", "40P01"],
    "Busy": ["55P03"],
    "Unavailable": [
        "25P03", "25P04", "40003", "57014", "57P01", "57P02", "57P03", "57P05", "53100", "53200", "53300", "58030", "08000",
        "08006", "28000", "3D000",
    ],
    "DatabaseFailure": ["25000", "25001", "42P01", "42883", "55000", "57000", "XX000", "XX001", "P0001"],
}  # fmt: skip


def test_every_sqlstate_has_its_kind_of_refusal(lasting: Database) -> None:
    came: dict[str, list[str]] = {kind: [] for kind in KINDS}
    for state in (state for states in KINDS.values() for state in states):
        with pytest.raises(TomatoError) as refused, lasting.transaction(), lasting.connection() as connection:
            connection.execute(sqlstate(state))
        came[type(refused.value).__name__].append(state)
    assert came == KINDS


def test_work_whose_outcome_is_unknown_is_not_repeated(lasting: Database) -> None:
    done = []

    def work() -> None:
        done.append("once")
        with lasting.connection() as connection:
            connection.execute(sqlstate("40003"))

    with pytest.raises(Unavailable):
        lasting.run(work)
    assert done == ["once"]


def test_a_refused_row_is_not_shown(lasting: Database) -> None:
    with pytest.raises(InvalidValue) as refused, lasting.transaction(), lasting.connection() as connection:
        connection.execute("insert into users (name, organization_id, password_hash) values (null, 1, 'hush')")
    assert "hush" in str(refused.value.__cause__)
    assert "hush" not in str(refused.value)
    assert 'null value in column "name"' in str(refused.value)


def test_an_invalid_value_is_shown(lasting: Database) -> None:
    with pytest.raises(InvalidValue) as refused, lasting.transaction(), lasting.connection() as connection:
        connection.execute("select '[nul]'::jsonb")
    assert str(refused.value) == 'invalid input syntax for type json: Token "nul" is invalid.'

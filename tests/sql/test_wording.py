"""Wording of messages."""

from tomato_dao.sql.wording import counted


def test_one_is_singular() -> None:
    told = [counted(n, "row") for n in (0, 1, 2, 2300)] + [counted(n, "worker process") for n in (1, 2)]
    assert told == ["0 rows", "1 row", "2 rows", "2,300 rows", "1 worker process", "2 worker processes"]

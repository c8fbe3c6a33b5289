"""Pauses grow up to a limit, and differ from one to the next who waits."""

from itertools import islice

from tomato_dao.server.backoff import pauses


def test_pauses_grow_to_the_longest_and_are_at_least_half_of_what_they_may_be() -> None:
    limits = [0.1, 0.2, 0.4, 0.5, 0.5]
    for _ in range(100):
        drawn = list(islice(pauses(0.1, 0.5), len(limits)))
        assert all(limit / 2 <= pause <= limit for pause, limit in zip(drawn, limits, strict=True))


def test_those_who_fail_together_do_not_pause_alike() -> None:
    assert len({next(pauses(0.1, 0.5)) for _ in range(100)}) > 90

"""Pauses between attempts, with random exponential backoff."""

from collections.abc import Iterator
from random import uniform


def pauses(first: float, longest: float) -> Iterator[float]:
    """Yield an endless series of pauses in seconds: up to `first`, then doubling each time, up to `longest`.

    Each pause is random, between half of that and all of it, so that callers that failed together do not retry together. The
    caller does the waiting, since some callers wait for an event that ends the pause early. The library tenacity would do as
    well, but its import takes 10 ms (stamina's 17) of the 50 ms that the import of tomato_dao may take.
    """
    while True:
        yield uniform(first / 2, first)  # noqa: S311 (no secret)
        first = min(first * 2, longest)

"""Pauses between the tries of what may succeed soon."""

from collections.abc import Iterator
from random import uniform


def pauses(first: float, longest: float) -> Iterator[float]:
    """Yield pauses in seconds, without end: up to `first`, then up to twice as long each time, at most up to `longest`.

    Each is random, from half of that to all of it, so that those who failed together do not try again together. The
    caller waits, since some of them wait for an event that ends the pause. The library tenacity would do it too, but its
    import takes 10 ms (stamina's 17) of the 50 ms that the import of tomato_dao may take.
    """
    while True:
        yield uniform(first / 2, first)  # noqa: S311 (no secret)
        first = min(first * 2, longest)

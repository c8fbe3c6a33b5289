"""The DAOs: one thin class per entity, whose methods are one named query each; faces.pyi tells their types."""

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta
from time import monotonic
from typing import Generic, TypeVar

from ..errors import InvalidValue, LockLost, NotFound
from ..printable import quoted

Row = TypeVar("Row")
Key = TypeVar("Key")
PAGE = 500  # rows that iterating fetches at a time
FULL_LOOK = 5  # minimum seconds between claims from the start of an index, which find items that are due before the front
SELDOM = 100  # a claim from the start that takes long is followed by this multiple of its time without another one
LONGEST = 60  # but by no more than so many seconds


def found(row: Row | None, entity: str, key: object) -> Row:
    """Return the row that a query found. Raises NotFound, with entity and key, if it found none."""
    if row is None:
        raise NotFound(f"{entity} {quoted(key)} does not exist", entity=entity, key=key)
    return row


def changed(count: int, entity: str, key: object) -> None:
    """Raise NotFound, with entity and key, if a query changed no row."""
    if count == 0:
        raise NotFound(f"{entity} {quoted(key)} does not exist", entity=entity, key=key)


def row_of(kind: type[Row], entity: str, given: object) -> Row:
    """Return the given row. Raises InvalidValue, which says how to make one, if it is of another type."""
    if not isinstance(given, kind):
        how = f"{kind.__name__}(**record) creates one from a dict" if isinstance(given, dict) else "see tomato_dao.rows"
        raise InvalidValue(f"{entity}: expected a {kind.__name__}, not a {type(given).__name__}: {how}", entity=entity)
    return given


def positive(lease: timedelta) -> timedelta:
    """Return the length of a lease. Raises InvalidValue unless it is above 0."""
    if not isinstance(lease, timedelta) or lease <= timedelta():
        raise InvalidValue(f"a lease must be a timedelta above 0, not {quoted(lease)}", key="lease")
    return lease


def not_negative(name: str, duration: timedelta) -> timedelta:
    """Return an age or a period. Raises InvalidValue if it is below 0."""
    if not isinstance(duration, timedelta) or duration < timedelta():
        raise InvalidValue(f"{name} must be a timedelta of 0 or more, not {quoted(duration)}", key=name)
    return duration


def extended(lease_until: datetime | None, entity: str, key: object) -> datetime:
    """Return the new end of a lease. Raises LockLost, with entity and key, if it was no longer the caller's."""
    if lease_until is None:
        raise _lost(entity, key)
    return lease_until


def finished(count: int, entity: str, key: object) -> None:
    """Raise LockLost, with entity and key, if the lease was no longer the caller's."""
    if count == 0:
        raise _lost(entity, key)


def _lost(entity: str, key: object) -> LockLost:
    text = f"{entity} {quoted(key)} is not this worker's any more: its lease ran out, or it was changed or removed"
    return LockLost(text, entity=entity, key=key)


def every(page: Callable[[Key, int], Sequence[Row]], key: Callable[[Row], Key], after: Key) -> Iterator[Row]:
    """Yield the rows of all pages; each page begins after the last row's key.

    A row that stays is yielded once. Rows that are created or deleted meanwhile may or may not be yielded.
    """
    while rows := page(after, PAGE):
        yield from rows
        after = key(rows[-1])


class Front(Generic[Row]):
    """The time up to which due items of a kind are claimed, so that claims begin there in their index.

    While an old transaction is open, the index keeps an entry for each state that items have had since, and a claim from the
    start reads all of those that were due earlier (make bench-claims). A front may be wrong: it only affects the order.

    due: returns the time since which a claimed item was due at least; None if it was never tried before.
    """

    def __init__(self, due: Callable[[Row], datetime | None]) -> None:
        self._due = due
        self._since: datetime | None = None
        self._until = 0.0

    def since(self) -> datetime | None:
        """Return the time from which to claim, or None for the start, where one claim now and then begins."""
        if monotonic() < self._until:
            return self._since
        self._until = monotonic() + FULL_LOOK
        return None

    def advance(self, since: datetime | None, claims: Sequence[Row], limit: int, seconds: float) -> None:
        """Move to the last of the claims, which are in order, or to the start if they are fewer than the limit.

        since: where the claim began. If the front has moved meanwhile, it stays: another claim may have found earlier items.
        seconds: the time that the claim took.
        """
        if since is None:
            self._until = monotonic() + max(FULL_LOOK, min(SELDOM * seconds, LONGEST))
        elif since != self._since:
            return
        last = self._due(claims[-1]) if claims and len(claims) == limit else None
        self._since = max(last, since) if last and since else last  # the last one may be due for longer: its lease has expired


def claimed(front: Front[Row], claim: Callable[[datetime | None], Sequence[Row]], limit: int) -> Sequence[Row]:
    """Claim items from the front on, or from the start if none is due there, and move the front."""
    since, began = front.since(), monotonic()
    claims = claim(since)
    if since is not None and not claims:
        since, claims = None, claim(None)
    front.advance(since, claims, limit, monotonic() - began)
    return claims

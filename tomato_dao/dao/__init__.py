"""The DAOs: one thin class per entity, whose methods are one named query each; faces.pyi tells their types."""

from datetime import timedelta
from typing import TypeVar

from ..errors import Conflict, InvalidValue, NotFound

Row = TypeVar("Row")


def found(row: Row | None, entity: str, key: object) -> Row:
    """The row that a query found; NotFound, with entity and key, where it found none."""
    if row is None:
        raise NotFound(f"{entity} {key!r} does not exist", entity=entity, key=key)
    return row


def changed(count: int, entity: str, key: object) -> None:
    """NotFound, with entity and key, where a query changed nothing."""
    if count == 0:
        raise NotFound(f"{entity} {key!r} does not exist", entity=entity, key=key)


def lease(duration: timedelta) -> timedelta:
    """How long a claim is to last; InvalidValue where that is no time at all."""
    if not isinstance(duration, timedelta) or duration <= timedelta():
        raise InvalidValue(f"a lease is a timedelta above 0, not {duration!r}", key="lease")
    return duration


def finished(was_leased: bool | None, entity: str, key: object) -> None:
    """NotFound where what was claimed is gone, Conflict where the claim is not the caller's any more."""
    if not found(was_leased, entity, key):
        raise Conflict(f"{entity} {key!r}: the lease ran out and another worker took it", entity=entity, key=key)

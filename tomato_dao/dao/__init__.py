"""The DAOs: one thin class per entity, whose methods are one named query each; faces.pyi tells their types."""

from typing import TypeVar

from ..errors import NotFound

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

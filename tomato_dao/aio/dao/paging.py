# Generated from tomato_dao/dao/__init__.py by “make schema”; not to be edited.
"""Iterating over pages of rows."""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import TypeVar

Row = TypeVar("Row")
Key = TypeVar("Key")
PAGE = 500  # rows that iterating fetches at a time


async def every(
    page: Callable[[Key, int], Awaitable[Sequence[Row]]], key: Callable[[Row], Key], after: Key
) -> AsyncIterator[Row]:
    """Yield the rows of all pages; each page begins after the last row's key.

    A row that stays is yielded once. Rows that are created or deleted meanwhile may or may not be yielded.
    """
    while rows := await page(after, PAGE):
        for one in rows:
            yield one
        after = key(rows[-1])

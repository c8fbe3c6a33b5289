# Generated from tomato_dao/dao/__init__.py by “make schema”; not to be edited.
"""Iterating over pages of rows, and claiming from a front on."""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from datetime import datetime
from time import monotonic
from typing import TypeVar

from ...dao import Front

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


async def claimed(front: Front[Row], claim: Callable[[datetime | None], Awaitable[Sequence[Row]]], limit: int) -> Sequence[Row]:
    """Claim items from the front on, or from the start if none is due there, and move the front."""
    since, began = front.since(), monotonic()
    claims = await claim(since)
    if since is not None and not claims:
        since, claims = None, await claim(None)
    front.advance(since, claims, limit, monotonic() - began)
    return claims

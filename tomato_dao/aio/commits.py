"""Outcomes of transactions, asked for in a thread: tomato_dao/server/commits.py for asyncio."""

import asyncio

import psycopg
from psycopg import AsyncRawCursor

from ..server import commits


async def was_committed(url: str, server: commits.Server | None, transaction: int, timeout: float) -> bool:
    """Return whether a transaction was committed, as `commits.was_committed` does."""
    return await asyncio.to_thread(commits.was_committed, url, server, transaction, timeout)


async def server_of(connection: psycopg.AsyncConnection) -> commits.Server | None:
    """Return which server a session is of; None where it does not tell, or is a standby."""
    try:
        async with AsyncRawCursor(connection) as cursor:
            await cursor.execute(commits.SERVER, ["infinity"])
            found = commits.server_in(await cursor.fetchone())
    except psycopg.Error:
        return None
    return found[0] if found else None

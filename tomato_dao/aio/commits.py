"""Outcomes of transactions for asyncio: tomato_dao/server/commits.py, run in a thread."""

import asyncio

import psycopg
from psycopg import AsyncRawCursor

from ..server import commits


async def was_committed(url: str, server: commits.Server | None, transaction: int, timeout: float) -> bool:
    """Find out whether a transaction was committed, like `commits.was_committed`."""
    return await asyncio.to_thread(commits.was_committed, url, server, transaction, timeout)


async def server_of(connection: psycopg.AsyncConnection) -> commits.Server | None:
    """Return the identity of a session's server, or None if it is a standby or does not allow the query."""
    try:
        async with AsyncRawCursor(connection) as cursor:
            await cursor.execute(commits.SERVER, ["infinity"])
            found = commits.server_in(await cursor.fetchone(), connection.info)
    except psycopg.Error:
        return None
    return found[0] if found else None

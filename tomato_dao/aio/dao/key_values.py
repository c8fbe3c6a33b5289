# Generated from tomato_dao/dao/key_values.py by “make schema”; not to be edited.
"""Key values: methods for the queries in db/queries/key_values.sql."""

from collections.abc import AsyncIterator, Sequence
from typing import TYPE_CHECKING

from ...dao import changed, found
from ...rows import Json, JsonIn, KeyValue
from .paging import every

if TYPE_CHECKING:
    from .faces import AsyncKeyValuesQueries


class AsyncKeyValues:
    """Values that the backend keeps under keys: any JSON; None is a value, too."""

    def __init__(self, queries: "AsyncKeyValuesQueries") -> None:
        self._q = queries

    async def get(self, key: str) -> Json:
        """Return the value under this key. Raises NotFound."""
        return found(await self._q.get(key), "key value", key).value

    async def list(self, *, after: str | None = None, limit: int = 100) -> Sequence[KeyValue]:
        """Return a page of keys and values ordered by key: at most `limit`, with keys above `after` (None: from the first).

        `iterate` returns all.
        """
        return await self._q.list(after, limit)

    def iterate(self) -> AsyncIterator[KeyValue]:
        """Iterate over all keys and values, ordered by key, fetching one page at a time."""
        return every(lambda after, limit: self._q.list(after, limit), lambda row: row.key, None)

    async def set(self, key: str, value: JsonIn) -> None:
        """Store a value under a key, replacing the value that is there. Raises InvalidValue."""
        await self._q.set(key, value)

    async def delete(self, key: str) -> None:
        """Delete a key and its value. Raises NotFound."""
        changed(await self._q.delete(key), "key value", key)

# Generated from tomato_dao/dao/key_values.py by “make schema”; not to be edited.
"""Key values: beside db/queries/key_values.sql."""

from collections.abc import AsyncIterator, Sequence
from typing import TYPE_CHECKING

from ...dao import changed, found
from ...rows import Json, JsonIn, KeyValue
from .paging import every

if TYPE_CHECKING:
    from .faces import AsyncKeyValuesQueries


class AsyncKeyValues:
    """The backend's small notes: any JSON under a key; None is a value too."""

    def __init__(self, queries: "AsyncKeyValuesQueries") -> None:
        self._q = queries

    async def get(self, key: str) -> Json:
        """Return the value under a key. Raises NotFound."""
        return found(await self._q.get(key), "key value", key).value

    async def list(self, *, after: str | None = None, limit: int = 100) -> Sequence[KeyValue]:
        """Return a page of notes by key: at most `limit` of those with a key above `after` (None: of all).

        `iterate` goes over all.
        """
        return await self._q.list(after, limit)

    def iterate(self) -> AsyncIterator[KeyValue]:
        """Iterate over all notes, by key; a page is fetched at a time."""
        return every(lambda after, limit: self._q.list(after, limit), lambda row: row.key, None)

    async def set(self, key: str, value: JsonIn) -> None:
        """Note a value under a key, instead of the one that is there. Raises InvalidValue."""
        await self._q.set(key, value)

    async def delete(self, key: str) -> None:
        """Remove a note. Raises NotFound."""
        changed(await self._q.delete(key), "key value", key)

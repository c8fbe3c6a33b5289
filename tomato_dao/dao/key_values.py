"""Key values: methods for the queries in db/queries/key_values.sql."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from ..rows import Json, JsonIn, KeyValue
from . import changed, every, found

if TYPE_CHECKING:
    from .faces import KeyValuesQueries


class KeyValues:
    """Values that the backend keeps under keys: any JSON; None is a value, too."""

    def __init__(self, queries: "KeyValuesQueries") -> None:
        self._q = queries

    def get(self, key: str) -> Json:
        """Return the value under this key. Raises NotFound."""
        return found(self._q.get(key), "key value", key).value

    def list(self, *, after: str | None = None, limit: int = 100) -> Sequence[KeyValue]:
        """Return a page of keys and values ordered by key: at most `limit`, with keys above `after` (None: from the first).

        `iterate` returns all.
        """
        return self._q.list(after, limit)

    def iterate(self) -> Iterator[KeyValue]:
        """Iterate over all keys and values, ordered by key, fetching one page at a time."""
        return every(lambda after, limit: self._q.list(after, limit), lambda row: row.key, None)

    def set(self, key: str, value: JsonIn) -> None:
        """Store a value under a key, replacing the value that is there. Raises InvalidValue."""
        self._q.set(key, value)

    def delete(self, key: str) -> None:
        """Delete a key and its value. Raises NotFound."""
        changed(self._q.delete(key), "key value", key)

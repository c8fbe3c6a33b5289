"""Key values: beside db/queries/key_values.sql."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from ..rows import Json, JsonIn, KeyValue
from . import changed, every, found

if TYPE_CHECKING:
    from .faces import KeyValuesQueries


class KeyValues:
    """The backend's small notes: any JSON under a key; None is a value too."""

    def __init__(self, queries: "KeyValuesQueries") -> None:
        self._q = queries

    def get(self, key: str) -> Json:
        """Return the value under a key. Raises NotFound."""
        return found(self._q.get(key), "key value", key).value

    def list(self, *, after: str | None = None, limit: int = 100) -> Sequence[KeyValue]:
        """Return a page of notes by key: at most `limit` of those with a key above `after` (None: of all).

        `iterate` goes over all.
        """
        return self._q.list(after, limit)

    def iterate(self) -> Iterator[KeyValue]:
        """Iterate over all notes, by key; a page is fetched at a time."""
        return every(lambda after, limit: self._q.list(after, limit), lambda row: row.key, None)

    def set(self, key: str, value: JsonIn) -> None:
        """Note a value under a key, instead of the one that is there. Raises InvalidValue."""
        self._q.set(key, value)

    def delete(self, key: str) -> None:
        """Remove a note. Raises NotFound."""
        changed(self._q.delete(key), "key value", key)

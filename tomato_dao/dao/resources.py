"""Resources: methods for the queries in db/queries/resources.sql."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from ..errors import InvalidValue
from ..rows import Resource
from . import changed, every, found

if TYPE_CHECKING:
    from .faces import ResourcesQueries

TYPES = ("template", "profile", "network", "network_instance")


class Resources:
    """Templates, profiles, networks and network instances together; an id belongs to at most one of them."""

    def __init__(self, queries: "ResourcesQueries") -> None:
        self._q = queries

    def get(self, id: int) -> Resource:
        """Return the resource with this id, of any type. Raises NotFound."""
        return found(self._q.get(id), "resource", id)

    def list(self, type: str | None = None, *, after: int = 0, limit: int = 100) -> Sequence[Resource]:
        """Return a page of resources ordered by id: at most `limit`, with ids above `after`; `iterate` returns all.

        type: "template", "profile", "network" or "network_instance" (default: all). Raises InvalidValue for any other.
        """
        if type is None:
            return self._q.list(after, limit)
        if type not in TYPES:
            raise InvalidValue(f"resource: type must be {', '.join(TYPES)}, not {type!r}", entity="resource", key="type")
        return self._q.list_of_type(type, after, limit)

    def iterate(self, type: str | None = None) -> Iterator[Resource]:
        """Iterate over all resources, or those of a type, ordered by id, fetching one page at a time."""
        return every(lambda after, limit: self.list(type, after=after, limit=limit), lambda row: row.id, 0)

    def delete(self, id: int) -> None:
        """Delete the resource with this id, of any type; references to it become null. Raises NotFound."""
        changed(self._q.delete(id) or 0, "resource", id)

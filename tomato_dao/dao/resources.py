"""Resources: beside db/queries/resources.sql."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from ..errors import InvalidValue
from ..rows import Resource
from . import changed, every, found

if TYPE_CHECKING:
    from .faces import ResourcesQueries

TYPES = ("template", "profile", "network", "network_instance")


class Resources:
    """Templates, profiles, networks and network instances together: an id alone names at most one of them."""

    def __init__(self, queries: "ResourcesQueries") -> None:
        self._q = queries

    def get(self, id: int) -> Resource:
        """Return the resource of an id, whatever its type. Raises NotFound."""
        return found(self._q.get(id), "resource", id)

    def list(self, type: str | None = None, *, after: int = 0, limit: int = 100) -> Sequence[Resource]:
        """Return a page of resources by id: at most `limit` of those with an id above `after`; `iterate` goes over all.

        type: template, profile, network or network_instance (default: all). Raises InvalidValue for another.
        """
        if type is None:
            return self._q.list(after, limit)
        if type not in TYPES:
            raise InvalidValue(f"resource: a type is {', '.join(TYPES)}, not {type!r}", entity="resource", key="type")
        return self._q.list_of_type(type, after, limit)

    def iterate(self, type: str | None = None) -> Iterator[Resource]:
        """Iterate over all resources, or a type's, by id, as `list` gives them; a page is fetched at a time."""
        return every(lambda after, limit: self.list(type, after=after, limit=limit), lambda row: row.id, 0)

    def delete(self, id: int) -> None:
        """Remove the resource of an id, whatever its type; what refers to it loses the reference. Raises NotFound."""
        changed(self._q.delete(id) or 0, "resource", id)

"""Organizations: methods for the queries in db/queries/organizations.sql."""

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from ..patches import OrganizationPatch, checked
from ..rows import JsonIn, JsonObject, Organization
from . import changed, every, found

if TYPE_CHECKING:
    from .faces import OrganizationsQueries


class Organizations:
    """Owners of sites and users, each with a unique name (at most 50 characters, no “/”)."""

    def __init__(self, queries: "OrganizationsQueries") -> None:
        self._q = queries

    def create(
        self,
        name: str,
        *,
        description: str = "",
        homepage_url: str = "",
        image_url: str = "",
        description_text: str = "",
        attrs: Mapping[str, JsonIn] | None = None,
    ) -> Organization:
        """Create an organization and return it. Raises AlreadyExists, InvalidValue."""
        return self._q.create(name, description, homepage_url, image_url, description_text, attrs or {})

    def get(self, id: int) -> Organization:
        """Return the organization with this id. Raises NotFound."""
        return found(self._q.get(id), "organization", id)

    def get_by_name(self, name: str) -> Organization:
        """Return the organization with this name. Raises NotFound."""
        return found(self._q.get_by_name(name), "organization", name)

    def list(self, *, after: int = 0, limit: int = 100) -> Sequence[Organization]:
        """Return a page of organizations ordered by id: at most `limit`, with ids above `after`; `iterate` returns all."""
        return self._q.list(after, limit)

    def iterate(self) -> Iterator[Organization]:
        """Iterate over all organizations, ordered by id, fetching one page at a time."""
        return every(lambda after, limit: self._q.list(after, limit), lambda row: row.id, 0)

    def update(self, name: str, patch: OrganizationPatch) -> Organization:
        """Change the fields in the patch and return the organization. Raises NotFound, AlreadyExists, InvalidValue."""
        return found(self._q.update(name, checked(OrganizationPatch, "organization", patch)), "organization", name)

    def set_attrs(self, name: str, set: Mapping[str, JsonIn], remove: Sequence[str] = ()) -> JsonObject:
        """Set and remove keys of attrs in one statement, and return the resulting attrs. Raises NotFound."""
        return found(self._q.set_attrs(name, set, remove), "organization", name)

    def delete(self, name: str) -> None:
        """Delete an organization. Raises NotFound, and NotEmpty while it has sites or users."""
        changed(self._q.delete(name), "organization", name)

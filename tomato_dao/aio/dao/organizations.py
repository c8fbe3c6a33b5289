# Generated from tomato_dao/dao/organizations.py by “make schema”; not to be edited.
"""Organizations: methods for the queries in db/queries/organizations.sql."""

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import TYPE_CHECKING

from ...dao import changed, found
from ...patches import OrganizationPatch, checked
from ...rows import JsonIn, JsonObject, Organization
from .paging import every

if TYPE_CHECKING:
    from .faces import AsyncOrganizationsQueries


class AsyncOrganizations:
    """Owners of sites and users, each with a unique name (at most 50 characters, no “/”)."""

    def __init__(self, queries: "AsyncOrganizationsQueries") -> None:
        self._q = queries

    async def create(
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
        return await self._q.create(name, description, homepage_url, image_url, description_text, attrs or {})

    async def get(self, id: int) -> Organization:
        """Return the organization with this id. Raises NotFound."""
        return found(await self._q.get(id), "organization", id)

    async def get_by_name(self, name: str) -> Organization:
        """Return the organization with this name. Raises NotFound."""
        return found(await self._q.get_by_name(name), "organization", name)

    async def list(self, *, after: int = 0, limit: int = 100) -> Sequence[Organization]:
        """Return a page of organizations ordered by id: at most `limit`, with ids above `after`; `iterate` returns all."""
        return await self._q.list(after, limit)

    def iterate(self) -> AsyncIterator[Organization]:
        """Iterate over all organizations, ordered by id, fetching one page at a time."""
        return every(lambda after, limit: self._q.list(after, limit), lambda row: row.id, 0)

    async def update(self, name: str, patch: OrganizationPatch) -> Organization:
        """Change the fields in the patch and return the organization. Raises NotFound, AlreadyExists, InvalidValue."""
        return found(await self._q.update(name, checked(OrganizationPatch, "organization", patch)), "organization", name)

    async def set_attrs(self, name: str, set: Mapping[str, JsonIn], remove: Sequence[str] = ()) -> JsonObject:
        """Set and remove keys of attrs in one statement, and return the resulting attrs. Raises NotFound."""
        return found(await self._q.set_attrs(name, set, remove), "organization", name)

    async def delete(self, name: str) -> None:
        """Delete an organization. Raises NotFound, and NotEmpty while it has sites or users."""
        changed(await self._q.delete(name), "organization", name)

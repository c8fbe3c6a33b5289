# Generated from tomato_dao/dao/organizations.py by “make schema”; not to be edited.
"""Organizations: beside db/queries/organizations.sql."""

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import TYPE_CHECKING

from ...dao import changed, found
from ...patches import OrganizationPatch, checked
from ...rows import JsonIn, JsonObject, Organization
from .paging import every

if TYPE_CHECKING:
    from .faces import AsyncOrganizationsQueries


class AsyncOrganizations:
    """Organizations own sites and users; known by their unique names (at most 50 characters, no “/”)."""

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
        """Return the organization of an id. Raises NotFound."""
        return found(await self._q.get(id), "organization", id)

    async def get_by_name(self, name: str) -> Organization:
        """Return the organization of a name. Raises NotFound."""
        return found(await self._q.get_by_name(name), "organization", name)

    async def list(self, *, after: int = 0, limit: int = 100) -> Sequence[Organization]:
        """Return a page of organizations by id: at most `limit` of those with an id above `after`; `iterate` goes over all."""
        return await self._q.list(after, limit)

    def iterate(self) -> AsyncIterator[Organization]:
        """Iterate over all organizations, by id; a page is fetched at a time."""
        return every(lambda after, limit: self._q.list(after, limit), lambda row: row.id, 0)

    async def update(self, name: str, patch: OrganizationPatch) -> Organization:
        """Change what the patch names. Raises NotFound, AlreadyExists, InvalidValue."""
        return found(await self._q.update(name, checked(OrganizationPatch, "organization", patch)), "organization", name)

    async def set_attrs(self, name: str, set: Mapping[str, JsonIn], remove: Sequence[str] = ()) -> JsonObject:
        """Set some keys of attrs and remove others, at once; the attrs that it has then. Raises NotFound."""
        return found(await self._q.set_attrs(name, set, remove), "organization", name)

    async def delete(self, name: str) -> None:
        """Remove an organization. Raises NotFound, NotEmpty while it has sites or users."""
        changed(await self._q.delete(name), "organization", name)

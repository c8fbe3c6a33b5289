# Generated from tomato_dao/dao/sites.py by “make schema”; not to be edited.
"""Sites: methods for the queries in db/queries/sites.sql."""

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import TYPE_CHECKING

from ...dao import changed, found
from ...patches import SitePatch, checked
from ...rows import FullSite, JsonIn, JsonObject, Site
from .paging import every

if TYPE_CHECKING:
    from .faces import AsyncSitesQueries


class AsyncSites:
    """Places with hosts, each with a unique name (at most 50 characters, no “/”)."""

    def __init__(self, queries: "AsyncSitesQueries") -> None:
        self._q = queries

    async def create(
        self,
        name: str,
        *,
        organization_id: int,
        description: str = "",
        location: str = "",
        longitude: float | None = None,
        latitude: float | None = None,
        description_text: str = "",
        attrs: Mapping[str, JsonIn] | None = None,
    ) -> Site:
        """Create a site and return it. longitude, latitude: in degrees, None if unknown.

        Raises AlreadyExists, NotFound (the organization), InvalidValue.
        """
        return await self._q.create(
            name, organization_id, description, location, longitude, latitude, description_text, attrs or {}
        )

    async def get(self, id: int) -> Site:
        """Return the site with this id. Raises NotFound."""
        return found(await self._q.get(id), "site", id)

    async def get_by_name(self, name: str) -> Site:
        """Return the site with this name. Raises NotFound."""
        return found(await self._q.get_by_name(name), "site", name)

    async def full(self, name: str) -> FullSite:
        """Return the site with this name and its organization's name. Raises NotFound."""
        return found(next(iter(await self._q.list_full(0, 1, name=name)), None), "site", name)

    async def list_full(self, *, organization_id: int | None = None, after: int = 0, limit: int = 100) -> Sequence[FullSite]:
        """Return a page of sites as `full` does, of all or of an organization, ordered by id as in `list`."""
        return await self._q.list_full(after, limit, organization_id=organization_id)

    async def list(self, *, after: int = 0, limit: int = 100) -> Sequence[Site]:
        """Return a page of sites ordered by id: at most `limit`, with ids above `after`; `iterate` returns all."""
        return await self._q.list(after, limit)

    def iterate(self, *, organization_id: int | None = None) -> AsyncIterator[Site]:
        """Iterate over all sites, or those of an organization, ordered by id, fetching one page at a time."""
        return every(lambda after, limit: self._q.list(after, limit, organization_id=organization_id), lambda row: row.id, 0)

    async def list_of_organization(self, organization_id: int, *, after: int = 0, limit: int = 100) -> Sequence[Site]:
        """Return a page of an organization's sites, as `list` does; `iterate` returns all."""
        return await self._q.list(after, limit, organization_id=organization_id)

    async def update(self, name: str, patch: SitePatch) -> Site:
        """Change the fields in the patch and return the site. Raises NotFound, AlreadyExists, InvalidValue."""
        return found(await self._q.update(name, checked(SitePatch, "site", patch)), "site", name)

    async def set_attrs(self, name: str, set: Mapping[str, JsonIn], remove: Sequence[str] = ()) -> JsonObject:
        """Set and remove keys of attrs in one statement, and return the resulting attrs. Raises NotFound."""
        return found(await self._q.set_attrs(name, set, remove), "site", name)

    async def delete(self, name: str) -> None:
        """Delete a site; topologies and elements that prefer it lose the preference.

        Raises NotFound, and NotEmpty while it has hosts.
        """
        changed(await self._q.delete(name), "site", name)

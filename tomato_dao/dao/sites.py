"""Sites: beside db/queries/sites.sql."""

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from ..patches import SitePatch, checked
from ..rows import FullSite, JsonIn, JsonObject, Site
from . import changed, every, found

if TYPE_CHECKING:
    from .faces import SitesQueries


class Sites:
    """Places with hosts; known by their unique names (at most 50 characters, no “/”)."""

    def __init__(self, queries: "SitesQueries") -> None:
        self._q = queries

    def create(
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
        """Create a site and return it; longitude and latitude in degrees, None where they are not known.

        Raises AlreadyExists, NotFound (the organization), InvalidValue.
        """
        return self._q.create(name, organization_id, description, location, longitude, latitude, description_text, attrs or {})

    def get(self, id: int) -> Site:
        """Return the site of an id. Raises NotFound."""
        return found(self._q.get(id), "site", id)

    def get_by_name(self, name: str) -> Site:
        """Return the site of a name. Raises NotFound."""
        return found(self._q.get_by_name(name), "site", name)

    def full(self, name: str) -> FullSite:
        """Return the site of a name with its organization's name. Raises NotFound."""
        return found(next(iter(self._q.list_full(0, 1, name=name)), None), "site", name)

    def list_full(self, *, organization_id: int | None = None, after: int = 0, limit: int = 100) -> Sequence[FullSite]:
        """Return a page of sites, or those of an organization, each as `full` tells it, as `list` does."""
        return self._q.list_full(after, limit, organization_id=organization_id)

    def list(self, *, after: int = 0, limit: int = 100) -> Sequence[Site]:
        """Return a page of sites by id: at most `limit` of those with an id above `after`; `iterate` goes over all."""
        return self._q.list(after, limit)

    def iterate(self, *, organization_id: int | None = None) -> Iterator[Site]:
        """Iterate over all sites, or an organization's, by id; a page is fetched at a time."""
        return every(lambda after, limit: self._q.list(after, limit, organization_id=organization_id), lambda row: row.id, 0)

    def list_of_organization(self, organization_id: int, *, after: int = 0, limit: int = 100) -> Sequence[Site]:
        """Return a page of an organization's sites, as `list` does; `iterate` goes over all."""
        return self._q.list(after, limit, organization_id=organization_id)

    def update(self, name: str, patch: SitePatch) -> Site:
        """Change what the patch names. Raises NotFound, AlreadyExists, InvalidValue."""
        return found(self._q.update(name, checked(SitePatch, "site", patch)), "site", name)

    def set_attrs(self, name: str, set: Mapping[str, JsonIn], remove: Sequence[str] = ()) -> JsonObject:
        """Set some keys of attrs and remove others, at once; the attrs that it has then. Raises NotFound."""
        return found(self._q.set_attrs(name, set, remove), "site", name)

    def delete(self, name: str) -> None:
        """Remove a site; who prefers it loses the preference. Raises NotFound, NotEmpty while it has hosts."""
        changed(self._q.delete(name), "site", name)

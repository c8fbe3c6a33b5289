# Generated from tomato_dao/dao/profiles.py by “make schema”; not to be edited.
"""Profiles: beside db/queries/profiles.sql."""

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import TYPE_CHECKING

from ...dao import changed, found
from ...patches import ProfilePatch, checked
from ...rows import JsonIn, JsonObject, Profile
from .paging import every

if TYPE_CHECKING:
    from .faces import AsyncProfilesQueries


class AsyncProfiles:
    """Resource limits of virtual machines; a name is unique among those of one tech (kvmqm, openvz, repy)."""

    def __init__(self, queries: "AsyncProfilesQueries") -> None:
        self._q = queries

    async def create(
        self,
        tech: str,
        name: str,
        *,
        preference: int = 0,
        label: str = "",
        restricted: bool = False,
        ram: float | None = None,
        cpus: float | None = None,
        diskspace: float | None = None,
        attrs: Mapping[str, JsonIn] | None = None,
    ) -> Profile:
        """Create a profile and return it: ram and diskspace in MB, cpus a fraction. Raises AlreadyExists, InvalidValue."""
        return await self._q.create(tech, name, preference, label, restricted, ram, cpus, diskspace, attrs or {})

    async def create_defaults(self) -> int:
        """Create a default profile for each tech that has no profile at all; return how many were created."""
        return await self._q.create_defaults()

    async def get(self, id: int) -> Profile:
        """Return the profile of an id. Raises NotFound."""
        return found(await self._q.get(id), "profile", id)

    async def get_by_name(self, tech: str, name: str) -> Profile:
        """Return the profile of a tech and a name. Raises NotFound."""
        return found(await self._q.get_by_name(tech, name), "profile", (tech, name))

    async def preferred(self, tech: str) -> Profile:
        """Return the one of a tech with the highest preference; of several the oldest. Raises NotFound where there is none."""
        return found(await self._q.preferred(tech), "profile of tech", tech)

    async def list(self, *, after: int = 0, limit: int = 100) -> Sequence[Profile]:
        """Return a page of profiles by id: at most `limit` of those with an id above `after`; `iterate` goes over all."""
        return await self._q.list(after, limit)

    def iterate(self, *, tech: str | None = None) -> AsyncIterator[Profile]:
        """Iterate over all profiles, or a tech's, by id; a page is fetched at a time."""
        return every(lambda after, limit: self._q.list(after, limit, tech=tech), lambda row: row.id, 0)

    async def list_of_tech(self, tech: str, *, after: int = 0, limit: int = 100) -> Sequence[Profile]:
        """Return a page of a tech's profiles, as `list` does; `iterate` goes over all."""
        return await self._q.list(after, limit, tech=tech)

    async def update(self, id: int, patch: ProfilePatch) -> Profile:
        """Change what the patch names. Raises NotFound, AlreadyExists, InvalidValue."""
        return found(await self._q.update(id, checked(ProfilePatch, "profile", patch)), "profile", id)

    async def set_attrs(self, id: int, set: Mapping[str, JsonIn], remove: Sequence[str] = ()) -> JsonObject:
        """Set some keys of attrs and remove others, at once; the attrs that it has then. Raises NotFound."""
        return found(await self._q.set_attrs(id, set, remove), "profile", id)

    async def delete(self, id: int) -> None:
        """Remove a profile; an element that names it then runs with the preferred one. Raises NotFound."""
        changed(await self._q.delete(id), "profile", id)

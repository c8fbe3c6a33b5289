# Generated from tomato_dao/dao/profiles.py by “make schema”; not to be edited.
"""Profiles: methods for the queries in db/queries/profiles.sql."""

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import TYPE_CHECKING

from ...dao import changed, found
from ...patches import ProfilePatch, checked
from ...rows import JsonIn, JsonObject, Profile
from .paging import every

if TYPE_CHECKING:
    from .faces import AsyncProfilesQueries


class AsyncProfiles:
    """Resource limits of virtual machines. A name is unique within a tech (kvmqm, openvz, repy)."""

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
        """Create a profile and return it. ram, diskspace: in MB; cpus: a fraction. Raises AlreadyExists, InvalidValue."""
        return await self._q.create(tech, name, preference, label, restricted, ram, cpus, diskspace, attrs or {})

    async def create_defaults(self) -> int:
        """Create a default profile for each tech without any profile, and return how many were created."""
        return await self._q.create_defaults()

    async def get(self, id: int) -> Profile:
        """Return the profile with this id. Raises NotFound."""
        return found(await self._q.get(id), "profile", id)

    async def get_by_name(self, tech: str, name: str) -> Profile:
        """Return the profile of a tech with this name. Raises NotFound."""
        return found(await self._q.get_by_name(tech, name), "profile", (tech, name))

    async def preferred(self, tech: str) -> Profile:
        """Return a tech's profile with the highest preference, the oldest of several. Raises NotFound if the tech has none."""
        return found(await self._q.preferred(tech), "profile of tech", tech)

    async def list(self, *, after: int = 0, limit: int = 100) -> Sequence[Profile]:
        """Return a page of profiles ordered by id: at most `limit`, with ids above `after`; `iterate` returns all."""
        return await self._q.list(after, limit)

    def iterate(self, *, tech: str | None = None) -> AsyncIterator[Profile]:
        """Iterate over all profiles, or those of a tech, ordered by id, fetching one page at a time."""
        return every(lambda after, limit: self._q.list(after, limit, tech=tech), lambda row: row.id, 0)

    async def list_of_tech(self, tech: str, *, after: int = 0, limit: int = 100) -> Sequence[Profile]:
        """Return a page of a tech's profiles, as `list` does; `iterate` returns all."""
        return await self._q.list(after, limit, tech=tech)

    async def update(self, id: int, patch: ProfilePatch) -> Profile:
        """Change the fields in the patch and return the profile. Raises NotFound, AlreadyExists, InvalidValue."""
        return found(await self._q.update(id, checked(ProfilePatch, "profile", patch)), "profile", id)

    async def set_attrs(self, id: int, set: Mapping[str, JsonIn], remove: Sequence[str] = ()) -> JsonObject:
        """Set and remove keys of attrs in one statement, and return the resulting attrs. Raises NotFound."""
        return found(await self._q.set_attrs(id, set, remove), "profile", id)

    async def delete(self, id: int) -> None:
        """Delete a profile; elements that used it run with the preferred one. Raises NotFound."""
        changed(await self._q.delete(id), "profile", id)

# Generated from tomato_dao/dao/host_components.py by “make schema”; not to be edited.
"""Host elements and host connections: beside db/queries/host_elements.sql and host_connections.sql, which are alike."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from ...dao import changed, finished, found, positive
from ...patches import HostComponentPatch, checked
from ...rows import HostComponent, HostUse, JsonIn, JsonObject, OrphanClaim, RefreshClaim

if TYPE_CHECKING:
    from .faces import AsyncHostElementsQueries


class AsyncHostComponents:
    """Host elements and host connections: what hosts really run. When what one serves goes, it stays as an orphan."""

    def __init__(self, queries: "AsyncHostElementsQueries", entity: str) -> None:
        self._q = queries
        self._entity = entity

    async def create(
        self,
        host_id: int,
        num: int,
        *,
        type: str,
        state: str,
        element_id: int | None = None,
        connection_id: int | None = None,
        attrs: Mapping[str, JsonIn] | None = None,
    ) -> HostComponent:
        """Create a component for an element or a connection, and return it; num is the host's own number for it.

        Raises AlreadyExists (num on that host), NotFound (what it refers to), InvalidValue (it serves both).
        """
        return await self._q.create(host_id, num, type, state, element_id, connection_id, attrs or {})

    async def get(self, id: int) -> HostComponent:
        """Return the one of an id. Raises NotFound."""
        return found(await self._q.get(id), self._entity, id)

    async def get_by_num(self, host_id: int, num: int) -> HostComponent:
        """Return the one that a host knows by its own number. Raises NotFound."""
        return found(await self._q.get_by_num(host_id, num), self._entity, (host_id, num))

    async def list_of_host(self, host_id: int, *, after: int = 0, limit: int = 100) -> Sequence[HostComponent]:
        """Return a page of those on a host by id: at most `limit` of those with an id above `after`."""
        return await self._q.list_of_host(host_id, after, limit)

    async def list_uses_of_host(self, host_id: int, *, after: int = 0, limit: int = 100) -> Sequence[HostUse]:
        """Return a page of those on a host with their topology, which tells who uses it, as `list_of_host` does."""
        return await self._q.list_uses_of_host(host_id, after, limit)

    async def list_of_element(self, element_id: int) -> Sequence[HostComponent]:
        """Those that serve an element, by id."""
        return await self._q.list_of_element(element_id)

    async def list_of_connection(self, connection_id: int) -> Sequence[HostComponent]:
        """Those that serve a connection, by id."""
        return await self._q.list_of_connection(connection_id)

    async def update(self, id: int, patch: HostComponentPatch) -> HostComponent:
        """Change what the patch names. Raises NotFound, AlreadyExists, InvalidValue."""
        return found(await self._q.update(id, checked(HostComponentPatch, self._entity, patch)), self._entity, id)

    async def set_attrs(self, id: int, set: Mapping[str, JsonIn], remove: Sequence[str] = ()) -> JsonObject:
        """Set some keys of attrs and remove others, at once; the attrs that it has then. Raises NotFound."""
        return found(await self._q.set_attrs(id, set, remove), self._entity, id)

    async def record(
        self, id: int, *, state: str, type: str, set: Mapping[str, JsonIn], remove: Sequence[str] = ()
    ) -> HostComponent:
        """Keep what its host says of it, in one write: state, type, and keys of attrs to be set and removed.

        Other keys of attrs stay. Returns it as it is then. Raises NotFound, InvalidValue.
        """
        return found(await self._q.record(id, state, type, set, remove), self._entity, id)

    async def claim_refreshes(self, *, limit: int, lease: timedelta) -> Sequence[RefreshClaim]:
        """Claim at most `limit` of those that serve something and were not kept alive for an hour, or never.

        They are this worker's for the time of the lease, to have its host keep a host element for 14 days more, and refresh a
        host connection; `finish_refresh` says that it was done. Raises InvalidValue.
        """
        return await self._q.claim_refreshes(limit, positive(lease))

    async def finish_refresh(self, id: int, lease_until: datetime) -> None:
        """Note that it was kept alive: it is due again in an hour. lease_until: the claim's. Raises LockLost."""
        finished(await self._q.finish_refresh(id, lease_until), self._entity, id)

    async def claim_orphans(self, *, limit: int, lease: timedelta) -> Sequence[OrphanClaim]:
        """At most `limit` of those that serve nothing, to be removed from their hosts.

        They are this worker's for the time of the lease; `finish_orphan` forgets each. Raises InvalidValue.
        """
        return await self._q.claim_orphans(limit, positive(lease))

    async def finish_orphan(self, id: int, lease_until: datetime) -> None:
        """Remove a claimed orphan that is gone from its host.

        lease_until: the claim's. Raises LockLost, also where it serves again.
        """
        finished(await self._q.finish_orphan(id, lease_until), self._entity, id)

    async def delete(self, id: int) -> None:
        """Remove it; what refers to it loses the reference. Raises NotFound."""
        changed(await self._q.delete(id), self._entity, id)

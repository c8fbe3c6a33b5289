# Generated from tomato_dao/dao/network_instances.py by “make schema”; not to be edited.
"""Network instances: beside db/queries/network_instances.sql."""

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import TYPE_CHECKING

from ...dao import changed, found
from ...patches import NetworkInstancePatch, checked
from ...rows import JsonIn, JsonObject, NetworkInstance
from .paging import every

if TYPE_CHECKING:
    from .faces import AsyncNetworkInstancesQueries


class AsyncNetworkInstances:
    """Networks on hosts, each behind a bridge that the host has once."""

    def __init__(self, queries: "AsyncNetworkInstancesQueries") -> None:
        self._q = queries

    async def create(
        self, network_id: int, host_id: int, bridge: str, *, attrs: Mapping[str, JsonIn] | None = None
    ) -> NetworkInstance:
        """Create a network on a host. Raises AlreadyExists (the bridge on that host), NotFound (the network or the host)."""
        return await self._q.create(network_id, host_id, bridge, attrs or {})

    async def get(self, id: int) -> NetworkInstance:
        """Return the network instance of an id. Raises NotFound."""
        return found(await self._q.get(id), "network instance", id)

    async def of_kind(self, host_id: int, kind: str) -> NetworkInstance:
        """Return the one on a host of a kind x, or x/…; of several the network's preference decides. Raises NotFound."""
        return found(await self._q.of_kind(host_id, kind), "network instance", (host_id, kind))

    async def list(self, *, after: int = 0, limit: int = 100) -> Sequence[NetworkInstance]:
        """Return a page of those on hosts by id: at most `limit` of those with an id above `after`; `iterate` goes over all."""
        return await self._q.list(after, limit)

    def iterate(self, *, host_id: int | None = None, network_id: int | None = None) -> AsyncIterator[NetworkInstance]:
        """Iterate over all network instances, or those on a host, of a network or both, by id; a page is fetched at a time."""
        return every(
            lambda after, limit: self._q.list(after, limit, host_id=host_id, network_id=network_id), lambda row: row.id, 0
        )

    async def list_of_host(self, host_id: int, *, after: int = 0, limit: int = 100) -> Sequence[NetworkInstance]:
        """Return a page of a host's network instances, as `list` does; `iterate` goes over all."""
        return await self._q.list(after, limit, host_id=host_id)

    async def list_of_network(self, network_id: int, *, after: int = 0, limit: int = 100) -> Sequence[NetworkInstance]:
        """Return a page of a network's instances, as `list` does; `iterate` goes over all."""
        return await self._q.list(after, limit, network_id=network_id)

    async def update(self, id: int, patch: NetworkInstancePatch) -> NetworkInstance:
        """Change what the patch names. Raises NotFound, AlreadyExists, InvalidValue."""
        return found(await self._q.update(id, checked(NetworkInstancePatch, "network instance", patch)), "network instance", id)

    async def set_attrs(self, id: int, set: Mapping[str, JsonIn], remove: Sequence[str] = ()) -> JsonObject:
        """Set some keys of attrs and remove others, at once; the attrs that it has then. Raises NotFound."""
        return found(await self._q.set_attrs(id, set, remove), "network instance", id)

    async def delete(self, id: int) -> None:
        """Remove a network instance; elements lose the reference. Raises NotFound."""
        changed(await self._q.delete(id), "network instance", id)

# Generated from tomato_dao/dao/networks.py by “make schema”; not to be edited.
"""Networks: methods for the queries in db/queries/networks.sql."""

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import TYPE_CHECKING

from ...dao import changed, found
from ...patches import NetworkPatch, checked
from ...rows import JsonIn, JsonObject, Network
from .paging import every

if TYPE_CHECKING:
    from .faces import AsyncNetworksQueries


class AsyncNetworks:
    """Kinds of external networks. A kind is unique, and “internet/uni” is also of the kind “internet”."""

    def __init__(self, queries: "AsyncNetworksQueries") -> None:
        self._q = queries

    async def create(
        self,
        kind: str,
        *,
        preference: int = 0,
        label: str = "",
        restricted: bool = False,
        attrs: Mapping[str, JsonIn] | None = None,
    ) -> Network:
        """Create a network and return it. Raises AlreadyExists, InvalidValue."""
        return await self._q.create(kind, preference, label, restricted, attrs or {})

    async def get(self, id: int) -> Network:
        """Return the network with this id. Raises NotFound."""
        return found(await self._q.get(id), "network", id)

    async def get_by_kind(self, kind: str) -> Network:
        """Return the network of exactly this kind. Raises NotFound."""
        return found(await self._q.get_by_kind(kind), "network", kind)

    async def list(self, *, after: int = 0, limit: int = 100) -> Sequence[Network]:
        """Return a page of networks ordered by id: at most `limit`, with ids above `after`; `iterate` returns all."""
        return await self._q.list(after, limit)

    def iterate(self) -> AsyncIterator[Network]:
        """Iterate over all networks, ordered by id, fetching one page at a time."""
        return every(lambda after, limit: self._q.list(after, limit), lambda row: row.id, 0)

    async def list_by_kind(self, kind: str) -> Sequence[Network]:
        """Return the networks of this kind and of any `kind/…`, the highest preference first."""
        return await self._q.list_by_kind(kind)

    async def list_of_host(self, host_id: int) -> Sequence[Network]:
        """Return the networks with an instance on a host, each once, the highest preference first."""
        return await self._q.list_of_host(host_id)

    async def update(self, id: int, patch: NetworkPatch) -> Network:
        """Change the fields in the patch and return the network. Raises NotFound, AlreadyExists, InvalidValue."""
        return found(await self._q.update(id, checked(NetworkPatch, "network", patch)), "network", id)

    async def set_attrs(self, id: int, set: Mapping[str, JsonIn], remove: Sequence[str] = ()) -> JsonObject:
        """Set and remove keys of attrs in one statement, and return the resulting attrs. Raises NotFound."""
        return found(await self._q.set_attrs(id, set, remove), "network", id)

    async def delete(self, id: int) -> None:
        """Delete a network; references from instances and elements become null. Raises NotFound."""
        changed(await self._q.delete(id), "network", id)

# Generated from tomato_dao/dao/networks.py by “make schema”; not to be edited.
"""Networks: beside db/queries/networks.sql."""

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import TYPE_CHECKING

from ...dao import changed, found
from ...patches import NetworkPatch, checked
from ...rows import JsonIn, JsonObject, Network
from .paging import every

if TYPE_CHECKING:
    from .faces import AsyncNetworksQueries


class AsyncNetworks:
    """Kinds of external networks; a kind is unique, and “internet/uni” is also of the kind “internet”."""

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
        """Return the network of an id. Raises NotFound."""
        return found(await self._q.get(id), "network", id)

    async def get_by_kind(self, kind: str) -> Network:
        """Return the network of exactly that kind. Raises NotFound."""
        return found(await self._q.get_by_kind(kind), "network", kind)

    async def list(self, *, after: int = 0, limit: int = 100) -> Sequence[Network]:
        """Return a page of networks by id: at most `limit` of those with an id above `after`; `iterate` goes over all."""
        return await self._q.list(after, limit)

    def iterate(self) -> AsyncIterator[Network]:
        """Iterate over all networks, by id; a page is fetched at a time."""
        return every(lambda after, limit: self._q.list(after, limit), lambda row: row.id, 0)

    async def list_by_kind(self, kind: str) -> Sequence[Network]:
        """Those of a kind x, and of any kind x/…, highest preference first."""
        return await self._q.list_by_kind(kind)

    async def list_of_host(self, host_id: int) -> Sequence[Network]:
        """Return those with an instance on a host, each once, highest preference first: their kinds are the host's."""
        return await self._q.list_of_host(host_id)

    async def update(self, id: int, patch: NetworkPatch) -> Network:
        """Change what the patch names. Raises NotFound, AlreadyExists, InvalidValue."""
        return found(await self._q.update(id, checked(NetworkPatch, "network", patch)), "network", id)

    async def set_attrs(self, id: int, set: Mapping[str, JsonIn], remove: Sequence[str] = ()) -> JsonObject:
        """Set some keys of attrs and remove others, at once; the attrs that it has then. Raises NotFound."""
        return found(await self._q.set_attrs(id, set, remove), "network", id)

    async def delete(self, id: int) -> None:
        """Remove a network; its instances and elements lose the reference. Raises NotFound."""
        changed(await self._q.delete(id), "network", id)

"""Network instances: methods for the queries in db/queries/network_instances.sql."""

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from ..patches import NetworkInstancePatch, checked
from ..rows import JsonIn, JsonObject, NetworkInstance
from . import changed, every, found

if TYPE_CHECKING:
    from .faces import NetworkInstancesQueries


class NetworkInstances:
    """Networks on hosts, each on a bridge that is unique on its host."""

    def __init__(self, queries: "NetworkInstancesQueries") -> None:
        self._q = queries

    def create(
        self, network_id: int, host_id: int, bridge: str, *, attrs: Mapping[str, JsonIn] | None = None
    ) -> NetworkInstance:
        """Create an instance of a network on a host and return it.

        Raises AlreadyExists if the host has this bridge already, NotFound (the network or the host).
        """
        return self._q.create(network_id, host_id, bridge, attrs or {})

    def get(self, id: int) -> NetworkInstance:
        """Return the network instance with this id. Raises NotFound."""
        return found(self._q.get(id), "network instance", id)

    def of_kind(self, host_id: int, kind: str) -> NetworkInstance:
        """Return a host's network instance of this kind, or of `kind/…`; the highest preference wins. Raises NotFound."""
        return found(self._q.of_kind(host_id, kind), "network instance", (host_id, kind))

    def list(self, *, after: int = 0, limit: int = 100) -> Sequence[NetworkInstance]:
        """Return a page of network instances ordered by id: at most `limit`, with ids above `after`; `iterate` returns all."""
        return self._q.list(after, limit)

    def iterate(self, *, host_id: int | None = None, network_id: int | None = None) -> Iterator[NetworkInstance]:
        """Iterate over all network instances, or those of a host, a network or both, ordered by id.

        One page is fetched at a time.
        """
        return every(
            lambda after, limit: self._q.list(after, limit, host_id=host_id, network_id=network_id), lambda row: row.id, 0
        )

    def list_of_host(self, host_id: int, *, after: int = 0, limit: int = 100) -> Sequence[NetworkInstance]:
        """Return a page of a host's network instances, as `list` does; `iterate` returns all."""
        return self._q.list(after, limit, host_id=host_id)

    def list_of_network(self, network_id: int, *, after: int = 0, limit: int = 100) -> Sequence[NetworkInstance]:
        """Return a page of a network's instances, as `list` does; `iterate` returns all."""
        return self._q.list(after, limit, network_id=network_id)

    def update(self, id: int, patch: NetworkInstancePatch) -> NetworkInstance:
        """Change the fields in the patch and return the network instance. Raises NotFound, AlreadyExists, InvalidValue."""
        return found(self._q.update(id, checked(NetworkInstancePatch, "network instance", patch)), "network instance", id)

    def set_attrs(self, id: int, set: Mapping[str, JsonIn], remove: Sequence[str] = ()) -> JsonObject:
        """Set and remove keys of attrs in one statement, and return the resulting attrs. Raises NotFound."""
        return found(self._q.set_attrs(id, set, remove), "network instance", id)

    def delete(self, id: int) -> None:
        """Delete a network instance; references to it become null. Raises NotFound."""
        changed(self._q.delete(id), "network instance", id)

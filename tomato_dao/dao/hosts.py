"""Hosts: beside db/queries/hosts.sql."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from ..patches import HostPatch, checked
from ..rows import Host, JsonIn, JsonObject
from . import changed, found

if TYPE_CHECKING:
    from .faces import HostsQueries


class Hosts:
    """Machines that run elements; known by their unique names (at most 255 characters, no “/”)."""

    def __init__(self, queries: "HostsQueries") -> None:
        self._q = queries

    def create(
        self,
        name: str,
        *,
        address: str,
        rpcurl: str,
        site_id: int,
        enabled: bool = True,
        description_text: str = "",
        attrs: Mapping[str, JsonIn] | None = None,
    ) -> Host:
        """A new host. Raises AlreadyExists (name or rpcurl), NotFound (the site), InvalidValue."""
        return self._q.create(name, address, rpcurl, site_id, enabled, description_text, attrs or {})

    def get(self, id: int) -> Host:
        """The host of an id. Raises NotFound."""
        return found(self._q.get(id), "host", id)

    def get_by_name(self, name: str) -> Host:
        """The host of a name. Raises NotFound."""
        return found(self._q.get_by_name(name), "host", name)

    def list(self, *, after: int = 0, limit: int = 100) -> Sequence[Host]:
        """All, by id: at most `limit` of those with an id above `after`."""
        return self._q.list(after, limit)

    def list_of_site(self, site_id: int, *, after: int = 0, limit: int = 100) -> Sequence[Host]:
        """Hosts of a site, by id: at most `limit` of those with an id above `after`."""
        return self._q.list_of_site(site_id, after, limit)

    def update(self, name: str, patch: HostPatch) -> Host:
        """Change what the patch names. Raises NotFound, AlreadyExists, InvalidValue."""
        return found(self._q.update(name, checked(HostPatch, "host", patch)), "host", name)

    def set_attrs(self, name: str, set: Mapping[str, JsonIn], remove: Sequence[str] = ()) -> JsonObject:
        """Set some keys of attrs and remove others, at once; the attrs that it has then. Raises NotFound."""
        return found(self._q.set_attrs(name, set, remove), "host", name)

    def delete(self, name: str) -> None:
        """Remove a host. Raises NotFound, NotEmpty while it has host elements or host connections."""
        changed(self._q.delete(name), "host", name)

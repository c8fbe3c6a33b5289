# Generated from tomato_dao/dao/templates_on_hosts.py by “make schema”; not to be edited.
"""Templates on hosts: methods for the queries in db/queries/templates_on_hosts.sql."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from ...dao import changed, found
from ...rows import TemplateOnHost

if TYPE_CHECKING:
    from .faces import AsyncTemplatesOnHostsQueries


class AsyncTemplatesOnHosts:
    """The templates that each host has, and whether they are ready there."""

    def __init__(self, queries: "AsyncTemplatesOnHostsQueries") -> None:
        self._q = queries

    async def get(self, host_id: int, template_id: int) -> TemplateOnHost:
        """Return the state of a template on a host. Raises NotFound."""
        return found(await self._q.get(host_id, template_id), "template on host", (host_id, template_id))

    async def list_of_host(self, host_id: int, *, after: int = 0, limit: int = 1000) -> Sequence[TemplateOnHost]:
        """Return a page of a host's templates ordered by template: at most `limit`, with template ids above `after`."""
        return await self._q.list_of_host(host_id, after, limit)

    async def list_of_template(self, template_id: int, *, after: int = 0, limit: int = 1000) -> Sequence[TemplateOnHost]:
        """Return a page of a template's hosts ordered by host: at most `limit`, with host ids above `after`."""
        return await self._q.list_of_template(template_id, after, limit)

    async def set(self, host_id: int, template_id: int, ready: bool) -> TemplateOnHost:
        """Store whether a host has a template ready; changed_at is the time of the last change. Raises NotFound."""
        return await self._q.set(host_id, template_id, ready)

    async def set_of_host(self, host_id: int, ready: Mapping[int, bool]) -> int:
        """Store what a host reports (template id → ready), and return how many rows are new or changed. Others stay.

        Raises NotFound (the host or a template); nothing is stored then.
        """
        return await self._q.set_of_host(host_id, list(ready), list(ready.values()))

    async def delete(self, host_id: int, template_id: int) -> None:
        """Delete the row of a template on a host. Raises NotFound."""
        changed(await self._q.delete(host_id, template_id), "template on host", (host_id, template_id))

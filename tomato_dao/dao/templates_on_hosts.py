"""Templates on hosts: methods for the queries in db/queries/templates_on_hosts.sql."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from ..rows import TemplateOnHost
from . import changed, found

if TYPE_CHECKING:
    from .faces import TemplatesOnHostsQueries


class TemplatesOnHosts:
    """The templates that each host has, and whether they are ready there."""

    def __init__(self, queries: "TemplatesOnHostsQueries") -> None:
        self._q = queries

    def get(self, host_id: int, template_id: int) -> TemplateOnHost:
        """Return the state of a template on a host. Raises NotFound."""
        return found(self._q.get(host_id, template_id), "template on host", (host_id, template_id))

    def list_of_host(self, host_id: int, *, after: int = 0, limit: int = 1000) -> Sequence[TemplateOnHost]:
        """Return a page of a host's templates ordered by template: at most `limit`, with template ids above `after`."""
        return self._q.list_of_host(host_id, after, limit)

    def list_of_template(self, template_id: int, *, after: int = 0, limit: int = 1000) -> Sequence[TemplateOnHost]:
        """Return a page of a template's hosts ordered by host: at most `limit`, with host ids above `after`."""
        return self._q.list_of_template(template_id, after, limit)

    def set(self, host_id: int, template_id: int, ready: bool) -> TemplateOnHost:
        """Store whether a host has a template ready; changed_at is the time of the last change. Raises NotFound."""
        return self._q.set(host_id, template_id, ready)

    def set_of_host(self, host_id: int, ready: Mapping[int, bool]) -> int:
        """Store what a host reports (template id → ready), and return how many rows are new or changed. Others stay.

        Raises NotFound (the host or a template); nothing is stored then.
        """
        return self._q.set_of_host(host_id, list(ready), list(ready.values()))

    def delete(self, host_id: int, template_id: int) -> None:
        """Delete the row of a template on a host. Raises NotFound."""
        changed(self._q.delete(host_id, template_id), "template on host", (host_id, template_id))

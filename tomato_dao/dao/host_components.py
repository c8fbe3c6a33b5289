"""Host components: methods for the queries in host_elements.sql and host_connections.sql, which are alike."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from ..patches import HostComponentPatch, checked
from ..rows import HostComponent, HostUse, JsonIn, JsonObject, OrphanClaim, RefreshClaim
from . import Front, changed, claimed, extended, finished, found, positive

if TYPE_CHECKING:
    from .faces import HostElementsQueries


class HostComponents:
    """Host elements and host connections: the components that hosts run.

    A component becomes an orphan when the element or connection that it serves is deleted.
    """

    def __init__(self, queries: "HostElementsQueries", entity: str) -> None:
        self._q = queries
        self._entity = entity
        self._refreshes = Front[RefreshClaim](lambda claim: claim.next_refresh_at)

    def create(
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
        """Create a component for an element or a connection, and return it. num: the host's own number for it.

        Raises AlreadyExists if the host has this number already, NotFound if a referenced row does not exist, and
        InvalidValue if it serves both an element and a connection.
        """
        return self._q.create(host_id, num, type, state, element_id, connection_id, attrs or {})

    def get(self, id: int) -> HostComponent:
        """Return the component with this id. Raises NotFound."""
        return found(self._q.get(id), self._entity, id)

    def get_by_num(self, host_id: int, num: int) -> HostComponent:
        """Return the component that a host knows by this number. Raises NotFound."""
        return found(self._q.get_by_num(host_id, num), self._entity, (host_id, num))

    def list_of_host(self, host_id: int, *, after: int = 0, limit: int = 100) -> Sequence[HostComponent]:
        """Return a page of a host's components ordered by id: at most `limit`, with ids above `after`."""
        return self._q.list_of_host(host_id, after, limit)

    def list_uses_of_host(self, host_id: int, *, after: int = 0, limit: int = 100) -> Sequence[HostUse]:
        """Return a page of a host's components as `list_of_host` does, with the topology that uses each."""
        return self._q.list_uses_of_host(host_id, after, limit)

    def list_of_element(self, element_id: int) -> Sequence[HostComponent]:
        """Return the components that serve an element, ordered by id."""
        return self._q.list_of_element(element_id)

    def list_of_connection(self, connection_id: int) -> Sequence[HostComponent]:
        """Return the components that serve a connection, ordered by id."""
        return self._q.list_of_connection(connection_id)

    def update(self, id: int, patch: HostComponentPatch) -> HostComponent:
        """Change the fields in the patch and return the component. Raises NotFound, AlreadyExists, InvalidValue."""
        return found(self._q.update(id, checked(HostComponentPatch, self._entity, patch)), self._entity, id)

    def set_attrs(self, id: int, set: Mapping[str, JsonIn], remove: Sequence[str] = ()) -> JsonObject:
        """Set and remove keys of attrs in one statement, and return the resulting attrs. Raises NotFound."""
        return found(self._q.set_attrs(id, set, remove), self._entity, id)

    def record(self, id: int, *, state: str, type: str, set: Mapping[str, JsonIn], remove: Sequence[str] = ()) -> HostComponent:
        """Store what the host reports about a component in one statement, and return the component.

        state, type: as reported. set, remove: the keys of attrs to set and to remove; other keys stay. Raises NotFound,
        InvalidValue.
        """
        return found(self._q.record(id, state, type, set, remove), self._entity, id)

    def claim_refreshes(self, *, limit: int, lease: timedelta) -> Sequence[RefreshClaim]:
        """Claim at most `limit` components that serve something and were not kept alive within the last hour.

        The worker asks the host to keep a host element for 14 more days, or to refresh a host connection, and calls
        `finish_refresh`. lease: how long they belong to this worker. See docs/guides/claims.md. Raises InvalidValue.
        """
        return claimed(self._refreshes, lambda since: self._q.claim_refreshes(limit, positive(lease), since=since), limit)

    def extend_refresh(self, id: int, lease_until: datetime, lease: timedelta) -> datetime:
        """Extend the lease on a claimed component, and return its new end, with which it is finished.

        lease_until: the claim's. lease: the time from now to the new end. Raises LockLost, InvalidValue.
        """
        return extended(self._q.extend_refresh(id, lease_until, positive(lease)), self._entity, id)

    def finish_refresh(self, id: int, lease_until: datetime) -> None:
        """Record that a claimed component was kept alive: it is due again in an hour.

        lease_until: the claim's. Raises LockLost.
        """
        finished(self._q.finish_refresh(id, lease_until), self._entity, id)

    def claim_orphans(self, *, limit: int, lease: timedelta) -> Sequence[OrphanClaim]:
        """Claim at most `limit` orphans, which are to be removed from their hosts.

        lease: how long they belong to this worker. Call `finish_orphan` for each. See docs/guides/claims.md. Raises
        InvalidValue.
        """
        return self._q.claim_orphans(limit, positive(lease))

    def extend_orphan(self, id: int, lease_until: datetime, lease: timedelta) -> datetime:
        """Extend the lease on a claimed orphan, and return its new end, with which it is finished.

        lease_until: the claim's. lease: the time from now to the new end. Raises LockLost, InvalidValue.
        """
        return extended(self._q.extend_orphan(id, lease_until, positive(lease)), self._entity, id)

    def finish_orphan(self, id: int, lease_until: datetime) -> None:
        """Delete a claimed orphan that was removed from its host.

        lease_until: the claim's. Raises LockLost if the lease ran out, or the component serves something again.
        """
        finished(self._q.finish_orphan(id, lease_until), self._entity, id)

    def delete(self, id: int) -> None:
        """Delete a component; references to it become null. Raises NotFound."""
        changed(self._q.delete(id), self._entity, id)

# Generated from tomato_dao/dao/hosts.py by “make schema”; not to be edited.
"""Hosts: methods for the queries in db/queries/hosts.sql."""

from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from ...dao import Front, changed, extended, finished, found, positive
from ...errors import InvalidValue
from ...patches import HostPatch, checked
from ...printable import quoted
from ...rows import FullHost, Host, HostCandidate, HostSyncClaim, HostUpdateClaim, JsonIn, JsonObject, ProblemNoticeClaim
from .paging import claimed, every

if TYPE_CHECKING:
    from .faces import AsyncHostsQueries


class AsyncHosts:
    """Machines that run elements, each with a unique name (at most 255 characters, no “/”).

    docs/domain.md#hosts explains a host's problems and load. Calls that judge a host take `started_at`, the time when the
    backend started: a host is not blamed for missing reports of the time before.
    """

    def __init__(self, queries: "AsyncHostsQueries") -> None:
        self._q = queries
        self._updates = Front[HostUpdateClaim](lambda claim: claim.info_at)
        self._syncs = Front[HostSyncClaim](lambda claim: claim.resources_synced_at)

    async def create(
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
        """Create a host and return it. Raises AlreadyExists (name or rpcurl), NotFound (the site), InvalidValue."""
        return await self._q.create(name, address, rpcurl, site_id, enabled, description_text, attrs or {})

    async def get(self, id: int) -> Host:
        """Return the host with this id. Raises NotFound."""
        return found(await self._q.get(id), "host", id)

    async def get_by_name(self, name: str) -> Host:
        """Return the host with this name. Raises NotFound."""
        return found(await self._q.get_by_name(name), "host", name)

    async def full(self, name: str, *, started_at: datetime | None = None) -> FullHost:
        """Return the host with this name, its problems and load, and the names of its site and organization.

        Raises NotFound.
        """
        return found(await self._q.full(name, started_at), "host", name)

    async def list(self, *, started_at: datetime | None = None, after: int = 0, limit: int = 100) -> Sequence[FullHost]:
        """Return a page of hosts with problems and load, ordered by id: at most `limit`, with ids above `after`.

        `iterate` returns all.
        """
        return await self._q.list(started_at, limit, after_id=after)

    async def list_of_site(
        self, site_id: int, *, started_at: datetime | None = None, after: int = 0, limit: int = 100
    ) -> Sequence[FullHost]:
        """Return a page of a site's hosts, as `list` does; `iterate` returns all."""
        return await self._q.list(started_at, limit, site_id=site_id, after_id=after)

    async def list_of_organization(
        self, organization_id: int, *, started_at: datetime | None = None, after: int = 0, limit: int = 100
    ) -> Sequence[FullHost]:
        """Return a page of the hosts of an organization's sites, as `list` does; `iterate` returns all."""
        return await self._q.list(started_at, limit, organization_id=organization_id, after_id=after)

    async def list_alphabetically(
        self,
        *,
        site_id: int | None = None,
        organization_id: int | None = None,
        started_at: datetime | None = None,
        after: tuple[str, str] | None = None,
        limit: int = 100,
    ) -> Sequence[FullHost]:
        """Return a page of hosts, of all or of a site or organization, ordered by the names of site and host.

        after: site_name and name of the previous page's last host (default: the first page).
        """
        site_name, name = after or (None, None)
        return await self._q.list(
            started_at,
            limit,
            site_id=site_id,
            organization_id=organization_id,
            after_site=site_name,
            after_name=name,
            order="name",
        )

    def iterate(
        self, *, site_id: int | None = None, organization_id: int | None = None, started_at: datetime | None = None
    ) -> AsyncIterator[FullHost]:
        """Iterate over all hosts, or those of a site or organization, ordered by id, fetching one page at a time."""
        return every(
            lambda after, limit: self._q.list(
                started_at, limit, site_id=site_id, organization_id=organization_id, after_id=after
            ),
            lambda row: row.id,
            0,
        )

    async def update(self, name: str, patch: HostPatch) -> Host:
        """Change the fields in the patch and return the host. Raises NotFound, AlreadyExists, InvalidValue."""
        return found(await self._q.update(name, checked(HostPatch, "host", patch)), "host", name)

    async def set_attrs(self, name: str, set: Mapping[str, JsonIn], remove: Sequence[str] = ()) -> JsonObject:
        """Set and remove keys of attrs in one statement, and return the resulting attrs. Raises NotFound."""
        return found(await self._q.set_attrs(name, set, remove), "host", name)

    async def delete(self, name: str) -> None:
        """Delete a host. Raises NotFound, and NotEmpty while it has host elements or host connections."""
        changed(await self._q.delete(name), "host", name)

    async def candidates(
        self,
        *,
        element_types: Sequence[str] = (),
        connection_types: Sequence[str] = (),
        network_kinds: Sequence[str] = (),
        host_bonuses: Mapping[int, float] | None = None,
        site_bonuses: Mapping[int, float] | None = None,
        started_at: datetime | None = None,
        limit: int = 100,
    ) -> Sequence[HostCandidate]:
        """Return the `limit` best hosts without problems that support all requested types and kinds, best first.

        docs/domain.md#host-selection explains the score.

        Args:
            element_types: Element types, under their own names or the names that they have on hosts.
            connection_types: Connection types, likewise.
            network_kinds: Kinds of networks; any `x/…` satisfies `x`. Only a host's network instances count, not what it
                reports.
            host_bonuses, site_bonuses: What is added to the score of hosts, by host id and by site id.
            started_at: When the backend started.
            limit: The most hosts to return.

        Raises InvalidValue.
        """
        return await self._q.candidates(
            element_types,
            connection_types,
            network_kinds,
            _by_id("host_bonuses", host_bonuses),
            _by_id("site_bonuses", site_bonuses),
            started_at,
            limit,
        )

    async def candidates_of_site(
        self,
        site_id: int,
        *,
        element_types: Sequence[str] = (),
        connection_types: Sequence[str] = (),
        network_kinds: Sequence[str] = (),
        host_bonuses: Mapping[int, float] | None = None,
        started_at: datetime | None = None,
        limit: int = 100,
    ) -> Sequence[HostCandidate]:
        """Return the best hosts of one site, as `candidates` does, but scored against the averages of the site."""
        return await self._q.candidates(
            element_types,
            connection_types,
            network_kinds,
            _by_id("host_bonuses", host_bonuses),
            {},
            started_at,
            limit,
            site_id=site_id,
        )

    async def update_availability(self, name: str, *, started_at: datetime | None = None) -> float:
        """Update a host's availability and problems after an update that succeeded or failed; return the availability (0 to 1).

        Call it once per host_update_interval (settings); disabled hosts stay unchanged. Component errors are halved. The
        availability moves towards 0 if the host has a problem, else towards 1. problem_since is set, or cleared once nobody
        is left to be notified of the problem's end. Raises NotFound.
        """
        return found(await self._q.update_availability(name, started_at), "host", name)

    async def update_all_availabilities(self, *, started_at: datetime | None = None) -> int:
        """Do what `update_availability` does for all enabled hosts at once, and return how many there are."""
        return await self._q.update_all_availabilities(started_at)

    async def count_error(self, name: str) -> int:
        """Count a failed request to a host, and return its component errors. Raises NotFound."""
        return found(await self._q.count_error(name), "host", name)

    async def claim_updates(self, *, limit: int, lease: timedelta) -> Sequence[HostUpdateClaim]:
        """Claim at most `limit` enabled hosts that were not updated within the settings' host_update_interval (60 s).

        lease: how long they belong to this worker. A host that is not finished by then becomes due again, behind those that
        have waited longer. See docs/guides/claims.md. Raises InvalidValue.
        """
        return await claimed(self._updates, lambda since: self._q.claim_updates(limit, positive(lease), since=since), limit)

    async def extend_update(self, id: int, lease_until: datetime, lease: timedelta) -> datetime:
        """Extend the lease on a host that was claimed for an update, and return its new end, with which it is finished.

        lease_until: the claim's. lease: the time from now to the new end. Raises LockLost, InvalidValue.
        """
        return extended(await self._q.extend_update(id, lease_until, positive(lease)), "host", id)

    async def finish_update(
        self,
        id: int,
        lease_until: datetime,
        *,
        info: JsonIn,
        query_time: float,
        time_diff: float,
        element_types: JsonIn,
        connection_types: JsonIn,
        networks: JsonIn,
    ) -> None:
        """Store the result of a claimed host's update; call `update_availability` next.

        Args:
            id: The id of the host.
            lease_until: The claim's.
            info, element_types, connection_types, networks: As reported by the host.
            query_time: Seconds that the request took; stored in info.
            time_diff: Seconds by which the host's clock is ahead; stored in info.

        Raises LockLost, InvalidValue.
        """
        count = await self._q.finish_update(
            id, lease_until, info, query_time, time_diff, element_types, connection_types, networks
        )
        finished(count, "host", id)

    async def claim_syncs(self, *, limit: int, lease: timedelta) -> Sequence[HostSyncClaim]:
        """Claim at most `limit` enabled hosts whose resources are due to be synced.

        That is the settings' resource_sync_interval (600 s) after the last time. lease: as in `claim_updates`. Raises
        InvalidValue.
        """
        return await claimed(self._syncs, lambda since: self._q.claim_syncs(limit, positive(lease), since=since), limit)

    async def extend_sync(self, id: int, lease_until: datetime, lease: timedelta) -> datetime:
        """Extend the lease on a host that was claimed for a synchronisation, and return its new end, with which it is finished.

        lease_until: the claim's. lease: the time from now to the new end. Raises LockLost, InvalidValue.
        """
        return extended(await self._q.extend_sync(id, lease_until, positive(lease)), "host", id)

    async def finish_sync(self, id: int, lease_until: datetime) -> None:
        """Record that a claimed host's resources are synced now. lease_until: the claim's. Raises LockLost."""
        finished(await self._q.finish_sync(id, lease_until), "host", id)

    async def claim_problem_notices(
        self, *, limit: int, lease: timedelta, started_at: datetime | None = None
    ) -> Sequence[ProblemNoticeClaim]:
        """Claim at most `limit` notices of problems to be sent (docs/domain.md#availability-and-notices).

        lease: how long they belong to this worker. Recipients are all users whom flags name, including those with
        `nomails`. Only problems seen by `update_availability` count. A problem that returns before its end was announced is
        still the same one. Raises InvalidValue.
        """
        return await self._q.claim_problem_notices(started_at, limit, positive(lease))

    async def extend_problem_notice(self, host_id: int, lease_until: datetime, lease: timedelta) -> datetime:
        """Extend the lease on a claimed notice, and return its new end, with which it is finished.

        lease_until: the claim's. lease: the time from now to the new end. Raises LockLost, InvalidValue.
        """
        return extended(await self._q.extend_problem_notice(host_id, lease_until, positive(lease)), "host", host_id)

    async def finish_problem_notice(self, host_id: int, lease_until: datetime, kind: str) -> None:
        """Record that a claimed notice was sent. lease_until, kind: the claim's. Raises LockLost, InvalidValue."""
        if kind not in ("announce", "again", "resolved"):
            raise InvalidValue(
                f"host: kind must be announce, again or resolved, not {quoted(kind)}", entity="host", key=host_id
            )
        finished(await self._q.finish_problem_notice(host_id, lease_until, kind), "host", host_id)


def _by_id(name: str, bonuses: Mapping[int, float] | None) -> dict[str, float]:
    if bonuses is None:
        return {}
    if not isinstance(bonuses, Mapping):
        raise InvalidValue(f"host: {name} must be a dict by id, not {type(bonuses).__name__}", entity="host", key=name)
    return {str(id): bonus for id, bonus in bonuses.items()}

# Generated from tomato_dao/dao/hosts.py by “make schema”; not to be edited.
"""Hosts: beside db/queries/hosts.sql."""

from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from ...dao import changed, finished, found, positive
from ...errors import InvalidValue
from ...patches import HostPatch, checked
from ...printable import quoted
from ...rows import FullHost, Host, HostCandidate, HostSyncClaim, HostUpdateClaim, JsonIn, JsonObject, ProblemNoticeClaim
from .paging import every

if TYPE_CHECKING:
    from .faces import AsyncHostsQueries


class AsyncHosts:
    """Machines that run elements; known by their unique names (at most 255 characters, no “/”).

    A host's problems and load are explained in docs/domain.md#hosts. Calls that judge them take started_at, when the backend
    started: a host can't be blamed for what the backend did not ask of it before.
    """

    def __init__(self, queries: "AsyncHostsQueries") -> None:
        self._q = queries

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
        """Return the host of an id. Raises NotFound."""
        return found(await self._q.get(id), "host", id)

    async def get_by_name(self, name: str) -> Host:
        """Return the host of a name. Raises NotFound."""
        return found(await self._q.get_by_name(name), "host", name)

    async def full(self, name: str, *, started_at: datetime | None = None) -> FullHost:
        """Return the host of a name with problems, load, and the names of site and organization. Raises NotFound."""
        return found(await self._q.full(name, started_at), "host", name)

    async def list(self, *, started_at: datetime | None = None, after: int = 0, limit: int = 100) -> Sequence[FullHost]:
        """Return a page of hosts, with problems and load, by id: at most `limit` of those with an id above `after`.

        `iterate` goes over all.
        """
        return await self._q.list(started_at, limit, after_id=after)

    async def list_of_site(
        self, site_id: int, *, started_at: datetime | None = None, after: int = 0, limit: int = 100
    ) -> Sequence[FullHost]:
        """Return a page of a site's hosts, as `list` does; `iterate` goes over all."""
        return await self._q.list(started_at, limit, site_id=site_id, after_id=after)

    async def list_of_organization(
        self, organization_id: int, *, started_at: datetime | None = None, after: int = 0, limit: int = 100
    ) -> Sequence[FullHost]:
        """Return a page of the hosts of an organization's sites, as `list` does; `iterate` goes over all."""
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
        """Return a page of hosts, or a site's or an organization's, by the names of site and host.

        after: site_name and name of the last host of the page before (default: the first page).
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
        """Iterate over all hosts, or a site's or an organization's, by id; a page is fetched at a time."""
        return every(
            lambda after, limit: self._q.list(
                started_at, limit, site_id=site_id, organization_id=organization_id, after_id=after
            ),
            lambda row: row.id,
            0,
        )

    async def update(self, name: str, patch: HostPatch) -> Host:
        """Change what the patch names. Raises NotFound, AlreadyExists, InvalidValue."""
        return found(await self._q.update(name, checked(HostPatch, "host", patch)), "host", name)

    async def set_attrs(self, name: str, set: Mapping[str, JsonIn], remove: Sequence[str] = ()) -> JsonObject:
        """Set some keys of attrs and remove others, at once; the attrs that it has then. Raises NotFound."""
        return found(await self._q.set_attrs(name, set, remove), "host", name)

    async def delete(self, name: str) -> None:
        """Remove a host. Raises NotFound, NotEmpty while it has host elements or host connections."""
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
        """Return the `limit` best hosts without problems that support all of it, best first (docs/domain.md#host-selection).

        element_types: under their own names or those that they have on hosts. network_kinds: `x` is also satisfied by any
        `x/…`; a host has the kinds of its network instances, whatever it reports. host_bonuses, site_bonuses: what is added to
        the score of a host, by its id and its site's. Raises InvalidValue.
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
        """As candidates, of one site; averages are the site's, too."""
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
        """Draw the conclusions from an update of a host, or from one that failed; return the availability (0 to 1) then.

        To be called once in a host_update_interval (settings); a disabled host stays as it is. Component errors are halved; the
        availability moves towards 1 or, where the host has a problem then, 0; problem_since is set or, once nobody has to be
        told of the problem's end, cleared. Raises NotFound.
        """
        return found(await self._q.update_availability(name, started_at), "host", name)

    async def update_all_availabilities(self, *, started_at: datetime | None = None) -> int:
        """Do what update_availability does for all enabled hosts at once; return how many there are."""
        return await self._q.update_all_availabilities(started_at)

    async def count_error(self, name: str) -> int:
        """Count a failed request; the component errors that the host has then. Raises NotFound."""
        return found(await self._q.count_error(name), "host", name)

    async def claim_updates(self, *, limit: int, lease: timedelta) -> Sequence[HostUpdateClaim]:
        """Claim at most `limit` enabled hosts that were not updated for the settings' host_update_interval (60 s).

        They are the caller's for the time of the lease. One that is not finished by then, as it could not be reached, becomes
        due again, behind those that have waited longer. Raises InvalidValue.
        """
        return await self._q.claim_updates(limit, positive(lease))

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
        """Keep what the update of a claimed host brought, as of now; `update_availability` then draws the conclusions.

        lease_until: the claim's. info, element_types, connection_types, networks: as the host reports them. query_time,
        time_diff: measured by the caller and added to info: seconds that the request took, and seconds by which the host's
        clock is ahead. Raises LockLost, InvalidValue.
        """
        count = await self._q.finish_update(
            id, lease_until, info, query_time, time_diff, element_types, connection_types, networks
        )
        finished(count, "host", id)

    async def claim_syncs(self, *, limit: int, lease: timedelta) -> Sequence[HostSyncClaim]:
        """Claim at most `limit` enabled hosts whose resources were not synced for the settings' resource_sync_interval (600 s).

        Leases are as in `claim_updates`. Raises InvalidValue.
        """
        return await self._q.claim_syncs(limit, positive(lease))

    async def finish_sync(self, id: int, lease_until: datetime) -> None:
        """Note that the resources of a claimed host are synced as of now. lease_until: the claim's. Raises LockLost."""
        finished(await self._q.finish_sync(id, lease_until), "host", id)

    async def claim_problem_notices(
        self, *, limit: int, lease: timedelta, started_at: datetime | None = None
    ) -> Sequence[ProblemNoticeClaim]:
        """Claim at most `limit` notices of problems for the time of the lease (docs/domain.md#availability-and-notices).

        Recipients are all whom the flags name, those with `nomails` too. Only what update_availability has seen counts as a
        problem, and one that is back before its end was told is still the same. Raises InvalidValue.
        """
        return await self._q.claim_problem_notices(started_at, limit, positive(lease))

    async def finish_problem_notice(self, host_id: int, lease_until: datetime, kind: str) -> None:
        """Note that a claimed notice, of the kind that it has, was sent.

        lease_until: the claim's. Raises LockLost, InvalidValue.
        """
        if kind not in ("announce", "again", "resolved"):
            raise InvalidValue(f"host: a notice is announce, again or resolved, not {quoted(kind)}", entity="host", key=host_id)
        finished(await self._q.finish_problem_notice(host_id, lease_until, kind), "host", host_id)


def _by_id(name: str, bonuses: Mapping[int, float] | None) -> dict[str, float]:
    if bonuses is None:
        return {}
    if not isinstance(bonuses, Mapping):
        raise InvalidValue(f"host: {name} is a dict by id, not {type(bonuses).__name__}", entity="host", key=name)
    return {str(id): bonus for id, bonus in bonuses.items()}

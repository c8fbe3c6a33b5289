# Generated from tomato_dao/dao/topologies.py by “make schema”; not to be edited.
"""Topologies: beside db/queries/topologies.sql and, for import and export, topology_exchange.sql."""

from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from ... import exchange
from ...dao import changed, finished, found, positive
from ...errors import InvalidValue
from ...patches import TopologyPatch, checked
from ...printable import quoted
from ...rows import (
    FullTopology,
    ImportedTopology,
    Json,
    JsonIn,
    JsonObject,
    ListedTopology,
    TimeoutClaim,
    Topology,
    TopologyContact,
)
from .paging import every

if TYPE_CHECKING:
    from .faces import AsyncTopologiesQueries, AsyncTopologyExchangeQueries

_ROLES = ["user", "manager", "owner"]  # from the lowest


class AsyncTopologies:
    """Experiments: each holds elements and the connections between them."""

    def __init__(self, queries: "AsyncTopologiesQueries", exchange_queries: "AsyncTopologyExchangeQueries") -> None:
        self._q = queries
        self._exchange = exchange_queries

    async def create(
        self, name: str = "", *, owner_id: int, site_id: int | None = None, attrs: Mapping[str, JsonIn] | None = None
    ) -> Topology:
        """Create a topology with its owner; it times out in an hour (a setting).

        name: default: by its id, as “Topology #5”.

        Raises NotFound (the user or the site), InvalidValue.
        """
        return await self._q.create(name, owner_id, site_id, attrs or {})

    async def get(self, id: int) -> Topology:
        """Return the topology of an id. Raises NotFound."""
        return found(await self._q.get(id), "topology", id)

    async def full(self, id: int) -> FullTopology:
        """Return a topology with elements, connections, permissions and latest 5-minute usage. Raises NotFound."""
        return found(await self._q.full(id), "topology", id)

    async def list(self, *, asking_user_id: int | None = None, after: int = 0, limit: int = 100) -> Sequence[ListedTopology]:
        """Return a page of topologies by id, each with the role of the user who asks; `iterate` goes over all.

        It is at most `limit` of those with an id above `after`.
        """
        return await self._q.list(asking_user_id, after, limit)

    def iterate(self, *, asking_user_id: int | None = None) -> AsyncIterator[ListedTopology]:
        """Iterate over all topologies, as `list` gives them; a page is fetched at a time."""
        return every(
            lambda after, limit: self.list(asking_user_id=asking_user_id, after=after, limit=limit), lambda row: row.id, 0
        )

    async def list_of_user(
        self, user_id: int, *, asking_user_id: int | None = None, after: int = 0, limit: int = 100
    ) -> Sequence[ListedTopology]:
        """Return a page of those on which a user has an explicit permission, as `list` does."""
        return await self._q.list(asking_user_id, after, limit, user_id=user_id)

    async def list_of_organization(
        self, organization_id: int, *, asking_user_id: int | None = None, after: int = 0, limit: int = 100
    ) -> Sequence[ListedTopology]:
        """Return a page of those with an owner in an organization, as `list` does."""
        return await self._q.list_of_organization(organization_id, asking_user_id, after, limit)

    async def update(self, id: int, patch: TopologyPatch) -> Topology:
        """Change what the patch names. Raises NotFound, InvalidValue."""
        return found(await self._q.update(id, checked(TopologyPatch, "topology", patch)), "topology", id)

    async def set_attrs(self, id: int, set: Mapping[str, JsonIn], remove: Sequence[str] = ()) -> JsonObject:
        """Set some keys of attrs and remove others, at once; the attrs that it has then. Raises NotFound."""
        return found(await self._q.set_attrs(id, set, remove), "topology", id)

    async def contacts(self, id: int, role: str = "user") -> Sequence[TopologyContact]:
        """Return the users with at least that explicit role (user, manager, owner) on a topology, by id.

        Raises InvalidValue where there is no such role.
        """
        if role not in _ROLES:
            raise InvalidValue(f"topology: role is user, manager or owner, not {quoted(role)}", entity="topology", key="role")
        return await self._q.contacts(id, _ROLES[_ROLES.index(role) :])

    async def renew(self, id: int, period: timedelta) -> Topology:
        """Let a topology time out after a period from now (docs/domain.md#timeouts). Raises NotFound, InvalidValue.

        period: where it is longer than the settings' topology_timeout_maximum (30 days), that counts. No warning is sent where
        it is not longer than topology_timeout_warning (a day).
        """
        return found(await self._q.renew(id, period), "topology", id)

    async def claim_timeouts(self, *, limit: int, lease: timedelta) -> Sequence[TimeoutClaim]:
        """Claim at most `limit` topologies that are to be warned of, stopped or destroyed (docs/domain.md#timeouts).

        They are this worker's for the time of the lease; `finish_timeout` moves each on. Raises InvalidValue.
        """
        return await self._q.claim_timeouts(limit, positive(lease))

    async def finish_timeout(self, id: int, lease_until: datetime) -> None:
        """Finish a claimed timeout: go on to the next step. lease_until: the claim's. Raises LockLost, as after a renewal."""
        finished(await self._q.finish_timeout(id, lease_until), "topology", id)

    async def delete(self, id: int) -> None:
        """Remove a topology with its elements, connections, permissions and usage.

        Raises NotFound, WrongState unless each of its elements could go.
        """
        changed(await self._q.delete(id), "topology", id)

    async def import_(self, export: Json | bytes, *, owner_id: int) -> ImportedTopology:
        """Create a topology from an export in the frontend's format, version 3, as JSON text or parsed.

        Names of templates, profiles and sites become references. A name that is not known stays in attrs and is reported; so
        does that of a restricted template, profile or kind of network, unless the owner has the flag restricted_templates,
        restricted_profiles or restricted_networks. What has no name, no site or no attrs of link emulation begins as in
        `elements.create` and `connections.create`. A kind always stays in attrs: whoever starts an external network out of it
        checks the user's flag again. Raises InvalidValue, with the place, where the export is wrong, NotFound where there is no
        such owner; then nothing is imported.
        """
        t = exchange.parse(export)
        made = await self._exchange.import_topology(t.name, t.site, t.attrs, t.elements, t.connections, owner_id)
        made.reported.extend(t.reported)
        return made

    async def export(self, id: int) -> JsonObject:
        """Return a topology in the frontend's format, version 3, without what belongs to this installation. Raises NotFound.

        Of templates and profiles it names those that an element runs with: its own, or else the preferred one.
        """
        return exchange.build(found(await self._exchange.export(id), "topology", id))

"""Topologies: methods for the queries in db/queries/topologies.sql and, for import and export, topology_exchange.sql."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from .. import exchange
from ..errors import InvalidValue
from ..patches import TopologyPatch, checked
from ..printable import quoted
from ..rows import (
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
from . import changed, every, extended, finished, found, positive

if TYPE_CHECKING:
    from .faces import TopologiesQueries, TopologyExchangeQueries

_ROLES = ["user", "manager", "owner"]  # from the lowest
_ABOVE_ALL = 2**63 - 1  # no id of a topology is higher


class Topologies:
    """Experiments, which hold elements and connections between them."""

    def __init__(self, queries: "TopologiesQueries", exchange_queries: "TopologyExchangeQueries") -> None:
        self._q = queries
        self._exchange = exchange_queries

    def create(
        self, name: str = "", *, owner_id: int, site_id: int | None = None, attrs: Mapping[str, JsonIn] | None = None
    ) -> Topology:
        """Create a topology with its owner and return it. It times out after the setting topology_timeout_initial (an hour).

        name: default: “Topology #5”, by its id. Raises NotFound (the user or the site), InvalidValue.
        """
        return self._q.create(name, owner_id, site_id, attrs or {})

    def get(self, id: int) -> Topology:
        """Return the topology with this id. Raises NotFound."""
        return found(self._q.get(id), "topology", id)

    def full(self, id: int, *, asking_user_id: int | None = None, started_at: datetime | None = None) -> FullTopology:
        """Return a topology with permissions, elements, connections, the hosts that run them, and its latest 5-minute usage.

        asking_user_id: the user whose effective role is returned (default: none). started_at: when the backend started (see
        Hosts). Raises NotFound.
        """
        rows = self._q.list_full(started_at, _ABOVE_ALL, 1, id=id, asking_user_id=asking_user_id)
        return found(next(iter(rows), None), "topology", id)

    def list(
        self, *, asking_user_id: int | None = None, after: int | None = None, limit: int = 100
    ) -> Sequence[ListedTopology]:
        """Return a page of topologies, the newest first, each with permissions, state and usage; `iterate` returns all.

        asking_user_id: the user whose effective role is returned (default: none). after: the id of the previous page's last
        topology (default: the first page). limit: the most topologies to return.
        """
        return self._q.list(_before(after), limit, asking_user_id=asking_user_id)

    def list_of_user(
        self,
        user_id: int,
        *,
        role: str = "user",
        asking_user_id: int | None = None,
        after: int | None = None,
        limit: int = 100,
    ) -> Sequence[ListedTopology]:
        """Return a page of the topologies on which a user has at least this explicit role, as `list` does.

        role: "user", "manager" or "owner". Raises InvalidValue for any other.
        """
        return self._q.list(_before(after), limit, user_id=user_id, roles=_at_least(role), asking_user_id=asking_user_id)

    def list_of_organization(
        self, organization_id: int, *, asking_user_id: int | None = None, after: int | None = None, limit: int = 100
    ) -> Sequence[ListedTopology]:
        """Return a page of the topologies with an owner in an organization, as `list` does."""
        return self._q.list(_before(after), limit, organization_id=organization_id, asking_user_id=asking_user_id)

    def list_accessible(self, user_id: int, *, after: int | None = None, limit: int = 100) -> Sequence[ListedTopology]:
        """Return a page of the topologies on which a user has an effective role, as `list` does; `role` is that role."""
        return self._q.list(_before(after), limit, accessible_to=user_id, asking_user_id=user_id)

    def list_full(
        self,
        *,
        user_id: int | None = None,
        role: str = "user",
        organization_id: int | None = None,
        accessible_to: int | None = None,
        asking_user_id: int | None = None,
        started_at: datetime | None = None,
        after: int | None = None,
        limit: int = 100,
    ) -> Sequence[FullTopology]:
        """Return a page of topologies as `full` does; the parameters choose them as for `iterate`.

        after, limit: as for `list`. Raises InvalidValue if accessible_to is combined with user_id or organization_id.
        """
        return self._q.list_full(
            started_at,
            _before(after),
            limit,
            user_id=user_id,
            roles=_chosen_roles(user_id, role, organization_id, accessible_to),
            organization_id=organization_id,
            accessible_to=accessible_to,
            asking_user_id=asking_user_id,
        )

    def iterate(
        self,
        *,
        user_id: int | None = None,
        role: str = "user",
        organization_id: int | None = None,
        accessible_to: int | None = None,
        asking_user_id: int | None = None,
    ) -> Iterator[ListedTopology]:
        """Iterate over all topologies, or those of a user, of an organization or accessible to a user; the newest first.

        The parameters choose what `list_of_user` (with `role`), `list_of_organization` and `list_accessible` return; one
        page is fetched at a time. Raises InvalidValue if accessible_to is combined with user_id or organization_id.
        """
        roles = _chosen_roles(user_id, role, organization_id, accessible_to)

        def page(after: int | None, limit: int) -> Sequence[ListedTopology]:
            return self._q.list(
                _before(after),
                limit,
                user_id=user_id,
                roles=roles,
                organization_id=organization_id,
                accessible_to=accessible_to,
                asking_user_id=asking_user_id,
            )

        return every(page, lambda row: row.id, None)

    def update(self, id: int, patch: TopologyPatch) -> Topology:
        """Change the fields in the patch and return the topology. Raises NotFound, InvalidValue."""
        return found(self._q.update(id, checked(TopologyPatch, "topology", patch)), "topology", id)

    def set_attrs(self, id: int, set: Mapping[str, JsonIn], remove: Sequence[str] = ()) -> JsonObject:
        """Set and remove keys of attrs in one statement, and return the resulting attrs. Raises NotFound."""
        return found(self._q.set_attrs(id, set, remove), "topology", id)

    def contacts(self, id: int, role: str = "user") -> Sequence[TopologyContact]:
        """Return the users with at least this explicit role on a topology, ordered by id.

        role: "user", "manager" or "owner". Raises InvalidValue for any other.
        """
        return self._q.contacts(id, _at_least(role))

    def renew(self, id: int, period: timedelta) -> Topology:
        """Set a topology's timeout to a period from now (docs/domain.md#timeouts). Raises NotFound, InvalidValue.

        period: at most the setting topology_timeout_maximum (30 days); a longer one is shortened to it. No warning is sent
        for a period of at most topology_timeout_warning (a day).
        """
        return found(self._q.renew(id, period), "topology", id)

    def claim_timeouts(self, *, limit: int, lease: timedelta) -> Sequence[TimeoutClaim]:
        """Claim at most `limit` topologies that are to be warned about, stopped or destroyed (docs/domain.md#timeouts).

        lease: how long they belong to this worker. Call `finish_timeout` for each. See docs/guides/claims.md. Raises
        InvalidValue.
        """
        return self._q.claim_timeouts(limit, positive(lease))

    def extend_timeout(self, id: int, lease_until: datetime, lease: timedelta) -> datetime:
        """Extend the lease on a claimed timeout, and return its new end, with which it is finished.

        lease_until: the claim's. lease: the time from now to the new end. Raises LockLost, InvalidValue.
        """
        return extended(self._q.extend_timeout(id, lease_until, positive(lease)), "topology", id)

    def finish_timeout(self, id: int, lease_until: datetime) -> None:
        """Finish a claimed timeout and set the next step. lease_until: the claim's.

        Raises LockLost if the lease ran out or the topology was renewed.
        """
        finished(self._q.finish_timeout(id, lease_until), "topology", id)

    def delete(self, id: int) -> None:
        """Delete a topology with its elements, connections, permissions and usage.

        Raises NotFound, and WrongState unless each of its elements could be deleted.
        """
        changed(self._q.delete(id), "topology", id)

    def import_(self, export: Json | bytes, *, owner_id: int) -> ImportedTopology:
        """Create a topology from an export in the frontend's format, version 3 (docs/guides/import-export.md).

        Args:
            export: JSON text, or JSON that is already parsed.
            owner_id: The user who becomes the owner.

        Names of templates, profiles and sites become references. Unknown names stay in attrs and are reported; so are names
        of restricted templates, profiles or kinds of network, unless the owner has the flag restricted_templates,
        restricted_profiles or restricted_networks. A kind of network always stays in attrs: check the user's flag again
        when starting it. Missing names, sites and attrs of link emulation get the defaults of `elements.create` and
        `connections.create`.

        Raises InvalidValue, with the place in the export, and NotFound (the owner); nothing is imported then.
        """
        t = exchange.parse(export)
        made = self._exchange.import_topology(t.name, t.site, t.attrs, t.elements, t.connections, owner_id)
        made.reported.extend(t.reported)
        return made

    def export(self, id: int) -> JsonObject:
        """Return a topology in the frontend's format, version 3, without what belongs to this installation. Raises NotFound.

        Templates and profiles are those that an element runs with: its own, or else the preferred ones.
        """
        return exchange.build(found(self._exchange.export(id), "topology", id))


def _before(after: int | None) -> int:
    return _ABOVE_ALL if after is None else after


def _at_least(role: str) -> list[str]:
    """Return a role and all higher ones. Raises InvalidValue."""
    if role not in _ROLES:
        raise InvalidValue(f"topology: role must be user, manager or owner, not {quoted(role)}", entity="topology", key="role")
    return _ROLES[_ROLES.index(role) :]


def _chosen_roles(user_id: int | None, role: str, organization_id: int | None, accessible_to: int | None) -> list[str] | None:
    """Return the explicit roles that match the parameters, or None without user_id. Raises InvalidValue."""
    if accessible_to is not None and (user_id is not None or organization_id is not None):
        text = "topology: accessible_to cannot be combined with user_id or organization_id"
        raise InvalidValue(text, entity="topology", key="accessible_to")
    return None if user_id is None else _at_least(role)

"""Topology permissions: methods for the queries in db/queries/topology_permissions.sql."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..errors import NotFound
from ..rows import TopologyPermission, TopologyRole
from . import changed, found

if TYPE_CHECKING:
    from .faces import TopologyPermissionsQueries


class TopologyPermissions:
    """Roles of users on topologies: user < manager < owner. A topology keeps its last owner."""

    def __init__(self, queries: "TopologyPermissionsQueries") -> None:
        self._q = queries

    def get(self, topology_id: int, user_id: int) -> TopologyPermission:
        """Return the permission of a user on a topology. Raises NotFound."""
        return found(self._q.get(topology_id, user_id), "topology permission", (topology_id, user_id))

    def list_of_topology(self, topology_id: int) -> Sequence[TopologyPermission]:
        """Return all permissions on a topology, ordered by user."""
        return self._q.list_of_topology(topology_id)

    def list_of_user(self, user_id: int, *, after: int = 0, limit: int = 100) -> Sequence[TopologyPermission]:
        """Return a page of a user's permissions ordered by topology: at most `limit`, with topology ids above `after`."""
        return self._q.list_of_user(user_id, after, limit)

    def set(self, topology_id: int, user_id: int, role: str) -> TopologyPermission:
        """Give a user this role, replacing the one it has, and return it. Raises NotFound, InvalidValue, LastOwner."""
        return self._q.set(topology_id, user_id, role)

    def delete(self, topology_id: int, user_id: int) -> None:
        """Remove a user's role. Raises NotFound, LastOwner."""
        changed(self._q.delete(topology_id, user_id), "topology permission", (topology_id, user_id))

    def role(self, topology_id: int, user_id: int) -> str | None:
        """Return a user's effective role: the highest of explicit permission and flags (docs/domain.md#topologies).

        It is "user", "manager", "owner" or None. Raises NotFound if the topology or the user does not exist.
        """
        row = self._q.role(topology_id, user_id)
        if row is None:
            text = f"topology {topology_id} or user {user_id} does not exist"
            raise NotFound(text, entity="topology permission", key=(topology_id, user_id))
        return row.role

    def matrix(self, topology_id: int) -> Sequence[TopologyRole]:
        """Return all users with an effective role on a topology, ordered by id.

        explicit_role is None for users whose role comes from flags only.
        """
        return self._q.matrix(topology_id)

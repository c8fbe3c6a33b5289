"""Topology permissions: beside db/queries/topology_permissions.sql."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..rows import TopologyPermission
from . import changed, found

if TYPE_CHECKING:
    from .faces import TopologyPermissionsQueries


class TopologyPermissions:
    """Who may do what on a topology: user < manager < owner. A topology keeps its last owner."""

    def __init__(self, queries: "TopologyPermissionsQueries") -> None:
        self._q = queries

    def get(self, topology_id: int, user_id: int) -> TopologyPermission:
        """The permission of a user on a topology. Raises NotFound."""
        return found(self._q.get(topology_id, user_id), "topology permission", (topology_id, user_id))

    def list_of_topology(self, topology_id: int) -> Sequence[TopologyPermission]:
        """All permissions on a topology, by user."""
        return self._q.list_of_topology(topology_id)

    def list_of_user(self, user_id: int, *, after: int = 0, limit: int = 100) -> Sequence[TopologyPermission]:
        """Permissions of a user, by topology: at most `limit` of those on a topology with an id above `after`."""
        return self._q.list_of_user(user_id, after, limit)

    def set(self, topology_id: int, user_id: int, role: str) -> TopologyPermission:
        """Give a user a role, instead of the one it has. Raises NotFound, InvalidValue, LastOwner (lowering it)."""
        return self._q.set(topology_id, user_id, role)

    def delete(self, topology_id: int, user_id: int) -> None:
        """Take a user's role away. Raises NotFound, LastOwner."""
        changed(self._q.delete(topology_id, user_id), "topology permission", (topology_id, user_id))

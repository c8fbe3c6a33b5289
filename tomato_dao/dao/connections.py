"""Connections: methods for the queries in db/queries/connections.sql."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from ..errors import Conflict, InvalidValue, NotFound, TomatoError, WrongState
from ..patches import ConnectionPatch, checked
from ..rows import Connection, JsonIn, JsonObject
from . import changed, found

if TYPE_CHECKING:
    from .faces import ConnectionsQueries


class Connections:
    """Links between exactly two elements of one topology; the one with the lower id is its “from”."""

    def __init__(self, queries: "ConnectionsQueries") -> None:
        self._q = queries

    def create(
        self,
        element_a_id: int,
        element_b_id: int,
        *,
        type: str | None = None,
        attrs: Mapping[str, JsonIn] | None = None,
    ) -> Connection:
        """Connect two elements of one topology and return the connection.

        Args:
            element_a_id: The id of one interface or endpoint.
            element_b_id: The id of the other.
            type: Default: fixed_bridge if one element is an external_network_endpoint, else bridge.
            attrs: Default for missing keys: emulation true, bandwidth_to 10000, bandwidth_from 10000.

        Raises NotFound, WrongState if an element is connected already, and InvalidValue if the elements are of different
        topologies or one is neither interface nor endpoint.
        """
        made = self._q.create(element_a_id, element_b_id, type, attrs or {})
        if made is None:
            raise self._why_not([element_a_id, element_b_id])
        return made

    def get(self, id: int) -> Connection:
        """Return the connection with this id. Raises NotFound."""
        return found(self._q.get(id), "connection", id)

    def list_of_topology(self, topology_id: int, *, after: int = 0, limit: int = 1000) -> Sequence[Connection]:
        """Return a page of a topology's connections ordered by id: at most `limit`, with ids above `after`."""
        return self._q.list_of_topology(topology_id, after, limit)

    def update(self, id: int, patch: ConnectionPatch) -> Connection:
        """Change the fields in the patch and return the connection. Raises NotFound, InvalidValue."""
        return found(self._q.update(id, checked(ConnectionPatch, "connection", patch)), "connection", id)

    def set_attrs(self, id: int, set: Mapping[str, JsonIn], remove: Sequence[str] = ()) -> JsonObject:
        """Set and remove keys of attrs in one statement, and return the resulting attrs. Raises NotFound."""
        return found(self._q.set_attrs(id, set, remove), "connection", id)

    def delete(self, id: int) -> None:
        """Delete a connection. Its elements stay; host components that served it become orphans. Raises NotFound."""
        changed(self._q.delete(id), "connection", id)

    def _why_not(self, element_ids: Sequence[int]) -> TomatoError:
        ends = {end.id: end for end in self._q.list_ends(element_ids)}
        for id in element_ids:
            if id not in ends:
                return NotFound(f"element {id} does not exist", entity="element", key=id)
        for id, end in ends.items():
            if not end.type.endswith(("_interface", "_endpoint")):
                text = f"element {id} is a {end.type}: only interfaces and endpoints can be connected"
                return InvalidValue(text, entity="element", key=id)
            if end.connection_id is not None:
                return WrongState(
                    f"element {id} is connected already, by connection {end.connection_id}", entity="element", key=id
                )
        if len(ends) == 1 or len({end.topology_id for end in ends.values()}) == 2:
            text = f"a connection has two ends in one topology; elements {element_ids[0]} and {element_ids[1]} are not such"
            return InvalidValue(text, entity="connection", key=tuple(element_ids))
        text = f"elements {element_ids[0]} and {element_ids[1]} were changed by another transaction at the same time; try again"
        return Conflict(text, entity="connection", key=tuple(element_ids))

"""Elements: beside db/queries/elements.sql."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from ..patches import ElementPatch, checked
from ..rows import Element, JsonIn, JsonObject
from . import changed, found

if TYPE_CHECKING:
    from .faces import ElementsQueries


class Elements:
    """Virtual machines and their interfaces, switches, external networks, and endpoints.

    Types and states are those of DOMAIN.md. An interface has a parent of its machine's type; a tinc or external network
    endpoint may have one; nothing else has.
    """

    def __init__(self, queries: "ElementsQueries") -> None:
        self._q = queries

    def create(
        self,
        topology_id: int,
        type: str,
        *,
        state: str = "created",
        parent_id: int | None = None,
        site_id: int | None = None,
        template_id: int | None = None,
        profile_id: int | None = None,
        network_id: int | None = None,
        network_instance_id: int | None = None,
        attrs: Mapping[str, JsonIn] | None = None,
    ) -> Element:
        """A new element. Raises NotFound (what it refers to), InvalidValue (type, state, or a parent that can't be)."""
        return self._q.create(
            topology_id,
            type,
            state,
            parent_id,
            site_id,
            template_id,
            profile_id,
            network_id,
            network_instance_id,
            attrs or {},
        )

    def get(self, id: int) -> Element:
        """The element of an id. Raises NotFound."""
        return found(self._q.get(id), "element", id)

    def list_of_topology(self, topology_id: int, *, after: int = 0, limit: int = 1000) -> Sequence[Element]:
        """Elements of a topology, by id: at most `limit` of those with an id above `after`."""
        return self._q.list_of_topology(topology_id, after, limit)

    def list_children(self, parent_id: int) -> Sequence[Element]:
        """The children of an element, by id."""
        return self._q.list_children(parent_id)

    def update(self, id: int, patch: ElementPatch) -> Element:
        """Change what the patch names. Raises NotFound, InvalidValue."""
        return found(self._q.update(id, checked(ElementPatch, "element", patch)), "element", id)

    def set_attrs(self, id: int, set: Mapping[str, JsonIn], remove: Sequence[str] = ()) -> JsonObject:
        """Set some keys of attrs and remove others, at once; the attrs that it has then. Raises NotFound."""
        return found(self._q.set_attrs(id, set, remove), "element", id)

    def delete(self, id: int) -> None:
        """Remove an element with its children and their connections; what runs on hosts for it is orphaned.

        Raises NotFound, WrongState unless each is created (an interface may also be prepared).
        """
        changed(self._q.delete(id), "element", id)

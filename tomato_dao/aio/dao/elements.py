# Generated from tomato_dao/dao/elements.py by “make schema”; not to be edited.
"""Elements: beside db/queries/elements.sql."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import psycopg

from ...dao import changed, finished, found, positive
from ...errors import InvalidValue, TomatoError
from ...patches import ElementPatch, NewElement, checked
from ...rows import Element, ElementSyncClaim, JsonIn, JsonObject

if TYPE_CHECKING:
    from .faces import AsyncElementsQueries


class AsyncElements:
    """Virtual machines and their interfaces, switches, external networks, and endpoints.

    Types and states are those of docs/domain.md#topologies. An interface has a parent of its machine's type; a tinc or external
    network endpoint may have one; nothing else has.
    """

    def __init__(self, queries: "AsyncElementsQueries") -> None:
        self._q = queries

    async def create(
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
        """Create an element. Raises NotFound (what it refers to), InvalidValue (type, state, or a parent that can't be).

        site_id: for a machine: default: its topology's. attrs: where they have no name, a machine, switch or network is called
        by its type and id (“kvmqm17”), an interface by the lowest number that is free in its machine (“eth0”).
        """
        return await self._q.create(
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

    async def create_many(self, topology_id: int, elements: Sequence[NewElement]) -> Sequence[Element]:
        """Create elements of a topology, all or none, in that order, and return them.

        Raises as `create` does, and says which of the list can't be, counted from 0.
        """
        if not isinstance(elements, list | tuple):
            raise InvalidValue(f"elements are a list, not a {type(elements).__name__}", entity="element", key="elements")
        for n, element in enumerate(elements):
            try:
                given = checked(NewElement, "element", element)
            except InvalidValue as error:
                raise _of_list(n, error) from None
            if "type" not in given:
                raise InvalidValue(f"element {n} of the list has no type", entity="element", key="type")
        try:
            return await self._q.create_many(
                topology_id,
                [e["type"] for e in elements],
                [e.get("state", "created") for e in elements],
                [e.get("parent_id") for e in elements],
                [e.get("site_id") for e in elements],
                [e.get("template_id") for e in elements],
                [e.get("profile_id") for e in elements],
                [e.get("network_id") for e in elements],
                [e.get("network_instance_id") for e in elements],
                [e.get("attrs", {}) for e in elements],
            )
        except TomatoError as error:
            if isinstance(error.__cause__, psycopg.Error):
                detail = error.__cause__.diag.message_detail or ""
                for n, element in enumerate(elements):
                    if _fits(detail, topology_id, element):
                        raise _of_list(n, error) from error.__cause__
            raise

    async def get(self, id: int) -> Element:
        """Return the element of an id. Raises NotFound."""
        return found(await self._q.get(id), "element", id)

    async def other_end(self, id: int) -> Element:
        """Return the element at the other end of an element's connection. Raises NotFound where it is not connected."""
        return found(await self._q.other_end(id), "other end of element", id)

    async def list_of_topology(self, topology_id: int, *, after: int = 0, limit: int = 1000) -> Sequence[Element]:
        """Return a page of a topology's elements by id: at most `limit` of those with an id above `after`."""
        return await self._q.list_of_topology(topology_id, after, limit)

    async def list_children(self, parent_id: int) -> Sequence[Element]:
        """Return the children of an element, by id."""
        return await self._q.list_children(parent_id)

    async def update(self, id: int, patch: ElementPatch) -> Element:
        """Change what the patch names. Raises NotFound, InvalidValue."""
        return found(await self._q.update(id, checked(ElementPatch, "element", patch)), "element", id)

    async def set_attrs(self, id: int, set: Mapping[str, JsonIn], remove: Sequence[str] = ()) -> JsonObject:
        """Set some keys of attrs and remove others, at once; the attrs that it has then. Raises NotFound."""
        return found(await self._q.set_attrs(id, set, remove), "element", id)

    async def set_state_in_topology(
        self, topology_id: int, state: str, *, types: Sequence[str], states: Sequence[str]
    ) -> Sequence[int]:
        """Give the elements of a topology that are of these types and in these states another; the ids of those that changed.

        Raises InvalidValue, and then changes none.
        """
        return await self._q.set_state_in_topology(topology_id, state, types, states)

    async def set_state_of_tree(self, id: int, state: str) -> Sequence[int]:
        """Give an element and all its descendants a state; the ids of those that changed. Raises NotFound, InvalidValue."""
        return found(await self._q.set_state_of_tree(id, state), "element", id)

    async def start_sync(self, id: int) -> None:
        """Note that a machine starts now: it is due in a second (docs/domain.md#synchronisation-of-machines).

        Raises NotFound.
        """
        changed(await self._q.start_sync(id), "machine", id)

    async def claim_syncs(self, *, limit: int, lease: timedelta) -> Sequence[ElementSyncClaim]:
        """At most `limit` machines that are due to be looked at, with where they run.

        They are this worker's for the time of the lease; `finish_sync` moves each on. Raises InvalidValue.
        """
        return await self._q.claim_syncs(limit, positive(lease))

    async def finish_sync(self, id: int, lease_until: datetime) -> None:
        """Note that a machine was looked at: it is due again after a 24th of the time since it started, until that is a day.

        lease_until: the claim's. Raises LockLost, as after a new start or a change of these times.
        """
        finished(await self._q.finish_sync(id, lease_until), "element", id)

    async def delete(self, id: int) -> None:
        """Remove an element with its children and their connections; what runs on hosts for it is orphaned.

        Raises NotFound, WrongState unless each is created (an interface may also be prepared).
        """
        changed(await self._q.delete(id), "element", id)


def _of_list(n: int, error: TomatoError) -> TomatoError:
    """Return the error, which says which element of a list it is about."""
    text = f"element {n} of the list: {str(error).removeprefix('element: ')}"
    return type(error)(text, entity=error.entity, key=error.key)


def _fits(detail: str, topology_id: int, element: NewElement) -> bool:
    """Return whether the server refused this element: its detail shows, in any language, the row or the key that can't be.

    No SQL tells which of many rows is refused, unless they are inserted one by one: 500 in 184 ms instead of 62, or after a
    failure only, by a function of the schema that is longer than this.
    """
    type, parent = element["type"], element.get("parent_id")
    state = _abbreviated(element.get("state", "created"))
    row = f", {topology_id}, {_abbreviated(type)}, {state}, {'null' if parent is None else parent}, "
    parent_key = f"=({topology_id}, {parent}, {type.split('_')[0]}"
    return any(text in detail for text in (row, parent_key, *(f"({name})=({value})" for name, value in element.items())))


def _abbreviated(text: str) -> str:
    """Return a value as the server shows it in a row: its first 64 bytes."""
    data = text.encode()
    return text if len(data) <= 64 else data[:64].decode(errors="ignore") + "..."

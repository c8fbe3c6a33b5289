# Generated from tomato_dao/dao/elements.py by “make schema”; not to be edited.
"""Elements: methods for the queries in db/queries/elements.sql."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import psycopg

from ...dao import Front, changed, extended, finished, found, positive
from ...errors import InvalidValue, TomatoError
from ...patches import ElementPatch, NewElement, checked
from ...rows import Element, ElementSyncClaim, JsonIn, JsonObject
from .paging import claimed

if TYPE_CHECKING:
    from .faces import AsyncElementsQueries


class AsyncElements:
    """Virtual machines and their interfaces, switches, external networks, and endpoints.

    docs/domain.md#topologies lists types and states. An interface has a parent of its machine's type; a tinc or external
    network endpoint may have a parent; other elements have none.
    """

    def __init__(self, queries: "AsyncElementsQueries") -> None:
        self._q = queries
        self._syncs = Front[ElementSyncClaim](lambda claim: claim.next_sync_at)

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
        """Create an element of a topology and return it.

        Args:
            topology_id: The id of the topology.
            type: The type, such as "kvmqm" or "kvmqm_interface".
            state: "created", "prepared" or "started".
            parent_id: The id of an interface's or endpoint's parent.
            site_id: Default for a machine: the topology's site.
            template_id, profile_id, network_id, network_instance_id: What the element uses (default: nothing chosen).
            attrs: Default for a missing name: type and id (“kvmqm17”) for a machine, switch or network; the lowest free
                number in its machine (“eth0”) for an interface.

        Raises NotFound if a referenced row does not exist, and InvalidValue for an invalid type, state or parent.
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
        """Create elements of a topology in the given order, all or none, and return them.

        Raises the errors of `create`; the message gives the position in the list, counted from 0.
        """
        if not isinstance(elements, list | tuple):
            raise InvalidValue(f"elements must be a list, not a {type(elements).__name__}", entity="element", key="elements")
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
        """Return the element with this id. Raises NotFound."""
        return found(await self._q.get(id), "element", id)

    async def other_end(self, id: int) -> Element:
        """Return the element at the other end of an element's connection. Raises NotFound if it is not connected."""
        return found(await self._q.other_end(id), "other end of element", id)

    async def list_of_topology(self, topology_id: int, *, after: int = 0, limit: int = 1000) -> Sequence[Element]:
        """Return a page of a topology's elements ordered by id: at most `limit`, with ids above `after`."""
        return await self._q.list_of_topology(topology_id, after, limit)

    async def list_children(self, parent_id: int) -> Sequence[Element]:
        """Return the children of an element, ordered by id."""
        return await self._q.list_children(parent_id)

    async def update(self, id: int, patch: ElementPatch) -> Element:
        """Change the fields in the patch and return the element. Raises NotFound, InvalidValue."""
        return found(await self._q.update(id, checked(ElementPatch, "element", patch)), "element", id)

    async def set_attrs(self, id: int, set: Mapping[str, JsonIn], remove: Sequence[str] = ()) -> JsonObject:
        """Set and remove keys of attrs in one statement, and return the resulting attrs. Raises NotFound."""
        return found(await self._q.set_attrs(id, set, remove), "element", id)

    async def set_state_in_topology(
        self, topology_id: int, state: str, *, types: Sequence[str], states: Sequence[str]
    ) -> Sequence[int]:
        """Set the state of a topology's elements that have one of the types and states, and return the ids of changed elements.

        Raises InvalidValue if the new state is invalid for one of them; no element is changed then.
        """
        return await self._q.set_state_in_topology(topology_id, state, types, states)

    async def set_state_of_tree(self, id: int, state: str) -> Sequence[int]:
        """Set the state of an element and all its descendants, and return the ids of changed elements.

        Raises NotFound, InvalidValue.
        """
        return found(await self._q.set_state_of_tree(id, state), "element", id)

    async def start_sync(self, id: int) -> None:
        """Start the synchronisation of a machine's files; the first is due in a second.

        See docs/domain.md#synchronisation-of-machines. Raises NotFound.
        """
        changed(await self._q.start_sync(id), "machine", id)

    async def claim_syncs(self, *, limit: int, lease: timedelta) -> Sequence[ElementSyncClaim]:
        """Claim at most `limit` machines whose files are due to be synchronised, with the hosts that run them.

        lease: how long they belong to this worker. Call `finish_sync` for each. See docs/guides/claims.md. Raises
        InvalidValue.
        """
        return await claimed(self._syncs, lambda since: self._q.claim_syncs(limit, positive(lease), since=since), limit)

    async def extend_sync(self, id: int, lease_until: datetime, lease: timedelta) -> datetime:
        """Extend the lease on a claimed machine, and return its new end, with which it is finished.

        lease_until: the claim's. lease: the time from now to the new end. Raises LockLost, InvalidValue.
        """
        return extended(await self._q.extend_sync(id, lease_until, positive(lease)), "element", id)

    async def finish_sync(self, id: int, lease_until: datetime) -> None:
        """Record that a claimed machine was synchronised; the next time is due after a 24th of the time since the start.

        After a day there is no next time.

        lease_until: the claim's. Raises LockLost if the lease ran out or the synchronisation was started again.
        """
        finished(await self._q.finish_sync(id, lease_until), "element", id)

    async def delete(self, id: int) -> None:
        """Delete an element with its children and their connections. Host components that served it become orphans.

        Raises NotFound, and WrongState unless each is in the state created (an interface may also be prepared).
        """
        changed(await self._q.delete(id), "element", id)


def _of_list(n: int, error: TomatoError) -> TomatoError:
    """Return the error, with the position in the list of elements in its message."""
    text = f"element {n} of the list: {str(error).removeprefix('element: ')}"
    return type(error)(text, entity=error.entity, key=error.key)


def _fits(detail: str, topology_id: int, element: NewElement) -> bool:
    """Return whether the server refused this element: its detail shows the row or key in any language.

    SQL does not show which of many rows is refused unless rows are inserted one by one, which takes 184 ms for 500 rows instead
    of 62. A function in the schema that searches after a failure would be longer than this.
    """
    type, parent = element["type"], element.get("parent_id")
    state = _abbreviated(element.get("state", "created"))
    row = f", {topology_id}, {_abbreviated(type)}, {state}, {'null' if parent is None else parent}, "
    parent_key = f"=({topology_id}, {parent}, {type.split('_')[0]}"
    return any(text in detail for text in (row, parent_key, *(f"({name})=({value})" for name, value in element.items())))


def _abbreviated(text: str) -> str:
    """Return a value as the server shows it in error details: its first 64 bytes."""
    data = text.encode()
    return text if len(data) <= 64 else data[:64].decode(errors="ignore") + "..."

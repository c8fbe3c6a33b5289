# Generated from tomato_dao/dao/error_groups.py by “make schema”; not to be edited.
"""Error groups: methods for the queries in db/queries/error_groups.sql."""

from collections.abc import AsyncIterator, Sequence
from typing import TYPE_CHECKING

from ...dao import changed, found
from ...patches import ErrorGroupPatch, checked
from ...rows import ErrorGroup, ErrorGroupSummary
from .paging import every

if TYPE_CHECKING:
    from .faces import AsyncErrorGroupsQueries


class AsyncErrorGroups:
    """Kinds of errors. A group is created with its first dump, keeps its 5 oldest and 5 newest dumps, and counts the rest."""

    def __init__(self, queries: "AsyncErrorGroupsQueries") -> None:
        self._q = queries

    async def get(self, group_id: str) -> ErrorGroup:
        """Return the group with this id. Raises NotFound."""
        return found(await self._q.get(group_id), "error group", group_id)

    async def summary(self, group_id: str) -> ErrorGroupSummary:
        """Return a group with its count, its last time, and its distinct sources, origins and versions. Raises NotFound."""
        return found(await self._q.summary(group_id), "error group", group_id)

    async def list(self, *, after: str | None = None, limit: int = 100) -> Sequence[ErrorGroup]:
        """Return a page of groups ordered by id: at most `limit`, with ids above `after` (None: from the first).

        `iterate` returns all.
        """
        return await self._q.list(after, limit)

    def iterate(self) -> AsyncIterator[ErrorGroup]:
        """Iterate over all groups, ordered by id, fetching one page at a time."""
        return every(lambda after, limit: self._q.list(after, limit), lambda row: row.group_id, None)

    async def list_summaries(self, *, after: str | None = None, limit: int = 100) -> Sequence[ErrorGroupSummary]:
        """Return a page of summaries of the groups that `list` returns.

        Pass the last group_id as `after` for the next page.
        """
        return await self._q.list_summaries(after, limit)

    async def update(self, group_id: str, patch: ErrorGroupPatch) -> ErrorGroup:
        """Change the fields in the patch and return the group. Raises NotFound, InvalidValue."""
        return found(await self._q.update(group_id, checked(ErrorGroupPatch, "error group", patch)), "error group", group_id)

    async def shrink(self, group_id: str) -> int:
        """Drop all dumps of a group but its 5 oldest and 5 newest, and return how many were dropped. Raises NotFound.

        Only needed after a load: `store` keeps groups at this size.
        """
        return found(await self._q.shrink(group_id), "error group", group_id)

    async def delete(self, group_id: str) -> None:
        """Delete a group. Raises NotFound, and NotEmpty while it has dumps."""
        changed(await self._q.delete(group_id), "error group", group_id)

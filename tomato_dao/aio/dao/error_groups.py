# Generated from tomato_dao/dao/error_groups.py by “make schema”; not to be edited.
"""Error groups: beside db/queries/error_groups.sql."""

from collections.abc import AsyncIterator, Sequence
from typing import TYPE_CHECKING

from ...dao import changed, found
from ...patches import ErrorGroupPatch, checked
from ...rows import ErrorGroup, ErrorGroupSummary
from .paging import every

if TYPE_CHECKING:
    from .faces import AsyncErrorGroupsQueries


class AsyncErrorGroups:
    """Kinds of errors. One comes with its first dump; it keeps its 5 oldest and 5 newest and counts the others."""

    def __init__(self, queries: "AsyncErrorGroupsQueries") -> None:
        self._q = queries

    async def get(self, group_id: str) -> ErrorGroup:
        """Return the group of an id. Raises NotFound."""
        return found(await self._q.get(group_id), "error group", group_id)

    async def summary(self, group_id: str) -> ErrorGroupSummary:
        """Return a group with its count, last time, and distinct sources, origins and versions. Raises NotFound."""
        return found(await self._q.summary(group_id), "error group", group_id)

    async def list(self, *, after: str | None = None, limit: int = 100) -> Sequence[ErrorGroup]:
        """Return a page of groups by id: at most `limit` of those with an id above `after` (None: of all).

        `iterate` goes over all.
        """
        return await self._q.list(after, limit)

    def iterate(self) -> AsyncIterator[ErrorGroup]:
        """Iterate over all groups, by id; a page is fetched at a time."""
        return every(lambda after, limit: self._q.list(after, limit), lambda row: row.group_id, None)

    async def list_summaries(self, *, after: str | None = None, limit: int = 100) -> Sequence[ErrorGroupSummary]:
        """Return a page of summaries, of the groups that `list` gives; the next one is that after the last group_id."""
        return await self._q.list_summaries(after, limit)

    async def update(self, group_id: str, patch: ErrorGroupPatch) -> ErrorGroup:
        """Change what the patch names. Raises NotFound, InvalidValue."""
        return found(await self._q.update(group_id, checked(ErrorGroupPatch, "error group", patch)), "error group", group_id)

    async def shrink(self, group_id: str) -> int:
        """Drop all dumps of a group but its 5 oldest and 5 newest, where others brought it more; how many went.

        Raises NotFound.
        """
        return found(await self._q.shrink(group_id), "error group", group_id)

    async def delete(self, group_id: str) -> None:
        """Remove a group. Raises NotFound, NotEmpty while it has dumps."""
        changed(await self._q.delete(group_id), "error group", group_id)

# Generated from tomato_dao/dao/error_dumps.py by “make schema”; not to be edited.
"""Error dumps: beside db/queries/error_dumps.sql."""

from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from ...dao import changed, found
from ...patches import ErrorDumpPatch, checked
from ...rows import ErrorDump, FullErrorDump, JsonIn, JsonObject
from .paging import every

if TYPE_CHECKING:
    from .faces import AsyncErrorDumpsQueries


class AsyncErrorDumps:
    """Error reports; each has an id that is unique among those of its source, and belongs to a group."""

    def __init__(self, queries: "AsyncErrorDumpsQueries") -> None:
        self._q = queries

    async def store(
        self,
        source: str,
        dump_id: str,
        *,
        group_id: str,
        at: datetime,
        description: JsonIn,
        software_version: JsonIn,
        origin: str = "",
        data: str | None = None,
        data_available: bool = False,
        attrs: Mapping[str, JsonIn] | None = None,
        group_description: str = "",
    ) -> bool:
        """Keep a dump, unless it is there already; whether its group is new, and got that description.

        at: when the error happened; data: base64 of a zlib stream. The group drops and counts what is beyond its 5 oldest
        and 5 newest dumps, which may be this one. Raises InvalidValue.
        """
        return await self._q.store(
            source,
            dump_id,
            group_id,
            at,
            description,
            origin,
            software_version,
            data,
            data_available,
            attrs or {},
            group_description,
        )

    async def get(self, source: str, dump_id: str) -> FullErrorDump:
        """Return the dump that a source knows by an id, with its data. Raises NotFound."""
        return found(await self._q.get(source, dump_id), "error dump", (source, dump_id))

    async def list(
        self,
        *,
        group_id: str | None = None,
        source: str | None = None,
        data_available: bool | None = None,
        after: tuple[str, str] | None = None,
        limit: int = 100,
    ) -> Sequence[ErrorDump]:
        """Return a page of dumps without their data, by source and dump_id; `iterate` goes over all.

        group_id, source, data_available: those of the dumps (default: any). after: source and dump_id of the last dump of the
        page before (default: the first page); at most `limit` dumps are returned.
        """
        after_source, after_dump_id = after or (None, None)
        return await self._q.list(
            limit,
            group_id=group_id,
            source=source,
            data_available=data_available,
            after_source=after_source,
            after_dump_id=after_dump_id,
        )

    def iterate(
        self, *, group_id: str | None = None, source: str | None = None, data_available: bool | None = None
    ) -> AsyncIterator[ErrorDump]:
        """Iterate over all dumps, or those that `list` gives for the same choice, in its order; a page is fetched at a time."""

        async def page(after: tuple[str, str] | None, limit: int) -> Sequence[ErrorDump]:
            return await self.list(group_id=group_id, source=source, data_available=data_available, after=after, limit=limit)

        return every(page, lambda row: (row.source, row.dump_id), None)

    async def list_of_group(self, group_id: str) -> Sequence[ErrorDump]:
        """Return the dumps of a group without their data, which can be large; oldest first."""
        return await self._q.list_of_group(group_id)

    async def list_full_of_group(self, group_id: str) -> Sequence[FullErrorDump]:
        """Return the dumps of a group with their data, oldest first."""
        return await self._q.list_full_of_group(group_id)

    async def update(self, source: str, dump_id: str, patch: ErrorDumpPatch) -> ErrorDump:
        """Change what the patch names, as when its data arrive later. Raises NotFound, InvalidValue."""
        changes = checked(ErrorDumpPatch, "error dump", patch)
        return found(await self._q.update(source, dump_id, changes), "error dump", (source, dump_id))

    async def set_attrs(self, source: str, dump_id: str, set: Mapping[str, JsonIn], remove: Sequence[str] = ()) -> JsonObject:
        """Set some keys of attrs and remove others, at once; the attrs that it has then. Raises NotFound."""
        return found(await self._q.set_attrs(source, dump_id, set, remove), "error dump", (source, dump_id))

    async def delete(self, source: str, dump_id: str) -> None:
        """Remove a dump; its group counts it. Raises NotFound."""
        changed(await self._q.delete(source, dump_id), "error dump", (source, dump_id))

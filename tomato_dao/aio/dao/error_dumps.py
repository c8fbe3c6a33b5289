# Generated from tomato_dao/dao/error_dumps.py by “make schema”; not to be edited.
"""Error dumps: methods for the queries in db/queries/error_dumps.sql."""

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
    """Error reports. A dump has an id that is unique within its source, and belongs to a group."""

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
        """Store a dump unless it exists already, and return whether its group is new.

        Args:
            source: The source of the dump, such as a host.
            dump_id: The id of the dump, unique within the source.
            group_id: The id of its group, which is created if it does not exist.
            at: The time of the error.
            description: JSON that describes the error.
            software_version: JSON that names the version.
            origin: The origin of the error (default: empty).
            data: Base64 of a zlib stream (default: none yet).
            data_available: Whether the source has data.
            attrs: Further attributes (default: none).
            group_description: The description of a new group.

        The group keeps its 5 oldest and 5 newest dumps, and counts the dumps that it drops, which may be this one. Raises
        InvalidValue.
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
        """Return the dump of a source with this id, with its data. Raises NotFound."""
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
        """Return a page of dumps without their data, ordered by source and dump_id; `iterate` returns all.

        group_id, source, data_available: only dumps with these values (default: any). after: source and dump_id of the
        previous page's last dump (default: the first page). limit: the most dumps to return.
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
        """Iterate over the dumps that `list` returns for the same filters, in its order, fetching one page at a time."""

        async def page(after: tuple[str, str] | None, limit: int) -> Sequence[ErrorDump]:
            return await self.list(group_id=group_id, source=source, data_available=data_available, after=after, limit=limit)

        return every(page, lambda row: (row.source, row.dump_id), None)

    async def list_of_group(self, group_id: str) -> Sequence[ErrorDump]:
        """Return the dumps of a group without their data, which can be large; the oldest first."""
        return await self._q.list_of_group(group_id)

    async def list_full_of_group(self, group_id: str) -> Sequence[FullErrorDump]:
        """Return the dumps of a group with their data, the oldest first."""
        return await self._q.list_full_of_group(group_id)

    async def update(self, source: str, dump_id: str, patch: ErrorDumpPatch) -> ErrorDump:
        """Change the fields in the patch, such as data that arrive later, and return the dump.

        Raises NotFound, InvalidValue.
        """
        changes = checked(ErrorDumpPatch, "error dump", patch)
        return found(await self._q.update(source, dump_id, changes), "error dump", (source, dump_id))

    async def set_attrs(self, source: str, dump_id: str, set: Mapping[str, JsonIn], remove: Sequence[str] = ()) -> JsonObject:
        """Set and remove keys of attrs in one statement, and return the resulting attrs. Raises NotFound."""
        return found(await self._q.set_attrs(source, dump_id, set, remove), "error dump", (source, dump_id))

    async def delete(self, source: str, dump_id: str) -> None:
        """Delete a dump; its group counts it as removed. Raises NotFound."""
        changed(await self._q.delete(source, dump_id), "error dump", (source, dump_id))

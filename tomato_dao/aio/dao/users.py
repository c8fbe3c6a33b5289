# Generated from tomato_dao/dao/users.py by “make schema”; not to be edited.
"""Users: beside db/queries/users.sql."""

from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING

from ...dao import changed, found, not_negative
from ...errors import Ambiguous
from ...patches import UserPatch, checked
from ...printable import quoted
from ...rows import ExpiredUsers, FullUser, JsonIn, JsonObject, User
from .paging import every

if TYPE_CHECKING:
    from .faces import AsyncUsersQueries


class AsyncUsers:
    """Accounts; a name is unique among those of one origin (login provider)."""

    def __init__(self, queries: "AsyncUsersQueries") -> None:
        self._q = queries

    async def create(
        self,
        name: str,
        *,
        organization_id: int,
        origin: str = "",
        realname: str = "",
        email: str = "",
        flags: Sequence[str] = (),
        password_hash: str | None = None,
        attrs: Mapping[str, JsonIn] | None = None,
    ) -> User:
        """Create a user with the default quota; last_login_at is now, so that an account that is never used expires.

        Raises AlreadyExists, NotFound (the organization), InvalidValue.
        """
        return await self._q.create(name, origin, organization_id, realname, email, flags, password_hash, attrs or {})

    async def get(self, id: int) -> User:
        """Return the user of an id. Raises NotFound."""
        return found(await self._q.get(id), "user", id)

    async def get_by_name(self, name: str, origin: str | None = None) -> User:
        """Return the user of a name.

        origin: the login provider, "" where it is none (default: whichever knows the name). Raises NotFound, and Ambiguous
        where no origin is given and two know the name.
        """
        if origin is not None:
            return found(await self._q.get_by_name(name, origin), "user", f"{name}@{origin}")
        users = await self.list_by_name(name)
        if len(users) > 1:
            origins = ", ".join(quoted(u.origin) for u in users)
            raise Ambiguous(f"user {quoted(name)} exists in the origins {origins}", entity="user", key=name)
        return found(next(iter(users), None), "user", name)

    async def list_by_name(self, name: str) -> Sequence[User]:
        """All users of a name, one per login provider: login tries each."""
        return await self._q.list_by_name(name)

    async def list(self, *, after: int = 0, limit: int = 100) -> Sequence[User]:
        """Return a page of users by id: at most `limit` of those with an id above `after`; `iterate` goes over all."""
        return await self._q.list(after, limit)

    def iterate(self, *, organization_id: int | None = None, flag: str | None = None) -> AsyncIterator[User]:
        """Iterate over all users, or those of an organization, with a flag or both, by id; a page is fetched at a time."""
        return every(
            lambda after, limit: self._q.list(after, limit, organization_id=organization_id, flag=flag), lambda row: row.id, 0
        )

    async def list_of_organization(self, organization_id: int, *, after: int = 0, limit: int = 100) -> Sequence[User]:
        """Return a page of an organization's users, as `list` does; `iterate` goes over all."""
        return await self._q.list(after, limit, organization_id=organization_id)

    async def list_by_flag(
        self, flag: str, *, organization_id: int | None = None, after: int = 0, limit: int = 100
    ) -> Sequence[User]:
        """Return a page of the users that have a flag, as `list` does; `iterate` goes over all.

        organization_id: that of the users (default: any).
        """
        return await self._q.list(after, limit, flag=flag, organization_id=organization_id)

    async def full(self, id: int) -> FullUser:
        """Return the user of an id with the organization's name, quota and current 5-minute usage. Raises NotFound."""
        return found(next(iter(await self._q.list_full(0, 1, id=id)), None), "user", id)

    async def list_full(
        self, *, organization_id: int | None = None, flag: str | None = None, after: int = 0, limit: int = 100
    ) -> Sequence[FullUser]:
        """Return a page of users, or those of an organization, with a flag or both, each as `full` tells it, as `list` does."""
        return await self._q.list_full(after, limit, organization_id=organization_id, flag=flag)

    async def list_alphabetically(
        self,
        *,
        organization_id: int | None = None,
        flag: str | None = None,
        after: tuple[str, str] | None = None,
        limit: int = 100,
    ) -> Sequence[User]:
        """Return a page of users, or those of an organization, with a flag or both, by name and origin.

        after: name and origin of the last user of the page before (default: the first page).
        """
        name, origin = after or (None, None)
        return await self._q.list_alphabetically(
            limit, organization_id=organization_id, flag=flag, after_name=name, after_origin=origin
        )

    async def update(self, id: int, patch: UserPatch) -> User:
        """Change what the patch names. With a password_hash alone password_at becomes now, or None where the hash is None.

        Raises NotFound, AlreadyExists, InvalidValue (as for an unknown new flag).
        """
        return found(await self._q.update(id, checked(UserPatch, "user", patch)), "user", id)

    async def set_attrs(self, id: int, set: Mapping[str, JsonIn], remove: Sequence[str] = ()) -> JsonObject:
        """Set some keys of attrs and remove others, at once; the attrs that it has then. Raises NotFound."""
        return found(await self._q.set_attrs(id, set, remove), "user", id)

    async def add_flag(self, id: int, flag: str) -> Sequence[str]:
        """Add one flag and return the flags then.

        Raises NotFound, InvalidValue where the flag is unknown (docs/domain.md#people-and-places).
        """
        return found(await self._q.add_flag(id, flag), "user", id)

    async def remove_flag(self, id: int, flag: str) -> Sequence[str]:
        """Remove one flag; the flags then. Raises NotFound."""
        return found(await self._q.remove_flag(id, flag), "user", id)

    async def touch_login(self, id: int) -> None:
        """Note that the user logged in now. Raises NotFound."""
        changed(await self._q.touch_login(id), "user", id)

    async def expire_passwords(self, origin: str, age: timedelta) -> int:
        """Forget the cached passwords of a login provider's users that are of that age, or of none that is known; how many."""
        return await self._q.expire_passwords(origin, not_negative("age", age))

    async def expire(self, origin: str, age: timedelta) -> ExpiredUsers:
        """Remove the users of a login provider who logged in last, or were created, that long ago.

        Users of an old installation who never logged in are left alone.

        Some topology's only owner is left and reported; where all owners of one expire, so is the first. Raises LastOwner
        where an owner was taken away at that moment: nobody is removed then; InvalidValue.
        """
        return await self._q.expire(origin, not_negative("age", age))

    async def delete(self, id: int) -> None:
        """Remove a user, with quota and permissions. Raises NotFound, LastOwner where a topology has no other owner."""
        changed(await self._q.delete(id), "user", id)

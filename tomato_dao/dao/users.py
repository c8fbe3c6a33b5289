"""Users: methods for the queries in db/queries/users.sql."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING

from ..errors import Ambiguous
from ..patches import UserPatch, checked
from ..printable import quoted
from ..rows import ExpiredUsers, FullUser, JsonIn, JsonObject, User
from . import changed, every, found, not_negative

if TYPE_CHECKING:
    from .faces import UsersQueries


class Users:
    """Accounts. A name is unique within an origin (login provider)."""

    def __init__(self, queries: "UsersQueries") -> None:
        self._q = queries

    def create(
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
        """Create a user with the default quota and return it.

        last_login_at is now, so that an account that is never used expires. Raises AlreadyExists, NotFound (the
        organization), InvalidValue.
        """
        return self._q.create(name, origin, organization_id, realname, email, flags, password_hash, attrs or {})

    def get(self, id: int) -> User:
        """Return the user with this id. Raises NotFound."""
        return found(self._q.get(id), "user", id)

    def get_by_name(self, name: str, origin: str | None = None) -> User:
        """Return the user with this name.

        origin: the login provider, "" for none (default: any). Raises NotFound, and Ambiguous if several origins have the
        name.
        """
        if origin is not None:
            return found(self._q.get_by_name(name, origin), "user", f"{name}@{origin}")
        users = self.list_by_name(name)
        if len(users) > 1:
            origins = ", ".join(quoted(u.origin) for u in users)
            raise Ambiguous(
                f"user {quoted(name)} exists in several origins ({origins}): pass the origin", entity="user", key=name
            )
        return found(next(iter(users), None), "user", name)

    def list_by_name(self, name: str) -> Sequence[User]:
        """Return all users with this name, one per login provider; a login tries each."""
        return self._q.list_by_name(name)

    def list(self, *, after: int = 0, limit: int = 100) -> Sequence[User]:
        """Return a page of users ordered by id: at most `limit`, with ids above `after`; `iterate` returns all."""
        return self._q.list(after, limit)

    def iterate(self, *, organization_id: int | None = None, flag: str | None = None) -> Iterator[User]:
        """Iterate over all users, or those of an organization, with a flag or both, ordered by id, one page at a time."""
        return every(
            lambda after, limit: self._q.list(after, limit, organization_id=organization_id, flag=flag), lambda row: row.id, 0
        )

    def list_of_organization(self, organization_id: int, *, after: int = 0, limit: int = 100) -> Sequence[User]:
        """Return a page of an organization's users, as `list` does; `iterate` returns all."""
        return self._q.list(after, limit, organization_id=organization_id)

    def list_by_flag(
        self, flag: str, *, organization_id: int | None = None, after: int = 0, limit: int = 100
    ) -> Sequence[User]:
        """Return a page of the users with a flag, as `list` does; `iterate` returns all.

        organization_id: only users of this organization (default: any).
        """
        return self._q.list(after, limit, flag=flag, organization_id=organization_id)

    def full(self, id: int) -> FullUser:
        """Return the user with this id, the organization's name, the quota and the current 5-minute usage. Raises NotFound."""
        return found(next(iter(self._q.list_full(0, 1, id=id)), None), "user", id)

    def list_full(
        self, *, organization_id: int | None = None, flag: str | None = None, after: int = 0, limit: int = 100
    ) -> Sequence[FullUser]:
        """Return a page of users as `full` does, of all or those of an organization, with a flag or both."""
        return self._q.list_full(after, limit, organization_id=organization_id, flag=flag)

    def list_alphabetically(
        self,
        *,
        organization_id: int | None = None,
        flag: str | None = None,
        after: tuple[str, str] | None = None,
        limit: int = 100,
    ) -> Sequence[User]:
        """Return a page of users, of all or those of an organization, with a flag or both, ordered by name and origin.

        after: name and origin of the previous page's last user (default: the first page).
        """
        name, origin = after or (None, None)
        return self._q.list_alphabetically(
            limit, organization_id=organization_id, flag=flag, after_name=name, after_origin=origin
        )

    def update(self, id: int, patch: UserPatch) -> User:
        """Change the fields in the patch and return the user.

        A password_hash without password_at sets password_at to now, or to None with the hash None. Raises NotFound,
        AlreadyExists, and InvalidValue, such as for an unknown new flag.
        """
        return found(self._q.update(id, checked(UserPatch, "user", patch)), "user", id)

    def set_attrs(self, id: int, set: Mapping[str, JsonIn], remove: Sequence[str] = ()) -> JsonObject:
        """Set and remove keys of attrs in one statement, and return the resulting attrs. Raises NotFound."""
        return found(self._q.set_attrs(id, set, remove), "user", id)

    def add_flag(self, id: int, flag: str) -> Sequence[str]:
        """Add a flag and return the user's flags.

        Raises NotFound, and InvalidValue for an unknown flag (docs/domain.md#people-and-places).
        """
        return found(self._q.add_flag(id, flag), "user", id)

    def remove_flag(self, id: int, flag: str) -> Sequence[str]:
        """Remove a flag and return the user's remaining flags. Raises NotFound."""
        return found(self._q.remove_flag(id, flag), "user", id)

    def touch_login(self, id: int) -> None:
        """Record that the user logged in now. Raises NotFound."""
        changed(self._q.touch_login(id), "user", id)

    def expire_passwords(self, origin: str, age: timedelta) -> int:
        """Clear a login provider's password hashes that are older than *age* or of unknown age; return how many."""
        return self._q.expire_passwords(origin, not_negative("age", age))

    def expire(self, origin: str, age: timedelta) -> ExpiredUsers:
        """Delete the users of a login provider whose last login, or creation, is longer than *age* ago, and return them.

        Users of an old installation who never logged in are kept. So are the only owners of a topology, who are returned as
        kept; if all owners of a topology expire, the first is kept. Raises InvalidValue, and LastOwner if an owner was
        removed at the same moment: nobody is deleted then.
        """
        return self._q.expire(origin, not_negative("age", age))

    def delete(self, id: int) -> None:
        """Delete a user with quota and permissions. Raises NotFound, and LastOwner if a topology has no other owner."""
        changed(self._q.delete(id), "user", id)

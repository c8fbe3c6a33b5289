"""Users, recipients of notices, and quotas."""

from datetime import datetime

from ..sql.rows import Row
from .json import JsonObject
from .usage import UsageRecord


class User(Row, frozen=True):
    """An account; origin names its login provider."""

    id: int
    name: str
    origin: str
    organization_id: int
    realname: str
    email: str
    flags: list[str]
    password_hash: str | None
    password_at: datetime | None
    last_login_at: datetime | None
    usage_id: int | None
    attrs: JsonObject


class Quota(Row, frozen=True):
    """A user's quota: the allowance per month, and what was used in the current one (bytes, CPU seconds)."""

    user_id: int
    monthly_memory: float
    monthly_diskspace: float
    monthly_traffic: float
    monthly_cputime: float
    used_memory: float
    used_diskspace: float
    used_traffic: float
    used_cputime: float
    used_at: datetime
    continuous_factor: float


class FullUser(User, frozen=True):
    """A user with the organization's name, quota (None if an old dump had none) and current 5-minute usage (None: none)."""

    organization_name: str
    quota: Quota | None
    usage: UsageRecord | None


class Contact(Row, frozen=True):
    """A user to be notified; nomails: whether the user has the flag of this name."""

    id: int
    name: str
    origin: str
    realname: str
    email: str
    nomails: bool


class TopologyContact(Contact, frozen=True):
    """A user to be notified about a topology, with the user's explicit role."""

    role: str


class ExpiredUsers(Row, frozen=True):
    """The users that were removed, and the expired users that were kept because a topology has no other owner."""

    removed: tuple[Contact, ...]
    kept: tuple[Contact, ...]

"""Users, who is told of something, and what users may use."""

from datetime import datetime

from ..sql.rows import Row
from .json import JsonObject
from .usage import UsageRecord


class User(Row, frozen=True):
    """An account; origin says which login provider it is from."""

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
    """A user's quota: what may be used a month, and was used in this one (bytes, CPU seconds)."""

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
    """A user with the organization's name, quota (None where an old dump had none) and current 5-minute usage (None: none)."""

    organization_name: str
    quota: Quota | None
    usage: UsageRecord | None


class Contact(Row, frozen=True):
    """A user who is to be told; nomails: the flag of that name, for who sends mail."""

    id: int
    name: str
    origin: str
    realname: str
    email: str
    nomails: bool


class TopologyContact(Contact, frozen=True):
    """A user who is to be told of a topology, and with what explicit role."""

    role: str


class ExpiredUsers(Row, frozen=True):
    """Users that were removed, and those left though expired: a topology has no other owner."""

    removed: tuple[Contact, ...]
    kept: tuple[Contact, ...]

"""Claims of workers: a claim belongs to one worker until its lease_until."""

from datetime import datetime

from ..sql.rows import Row
from .json import JsonObject
from .people import Contact, TopologyContact


class HostUpdateClaim(Row, frozen=True):
    """A host whose info is to be requested; claimed until lease_until."""

    id: int
    name: str
    address: str
    rpcurl: str
    site_id: int
    info_at: datetime | None
    lease_until: datetime


class HostSyncClaim(Row, frozen=True):
    """A host whose resources are to be synchronised; claimed until lease_until."""

    id: int
    name: str
    address: str
    rpcurl: str
    site_id: int
    resources_synced_at: datetime | None
    lease_until: datetime


class ProblemNoticeClaim(Row, frozen=True):
    """A notice of a host's problems to be sent; claimed until lease_until.

    kind: "announce", "again" or "resolved" (without problems). problem_since: when the problem was first seen.
    """

    host_id: int
    host_name: str
    kind: str
    problems: list[str]
    problem_since: datetime
    recipients: tuple[Contact, ...]
    lease_until: datetime


class TimeoutClaim(Row, frozen=True):
    """A topology to be warned about, stopped or destroyed (action: "warn", "stop" or "destroy"); claimed until lease_until.

    recipients: the topology's managers and owners by explicit permission.
    """

    id: int
    name: str
    timeout_at: datetime
    timeout_step: int
    action: str
    recipients: tuple[TopologyContact, ...]
    lease_until: datetime


class ElementSyncClaim(Row, frozen=True):
    """A machine to be checked, and the host that runs it (None if it has no host element); claimed until lease_until."""

    id: int
    topology_id: int
    type: str
    state: str
    host_element_id: int | None
    host_element_num: int | None
    host_name: str | None
    rpcurl: str | None
    rextfv_started_at: datetime | None
    next_sync_at: datetime
    attrs: JsonObject
    lease_until: datetime


class OrphanClaim(Row, frozen=True):
    """A host element or host connection that serves nothing and is to be removed from its host; claimed until lease_until."""

    id: int
    host_id: int
    host_name: str
    rpcurl: str
    num: int
    type: str
    state: str
    attrs: JsonObject
    lease_until: datetime


class RefreshClaim(Row, frozen=True):
    """A host element or host connection to be kept alive on its host; claimed until lease_until."""

    id: int
    host_id: int
    host_name: str
    rpcurl: str
    num: int
    type: str
    state: str
    next_refresh_at: datetime
    lease_until: datetime


class TaskClaim(Row, frozen=True):
    """A task to be done; claimed until lease_until."""

    name: str
    started_at: datetime
    lease_until: datetime


class Task(Row, frozen=True):
    """A task: when it was last started, and until when a worker has claimed it (None: it is finished)."""

    name: str
    started_at: datetime
    lease_until: datetime | None

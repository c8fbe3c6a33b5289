"""Settings of an installation."""

from ..sql.rows import Row


class Settings(Row, frozen=True):
    """Settings of the installation: durations in seconds, a month's default quota in bytes and CPU seconds.

    host_update_interval, resource_sync_interval: after which a host is to be asked for its info, and its resources are to be
    synchronised. availability_half_life: in which a host's past counts half. topology_timeout: a new topology's; what users
    are offered first, at most, and to choose from; how long before it a warning is sent, and after it the topology is
    destroyed. error_dump_interval: after which error dumps are to be collected from hosts.
    """

    host_update_interval: int
    resource_sync_interval: int
    availability_half_life: int
    topology_timeout_initial: int
    topology_timeout_default: int
    topology_timeout_maximum: int
    topology_timeout_warning: int
    topology_timeout_options: list[int]
    quota_memory: float
    quota_diskspace: float
    quota_traffic: float
    quota_cputime: float
    quota_continuous_factor: float
    error_dump_interval: int

"""The settings of an installation."""

from ..sql.rows import Row


class Settings(Row, frozen=True):
    """Settings of the installation: durations in seconds, a month's default quota in bytes and CPU seconds.

    host_update_interval, resource_sync_interval: the time between two updates of a host's info, and between two
    synchronisations of its resources. availability_half_life: the time after which past availability counts half.
    topology_timeout_initial: a new topology's timeout; _default, _maximum, _options: what users are offered first, at most, and
    to choose from; _warning: how long before the timeout a warning is sent, and how long after it the topology is destroyed.
    error_dump_interval: how often error dumps are collected from hosts.
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

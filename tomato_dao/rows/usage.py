"""Rows of usage accounting and of link measurements."""

from datetime import datetime

from ..sql.rows import Row


class UsageRecord(Row, frozen=True):
    """Measured use from begin_at to end_at: memory, diskspace and traffic in bytes, cputime in CPU seconds."""

    usage_id: int
    type: str
    begin_at: datetime
    end_at: datetime
    measurements: int
    memory: float
    diskspace: float
    traffic: float
    cputime: float


class UsageHistory(Row, frozen=True):
    """All records that are kept of an object, of each type by time."""

    usage_id: int
    five_minutes: tuple[UsageRecord, ...]
    hour: tuple[UsageRecord, ...]
    day: tuple[UsageRecord, ...]
    month: tuple[UsageRecord, ...]
    year: tuple[UsageRecord, ...]


class UsageTotal(Row, frozen=True):
    """The use of a user or an organization in a period, from begin_at to end_at as far as it has records."""

    id: int
    begin_at: datetime
    end_at: datetime
    measurements: int
    memory: float
    diskspace: float
    traffic: float
    cputime: float


class ImportedUsage(Row, frozen=True):
    """Result of an import of records; see Usage.import_records."""

    imported: int
    known: int
    unknown: int
    ahead: int
    late: int


class AggregatedUsage(Row, frozen=True):
    """Result of a rollup; see Usage.aggregate."""

    ran: bool
    written: int
    pruned: int
    late: int
    waiting: int
    unfinished: bool


class LinkMeasurement(Row, frozen=True):
    """Quality between two sites from begin_at to end_at: loss a fraction, delays in seconds, one way.

    In results site_a_id is the lower of the two.
    """

    site_a_id: int
    site_b_id: int
    type: str
    begin_at: datetime
    end_at: datetime
    loss: float
    delay_avg: float
    delay_stddev: float
    measurements: int


class LinkHistory(Row, frozen=True):
    """All measurements that are kept of two sites, of each type by time; site_a is the one with the lower id."""

    site_a_id: int
    site_a_name: str
    site_b_id: int
    site_b_name: str
    single: tuple[LinkMeasurement, ...]
    five_minutes: tuple[LinkMeasurement, ...]
    hour: tuple[LinkMeasurement, ...]
    day: tuple[LinkMeasurement, ...]
    month: tuple[LinkMeasurement, ...]
    year: tuple[LinkMeasurement, ...]


class CombinedLinks(Row, frozen=True):
    """Result of combining link measurements; see Links.combine."""

    ran: bool
    written: int
    pruned: int

"""What was used, the quality of links, and what became of a roll-up."""

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class UsageRecord:
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


@dataclass(frozen=True, slots=True)
class UsageTotal:
    """The use of a user or an organization in a period, from begin_at to end_at as far as it has records."""

    id: int
    begin_at: datetime
    end_at: datetime
    measurements: int
    memory: float
    diskspace: float
    traffic: float
    cputime: float


@dataclass(frozen=True, slots=True)
class ImportedUsage:
    """What became of the records of an import; see Usage.import_records."""

    imported: int
    known: int
    unknown: int
    ahead: int
    late: int


@dataclass(frozen=True, slots=True)
class AggregatedUsage:
    """What a roll-up did; see Usage.aggregate."""

    ran: bool
    written: int
    pruned: int
    late: int
    waiting: int


@dataclass(frozen=True, slots=True)
class LinkMeasurement:
    """Quality between two sites from begin_at to end_at: loss a fraction, delays in milliseconds.

    In what is read site_a_id is the lower of the two.
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


@dataclass(frozen=True, slots=True)
class CombinedLinks:
    """What combining link measurements did; see Links.combine."""

    ran: bool
    written: int
    pruned: int

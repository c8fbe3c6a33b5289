"""The row classes: one frozen msgspec Struct per shape of row, whose fields are the query's columns in order.

Times are `datetime` in UTC. Usage is in bytes and CPU seconds, a profile's ram and diskspace in MB. Whole numbers in JSON
are exact up to 4,300 digits; a number beyond the range of floats is read as infinity.

Rows are compared, printed and pickled by their fields. `replace(row, name="new")` returns a changed copy, and `asdict(row)`
the fields as a dictionary, in which rows inside the row stay rows.
"""

from msgspec.structs import asdict, replace

from ..sql.rows import Row
from .claims import (
    ElementSyncClaim,
    HostSyncClaim,
    HostUpdateClaim,
    OrphanClaim,
    ProblemNoticeClaim,
    RefreshClaim,
    Task,
    TaskClaim,
    TimeoutClaim,
)
from .json import Json, JsonIn, JsonObject
from .notes import Counts, ErrorDump, ErrorGroup, ErrorGroupSummary, FullErrorDump, KeyValue
from .people import Contact, ExpiredUsers, FullUser, Quota, TopologyContact, User
from .places import FullHost, FullSite, Host, HostCandidate, HostComponent, HostUse, Organization, Site
from .resources import (
    FullTemplate,
    ListedTemplate,
    Network,
    NetworkInstance,
    Profile,
    Resource,
    Template,
    TemplateOfHost,
    TemplateOnHost,
    TemplateReadiness,
)
from .settings import Settings
from .topologies import (
    Connection,
    ConnectionEnd,
    Element,
    ExportedTopology,
    FullConnection,
    FullElement,
    FullPermission,
    FullTopology,
    ImportedTopology,
    ListedTopology,
    RunningHost,
    ServingComponent,
    Topology,
    TopologyPermission,
    TopologyRole,
)
from .usage import (
    AggregatedUsage,
    CombinedLinks,
    ImportedUsage,
    LinkHistory,
    LinkMeasurement,
    UsageHistory,
    UsageRecord,
    UsageTotal,
)

__all__ = [
    "AggregatedUsage",
    "CombinedLinks",
    "Connection",
    "ConnectionEnd",
    "Contact",
    "Counts",
    "Element",
    "ElementSyncClaim",
    "ErrorDump",
    "ErrorGroup",
    "ErrorGroupSummary",
    "ExpiredUsers",
    "ExportedTopology",
    "FullConnection",
    "FullElement",
    "FullErrorDump",
    "FullHost",
    "FullPermission",
    "FullSite",
    "FullTemplate",
    "FullTopology",
    "FullUser",
    "Host",
    "HostCandidate",
    "HostComponent",
    "HostSyncClaim",
    "HostUpdateClaim",
    "HostUse",
    "ImportedTopology",
    "ImportedUsage",
    "Json",
    "JsonIn",
    "JsonObject",
    "KeyValue",
    "LinkHistory",
    "LinkMeasurement",
    "ListedTemplate",
    "ListedTopology",
    "Network",
    "NetworkInstance",
    "Organization",
    "OrphanClaim",
    "ProblemNoticeClaim",
    "Profile",
    "Quota",
    "RefreshClaim",
    "Resource",
    "RunningHost",
    "ServingComponent",
    "Settings",
    "Site",
    "Task",
    "TaskClaim",
    "Template",
    "TemplateOfHost",
    "TemplateOnHost",
    "TemplateReadiness",
    "TimeoutClaim",
    "Topology",
    "TopologyContact",
    "TopologyPermission",
    "TopologyRole",
    "UsageHistory",
    "UsageRecord",
    "UsageTotal",
    "User",
    "asdict",
    "replace",
]

# The row classes by name, as query files name them.
CLASSES = {name: value for name, value in list(globals().items()) if isinstance(value, type) and issubclass(value, Row)}

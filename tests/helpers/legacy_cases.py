"""Helpers that the tests of old dumps share: a small old installation by hand, and the samples."""

import gzip
import io
import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import pytest

import tomato_dao
from tests.conftest import SHARED
from tomato_dao import Database
from tomato_dao.transfer.legacy.report import LegacySummary

LAST = "0038_auto__add_field_errordump_timestamp"
NOW = 1441065600.0


# The fields that hold another record's pk.
_REFERENCES = frozenset(
    [
        "statistics", "usage", "monthly", "used", "organization", "totalUsage", "site", "quota", "set", "user", "permissions",
        "topology", "parent", "connection", "element", "profile", "template", "network", "host", "topology_element",
        "topology_connection", "usageStatistics", "connection1", "connection2", "connectionElement1", "connectionElement2",
        "siteA", "siteB",
    ]
)  # fmt: skip


class OldDump:
    """An old installation with one of everything, to be changed; attrs are given as objects.

    n: which of several installations in one dump it is: its pks are those given plus 1000 · n, its names end in n.
    """

    def __init__(self, n: int = 0) -> None:
        self.n = n
        self.records: list[dict[str, Any]] = []
        for pk, memory in ((1, 1e9), (2, 2.5), (3, 123.25)):
            self.add("usage", pk, memory=memory, diskspace=0.5, traffic=7, cputime=0.0)
        for pk in range(1, 8):
            self.add("usagestatistics", pk, attrs={})
        self.add("usagerecord", 1, statistics=7, type="5minutes", begin=NOW - 300, end=NOW, measurements=3, usage=3)
        self.add("quota", 1, monthly=1, used=2, used_time=NOW, continous_factor=1.5)
        self.add("organization", 1, name=f"uni{n}", totalUsage=1, attrs={})
        self.add("site", 1, name=f"lab{n}", organization=1, attrs={"geolocation": {"longitude": 8.5, "latitude": 47}})
        self.add("site", 2, name=f"attic{n}", organization=1, attrs={})
        self.add("host", 1, name=f"host{n}", address="10.0.0.1", rpcurl=f"ssl://{n}", site=1, totalUsage=2, attrs={})
        self.add(
            "user", 1, name=f"alice{n}", origin="", organization=1, attrs={}, password=None, password_time=None, last_login=NOW,
            totalUsage=3, quota=1,
        )  # fmt: skip
        self.add("permissions", 1)
        self.add("permissionentry", 1, set=1, user=1, role="owner")
        self.add(
            "topology", 1, permissions=1, totalUsage=4, timeout=NOW, timeout_step=0, attrs={"name": "t"}, site=None
        )  # fmt: skip
        self.element(1, "kvmqm", totalUsage=5)
        self.element(2, "kvmqm_interface", parent=1, connection=1)
        self.element(3, "udp_endpoint", connection=1)
        self.add("kvmqm", 1, element=1, site=1, profile=2, template=1, rextfv_last_started=0.0, next_sync=NOW)
        self.add("kvmqm_interface", 2, element=None)
        self.add("udp_endpoint", 3, element=None)
        self.add(
            "connection", 1, topology=1, state="created", permissions=1, totalUsage=6, attrs={}, connection1=1,
            connection2=None, connectionElement1=None, connectionElement2=None,
        )  # fmt: skip
        component = {"host": 1, "num": 1, "topology_element": None, "topology_connection": None, "usageStatistics": None}
        served = component | {"topology_element": 1, "usageStatistics": 7}
        self.add("hostelement", 1, **served, attrs={"type": "kvmqm", "state": "started"})
        self.add(
            "hostconnection", 1, **component | {"topology_connection": 1}, attrs={"type": "fixed_bridge", "state": "started"}
        )
        self.resource("template", 1, {"label": "Debian"}, tech="kvmqm", name=f"debian{n}", preference=1)
        self.resource("profile", 2, {"ram": 512}, tech="kvmqm", name=f"normal{n}", preference=1)
        self.resource("network", 3, {}, kind=f"internet{n}", preference=1)
        self.add("resource", 4, type="network_instance", attrs={})
        self.add("networkinstance", 4, network=3, host=1, bridge="vmbr0")
        self.add("templateonhost", 1, host=1, template=1, ready=True, date=NOW)
        self.add(
            "linkmeasurement", 1, siteA=1, siteB=2, type="hour", begin=NOW - 3600, end=NOW, measurements=9, loss=0.5,
            delayAvg=3.5, delayStddev=0.25,
        )  # fmt: skip
        self.add("keyvaluepair", 1, key=f"k{n}", attrs={"data": [1]})
        self.add("errorgroup", f"g{n}", description="d", removed_dumps=0)
        self.add("errordump", 1, source="host:1", dump_id=f"{n}", group=f"g{n}", description="{}", attrs={}, timestamp=NOW)
        self.add_record(
            "south.migrationhistory", 1, {"app_name": "tomato", "migration": LAST, "applied": "2015-03-01T06:00:00"}
        )

    def add_record(self, model: str, pk: Any, fields: Mapping[str, Any]) -> "OldDump":
        """One more record, of any app's."""
        self.records.append({"model": model, "pk": self.pk(pk), "fields": self._told(fields)})
        return self

    def pk(self, pk: Any) -> Any:
        """Return a pk, or reference, of this installation."""
        return pk + 1000 * self.n if isinstance(pk, int) else pk

    def _told(self, fields: Mapping[str, Any]) -> dict[str, Any]:
        told = {k: self.pk(v) if k in _REFERENCES else v for k, v in fields.items()}
        return told | {"attrs": json.dumps(told["attrs"])} if isinstance(told.get("attrs"), dict) else told

    def add(self, model: str, pk: Any, **fields: Any) -> "OldDump":
        """One more record of the app's."""
        return self.add_record(f"tomato.{model}", pk, fields)

    def element(self, pk: int, type: str, **fields: Any) -> "OldDump":
        """One more element of topology 1, in state created."""
        common = {"topology": 1, "state": "created", "parent": None, "connection": None, "permissions": 1, "totalUsage": None}
        return self.add("element", pk, type=type, **common | {"attrs": {}} | fields)

    def resource(self, model: str, pk: int, attrs: dict[str, Any], **fields: Any) -> "OldDump":
        """One more template, profile or network, with its base row."""
        self.add("resource", pk, type=model, attrs=attrs)
        return self.add(model, pk, **fields)

    def fields(self, model: str, pk: Any) -> dict[str, Any]:
        """Return a record's fields, to be changed."""
        found: dict[str, Any] = next(r["fields"] for r in self.records if (r["model"], r["pk"]) == self._of(model, pk))
        return found

    def change(self, model: str, pk: Any, **fields: Any) -> "OldDump":
        """Give a record's fields other values; attrs may be text, too."""
        self.fields(model, pk).update(self._told(fields))
        return self

    def remove(self, model: str, pk: Any) -> "OldDump":
        """Leave a record out."""
        self.records = [r for r in self.records if (r["model"], r["pk"]) != self._of(model, pk)]
        return self

    def _of(self, model: str, pk: Any) -> tuple[str, Any]:
        return f"tomato.{model}", self.pk(pk)

    def file(self) -> io.BytesIO:
        """Return the dump as a file."""
        return io.BytesIO(json.dumps(self.records).encode())

    def load(self, db: Database, **options: Any) -> LegacySummary:
        """Load it, and make sure that every record's fate is told."""
        summary = tomato_dao.load_legacy(db, self.file(), **options)
        assert sum(summary.read.values()) == len(self.records)
        return summary


def together(changes: Iterable[Callable[[OldDump], object]]) -> OldDump:
    """One dump of several installations, 1, 2 …, each with a change."""
    dump = OldDump()
    for n, change in enumerate(changes, 1):
        one = OldDump(n)
        change(one)
        dump.records += [r for r in one.records if r["model"] != "south.migrationhistory"]
    return dump


def sample(name: str) -> Path:
    """Return a sample, where they stand beside the checkout."""
    path = SHARED / "legacy" / name
    if not path.exists():
        pytest.skip("the samples of old dumps are not at ../shared/data/legacy")
    return path


def records_of(path: Path) -> dict[str, dict[Any, dict[str, Any]]]:
    """Return a sample as Python reads it: model → pk → fields, JSON texts parsed."""
    found: dict[str, dict[Any, dict[str, Any]]] = {}
    for record in json.loads(gzip.decompress(path.read_bytes())):
        fields = record["fields"]
        if isinstance(fields.get("attrs"), str):
            fields["attrs"] = json.loads(fields["attrs"] or "{}")
        found.setdefault(record["model"].partition(".")[2], {})[record["pk"]] = fields
    return found

"""The samples of old dumps: every value of every record is found again, however the file is laid out."""

import gzip
import io
import json
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
import pytest

import tomato_dao
from tests.conftest import CHECKOUT
from tests.helpers.commands import run
from tests.helpers.legacy_cases import OldDump, records_of, sample
from tests.helpers.transfer_cases import another_database, dumped, peak_memory
from tomato_dao import Database, InvalidValue, WrongSchema
from tomato_dao.rows import asdict

pytestmark = [pytest.mark.as_owner, pytest.mark.slow]  # a load needs the owner

Old = dict[str, dict[Any, dict[str, Any]]]

# Keys of attrs that have a column, and their defaults; the rest stays in attrs.
OF_ATTRS: dict[str, dict[str, tuple[str, Any]]] = {
    "organization": {name: (name, "") for name in ("description", "homepage_url", "image_url", "description_text")},
    "site": {name: (name, "") for name in ("description", "location", "description_text")},
    "user": {"realname": ("realname", ""), "email": ("email", ""), "flags": ("flags", [])},
    "topology": {"name": ("name", "")},
    "host": {
        "enabled": ("enabled", True), "availability": ("availability", 1.0), "componentErrors": ("component_errors", 0),
        "info": ("info", {}), "info_timestamp": ("info_at", None), "element_types": ("element_types", {}),
        "connection_types": ("connection_types", {}), "networks": ("networks", []),
        "last_resources_sync": ("resources_synced_at", None), "accounting_timestamp": ("accounting_at", None),
        "dump_last_fetch": ("dumps_fetched_at", None), "problem_age": ("problem_since", None),
        "problem_mail_time": ("problem_mailed_at", None), "description_text": ("description_text", ""),
    },
    "hostelement": {"type": ("type", ""), "state": ("state", "")},
    "hostconnection": {"type": ("type", ""), "state": ("state", "")},
    "template": {"label": ("label", ""), "subtype": ("subtype", ""), "restricted": ("restricted", False),
                 "kblang": ("kblang", "en-us"), "torrent_data": ("torrent_data", "")},
    "profile": {"label": ("label", ""), "restricted": ("restricted", False), "ram": ("ram", None), "cpus": ("cpus", None),
                "diskspace": ("diskspace", None)},
    "network": {"label": ("label", ""), "restricted": ("restricted", False)},
    "errordump": {"origin": ("origin", ""), "software_version": ("software_version", {}), "data": ("data", None),
                  "data_available": ("data_available", False)},
}  # fmt: skip
MACHINES = ("kvmqm", "openvz", "repy")


def at(seconds: float | None) -> datetime | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)


def at_or_never(seconds: float | None) -> datetime | None:
    return at(seconds) if seconds else None


def columns_of_attrs(model: str, attrs: dict[str, Any]) -> dict[str, Any]:
    """Return what a record's attrs become."""
    own = OF_ATTRS.get(model, {})
    found = {
        column: at_or_never(attrs.get(name)) if column.endswith(("_at", "_since")) else attrs.get(name, default)
        for name, (column, default) in own.items()
    }
    return found | {"attrs": {name: value for name, value in attrs.items() if name not in own}}


def usage(old: Old, pk: int) -> dict[str, float]:
    return old["usage"][pk]


@pytest.fixture(scope="module", params=["small", pytest.param("medium", marks=pytest.mark.long)])
def size(request: pytest.FixtureRequest) -> str:
    """Choose a sample: both have all models, the larger one has thirty times the records."""
    return str(request.param)


@pytest.fixture(scope="module")
def old(size: str) -> Old:
    """Provide the sample, read independently."""
    return records_of(sample(f"{size}.json.gz"))


@pytest.fixture(scope="module")
def loaded(size: str, old: Old, tomato_server_url: str, tomato_template: str) -> Iterator[Database]:
    """Provide a Database into which the sample was loaded."""
    path = sample(f"{size}.json.gz")
    with another_database(tomato_server_url, tomato_template) as db:
        summary = tomato_dao.load(db, path)
        counts = json.loads(sample(f"{size}.counts.json").read_text())
        told = json.loads(summary.as_json())["models"]  # type: ignore[attr-defined]
        assert {model: one["read"] for model, one in told.items()} == counts
        assert all(one["read"] == one["loaded"] + one["merged"] + one["dropped"] for one in told.values())
        assert [model for model, one in told.items() if one["dropped"]] == ["south.migrationhistory"]
        yield db


def test_organizations_and_sites(loaded: Database, old: Old) -> None:
    for pk, f in old["organization"].items():
        expected = {"id": pk, "name": f["name"], "usage_id": f["totalUsage"]} | columns_of_attrs("organization", f["attrs"])
        assert asdict(loaded.organizations.get(pk)) == expected
    for pk, f in old["site"].items():
        place = f["attrs"].pop("geolocation")
        expected = {"id": pk, "name": f["name"], "organization_id": f["organization"]} | place
        assert asdict(loaded.sites.get(pk)) == expected | columns_of_attrs("site", f["attrs"])


def test_hosts(loaded: Database, old: Old) -> None:
    for pk, f in old["host"].items():
        expected = {"id": pk, "site_id": f["site"], "usage_id": f["totalUsage"]}
        expected |= {name: f[name] for name in ("name", "address", "rpcurl")} | columns_of_attrs("host", f["attrs"])
        assert asdict(loaded.hosts.get(pk)) == expected


def test_users_and_quotas(loaded: Database, old: Old) -> None:
    for pk, f in old["user"].items():
        assert asdict(loaded.users.get(pk)) == {
            "id": pk, "name": f["name"], "origin": f["origin"], "organization_id": f["organization"],
            "usage_id": f["totalUsage"], "password_hash": f["password"], "password_at": at(f["password_time"]),
            "last_login_at": at_or_never(f["last_login"]), **columns_of_attrs("user", f["attrs"]),
        }  # fmt: skip
        quota = old["quota"][f["quota"]]
        monthly = {f"monthly_{name}": value for name, value in usage(old, quota["monthly"]).items()}
        used = {f"used_{name}": value for name, value in usage(old, quota["used"]).items()}
        expected = {"user_id": pk, "used_at": at(quota["used_time"]), "continuous_factor": quota["continous_factor"]}
        assert asdict(loaded.quotas.get(pk)) == expected | monthly | used


def test_topologies_and_permissions(loaded: Database, old: Old) -> None:
    for pk, f in old["topology"].items():
        assert asdict(loaded.topologies.get(pk)) == {
            "id": pk, "site_id": f["site"], "timeout_at": at(f["timeout"]), "timeout_step": f["timeout_step"],
            "usage_id": f["totalUsage"], **columns_of_attrs("topology", f["attrs"]),
        }  # fmt: skip
        entries = {e["user"]: e["role"] for e in old["permissionentry"].values() if e["set"] == f["permissions"]}
        assert {p.user_id: p.role for p in loaded.topology_permissions.list_of_topology(pk)} == entries


def test_elements(loaded: Database, old: Old) -> None:
    for pk, f in old["element"].items():
        part = old[f["type"]][pk]
        machine = part if f["type"] in MACHINES else {}
        found = loaded.elements.get(pk)
        assert asdict(found) == {
            "id": pk, "topology_id": f["topology"], "type": f["type"], "state": f["state"], "parent_id": f["parent"],
            "connection_id": f["connection"], "usage_id": f["totalUsage"] or found.usage_id, "attrs": f["attrs"],
            "host_element_id": part.get("element"), "site_id": machine.get("site"), "profile_id": machine.get("profile"),
            "template_id": machine.get("template"),
            "rextfv_started_at": at_or_never(machine.get("rextfv_last_started")),
            "next_sync_at": at_or_never(machine.get("next_sync")),
            "network_id": part.get("network") if f["type"] == "external_network" else None,
            "network_instance_id": part.get("network") if f["type"] == "external_network_endpoint" else None,
        }  # fmt: skip


def test_connections(loaded: Database, old: Old) -> None:
    ends: dict[int, list[int]] = {}
    for pk, f in sorted(old["element"].items()):
        ends.setdefault(f["connection"], []).append(pk)
    for pk, f in old["connection"].items():
        served = old["hostconnection"].get(f["connection1"])
        is_external = any(old["element"][end]["type"] == "external_network_endpoint" for end in ends[pk])
        found = loaded.connections.get(pk)
        assert asdict(found) == {
            "id": pk, "topology_id": f["topology"], "state": f["state"], "usage_id": f["totalUsage"] or found.usage_id,
            "attrs": f["attrs"], "type": served["attrs"]["type"] if served else "fixed_bridge" if is_external else "bridge",
            "host_connection1_id": f["connection1"], "host_connection2_id": f["connection2"],
            "host_element1_id": f["connectionElement1"], "host_element2_id": f["connectionElement2"],
            "from_element_id": ends[pk][0], "to_element_id": ends[pk][1],
        }  # fmt: skip


@pytest.mark.parametrize("model", ["hostelement", "hostconnection"])
def test_host_components(loaded: Database, old: Old, model: str) -> None:
    dao = loaded.host_elements if model == "hostelement" else loaded.host_connections
    for pk, f in old[model].items():
        found = dao.get(pk)
        assert asdict(found) == {
            "id": pk, "host_id": f["host"], "num": f["num"], "element_id": f["topology_element"],
            "connection_id": f["topology_connection"], "usage_id": f["usageStatistics"] or found.usage_id,
            **columns_of_attrs(model, f["attrs"]),
        }  # fmt: skip


def test_each_component_has_a_usage_identity_of_its_own(loaded: Database, old: Old) -> None:
    with loaded.connection() as connection:
        tables = ("elements", "connections", "host_elements", "host_connections")
        found = [id for table in tables for (id,) in connection.execute(f"select usage_id from {table}")]
    assert None not in found
    assert len(set(found)) == len(found) == sum(len(old[t]) for t in ("element", "connection", "hostelement", "hostconnection"))
    given = old["usagestatistics"].keys()
    assert len(set(found) - given) == sum(
        f[field] is None
        for model, field in (
            ("element", "totalUsage"),
            ("connection", "totalUsage"),
            ("hostelement", "usageStatistics"),
            ("hostconnection", "usageStatistics"),
        )
        for f in old[model].values()
    )


def test_usage_records(loaded: Database, old: Old) -> None:
    expected = {
        (f["statistics"], f["type"], at(f["begin"]), at(f["end"]), f["measurements"], *sorted(usage(old, f["usage"]).items()))
        for f in old["usagerecord"].values()
    }
    names = ("cputime", "diskspace", "memory", "traffic")
    with loaded.connection() as connection:
        rows = connection.execute(
            "select usage_id, type, begin_at, end_at, measurements, cputime, diskspace, memory, traffic from usage_records"
        )
        assert {(*row[:5], *zip(names, row[5:], strict=True)) for row in rows} == expected


def rows_of(loaded: Database, table: str) -> Iterator[dict[str, Any]]:
    with loaded.connection() as connection, connection.cursor(row_factory=psycopg.rows.dict_row) as cursor:
        yield from cursor.execute(f"select * from {table}".encode())


@pytest.mark.parametrize("model", ["template", "profile", "network"])
def test_resources_keep_their_ids_and_values(loaded: Database, old: Old, model: str) -> None:
    expected = {pk: {"id": pk, **f, **columns_of_attrs(model, old["resource"][pk]["attrs"])} for pk, f in old[model].items()}
    rows = {row["id"]: {k: v for k, v in row.items() if k != "torrent_data_md5"} for row in rows_of(loaded, f"{model}s")}
    assert rows == expected


def test_all_other_records_keep_their_ids_and_values(loaded: Database, old: Old) -> None:
    assert {row["id"] for row in rows_of(loaded, "usage_statistics")} >= old["usagestatistics"].keys()
    assert {row["id"]: row for row in rows_of(loaded, "network_instances")} == {
        pk: {"id": pk, "network_id": f["network"], "host_id": f["host"], "bridge": f["bridge"], "attrs": {}}
        for pk, f in old["networkinstance"].items()
    }
    assert {
        (row["host_id"], row["template_id"], row["ready"], row["changed_at"]) for row in rows_of(loaded, "templates_on_hosts")
    } == {(f["host"], f["template"], f["ready"], at(f["date"])) for f in old["templateonhost"].values()}
    assert {
        tuple(
            row[name]
            for name in (
                "site_a_id",
                "site_b_id",
                "type",
                "begin_at",
                "end_at",
                "measurements",
                "loss",
                "delay_avg",
                "delay_stddev",
            )
        )
        for row in rows_of(loaded, "link_measurements")
    } == {
        (
            f["siteA"],
            f["siteB"],
            f["type"],
            at(f["begin"]),
            at(f["end"]),
            f["measurements"],
            f["loss"],
            f["delayAvg"],
            f["delayStddev"],
        )
        for f in old["linkmeasurement"].values()
    }
    assert {row["id"]: (row["key"], row["value"], row["attrs"]) for row in rows_of(loaded, "key_values")} == {
        pk: (f["key"], f["attrs"]["data"], {}) for pk, f in old["keyvaluepair"].items()
    }
    assert {row["group_id"]: row for row in rows_of(loaded, "error_groups")} == {
        pk: {"group_id": pk, **f} for pk, f in old["errorgroup"].items()
    }
    assert sorted(rows_of(loaded, "error_dumps"), key=lambda row: (row["source"], row["dump_id"])) == [
        {
            "source": f["source"], "dump_id": f["dump_id"], "group_id": f["group"], "at": at(f["timestamp"]),
            "description": json.loads(f["description"]), **columns_of_attrs("errordump", f["attrs"]),
        }
        for f in sorted(old["errordump"].values(), key=lambda f: (f["source"], f["dump_id"]))
    ]  # fmt: skip


def test_a_loaded_old_dump_passes_dump_and_load(loaded: Database, tomato_server_url: str, tomato_template: str) -> None:
    text = dumped(loaded)
    with another_database(tomato_server_url, tomato_template) as copy:
        tomato_dao.load(copy, io.BytesIO(text))
        assert dumped(copy) == text


def test_the_schema_of_the_file_does_not_matter(tomato_server_url: str, tomato_template: str) -> None:
    records = json.loads(gzip.decompress(sample("small.json.gz").read_bytes()))
    turned = [dict(reversed(record.items())) for record in reversed(records)]
    dumps = []
    for text in (json.dumps(records), "\n " + json.dumps(turned, indent=1, ensure_ascii=False) + "\r\n"):
        with another_database(tomato_server_url, tomato_template) as db:
            tomato_dao.load(db, io.BytesIO(text.encode()))
            dumps.append(dumped(db))
    assert dumps[0] == dumps[1]


def test_another_schema_is_refused(db: Database) -> None:
    with pytest.raises(WrongSchema, match=r"of schema 0036_keyvaluestore, but 0038_.*: migrate the old backend first"):
        tomato_dao.load(db, sample("layout-0036.json"))


def load(url: str, *arguments: str, text: bytes | None = None) -> "subprocess.CompletedProcess[bytes]":
    command = [sys.executable, "-m", "tomato_dao", "load", *arguments]
    return run(command, {"DATABASE_URL": url, "PYTHONPATH": str(CHECKOUT)}, stdin=text)


def test_the_command_lists_reports_and_skips(tomato_url: str, db: Database, tmp_path: Path) -> None:
    dump = OldDump()
    dump.change("organization", 1, name="a/b")
    dump.change("element", 1, state="broken")
    file, report = tmp_path / "dump.json", tmp_path / "report.json"
    file.write_bytes(dump.file().read())
    refused = load(tomato_url, str(tmp_path / "dump"), "--report", str(report))
    assert refused.returncode == 1
    assert "tomato.organization 1: name is a/b: a name has at most 50 characters and no “/”" in refused.stderr.decode()
    assert len(json.loads(report.read_bytes())["refused"]) == 2
    assert report.stat().st_mode & 0o777 == 0o600
    assert db.organizations.list() == []
    assert load(tomato_url, "--check", "--skip-invalid", "-", text=file.read_bytes()).returncode == 0
    assert db.organizations.list() == []
    done = load(tomato_url, "--skip-invalid", "--report", str(report), str(file))
    assert (done.returncode, b"tomato.organization" in done.stderr) == (0, True)
    assert json.loads(report.read_bytes())["models"]["tomato.organization"]["dropped"] == 1
    again = load(tomato_url, "--skip-invalid", str(file))
    assert (again.returncode, b"is not empty" in again.stderr) == (1, True)
    assert load(tomato_url, "--skip-invalid", "--replace", str(file)).returncode == 0


def test_a_report_that_cannot_be_written_fails_first_or_is_a_warning(tomato_url: str, db: Database, tmp_path: Path) -> None:
    file = tmp_path / "dump.json"
    file.write_bytes(OldDump().file().read())
    impossible = load(tomato_url, "--report", str(tmp_path / "nope" / "r.json"), str(file))
    assert (impossible.returncode, b"can't write" in impossible.stderr) == (1, True)
    assert db.organizations.list() == []
    full = load(tomato_url, "--report", "/dev/full", str(file))
    assert full.returncode == 0
    assert b"warning: everything was loaded, but the report could not be written: can't write /dev/full" in full.stderr
    assert b"dropped 1 south.migrationhistory" in full.stderr  # the summary stands beside it
    assert db.organizations.list() != []


def test_options_of_old_dumps_are_for_old_dumps(tomato_url: str, db: Database) -> None:
    assert load(tomato_url, "--skip-invalid", "-", text=dumped(db)).returncode == 2
    forced = load(tomato_url, "--format", "legacy", "-", text=dumped(db))
    assert (forced.returncode, b"a record must have a model, a pk and fields" in forced.stderr) == (1, True)


def test_memory_does_not_grow_with_the_file(tomato_url: str, tmp_path: Path) -> None:
    peaks = []
    for megabytes in (12, 36):
        dump = OldDump()
        for n in range(2, 2 + megabytes):
            attrs = {"data": f"{n:04x}" * (1 << 18)}
            dump.add("errordump", n, source="s", dump_id=str(n), group="g0", description="", attrs=attrs, timestamp=5)
        file = tmp_path / "dump.json"
        file.write_bytes(dump.file().read())
        peaks.append(peak_memory(tomato_url, "load", "--check", str(file)))
    assert peaks[1] < peaks[0] + 8
    assert peaks[1] < 96


@pytest.mark.parametrize("cut", [0.1, 0.5, 0.999])
def test_a_file_that_is_cut_off_leaves_nothing(db: Database, cut: float) -> None:
    text = gzip.decompress(sample("small.json.gz").read_bytes())
    with pytest.raises(InvalidValue, match="cut off"):
        tomato_dao.load(db, io.BytesIO(text[: int(len(text) * cut)]))
    assert dumped(db).count(b"\n") == 5  # one is the settings

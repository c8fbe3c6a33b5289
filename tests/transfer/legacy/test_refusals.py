"""Old dumps with what cannot be loaded without loss: all of it is listed, and nothing is written unless it is skipped."""

import json
import re
from collections.abc import Callable

import pytest

import tomato_dao
from tests.conftest import SHARED
from tests.helpers.legacy_cases import OldDump, together
from tests.helpers.transfer_cases import another_database
from tomato_dao import Database, InvalidValue, NotAllowed, NotEmpty
from tomato_dao.transfer.legacy.report import InvalidRecords, LegacySummary

pytestmark = [pytest.mark.as_owner, pytest.mark.slow]  # a load needs the owner
# The change, and what is listed.
REFUSED: dict[str, tuple[Callable[[OldDump], object], str]] = {
    "a slash in a name": (
        lambda d: d.change("organization", 1, name="a/b"),
        "tomato.organization #1: name is a/b: a name has at most 50 characters and no “/”",
    ),
    "an unknown state": (
        lambda d: d.change("element", 1, state="broken"),
        "tomato.element #1: state, type is broken, kvmqm: a state is",
    ),
    "an unknown type": (
        lambda d: d.change("element", 3, type="vmware"),
        "tomato.element #3: type is vmware: a type is kvmqm, openvz, ",
    ),
    "a role without user": (
        lambda d: d.change("permissionentry", 1, user=None),
        "tomato.permissionentry #1: user is null: may not be null",
    ),
    "an unknown role": (
        lambda d: d.change("permissionentry", 1, role="king"),
        "tomato.permissionentry #1: role is king: a role is user, manager or owner",
    ),
    "one end": (
        lambda d: d.change("element", 2, connection=None),
        "tomato.connection #1: elements is #3: a connection has exactly",
    ),
    "three ends": (
        lambda d: d.element(4, "udp_endpoint", connection=1).add("udp_endpoint", 4, element=None),
        "tomato.connection #1: elements is #2, #3, #4: a connection has exactly",
    ),
    "no end": (
        lambda d: d.change("element", 2, connection=None).change("element", 3, connection=None),
        "tomato.connection #1: elements is null: a connection has exactly",
    ),
    "a time beyond 9999": (
        lambda d: d.change("topology", 1, timeout=1e12),
        r"tomato.topology #1: timeout is 1000000000000.0: must be a time of the years 1 to 9999",
    ),
    "a time of NaN": (
        lambda d: d.change("topology", 1, timeout=float("nan")),
        "tomato.topology #1: timeout is .*: must be a time",
    ),
    "U+0000 in attrs": (
        lambda d: d.change("element", 1, attrs='{"ok": 1, "n": "a\\u0000b"}'),
        r'tomato.element #1: attrs."n" is "a\\u0000b": holds \\u0000',
    ),
    "U+0000 in a name": (lambda d: d.change("host", 1, name="a\0b"), r'tomato.host #1: name is "a\\u0000b": holds \\u0000'),
    "a lone surrogate in attrs": (
        lambda d: d.change("element", 1, attrs='{"n": "\\ud800"}'),
        r'tomato.element #1: attrs."n" is "\\ud800": holds a lone',
    ),
    "a lone surrogate in a name": (lambda d: d.change("host", 1, name="\ud800"), "tomato.host #1: name is .*: holds a lone"),
    "attrs that are no JSON": (lambda d: d.change("user", 1, attrs="{'a': 1}"), "tomato.user #1: attrs is .*: is not JSON"),
    "attrs that are no object": (lambda d: d.change("user", 1, attrs="[]"), "tomato.user #1: attrs is .*: must hold an object"),
    "flags that are no list": (
        lambda d: d.change("user", 1, attrs={"flags": "x"}),
        'attrs.flags is "x": must be a list of texts',
    ),
    "an availability of 2": (
        lambda d: d.change("host", 1, attrs={"availability": 2}),
        "tomato.host #1: attrs.availability is 2: ",
    ),
    "a dangling host": (
        lambda d: d.change("hostelement", 1, host=77),
        "tomato.hostelement #1: host is #77: it is not one of the hosts that can be loaded",
    ),
    "a dangling usage": (
        lambda d: d.change("usagerecord", 1, usage=77),
        "tomato.usagerecord #1: usage is #77: the usage does not exist",
    ),
    "a parent of the wrong type": (
        lambda d: d.change("element", 2, type="openvz_interface"),
        "tomato.element #2: parent is #1: the parent must be",
    ),
    "two of one name": (
        lambda d: d.add("organization", 5, name=f"uni{d.n}", totalUsage=None, attrs={}),
        "tomato.organization #5: name is uni\\d+: another record has the same",
    ),
    "two of one pk": (
        lambda d: d.add("organization", 1, name="other", totalUsage=None, attrs={}),
        "tomato.organization #1: pk is #1: an earlier record has this pk",
    ),
    "serving two": (
        lambda d: d.change("hostelement", 1, topology_connection=1),
        "tomato.hostelement #1: topology_element, topology_connection is #1, #1: a host component serves an element or",
    ),
    "a missing field": (lambda d: d.fields("host", 1).pop("address"), "tomato.host #1: address is null: the field is missing"),
    "an unknown field": (
        lambda d: d.change("host", 1, colour="red"),
        'tomato.host #1: colour is "red": there is no such field',
    ),
    "an unknown model": (lambda d: d.add("printer", 1), "tomato.printer #1: model is .*: there is no such model"),
    "a number that is none": (
        lambda d: d.change("usage", 3, memory="much"),
        'tomato.usage #3: memory is "much": must be a number',
    ),
    "a pk that is none": (lambda d: d.add("permissions", "x"), 'tomato.permissions x: pk is "x": must be a number'),
    "permissions of its own": (
        lambda d: d.add("permissions", 2).change("element", 1, permissions=2),
        "tomato.element #1: permissions is #2: a component has the permissions of its topology",
    ),
    "half a template": (lambda d: d.remove("resource", 1), "tomato.template #1: pk is #1: no resource has this pk"),
    "half an element": (
        lambda d: d.add("repy", 1, element=None, site=None, profile=None, template=None, rextfv_last_started=0, next_sync=0),
        "tomato.repy #1: pk is #1: no element has this pk and type",
    ),
    "a boolean that is none": (
        lambda d: d.change("host", 1, attrs={"enabled": "yes"}),
        'tomato.host #1: attrs.enabled is "yes": must be true or false',
    ),
    "too large an integer": (
        lambda d: d.change("usagerecord", 1, measurements=2**31),
        "measurements is 2147483648: must be a whole number below",
    ),
}


@pytest.fixture(scope="module")
def all_refused(tomato_server_url: str, tomato_template: str) -> list[str]:
    """All of these at once: what is listed, pks as they are in the cases; and the database is empty."""
    dump = together(change for change, _ in REFUSED.values())
    with another_database(tomato_server_url, tomato_template) as db:
        with pytest.raises(InvalidRecords) as caught:
            dump.load(db)
        counts = db.statistics.counts()
        assert (counts.organizations, counts.hosts, counts.topologies, counts.usage_records) == (0, 0, 0, 0)
        skipped = dump.load(db, skip_invalid=True)
        assert skipped.refused == caught.value.summary.refused
        assert db.organizations.get(1).name == "uni0"
    assert str(caught.value).startswith(f"{len(skipped.refused)} values of the old dump can't be loaded without loss")
    return [str(refusal) for refusal in skipped.refused]


@pytest.mark.parametrize("case", REFUSED)
def test_it_is_listed_and_nothing_is_written(all_refused: list[str], case: str) -> None:
    n = list(REFUSED).index(case) + 1
    listed = re.sub(r"#(\d+)", lambda found: str(1000 * n + int(found[1])), REFUSED[case][1])
    assert [line for line in all_refused if re.search(listed, line)], listed


def test_a_user_who_may_not_load_learns_who_may(app_url: str, reader_url: str) -> None:
    for url in (app_url, reader_url):
        with tomato_dao.connect(url) as db, pytest.raises(NotAllowed, match=r"a load must run as the owner .* OWNER_DATABASE"):
            OldDump().load(db)


def test_nothing_is_listed_that_only_depends_on_it(all_refused: list[str]) -> None:
    others = 3  # what an element of another type contradicts: its connection, and two records for the right type
    assert len(all_refused) == len(REFUSED) + others


def test_all_that_is_wrong_is_listed_but_not_what_depends_on_it(db: Database) -> None:
    dump = OldDump()
    dump.change("organization", 1, name="a/b")
    dump.change("host", 1, attrs={"availability": 7})
    dump.change("element", 1, attrs="nothing")
    with pytest.raises(InvalidRecords) as caught:
        dump.load(db)
    assert [(r.model, r.pk, r.field) for r in caught.value.summary.refused] == [
        ("tomato.element", "1", "attrs"),
        ("tomato.host", "1", "attrs.availability"),
        ("tomato.organization", "1", "name"),
    ]
    assert json.loads(caught.value.summary.as_json())["refused"][2] == {
        "model": "tomato.organization", "pk": "1", "field": "name", "value": "a/b",
        "rule": "a name has at most 50 characters and no “/”",
    }  # fmt: skip


def test_skipping_drops_what_depends_on_it_too(db: Database) -> None:
    dump = OldDump()
    dump.change("host", 1, name="a/b")
    summary = dump.load(db, skip_invalid=True)
    # the host takes what runs on it, its networks and its templates; what these were for stays
    assert (db.hosts.list(), db.elements.get(1).host_element_id, db.connections.get(1).host_connection1_id) == ([], None, None)
    assert {drop.model for drop in summary.drops} == {
        "south.migrationhistory", "tomato.host", "tomato.hostelement", "tomato.hostconnection", "tomato.networkinstance",
        "tomato.resource", "tomato.templateonhost", "tomato.usage", "tomato.usagerecord", "tomato.usagestatistics",
    }  # fmt: skip
    assert [(m.model, m.pk, m.field, m.became) for m in summary.mended] == [
        ("tomato.connection", "1", "connection1", "null"),
        ("tomato.element", "1", "element", "null"),
    ]


def without_permissions(dump: OldDump) -> None:
    dump.remove("permissions", 1).remove("permissionentry", 1)


# The smallest thing that is wrong: the change, the model, pk and field that is mended, and what it becomes.
MENDED: dict[str, tuple[Callable[[OldDump], object], str, int, str, str]] = {
    "a value with a default": (
        lambda d: d.change("host", 1, attrs={"availability": 2, "address": "kept"}),
        "host", 1, "attrs.availability", "1",
    ),
    "a value that can't be read": (
        lambda d: d.change("host", 1, attrs={"enabled": "yes"}), "host", 1, "attrs.enabled", "true",
    ),
    "a state": (lambda d: d.change("element", 1, state="broken"), "element", 1, "state, type", "created"),
    "a reference to nothing": (lambda d: d.change("kvmqm", 1, site=77), "element", 1, "site", "null"),
    "a usage identity that is not there": (lambda d: d.change("host", 1, totalUsage=77), "host", 1, "totalUsage", "null"),
    "a usage identity of two": (
        lambda d: d.add("topology", 2, permissions=1, totalUsage=4, timeout=5, timeout_step=0, attrs={}, site=None),
        "topology", 2, "totalUsage", "null",
    ),
    "a key of attrs": (
        lambda d: d.change("element", 1, attrs='{"ok": 1, "n": "a\\u0000b"}'), "element", 1, 'attrs."n"', "left out",
    ),
    "attrs that are no JSON": (lambda d: d.change("user", 1, attrs="{'a': 1}"), "user", 1, "attrs", "{}"),
    "an unknown field": (lambda d: d.change("host", 1, colour="red"), "host", 1, "colour", "left out"),
    "a missing field": (lambda d: d.fields("template", 1).pop("preference"), "template", 1, "preference", "0"),
    "a part's value": (lambda d: d.change("usage", 3, memory="much"), "usagerecord", 1, "usage.memory", "0"),
    "a quota's limit": (lambda d: d.change("usage", 1, memory=-5), "quota", 1, "monthly.memory", "10000000000"),
    "a quota without limits": (lambda d: d.change("quota", 1, monthly=77), "quota", 1, "monthly.traffic", "1620000000000"),
    "a quota that is not there": (lambda d: d.remove("quota", 1), "user", 1, "quota", "null"),
    "a time beyond 9999": (lambda d: d.change("user", 1, last_login=1e12), "user", 1, "last_login", "null"),
    "permissions that are not there": (without_permissions, "topology", 1, "permissions", "none"),
    "serving two": (
        lambda d: d.change("hostelement", 1, topology_connection=1),
        "hostelement", 1, "topology_element, topology_connection", "null",
    ),
    "half a template": (lambda d: d.remove("resource", 1), "template", 1, "pk", "one without attrs"),
    "an endpoint's parent": (
        lambda d: d.element(4, "tinc_endpoint", parent=77).add("tinc_endpoint", 4, element=None),
        "element", 4, "parent", "null",
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def all_mended(tomato_server_url: str, tomato_template: str) -> LegacySummary:
    """Return what became of all of these at once, with what was wrong skipped."""
    with another_database(tomato_server_url, tomato_template) as db:
        return together(change for change, *_ in MENDED.values()).load(db, check=True, skip_invalid=True)


@pytest.mark.parametrize("case", MENDED)
def test_skipping_costs_the_smallest_thing_that_is_wrong(all_mended: LegacySummary, case: str) -> None:
    _, model, pk, field, became = MENDED[case]
    mended = {(m.model, m.pk, m.field): m.became for m in all_mended.mended}
    assert mended[f"tomato.{model}", str(1000 * (list(MENDED).index(case) + 1) + pk), field] == became


def test_records_with_replaced_values_are_not_dropped(all_mended: LegacySummary) -> None:
    others = {"south.migrationhistory", "tomato.permissionentry"}
    dropped = {drop.model for drop in all_mended.drops} - others
    # the quota's own limits that nobody refers to, and the usage identities that others are not
    assert dropped <= {"tomato.usage", "tomato.usagestatistics", "tomato.usagerecord", "tomato.permissions", "tomato.quota"}


def test_less_than_nothing_used_is_nothing_used(db: Database) -> None:
    dump = OldDump()
    dump.change("usage", 2, memory=-3e9, diskspace=-0.5)
    summary = dump.load(db)
    quota = db.quotas.get(1)
    assert (quota.used_memory, quota.used_diskspace, quota.used_traffic, quota.monthly_memory) == (0, 0, 7, 1e9)
    assert [(m.model, m.pk, m.field, m.value, m.became) for m in summary.mended] == [
        ("tomato.quota", "1", "used.diskspace", "-0.5", "0"),
        ("tomato.quota", "1", "used.memory", "-3000000000", "0"),
    ]
    assert "2 × tomato.quota's used" not in str(summary)
    assert "1 × tomato.quota's used.memory → 0: the usage is negative" in str(summary)


def test_a_connection_with_one_end_is_left_out_and_its_element_stays(db: Database) -> None:
    dump = OldDump()
    dump.change("element", 2, connection=None)
    with pytest.raises(InvalidRecords, match=r"tomato.connection 1: elements is 3: a connection has exactly two ends"):
        dump.load(db)
    summary = dump.load(db, skip_invalid=True)
    assert [e.connection_id for e in db.elements.list_of_topology(1)] == [None, None, None]
    assert db.host_connections.get(1).connection_id is None  # an orphan now, which a worker takes off the host
    assert ("tomato.connection", "1") in [(d.model, d.pks.strip("[]")) for d in summary.drops]


@pytest.mark.parametrize("model", ["printer\ud800", "printer\0", "permissions"])
@pytest.mark.parametrize("pk", ["\0", "a\ud800b"])
def test_any_text_of_a_file_can_be_told_of(all_told: list[str], model: str, pk: str) -> None:
    shown = {"\0": r"\u0000", "a\ud800b": r"a\ud800b"}[pk]
    name = model.replace("\ud800", r"\ud800").replace("\0", r"\u0000")
    assert [line for line in all_told if line.startswith(f"tomato.{name} {shown}: ")]


@pytest.fixture(scope="module")
def all_told(tomato_server_url: str, tomato_template: str) -> list[str]:
    """Return what is listed of records whose model, pk and fields hold U+0000 and lone surrogates."""
    dump = OldDump()
    for pk in ("\0", "a\ud800b"):
        for model in ("printer\ud800", "printer\0", "permissions"):
            dump.add(model, pk, **{"field\0": "\ud800"})
    dump.change("host", 1, **{"colour\0\ud800": 5})
    with another_database(tomato_server_url, tomato_template) as db:
        with pytest.raises(InvalidRecords) as caught:
            dump.load(db)
        dump.load(db, skip_invalid=True)
    return [str(refusal) for refusal in caught.value.summary.refused]


def test_a_field_of_any_name_can_be_told_of(all_told: list[str]) -> None:
    assert any(line.startswith(r"tomato.host 1: colour\u0000\ud800 is 5: there is no such field") for line in all_told)


@pytest.mark.parametrize(("case", "pk"), [("nul", r"\u0000"), ("surrogate", r"\ud800")])
def test_a_broken_pk_of_a_migration_is_told_of(db: Database, case: str, pk: str) -> None:
    path = SHARED / "cases" / f"legacy-{case}-pk.json"
    if not path.exists():
        pytest.skip("the small cases are not at ../shared/data/cases")
    with pytest.raises(InvalidRecords) as caught:
        tomato_dao.load(db, path)
    assert f"south.migrationhistory {pk}: pk is" in str(caught.value)
    assert tomato_dao.load_legacy(db, path, skip_invalid=True).models["tomato.organization"] == 2


def test_a_check_writes_nothing_whatever_is_there(db: Database) -> None:
    dump = OldDump()
    dump.load(db)
    before = db.statistics.counts()
    summary = dump.load(db, check=True)
    assert summary.models["tomato.element"] == 3
    assert db.statistics.counts() == before


def test_an_old_dump_is_not_merged(db: Database) -> None:
    with pytest.raises(InvalidValue, match="cannot be merged"):
        tomato_dao.load(db, OldDump().file(), merge=True)


def test_an_old_dump_replaces_what_is_there_where_that_is_asked_for(db: Database) -> None:
    db.organizations.create("the one before")
    with pytest.raises(NotEmpty, match="is not empty"):
        tomato_dao.load(db, OldDump().file())
    tomato_dao.load(db, OldDump().file(), replace=True)
    assert "the one before" not in [organization.name for organization in db.organizations.list()]

"""Old dumps with what cannot be loaded without loss: all of it is listed, and nothing is written unless it is skipped."""

import json
import re
from collections.abc import Callable

import pytest

import tomato_dao
from tests.helpers.legacy_cases import OldDump, together
from tests.helpers.transfer_cases import another_database
from tomato_dao import Database, InvalidValue, NotAllowed, NotEmpty
from tomato_dao.transfer.legacy.report import InvalidRecords

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
        "tomato.hostelement #1: host is #77: it is not among the hosts that can be loaded",
    ),
    "a dangling usage": (
        lambda d: d.change("usagerecord", 1, usage=77),
        "tomato.usagerecord #1: usage is #77: there is no such usage",
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
        "tomato.organization #1: pk is #1: a record of this pk came before",
    ),
    "serving two": (
        lambda d: d.change("hostelement", 1, topology_connection=1),
        "tomato.hostelement #1: topology_element, topology_connection is #1, #1: it serves an element or",
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
    "half a template": (lambda d: d.remove("resource", 1), "tomato.template #1: pk is #1: there is no resource of this pk"),
    "half an element": (
        lambda d: d.add("repy", 1, element=None, site=None, profile=None, template=None, rextfv_last_started=0, next_sync=0),
        "tomato.repy #1: pk is #1: there is no element of this pk and type",
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


def test_who_may_not_load_is_told_who_may(app_url: str, reader_url: str) -> None:
    for url in (app_url, reader_url):
        with tomato_dao.connect(url) as db, pytest.raises(NotAllowed, match=r"a load needs the owner .* in OWNER_DATABASE_URL"):
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
    dump.change("element", 1, state="broken")
    summary = dump.load(db, skip_invalid=True)
    # the machine takes its interface, that its connection; the endpoint and what runs on the host stay
    assert [e.id for e in db.elements.list_of_topology(1)] == [3]
    assert db.elements.get(3).connection_id is None
    assert db.host_elements.get(1).element_id is None
    assert db.host_connections.get(1).connection_id is None
    assert {drop.model for drop in summary.drops} == {
        "south.migrationhistory", "tomato.element", "tomato.connection", "tomato.kvmqm", "tomato.kvmqm_interface",
        "tomato.usagestatistics",
    }  # fmt: skip
    assert [(c.model, c.pk, c.field) for c in summary.cleared] == [
        ("tomato.element", "3", "connection"),
        ("tomato.hostconnection", "1", "topology_connection"),
        ("tomato.hostelement", "1", "topology_element"),
    ]


def test_skipping_a_part_drops_the_whole(db: Database) -> None:
    dump = OldDump()
    dump.change("usage", 3, memory="much")
    summary = dump.load(db, skip_invalid=True, check=True)
    assert {(d.model, d.pks) for d in summary.drops} >= {("tomato.usage", "[3]"), ("tomato.usagerecord", "[1]")}
    assert summary.models.get("tomato.usagerecord") is None


def test_a_check_writes_nothing_whatever_is_there(db: Database) -> None:
    dump = OldDump()
    dump.load(db)
    before = db.statistics.counts()
    summary = dump.load(db, check=True)
    assert summary.models["tomato.element"] == 3
    assert db.statistics.counts() == before


def test_an_old_dump_is_not_merged(db: Database) -> None:
    with pytest.raises(InvalidValue, match="can't be merged"):
        tomato_dao.load(db, OldDump().file(), merge=True)


def test_an_old_dump_replaces_what_is_there_where_that_is_asked_for(db: Database) -> None:
    db.organizations.create("the one before")
    with pytest.raises(NotEmpty, match="is not empty"):
        tomato_dao.load(db, OldDump().file())
    tomato_dao.load(db, OldDump().file(), replace=True)
    assert "the one before" not in [organization.name for organization in db.organizations.list()]

"""What real old dumps have that the layout doesn't: what is read without loss, what is merged, dropped or refused."""

import json
import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime

import psycopg
import pytest
from legacy_cases import NOW, OldDump, together
from transfer_cases import another_database

import tomato_dao
from tomato_dao import Database, InvalidValue
from tomato_dao.transfer.legacy.report import InvalidRecords, LegacySummary

pytestmark = pytest.mark.as_owner  # which a load needs

AT = datetime.fromtimestamp(NOW, UTC)


def test_one_of_everything_arrives(db: Database, server: psycopg.Connection) -> None:
    summary = OldDump().load(db)
    assert [summary.refused, summary.cleared, summary.merges] == [[], [], []]
    assert {drop.model for drop in summary.drops} == {"south.migrationhistory"}
    assert summary.merged == {
        "tomato.usage": 3, "tomato.permissions": 1, "tomato.resource": 4,
        "tomato.kvmqm": 1, "tomato.kvmqm_interface": 1, "tomato.udp_endpoint": 1,
    }  # fmt: skip
    quota = db.quotas.get(1)
    assert (quota.monthly_memory, quota.used_memory, quota.used_at, quota.continuous_factor) == (1e9, 2.5, AT, 1.5)
    site = db.sites.get(1)
    assert (site.longitude, site.latitude, site.attrs) == (8.5, 47.0, {})
    machine = db.elements.get(1)
    assert (machine.host_element_id, machine.template_id, machine.profile_id) == (1, 1, 2)
    assert (machine.rextfv_started_at, machine.next_sync_at) == (None, AT)
    connection = db.connections.get(1)
    assert (connection.type, connection.from_element_id, connection.to_element_id) == ("fixed_bridge", 2, 3)
    assert server.execute("select usage_id, end_at, memory from usage_records").fetchall() == [(7, AT, 123.25)]
    assert db.organizations.create("next").id == 2  # ids go on


# Read without loss: the change, a query, and what it gives.
READ: dict[str, tuple[Callable[[OldDump], object], str, object]] = {
    "the empty text as JSON": (
        lambda d: d.change("user", 1, attrs=""),
        "select attrs::text from users where id = %(id)s",
        "{}",
    ),
    "NaN and Infinity": (
        lambda d: d.change("element", 1, attrs='{"a": NaN, "b": [Infinity, -Infinity]}'),
        "select attrs from elements where id = %(id)s",
        {"a": "NaN", "b": ["Infinity", "-Infinity"]},
    ),
    "bare NaN in a usage": (
        lambda d: d.change("usage", 3, memory=float("nan")),
        "select memory::text from usage_records where usage_id = %(id)s + 6",
        "NaN",
    ),
    "digits of JSON numbers": (
        lambda d: d.change("element", 1, attrs='{"n": 1.10, "m": 12345678901234567890.5}'),
        "select attrs::text from elements where id = %(id)s",
        '{"m": 12345678901234567890.5, "n": 1.10}',
    ),
    "an unknown flag": (
        lambda d: d.change("user", 1, attrs={"flags": ["mystery"], "name": "not the name"}),
        "select row_to_json(u) from (select flags, attrs from users where id = %(id)s) u",
        {"flags": ["mystery"], "attrs": {"name": "not the name"}},
    ),
    "0 is never": (
        lambda d: d.change("host", 1, attrs={"problem_age": 0, "info_timestamp": 0.0}),
        "select problem_since is null and info_at is null and attrs = '{}' from hosts where id = %(id)s",
        True,
    ),
    "0 where a time is needed": (
        lambda d: d.change("topology", 1, timeout=0),
        "select timeout_at = 'epoch' from topologies where id = %(id)s",
        True,
    ),
    "numbers as strings": (
        lambda d: d.change("host", 1, attrs={"availability": "0.5", "componentErrors": 3.0, "enabled": 0}),
        "select array[availability::text, component_errors::text, enabled::text] from hosts where id = %(id)s",
        ["0.5", "3", "false"],
    ),
    "a host's load of text": (
        lambda d: d.change("host", 1, attrs={"info": {"resources": {"loadavg": "high"}}, "load": "high"}),
        "select jsonb_build_array(info, attrs) from hosts where id = %(id)s",
        [{"resources": {"loadavg": "high"}}, {"load": "high"}],
    ),
    "a third key of the geolocation": (
        lambda d: d.change("site", 1, attrs={"geolocation": {"longitude": 1, "latitude": 2, "z": 3}}),
        "select attrs from sites where id = %(id)s",
        {"geolocation": {"z": 3}},
    ),
    "a host component without type": (
        lambda d: d.change("hostelement", 1, attrs={"state": "odd", "id": 5}),
        "select jsonb_build_array(type, state, attrs) from host_elements where id = %(id)s",
        ["", "odd", {"id": 5}],
    ),
    "no host connection": (
        lambda d: d.change("connection", 1, connection1=None),
        "select type from connections where id = %(id)s",
        "bridge",
    ),
    "a description that is no JSON": (
        lambda d: d.change("errordump", 1, description="it {broke"),
        "select description from error_dumps where dump_id = %(n)s",
        "it {broke",
    ),
    "no description": (
        lambda d: d.change("errordump", 1, description=""),
        "select description from error_dumps where dump_id = %(n)s",
        {},
    ),
    "a value of null": (
        lambda d: d.change("keyvaluepair", 1, attrs={"data": None}),
        "select value::text from key_values where id = %(id)s",
        "null",
    ),
    "a link told from its other end": (
        lambda d: d.change("linkmeasurement", 1, siteA=2, siteB=1),
        "select array[site_a_id, site_b_id]::int[] = array[%(id)s, %(id)s + 1] from link_measurements where site_a_id = %(id)s",
        True,
    ),
    "a pair of surrogates": (
        lambda d: d.change("element", 1, attrs='{"s": "\\ud83d\\ude00"}'),
        "select attrs from elements where id = %(id)s",
        {"s": "😀"},
    ),
    "an endpoint that waits": (
        lambda d: d.element(9, "external_network_endpoint", state="default").add(
            "external_network_endpoint", 9, element=None, network=4
        ),
        "select array[state, (network_instance_id - %(id)s)::text] from elements where id = %(id)s + 8",
        ["default", "3"],
    ),
}


@pytest.fixture(scope="module")
def all_read(tomato_server_url: str, tomato_template: str) -> Iterator[psycopg.Connection]:
    """A connection to a database into which all of these were loaded at once."""
    with another_database(tomato_server_url, tomato_template) as db, db.connection() as connection:
        together(change for change, _, _ in READ.values()).load(db)
        yield connection


@pytest.mark.parametrize("case", READ)
def test_it_is_read_without_loss(all_read: psycopg.Connection, case: str) -> None:
    _, query, expected = READ[case]
    n = list(READ).index(case) + 1
    assert all_read.execute(query.encode(), {"n": str(n), "id": 1000 * n + 1}).fetchall() == [(expected,)]


# Dropped for a reason that is no offence: the change, the model and pk, the reason.
DROPPED: dict[str, tuple[Callable[[OldDump], object], str, int, str]] = {
    "an orphaned usage": (
        lambda d: d.add("usage", 9, memory=1, diskspace=1, traffic=1, cputime=1),
        "usage",
        9,
        "no record or quota that is loaded refers to it",
    ),
    "permissions without topology": (
        lambda d: d.add("permissions", 9),
        "permissions",
        9,
        "no topology that is loaded has these permissions",
    ),
    "an entry of such permissions": (
        lambda d: d.add("permissions", 9).add("permissionentry", 9, set=9, user=1, role="user"),
        "permissionentry",
        9,
        "no topology that is loaded has these permissions",
    ),
    "role null": (
        lambda d: d.add("permissionentry", 9, set=1, user=None, role=None),
        "permissionentry",
        9,
        "it gives no role",
    ),
    "a quota of nobody": (lambda d: d.change("user", 1, quota=None), "quota", 1, "it belongs to nobody"),
    "a resource of another type": (
        lambda d: d.add("resource", 9, type="printer", attrs={}),
        "resource",
        9,
        "resources of type printer have no table",
    ),
    "a resource without its other half": (
        lambda d: d.add("resource", 9, type="template", attrs={}),
        "resource",
        9,
        "what it describes is not loaded",
    ),
}


@pytest.fixture(scope="module")
def all_dropped(tomato_server_url: str, tomato_template: str) -> LegacySummary:
    """What became of all of these at once."""
    with another_database(tomato_server_url, tomato_template) as db:
        return together(change for change, _, _, _ in DROPPED.values()).load(db, check=True)


@pytest.mark.parametrize("case", DROPPED)
def test_it_is_dropped_and_counted(all_dropped: LegacySummary, case: str) -> None:
    _, model, pk, reason = DROPPED[case]
    told = json.loads(all_dropped.as_json())["models"][f"tomato.{model}"]
    assert told["read"] == told["loaded"] + told["merged"] + told["dropped"]
    assert 1000 * (list(DROPPED).index(case) + 1) + pk in told["reasons"][reason]["pks"]


def test_templates_of_one_tech_and_name_become_the_first(db: Database, server: psycopg.Connection) -> None:
    dump = OldDump()
    dump.resource("template", 8, {"label": "Other"}, tech="kvmqm", name="debian0", preference=1)
    dump.resource("profile", 9, {"ram": 512}, tech="kvmqm", name="normal0", preference=1)
    dump.change("kvmqm", 1, template=8, profile=9)
    dump.add("templateonhost", 2, host=1, template=8, ready=False, date=NOW + 5)
    summary = dump.load(db)
    assert [(m.model, m.pk, m.into, m.differs) for m in summary.merges] == [
        ("tomato.profile", "9", "2", {}),
        ("tomato.template", "8", "1", {"label": "Other"}),
        ("tomato.templateonhost", "1", "2", {"ready": True, "changed_at": "2015-09-01T00:00:00+00:00"}),
    ]
    machine = db.elements.get(1)
    assert (machine.template_id, machine.profile_id) == (1, 2)
    assert server.execute("select template_id, ready from templates_on_hosts").fetchall() == [(1, False)]
    assert server.execute("select label from templates").fetchall() == [("Debian",)]
    assert summary.merged["tomato.resource"] == 6


# Refused: the change, and what is listed.
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

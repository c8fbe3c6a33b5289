"""Oddities of real old dumps: what is read without loss, what is merged, and what is dropped."""

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime

import psycopg
import pytest

from tests.helpers.legacy_cases import NOW, OldDump, together
from tests.helpers.transfer_cases import another_database
from tomato_dao import Database
from tomato_dao.transfer.legacy.report import LegacySummary

pytestmark = [pytest.mark.as_owner, pytest.mark.slow]  # which a load needs
AT = datetime.fromtimestamp(NOW, UTC)


@pytest.mark.slow
def test_one_of_everything_arrives(db: Database, server: psycopg.Connection) -> None:
    summary = OldDump().load(db)
    assert [summary.refused, summary.mended, summary.merges] == [[], [], []]
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
    "no host connection at an external network": (
        lambda d: (
            d.change("connection", 1, connection1=None)
            .change("element", 3, type="external_network_endpoint")
            .remove("udp_endpoint", 3)
            .add("external_network_endpoint", 3, element=None, network=4)
        ),
        "select type from connections where id = %(id)s",
        "fixed_bridge",
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
    """Provide a connection to a database into which all of these were loaded at once."""
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
        "no loaded record or quota refers to it",
    ),
    "permissions without topology": (
        lambda d: d.add("permissions", 9),
        "permissions",
        9,
        "no loaded topology has these permissions",
    ),
    "an entry of such permissions": (
        lambda d: d.add("permissions", 9).add("permissionentry", 9, set=9, user=1, role="user"),
        "permissionentry",
        9,
        "no loaded topology has these permissions",
    ),
    "role null": (
        lambda d: d.add("permissionentry", 9, set=1, user=None, role=None),
        "permissionentry",
        9,
        "it has no role",
    ),
    "a quota of nobody": (lambda d: d.change("user", 1, quota=None), "quota", 1, "nothing refers to it"),
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
        "the object that it describes is not loaded",
    ),
}


@pytest.fixture(scope="module")
def all_dropped(tomato_server_url: str, tomato_template: str) -> LegacySummary:
    """Return what became of all of these at once."""
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

"""Values as the DAOs take and give them: texts, times, numbers and lists of keys."""

import sys
from contextlib import suppress
from math import inf
from typing import Any

import psycopg
import pytest

from tests.conftest import World
from tests.helpers.statement_cases import NAIVE, NEW_YEAR
from tomato_dao import Database, DatabaseFailure, InvalidValue, NotFound
from tomato_dao.rows import JsonIn, Topology


def test_text_that_the_server_cannot_hold_is_an_invalid_value(db: Database, world: World) -> None:
    for name in ("a\0b", "\0", "\ud800", "a\udfff"):
        with pytest.raises(InvalidValue):
            db.organizations.create(name)
        with pytest.raises(InvalidValue):
            db.organizations.update("uni", {"description": name})
        with pytest.raises(InvalidValue):
            db.organizations.set_attrs("uni", {"key": [name]})
        with pytest.raises(InvalidValue):
            db.organizations.set_attrs("uni", {name: 1})
        with pytest.raises((InvalidValue, NotFound)):
            db.organizations.get_by_name(name)
        assert db.organizations.list() == [world.organization]


def test_a_time_without_a_zone_is_refused_wherever_it_is_given(db: Database, world: World) -> None:
    with pytest.raises(InvalidValue, match="info_at"):
        db.hosts.update("host1", {"info_at": NAIVE})
    with pytest.raises(InvalidValue):
        db.hosts.set_attrs("host1", {"at": NAIVE})
    assert db.hosts.get(world.host.id) == world.host


def test_a_patch_keeps_a_time_to_the_microsecond(db: Database, world: World) -> None:
    exact = NEW_YEAR.replace(microsecond=123457)
    assert db.hosts.update("host1", {"info_at": exact}).info_at == exact
    assert db.hosts.update("host1", {"info_at": None}).info_at is None


def test_a_big_number_in_json_is_stored_exactly(db: Database, world: World, server: psycopg.Connection) -> None:
    for number in (2**53 + 1, 2**63, 2**70, -(10**40)):
        db.hosts.set_attrs("host1", {"n": number})
        db.hosts.update("host1", {"info": {"n": [number]}})
        stored = server.execute("select attrs ->> 'n', info #>> '{n,0}' from hosts").fetchone()
        assert stored == (str(number), str(number))


def test_a_number_beyond_every_float_does_not_make_its_row_unreadable(db: Database, world: World) -> None:
    with suppress(InvalidValue):
        db.hosts.set_attrs("host1", {"n": 10**400})
    assert [host.id for host in db.hosts.list()] == [world.host.id]


def test_a_number_beyond_every_float_that_others_stored_can_be_read(
    db: Database, world: World, server: psycopg.Connection
) -> None:
    server.execute("""update hosts set attrs = '{"n": 1e400}'""")
    assert [host.id for host in db.hosts.list()] == [world.host.id]


@pytest.mark.parametrize("number", [2**53 + 1, 2**63 - 1, 2**63, 2**64 - 1, 2**64, -(2**63), -(2**63) - 1, 10**30])
def test_a_number_is_read_alike_beside_one_that_is_beyond_every_float(
    db: Database, world: World, server: psycopg.Connection, number: int
) -> None:
    came = []
    for beside in ("0", "1e400"):
        server.execute("update hosts set attrs = %s::jsonb", [f'{{"n": {number}, "beside": {beside}}}'])
        came.append(db.hosts.get(world.host.id).attrs["n"])
    alone, beside_it = came
    assert (alone, type(alone)) == (beside_it, type(beside_it))
    assert alone == number


def test_an_integer_beyond_every_float_is_read_exactly_up_to_the_digits_that_python_converts(
    db: Database, world: World, server: psycopg.Connection
) -> None:
    most = sys.get_int_max_str_digits()
    for digits, read in ((400, int("7" * 400)), (most, int("7" * most)), (most + 1, inf), (100_000, inf)):
        server.execute("update hosts set attrs = %s::jsonb", [f'{{"n": {"7" * digits}, "m": -{"7" * digits}}}'])
        attrs = db.hosts.get(world.host.id).attrs
        assert attrs["n"] == read
        assert attrs["m"] == -read


def test_a_big_number_is_read_alike_alone_and_inside_a_topology(db: Database, topology: Topology) -> None:
    element = db.elements.create(topology.id, "kvmqm")
    alone = db.elements.set_attrs(element.id, {"n": 2**70})["n"]
    (inside,) = db.topologies.full(topology.id).elements
    exported: Any = db.topologies.export(topology.id)
    for n in (alone, inside.attrs["n"], exported["topology"]["elements"][0]["attrs"]["n"]):
        assert (n, type(n)) == (2**70, int)


def test_json_that_is_nested_too_deeply_is_an_invalid_value(db: Database, world: World) -> None:
    nested: list[JsonIn] = []
    for _ in range(100_000):
        nested = [nested]
    with pytest.raises(InvalidValue, match=r"host: set: .* does not fit jsonb"):
        db.hosts.set_attrs("host1", {"nested": nested})
    with pytest.raises(InvalidValue, match=r"host: patch: .* does not fit jsonb"):
        db.hosts.update("host1", {"info": {"nested": nested}})
    assert db.hosts.get(world.host.id) == world.host


def test_json_that_others_nested_too_deeply_is_a_refusal(db: Database, world: World, server: psycopg.Connection) -> None:
    server.execute("update hosts set attrs = %s::jsonb", [f'{{"a": {"[" * 10_000}{"]" * 10_000}}}'])
    with pytest.raises(DatabaseFailure, match="nested too deeply"):
        db.hosts.get(world.host.id)
    with db.transaction():
        db.organizations.create("second")
        with pytest.raises(DatabaseFailure, match="nested too deeply"):
            db.hosts.list()
    assert [o.name for o in db.organizations.list()] == ["uni", "second"]


def test_keys_of_attrs_can_be_removed_by_a_tuple(db: Database, world: World) -> None:
    db.hosts.set_attrs("host1", {"a": 1, "b": 2})
    assert db.hosts.set_attrs("host1", {"c": 3}, ("a", "b")) == {"c": 3}
    assert db.hosts.set_attrs("host1", {}, ()) == {"c": 3}


def test_a_string_is_not_a_sequence_of_keys(db: Database, world: World) -> None:
    db.hosts.set_attrs("host1", {"a": 1, "b": 2})
    with pytest.raises(InvalidValue, match="remove"):
        db.hosts.set_attrs("host1", {}, "ab")
    assert db.hosts.set_attrs("host1", {}) == {"a": 1, "b": 2}

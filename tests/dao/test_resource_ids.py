"""Templates, profiles, networks and network instances have ids of one sequence: an id alone names at most one of them."""

import io
import json
from typing import Any

import psycopg
import pytest

import tomato_dao
from tests.conftest import World
from tests.helpers.dao_cases import NOBODY, refused
from tests.helpers.legacy_cases import OldDump
from tests.helpers.transfer_cases import another_database, closed, dumped
from tomato_dao import Database, InvalidValue, NotFound
from tomato_dao.rows import Resource


def one_of_each(db: Database, host_id: int) -> list[Resource]:
    template = db.templates.create("kvmqm", "debian", subtype="linux", torrent_data="ZA==", attrs={"icon": "i"})
    profile = db.profiles.create("kvmqm", "small", ram=512, restricted=True)
    network = db.networks.create("internet", preference=5)
    instance = db.network_instances.create(network.id, host_id, "br0", attrs={"x": 1})
    common: dict[str, Any] = {"preference": 0, "label": "", "restricted": False}
    return [
        Resource(
            template.id,
            "template",
            {"icon": "i", "tech": "kvmqm", "name": "debian", "subtype": "linux", "kblang": "en-us"} | common,
        ),
        Resource(
            profile.id,
            "profile",
            common | {"tech": "kvmqm", "name": "small", "restricted": True, "ram": 512, "cpus": None, "diskspace": None},
        ),
        Resource(network.id, "network", common | {"kind": "internet", "preference": 5}),
        Resource(instance.id, "network_instance", {"x": 1, "network": "internet", "host": "host1", "bridge": "br0"}),
    ]


def test_a_resource_is_found_listed_and_removed_by_its_id_alone(db: Database, world: World) -> None:
    made = one_of_each(db, world.host.id)
    assert [r.id for r in made] == [1, 2, 3, 4]
    assert [db.resources.get(r.id) for r in made] == db.resources.list() == made
    assert db.resources.list(after=2, limit=1) == made[2:3]
    for one in made:
        assert db.resources.list(one.type) == [one]
        assert db.resources.list(one.type, after=one.id) == db.resources.list(one.type, limit=0) == []
    with refused(InvalidValue, "resource", "type", "not 'vmid_range'$"):
        db.resources.list("vmid_range")
    db.resources.delete(made[2].id)
    assert db.resources.get(made[3].id).attrs["network"] is None
    for one in made:
        if one.type != "network":
            db.resources.delete(one.id)
        for call in (db.resources.get, db.resources.delete):
            with refused(NotFound, "resource", one.id):
                call(one.id)
    with refused(NotFound, "resource", NOBODY):
        db.resources.get(NOBODY)


def test_an_id_that_is_given_twice_is_refused(db: Database, world: World, server: psycopg.Connection) -> None:
    made = one_of_each(db, world.host.id)
    for query in (
        "insert into templates (id, tech, name) values (%s, 'repy', 'a')",
        "insert into profiles (id, tech, name) values (%s, 'repy', 'a')",
        "insert into networks (id, kind) values (%s, 'a')",
        f"insert into network_instances (id, host_id, bridge) values (%s, {world.host.id}, 'a')",
    ):
        for one in made:
            with pytest.raises(psycopg.errors.UniqueViolation):
                server.execute(query, [one.id])
    with pytest.raises(psycopg.errors.UniqueViolation, match="another resource has the id 3"):
        server.execute("update templates set id = 3")
    assert db.resources.list() == made


@pytest.mark.as_owner
def test_ids_go_on_after_the_highest_of_all_four_once_they_were_loaded(
    db: Database, world: World, tomato_server_url: str, tomato_template: str, server: psycopg.Connection
) -> None:
    made = one_of_each(db, world.host.id)
    server.execute("update profiles set id = 70")
    text = dumped(db)
    with another_database(tomato_server_url, tomato_template) as other:
        tomato_dao.load(other, io.BytesIO(text))
        assert other.resources.list() == db.resources.list()
        assert other.profiles.create("repy", "next").id == 71
        tomato_dao.load(other, io.BytesIO(text), merge=True)
        assert other.templates.create("repy", "next").id == 72
        tomato_dao.load(other, OldDump().file(), replace=True)  # whose highest is 4
        assert other.networks.create("next").id == 5
        assert other.users.create("next", organization_id=1).id == 2
    assert len(made) == 4


@pytest.mark.as_owner
def test_a_dump_that_has_an_id_twice_is_refused(
    db: Database, world: World, tomato_server_url: str, tomato_template: str
) -> None:
    one_of_each(db, world.host.id)
    lines: list[Any] = [json.loads(line.rstrip(",")) for line in dumped(db).decode().splitlines()[1:-2]]
    for record in lines:
        if record["model"] == "profile":
            record["pk"] = 1
    text = "[\n" + "".join(json.dumps(line, separators=(",", ":"), ensure_ascii=False) + ",\n" for line in lines)
    message = r"^an id names one resource: line \d+: (profile|template) 1: profile and template$"
    with another_database(tomato_server_url, tomato_template) as other:
        with pytest.raises(InvalidValue, match=message):
            tomato_dao.load(other, io.BytesIO(closed(text)))
        assert other.resources.list() == []

"""Numbers about the whole installation, and who uses a host."""

import psycopg
import pytest

from tests.conftest import World
from tests.helpers.dao_cases import MOMENT, NOBODY
from tomato_dao import Database
from tomato_dao.dao.host_components import HostComponents
from tomato_dao.patches import HostPatch
from tomato_dao.rows import HostUse, JsonIn, asdict

MADE = """
insert into templates (tech, name) values ('kvmqm', 'a'), ('repy', 'a'), ('repy', 'b');
insert into profiles (tech, name) values ('kvmqm', 'a'), ('repy', 'a');
insert into networks (kind) values ('internet');
insert into network_instances (network_id, host_id, bridge)
select w.id, h.id, n::text from networks w, hosts h, generate_series(1, 4) n;
insert into error_groups (group_id) values ('g'), ('h');
insert into error_dumps (source, dump_id, group_id, at) select 's', n::text, 'g', now() from generate_series(1, 5) n;
insert into key_values (key, value) select n::text, 'null' from generate_series(1, 6) n;
insert into link_measurements
select id, id, now(), now(), 0, 0, 0, 1, t from sites, unnest(array['single', 'hour', 'day']) t;
insert into usage_records (usage_id, end_at, begin_at, type)
select 1, now(), now(), t from unnest(array['hour', 'day']) t;
"""


def test_an_empty_installation_counts_nothing(db: Database) -> None:
    counts = asdict(db.statistics.counts())
    assert (counts.pop("elements_by_type"), counts.pop("elements_by_state")) == ({}, {})
    assert (counts.pop("host_load"), counts.pop("host_availability")) == (None, None)
    assert set(counts.values()) == {0}


def test_everything_is_counted(db: Database, server: psycopg.Connection, world: World) -> None:
    server.execute(MADE)
    topology = db.topologies.create("t", owner_id=world.user.id)
    machines = db.elements.create_many(topology.id, [{"type": "kvmqm", "state": "started"}, {"type": "repy"}])
    ends = db.elements.create_many(topology.id, [{"type": "kvmqm_interface", "parent_id": machines[0].id} for _ in range(2)])
    link = db.connections.create(ends[0].id, ends[1].id)
    for num in range(3):
        db.host_elements.create(world.host.id, num, type="kvmqm", state="started", element_id=machines[0].id)
    for num in range(2):
        db.host_connections.create(world.host.id, num, type="bridge", state="started", connection_id=link.id)
    assert asdict(db.statistics.counts()) == {
        "organizations": 1,
        "sites": 1,
        "hosts": 1,
        "users": 1,
        "topologies": 1,
        "elements": 4,
        "elements_by_type": {"kvmqm": 1, "kvmqm_interface": 2, "repy": 1},
        "elements_by_state": {"created": 3, "started": 1},
        "connections": 1,
        "host_elements": 3,
        "host_connections": 2,
        "templates": 3,
        "profiles": 2,
        "networks": 1,
        "network_instances": 4,
        "error_groups": 2,
        "error_dumps": 5,
        "key_values": 6,
        "link_measurements": 3,
        "usage_records": 2,
        "topologies_active": 0,
        "users_active": 1,
        "host_cpus": 0,
        "host_memory": 0,
        "host_diskspace": 0,
        "host_load": None,
        "host_availability": 1,
    }


def test_topologies_that_use_something_and_users_who_logged_in_lately_are_counted(
    db: Database, server: psycopg.Connection, world: World
) -> None:
    for n, (latest, before) in enumerate([(0, 1), (0.5, 0), (0, 0), (None, None)]):
        topology = db.topologies.create(f"t{n}", owner_id=world.user.id)
        for minutes, used in ((0, latest), (5, before)):
            if used is not None:
                server.execute(
                    "insert into usage_records (usage_id, type, begin_at, end_at, traffic)"
                    " select %(id)s, '5minutes', e - interval '5 minutes', e, %(used)s"
                    " from (select %(at)s - %(minutes)s * interval '1 minute' as e) e",
                    {"id": topology.usage_id, "used": used, "at": MOMENT, "minutes": minutes},
                )
    stored = db.topologies.create("stored", owner_id=world.user.id)
    server.execute(
        "insert into usage_records (usage_id, type, begin_at, end_at, diskspace) values (%s, '5minutes', %s, %s, 1)",
        [stored.usage_id, MOMENT, MOMENT],
    )
    for days in (29, 31, None):
        user = db.users.create(f"u{days}", organization_id=world.organization.id)
        server.execute("update users set last_login_at = now() - %s * interval '1 day' where id = %s", [days, user.id])
    counts = db.statistics.counts()
    assert (counts.topologies, counts.topologies_active) == (5, 1)
    assert (counts.users, counts.users_active) == (4, 2)


def test_resources_of_hosts_are_added_up_and_their_load_averaged(db: Database, world: World) -> None:
    reported: list[tuple[bool, JsonIn, JsonIn]] = [(True, 8, "100"), (False, "4", 300)]
    for n, (enabled, cpus, used) in enumerate(reported):
        db.hosts.create(f"h{n}", address=f"{n}", rpcurl=f"{n}", site_id=world.site.id)
        disks: JsonIn = {"root": {"total": "100", "used": 1}, "data": {"total": 1000, "used": used}}
        resources: JsonIn = {
            "cpus_present": {"count": cpus}, "loadavg": [0, 0, 0], "memory": {"total": 400, "used": 0}, "diskspace": disks
        }  # fmt: skip
        patch: HostPatch = {"enabled": enabled, "availability": n / 2, "info": {"resources": resources}}
        db.hosts.update(f"h{n}", patch)
    counts = db.statistics.counts()
    assert (counts.host_cpus, counts.host_memory, counts.host_diskspace) == (12, 800, 2200)
    assert counts.host_load == pytest.approx(0.2)
    assert counts.host_availability == pytest.approx(0.5)


@pytest.mark.parametrize("kind", ["host element", "host connection"])
def test_uses_of_a_host_come_with_their_topology(db: Database, world: World, kind: str) -> None:
    dao: HostComponents = db.host_elements if kind == "host element" else db.host_connections
    topology = db.topologies.create("t", owner_id=world.user.id)
    ends = db.elements.create_many(topology.id, [{"type": "udp_endpoint"}, {"type": "udp_endpoint"}])
    link = db.connections.create(ends[0].id, ends[1].id)
    other = db.hosts.create("other", address="10.0.0.2", rpcurl="x", site_id=world.site.id)
    made = [
        dao.create(world.host.id, 1, type="udp_tunnel", state="started", element_id=ends[0].id),
        dao.create(world.host.id, 2, type="bridge", state="created", connection_id=link.id),
        dao.create(world.host.id, 3, type="bridge", state="lost"),
    ]
    dao.create(other.id, 1, type="udp_tunnel", state="started", element_id=ends[0].id)
    uses = [
        HostUse(made[0].id, 1, "udp_tunnel", "started", ends[0].id, None, topology.id, "t"),
        HostUse(made[1].id, 2, "bridge", "created", None, link.id, topology.id, "t"),
        HostUse(made[2].id, 3, "bridge", "lost", None, None, None, None),
    ]
    assert dao.list_uses_of_host(world.host.id) == uses
    assert dao.list_uses_of_host(world.host.id, after=made[0].id, limit=1) == uses[1:2]
    assert dao.list_uses_of_host(NOBODY) == []

"""Which hosts could run something, and in which order: each rule alone, and all of them on 300 random hosts."""

from collections.abc import Iterator, Sequence
from datetime import timedelta
from random import Random
from typing import Any

import psycopg
import pytest
from psycopg.types.json import Jsonb

from tests.conftest import World
from tests.helpers.dao_cases import refused
from tests.helpers.host_cases import info, make_well, now
from tomato_dao import Database, InvalidValue
from tomato_dao.rows import HostCandidate

ELEMENTS, CONNECTIONS = ["kvmqm", "openvz", "repy", "tinc"], ["bridge", "fixed_bridge"]
KINDS = ["internet", "internet/uni", "internet/uni/lab", "internetwork", "openflow"]


@pytest.fixture
def hosts(db: Database, world: World) -> list[int]:
    """Provide the ids of host1, host2 and host3, which are well; host3 is at a site of its own."""
    far = db.sites.create("far", organization_id=world.organization.id)
    ids = [world.host.id]
    for name, site_id in (("host2", world.site.id), ("host3", far.id)):
        ids.append(db.hosts.create(name, address=name, rpcurl=name, site_id=site_id).id)
    for name in ("host1", "host2", "host3"):
        make_well(db, name)
    return ids


def ids(candidates: Sequence[HostCandidate]) -> list[int]:
    return [c.id for c in candidates]


def scores(candidates: Sequence[HostCandidate]) -> list[tuple[int, float]]:
    """Ids and scores, best first, without what the load of WELL takes."""
    return [(c.id, round(c.score + 25, 9)) for c in candidates]


def run_elements(server: psycopg.Connection, table: str, host_id: int, count: int) -> None:
    server.execute(
        f"insert into {table} (host_id, num, type, state) select %s, n, 'kvmqm', 'started' from generate_series(1, %s) n",
        [host_id, count],
    )


def test_hosts_without_problems_are_candidates(db: Database, world: World, hosts: list[int]) -> None:
    assert db.hosts.candidates() == [HostCandidate(id, f"host{n}", db.hosts.get(id).site_id, 0.25, 0, 0, -25.0)
                                     for n, id in enumerate(hosts, 1)]  # fmt: skip
    db.hosts.update("host2", {"enabled": False})
    db.hosts.update("host3", {"info_at": now(db) - timedelta(seconds=600)})
    assert ids(db.hosts.candidates()) == hosts[:1]
    assert ids(db.hosts.candidates(started_at=now(db))) == [hosts[0], hosts[2]]


def test_candidates_can_be_of_one_site(db: Database, world: World, hosts: list[int], server: psycopg.Connection) -> None:
    assert ids(db.hosts.candidates_of_site(world.site.id)) == hosts[:2]
    run_elements(server, "host_elements", hosts[2], 10)
    assert scores(db.hosts.candidates_of_site(db.hosts.get(hosts[2]).site_id)) == [(hosts[2], 0)]
    assert db.hosts.candidates_of_site(world.site.id + 1000) == []


def test_a_candidate_supports_all_types_that_are_asked_for(db: Database, hosts: list[int]) -> None:
    db.hosts.update("host1", {"element_types": {"kvmqm": {}, "tinc": {}, "udp_tunnel": {}}, "connection_types": {"bridge": 1}})
    db.hosts.update("host2", {"element_types": ["kvmqm", "external_network"], "connection_types": ["bridge", "fixed_bridge"]})
    db.hosts.update("host3", {"element_types": "kvmqm", "connection_types": 5})
    for elements, connections, found in (
        (["kvmqm"], [], hosts),
        (["kvmqm", "tinc"], [], hosts[:1]),
        (["tinc_endpoint", "udp_endpoint"], [], hosts[:1]),
        (["external_network_endpoint"], [], hosts[1:2]),
        (["repy"], [], []),
        ([], ["bridge"], hosts[:2]),
        ([], ["bridge", "fixed_bridge"], hosts[1:2]),
        (["tinc"], ["fixed_bridge"], []),
    ):
        assert ids(db.hosts.candidates(element_types=elements, connection_types=connections)) == found


def test_a_kind_of_network_is_offered_by_what_is_below_it(db: Database, hosts: list[int], server: psycopg.Connection) -> None:
    """A candidate for a kind has an instance of it, and what a host reports makes no difference."""
    offered = (("internet/uni", hosts[0]), ("internet", hosts[1]), ("internetwork", hosts[2]), ("open%flow", hosts[2]))
    for n, (kind, host) in enumerate(offered):
        db.network_instances.create(db.networks.create(kind).id, host, f"br{n}")
    db.hosts.update("host3", {"networks": ["internet", {"kind": "internet/uni"}]})
    db.hosts.update("host2", {"networks": {"internet/uni": {}}})
    for kinds, found in (
        (["internet"], hosts[:2]),
        (["internet/uni"], hosts[:1]),
        (["internet/un"], []),
        (["internet", "internet/uni"], hosts[:1]),
        (["internetwork"], hosts[2:]),
        (["internet_ork"], []),
        (["open%"], []),
        (["bridge"], []),
    ):
        assert ids(db.hosts.candidates(network_kinds=kinds)) == found, kinds
        assert {db.network_instances.of_kind(host, kind).host_id for host in found for kind in kinds} == set(found)


def test_errors_and_load_count_against_a_host(db: Database, hosts: list[int]) -> None:
    db.hosts.update("host1", {"component_errors": 2})
    db.hosts.update("host2", {"info": info({"resources.memory.used": 8e6})})
    assert scores(db.hosts.candidates()) == [(hosts[2], 0), (hosts[1], -25), (hosts[0], -50)]


def test_a_host_with_much_to_do_is_passed_over(db: Database, hosts: list[int], server: psycopg.Connection) -> None:
    run_elements(server, "host_elements", hosts[0], 3)
    run_elements(server, "host_elements", hosts[1], 1)
    assert scores(db.hosts.candidates()) == [(hosts[2], 10), (hosts[1], 2.5), (hosts[0], -12.5)]
    run_elements(server, "host_connections", hosts[2], 9)
    assert scores(db.hosts.candidates()) == [(hosts[1], 12.5), (hosts[2], 0), (hosts[0], -2.5)]
    for n in range(4, 9):
        db.hosts.create(f"host{n}", address="", rpcurl=f"{n}", site_id=db.hosts.get(hosts[0]).site_id)
        make_well(db, f"host{n}")
    found = dict(scores(db.hosts.candidates()))
    assert [found[id] for id in hosts] == [-20 + 10, -10 + 10, 10 - 10]


def test_a_caller_can_favour_hosts_and_sites(db: Database, world: World, hosts: list[int]) -> None:
    found = db.hosts.candidates(host_bonuses={hosts[1]: 7.5, hosts[2]: 1}, site_bonuses={world.site.id: -10, 10**6: 5})
    assert scores(found) == [(hosts[2], 1), (hosts[1], -2.5), (hosts[0], -10)]
    assert ids(db.hosts.candidates_of_site(world.site.id, host_bonuses={hosts[1]: 1})) == [hosts[1], hosts[0]]
    bad: Any
    for bad in (float("nan"), "much", [1]):
        with pytest.raises(InvalidValue, match=r"^host: "):
            db.hosts.candidates(host_bonuses={hosts[0]: bad})
    for bad in ([1], 5, "much", False):
        with refused(InvalidValue, "host", "host_bonuses", "^host: host_bonuses must be a dict by id, not "):
            db.hosts.candidates(host_bonuses=bad)
        with refused(InvalidValue, "host", "host_bonuses"):
            db.hosts.candidates_of_site(world.site.id, host_bonuses=bad)
        with refused(InvalidValue, "host", "site_bonuses"):
            db.hosts.candidates(site_bonuses=bad)


def test_only_the_best_are_given(db: Database, hosts: list[int]) -> None:
    assert ids(db.hosts.candidates(host_bonuses={hosts[2]: 1}, limit=2)) == [hosts[2], hosts[0]]


@pytest.fixture
def random_hosts(db: Database, world: World, server: psycopg.Connection) -> list[dict[str, Any]]:
    """300 hosts of 5 sites that differ in all that a selection looks at."""
    chance = Random(5)  # noqa: S311
    sites = [db.sites.create(f"site{n}", organization_id=world.organization.id).id for n in range(5)]
    hosts = [random_host(chance, n, chance.choice(sites)) for n in range(300)]
    db.hosts.delete("host1")
    kinds = {kind: db.networks.create(kind).id for kind in KINDS}
    with server.transaction():
        for host in hosts:
            row = server.execute(
                "insert into hosts (name, address, rpcurl, site_id, enabled, component_errors, info, info_at,"
                " resources_synced_at, element_types, connection_types, networks) values (%(name)s, '', %(name)s, %(site_id)s,"
                " %(enabled)s, %(component_errors)s, %(info)s, now() - %(info_age)s * interval '1 s',"
                " now() - %(synced_age)s * interval '1 s', %(element_types)s, %(connection_types)s, %(networks)s) returning id",
                {k: Jsonb(v) if isinstance(v, dict | list) else v for k, v in host.items()},
            ).fetchone()
            assert row
            host["id"] = row[0]
            for kind in host["networks"]:
                server.execute(
                    "insert into network_instances (network_id, host_id, bridge) values (%s, %s, %s)",
                    [kinds[kind], row[0], kind],
                )
            run_elements(server, "host_elements", row[0], host["elements"])
            run_elements(server, "host_connections", row[0], host["connections"])
    return hosts


def random_host(chance: Random, n: int, site_id: int) -> dict[str, Any]:
    def some(kinds: list[str]) -> dict[str, object]:
        return {kind: {} for kind in kinds if chance.random() < 0.8}

    as_reported = chance.choice([str, float, int])
    memory, disk = chance.choice([16e6, 32e6]), chance.choice([2e8, 9e8])
    return {
        "name": f"random{n}",
        "site_id": site_id,
        "enabled": chance.random() < 0.95,
        "component_errors": chance.choice([0, 0, 0, 1, 2, 3]),
        "info": info({
            "uptime": as_reported(chance.choice([500, 1e5, 2e6, 3e7])),
            "resources.cpus_present.count": chance.choice([4, 8, "16"]),
            "resources.loadavg": [0, as_reported(chance.choice([0.5, 1, 3, 5, chance.uniform(0, 4)])), 0],
            "resources.memory": {"total": as_reported(memory), "used": as_reported(memory * chance.uniform(0.1, 0.97))},
            "resources.diskspace.data": {"total": disk, "used": as_reported(disk * chance.choice([0.2, 0.5, 0.97]))},
            "problems": chance.choice([[], [], [], [], ["broken"]]),
        }),
        "info_age": chance.choice([0, 30, 300, 3600]) if chance.random() < 0.2 else 10,
        "synced_age": chance.choice([0, 1000, 3600]) if chance.random() < 0.2 else 10,
        "element_types": some(ELEMENTS),
        "connection_types": some(CONNECTIONS),
        "networks": list(some(KINDS)) if n % 2 else some(KINDS),
        "elements": chance.choice([0, 0, 1, 2, 5, 12]),
        "connections": chance.choice([0, 1, 4, 7]),
    }  # fmt: skip


def plain_load(host: dict[str, Any]) -> float:
    reported = host["info"]["resources"]
    memory, disk = reported["memory"], reported["diskspace"]["data"]
    return max(
        float(reported["loadavg"][1]) / float(reported["cpus_present"]["count"]),
        float(memory["used"]) / float(memory["total"]),
        float(disk["used"]) / float(disk["total"]),
    )


def is_well(host: dict[str, Any]) -> bool:
    reported = host["info"]["resources"]
    memory, disk = reported["memory"], reported["diskspace"]["data"]
    return (
        host["enabled"]
        and host["info_age"] <= 420
        and host["synced_age"] <= 1500
        and float(host["info"]["uptime"]) >= 600
        and float(reported["loadavg"][1]) <= float(reported["cpus_present"]["count"])
        and float(memory["total"]) - float(memory["used"]) >= 1e6
        and float(disk["total"]) - float(disk["used"]) >= 10e6
        and host["component_errors"] <= 2
        and not host["info"]["problems"]
    )


def supports(host: dict[str, Any], asked: dict[str, list[str]]) -> bool:
    return (
        set(asked["element_types"]) <= set(host["element_types"])
        and set(asked["connection_types"]) <= set(host["connection_types"])
        and all(any(k == kind or k.startswith(f"{kind}/") for k in host["networks"]) for kind in asked["network_kinds"])
    )


def apart(count: int, average: float, most: float) -> float:
    return max(-most, min(most, 10 * (count - average) / average)) if average else 0


def plain_ranking(
    hosts: list[dict[str, Any]], host_bonuses: dict[int, float], site_bonuses: dict[int, float]
) -> Iterator[tuple[int, float]]:
    """Yield the ids and scores of candidates by the documented formula, written plainly."""
    elements = sum(host["elements"] for host in hosts) / len(hosts)
    connections = sum(host["connections"] for host in hosts) / len(hosts)
    for host in hosts:
        score = -25 * host["component_errors"] - 100 * plain_load(host)
        score -= apart(host["elements"], elements, 20)
        score -= apart(host["connections"], connections, 10)
        yield host["id"], score + host_bonuses.get(host["id"], 0) + site_bonuses.get(host["site_id"], 0)


@pytest.mark.slow
def test_the_order_is_that_of_a_plain_reading(db: Database, random_hosts: list[dict[str, Any]]) -> None:
    listed = db.hosts.list(limit=300)
    assert [host.problems == [] for host in listed] == [is_well(host) for host in random_hosts]
    assert [host.load for host in listed] == [min(1, plain_load(host)) for host in random_hosts]
    chance = Random(6)  # noqa: S311
    sizes = []
    for n in range(40):
        asked: dict[str, Any] = {
            "element_types": chance.sample(ELEMENTS, n % 4),
            "connection_types": chance.sample(CONNECTIONS, n % 3),
            "network_kinds": chance.sample(KINDS, n % 2),
        }
        host_bonuses = {host["id"]: chance.uniform(-30, 30) for host in chance.sample(random_hosts, 20)}
        site_bonuses = {host["site_id"]: chance.choice([-5, 5.5]) for host in chance.sample(random_hosts, 2)}
        candidates = [host for host in random_hosts if is_well(host) and supports(host, asked)]
        ranking = sorted(plain_ranking(candidates, host_bonuses, site_bonuses), key=lambda ranked: (-ranked[1], ranked[0]))
        found = db.hosts.candidates(**asked, host_bonuses=host_bonuses, site_bonuses=site_bonuses, limit=300)
        assert [(c.id, c.score) for c in found] == ranking
        sizes.append(len(found))
    assert min(sizes) >= 10
    assert max(sizes) >= 80

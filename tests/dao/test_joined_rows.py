"""Calls that give a row together with what belongs to it, or that lies beyond it, in one statement."""

from tests.conftest import World
from tests.helpers.dao_cases import NOBODY, refused
from tests.helpers.element_cases import Net
from tomato_dao import Database, NotFound
from tomato_dao.rows import FullSite, FullTemplate, asdict


def test_the_other_end_of_an_element_is_that_of_its_own_connection(db: Database, net: Net) -> None:
    a, b = net.ends
    low, high = net.free
    with refused(NotFound, "other end of element", low.id):
        db.elements.other_end(low.id)
    db.connections.create(low.id, high.id)
    assert (db.elements.other_end(a.id), db.elements.other_end(b.id)) == (b, a)
    assert db.elements.other_end(high.id) == db.elements.get(low.id)
    db.connections.delete(net.connection.id)
    with refused(NotFound, "other end of element", a.id):
        db.elements.other_end(a.id)
    with refused(NotFound, "other end of element", NOBODY):
        db.elements.other_end(NOBODY)


def test_networks_of_a_host_come_once_each_highest_preference_first(db: Database, world: World) -> None:
    other = db.hosts.create("host2", address="10.0.0.2", rpcurl="rpc://host2", site_id=world.site.id)
    low, equal, high, elsewhere, _ = (
        db.networks.create(kind, preference=preference)
        for kind, preference in (("a", 1), ("b", 1), ("c", 2), ("d", 9), ("nowhere", 9))
    )
    for n, network in enumerate((low, low, high, equal)):
        db.network_instances.create(network.id, world.host.id, f"br{n}")
    for n, network in enumerate((high, elsewhere)):
        db.network_instances.create(network.id, other.id, f"br{n}")
    without = db.network_instances.create(elsewhere.id, world.host.id, "br9")
    db.network_instances.update(without.id, {"network_id": None})
    assert db.networks.list_of_host(world.host.id) == [high, low, equal]
    assert db.networks.list_of_host(other.id) == [elsewhere, high]
    assert db.networks.list_of_host(NOBODY) == []


def test_a_full_template_has_its_data_and_how_many_hosts_have_it_ready(db: Database, world: World) -> None:
    hosts = [world.host.id] + [
        db.hosts.create(name, address=name, rpcurl=name, site_id=world.site.id).id for name in ("host2", "host3", "host4")
    ]
    template, unknown = (db.templates.create("kvmqm", name, torrent_data="ZDg6") for name in "ab")
    for host, ready in zip(hosts, (True, False, True), strict=False):
        db.templates_on_hosts.set(host, template.id, ready)
    assert db.templates.full(template.id) == FullTemplate(**asdict(template), ready=2, hosts=3)
    assert db.templates.full(unknown.id) == FullTemplate(**asdict(unknown), ready=0, hosts=0)
    with refused(NotFound, "template", NOBODY):
        db.templates.full(NOBODY)


def test_full_sites_have_the_names_of_their_organizations(db: Database, world: World) -> None:
    other = db.organizations.create("other")
    sites = [world.site, *(db.sites.create(name, organization_id=other.id) for name in "ba")]
    full = [
        FullSite(**asdict(site), organization_name=name)
        for site, name in zip(sites, (world.organization.name, "other", "other"), strict=True)
    ]
    assert [db.sites.full(site.name) for site in sites] == full == db.sites.list_full()
    assert db.sites.list_full(after=sites[0].id, limit=1) == full[1:2]
    assert db.sites.list_full(organization_id=other.id) == full[1:]
    assert db.sites.list_full(organization_id=other.id, after=sites[1].id) == full[2:]
    with refused(NotFound, "site", "x"):
        db.sites.full("x")

"""Templates on hosts: what hosts report, since when, and how many have a template ready."""

import pytest

from tests.conftest import World
from tests.helpers.dao_cases import NOBODY, refused, timed
from tomato_dao import Database, InvalidValue, NotFound
from tomato_dao.rows import Host, Template, TemplateOnHost, TemplateReadiness, asdict


@pytest.fixture
def templates(db: Database) -> list[Template]:
    """Three of them."""
    return [db.templates.create("kvmqm", name) for name in "abc"]


@pytest.fixture
def hosts(db: Database, world: World) -> list[Host]:
    """Provide the world's host and two more."""
    more = [db.hosts.create(name, address=name, rpcurl=name, site_id=world.site.id) for name in ("host2", "host3")]
    return [world.host, *more]


def test_the_time_is_that_of_the_last_change(db: Database, hosts: list[Host], templates: list[Template]) -> None:
    host, template = hosts[0].id, templates[0].id
    made, moment = timed(db, lambda: db.templates_on_hosts.set(host, template, False))
    assert made == TemplateOnHost(host, template, False, moment) == db.templates_on_hosts.get(host, template)
    assert db.templates_on_hosts.set(host, template, False) == made
    ready, later = timed(db, lambda: db.templates_on_hosts.set(host, template, True))
    assert ready == TemplateOnHost(host, template, True, later)
    assert later > moment
    assert db.templates_on_hosts.set(host, template, True) == ready == db.templates_on_hosts.get(host, template)


def test_a_host_reports_all_at_once(db: Database, hosts: list[Host], templates: list[Template]) -> None:
    host, (a, b, c) = hosts[0].id, (t.id for t in templates)
    kept = [db.templates_on_hosts.set(host, id, ready) for id, ready in ((a, True), (b, False))]
    report = {c: False, b: True, a: True}
    count, moment = timed(db, lambda: db.templates_on_hosts.set_of_host(host, report))
    assert count == 2
    now = [kept[0], TemplateOnHost(host, b, True, moment), TemplateOnHost(host, c, False, moment)]
    assert db.templates_on_hosts.list_of_host(host) == now
    assert db.templates_on_hosts.set_of_host(host, report) == 0
    assert db.templates_on_hosts.set_of_host(host, {}) == 0
    assert db.templates_on_hosts.list_of_host(host) == now


def test_templates_that_a_host_does_not_report_stay(db: Database, hosts: list[Host], templates: list[Template]) -> None:
    kept = db.templates_on_hosts.set(hosts[0].id, templates[0].id, True)
    elsewhere = db.templates_on_hosts.set(hosts[1].id, templates[1].id, True)
    assert db.templates_on_hosts.set_of_host(hosts[0].id, {templates[1].id: False}) == 1
    assert db.templates_on_hosts.list_of_host(hosts[0].id)[0] == kept
    assert db.templates_on_hosts.get(hosts[1].id, templates[1].id) == elsewhere


def test_an_unknown_host_or_template_is_not_found(db: Database, hosts: list[Host], templates: list[Template]) -> None:
    host, template = hosts[0].id, templates[0].id
    for call in (
        lambda host, template: db.templates_on_hosts.set(host, template, True),
        lambda host, template: db.templates_on_hosts.set_of_host(host, {templates[1].id: True, template: True}),
    ):
        with refused(NotFound, "host", NOBODY, f"^host {NOBODY} does not exist$"):
            call(NOBODY, template)
        with refused(NotFound, "template", NOBODY, f"^template {NOBODY} does not exist$"):
            call(host, NOBODY)
    for forgotten in (db.templates_on_hosts.get, db.templates_on_hosts.delete):
        with refused(NotFound, "template on host", (host, template)):
            forgotten(host, template)
    assert db.templates_on_hosts.list_of_host(host) == []


def test_a_report_of_a_wrong_type_is_refused(db: Database, hosts: list[Host], templates: list[Template]) -> None:
    with refused(InvalidValue, "template on host", "ready"):
        db.templates_on_hosts.set_of_host(hosts[0].id, {templates[0].id: 1})  # type: ignore[dict-item]
    with refused(InvalidValue, "template on host", "template_ids"):
        db.templates_on_hosts.set_of_host(hosts[0].id, {"1": True})  # type: ignore[dict-item]
    with refused(InvalidValue, "template on host", hosts[0].id, 'null value in column "ready"'):
        db.templates_on_hosts.set_of_host(hosts[0].id, {templates[0].id: None})  # type: ignore[dict-item]


def test_lists_are_paged_and_leave_out_what_is_deleted(db: Database, hosts: list[Host], templates: list[Template]) -> None:
    for host in hosts:
        db.templates_on_hosts.set_of_host(host.id, {t.id: True for t in templates})
    here = [db.templates_on_hosts.get(hosts[0].id, t.id) for t in templates]
    assert db.templates_on_hosts.list_of_host(hosts[0].id) == here
    assert db.templates_on_hosts.list_of_host(hosts[0].id, after=templates[0].id, limit=1) == here[1:2]
    of_one = [db.templates_on_hosts.get(h.id, templates[1].id) for h in hosts]
    assert db.templates_on_hosts.list_of_template(templates[1].id) == of_one
    assert db.templates_on_hosts.list_of_template(templates[1].id, after=hosts[0].id, limit=1) == of_one[1:2]
    db.templates_on_hosts.delete(hosts[0].id, templates[1].id)
    assert db.templates_on_hosts.list_of_host(hosts[0].id) == [here[0], here[2]]


def test_all_templates_are_listed_with_what_one_host_says_of_each(
    db: Database, hosts: list[Host], templates: list[Template]
) -> None:
    a, b, c = templates
    db.templates.update(b.id, {"torrent_data": "ZA=="})
    there = [db.templates_on_hosts.set(hosts[0].id, t.id, ready) for t, ready in ((a, True), (b, False))]
    db.templates_on_hosts.set(hosts[1].id, c.id, True)
    listed = db.templates.list_of_host(hosts[0].id)
    assert [(t.id, t.ready, t.changed_at) for t in listed] == [
        (a.id, True, there[0].changed_at), (b.id, False, there[1].changed_at), (c.id, None, None),
    ]  # fmt: skip
    for one, template in zip(listed, db.templates.list(), strict=True):
        assert asdict(template).items() <= asdict(one).items()
    assert db.templates.list_of_host(hosts[0].id, after=a.id, limit=1) == listed[1:2]
    assert [t.ready for t in db.templates.list_of_host(hosts[2].id)] == [None] * 3
    assert db.templates.list_of_host(NOBODY) == []


def test_readiness_counts_the_hosts_that_are_ready_of_those_that_say_so(
    db: Database, hosts: list[Host], templates: list[Template]
) -> None:
    a, b, c = (t.id for t in templates)
    db.templates_on_hosts.set_of_host(hosts[0].id, {a: True, b: True})
    db.templates_on_hosts.set_of_host(hosts[1].id, {a: True, b: False})
    all_three = [TemplateReadiness(a, 2, 2), TemplateReadiness(b, 1, 2), TemplateReadiness(c, 0, 0)]
    assert [db.templates.readiness(id) for id in (a, b, c)] == all_three == db.templates.list_readiness()
    assert db.templates.list_readiness(after=a, limit=1) == all_three[1:2]
    with refused(NotFound, "template", NOBODY):
        db.templates.readiness(NOBODY)

"""Host elements and host connections, which are alike: numbers, what they serve, and what refers to them."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Any

import psycopg
import pytest
from psycopg import errors

from tests.conftest import World
from tests.helpers.dao_cases import (
    MOMENT,
    NOBODY,
    assert_threads_keep_each_others_attrs,
    assert_wrong_types_are_refused,
    at_once,
    refused,
    timed,
    usage_is_gone,
)
from tomato_dao import AlreadyExists, Database, InvalidValue, NotFound
from tomato_dao.dao.host_components import HostComponents
from tomato_dao.rows import Connection, Element, Host, HostComponent, RefreshClaim, replace


@dataclass(frozen=True)
class Served:
    """Elements that components can serve, and the two hosts that they can be on."""

    element: Element
    connection: Connection
    host: Host
    other_host: Host


@pytest.fixture
def served(db: Database, world: World) -> Served:
    """Provide a connection, one of its ends, and a second host."""
    t = db.topologies.create("t", owner_id=world.user.id)
    a, b = (db.elements.create(t.id, "udp_endpoint") for _ in range(2))
    connection = db.connections.create(a.id, b.id)
    other_host = db.hosts.create("host2", address="10.0.0.2", rpcurl="rpc://2", site_id=world.site.id)
    return Served(db.elements.get(a.id), connection, world.host, other_host)


@pytest.fixture(params=["host element", "host connection"])
def entity(request: pytest.FixtureRequest) -> str:
    """Each of the two kinds of component in turn."""
    name: str = request.param
    return name


@pytest.fixture
def components(db: Database, entity: str) -> HostComponents:
    """Provide the DAO of that kind."""
    return db.host_elements if entity == "host element" else db.host_connections


def test_a_component_keeps_what_it_is_given(components: HostComponents, served: Served) -> None:
    host_id = served.host.id
    for num, element_id, connection_id in (
        (2**63 - 1, served.element.id, None),
        (-1, None, served.connection.id),
        (0, None, None),
    ):
        made = components.create(
            host_id,
            num,
            type="udp_tunnel",
            state="any text",
            element_id=element_id,
            connection_id=connection_id,
            attrs={"n": 1},
        )
        assert made == HostComponent(
            made.id, host_id, num, element_id, connection_id, "udp_tunnel", "any text", made.usage_id, {"n": 1}
        )
        assert isinstance(made.usage_id, int)
        assert components.get(made.id) == components.get_by_num(host_id, num) == made


def test_a_number_is_taken_once_per_host(components: HostComponents, entity: str, served: Served) -> None:
    host_id = served.host.id
    first = components.create(host_id, 1, type="x", state="started")
    with refused(AlreadyExists, entity, (host_id, 1), f"^{entity} with host_id {host_id}, num 1 already exists$") as caught:
        components.create(host_id, 1, type="x", state="started")
    assert isinstance(caught.value.__cause__, errors.UniqueViolation)
    other = components.create(served.other_host.id, 1, type="x", state="started")
    assert (components.get_by_num(host_id, 1), components.get_by_num(served.other_host.id, 1)) == (first, other)


def test_a_component_does_not_change_to_a_number_that_is_taken(components: HostComponents, entity: str, served: Served) -> None:
    first, second = (components.create(served.host.id, n, type="x", state="started") for n in (1, 2))
    with pytest.raises(AlreadyExists, match=f"^{entity} with (the same host_id, )?num 1 already exists$"):
        components.update(second.id, {"num": 1})
    assert components.list_of_host(served.host.id) == [first, second]


def test_a_host_element_and_a_host_connection_can_have_the_same_number(db: Database, served: Served) -> None:
    element = db.host_elements.create(served.host.id, 1, type="x", state="started")
    connection = db.host_connections.create(served.host.id, 1, type="x", state="started")
    assert db.host_elements.get_by_num(served.host.id, 1) == element
    assert db.host_connections.get_by_num(served.host.id, 1) == connection


def test_threads_that_create_one_number_make_one_component(components: HostComponents, served: Served) -> None:
    results = at_once(*[partial(components.create, served.host.id, 1, type="x", state="started")] * 4)
    assert [type(r) for r in results].count(AlreadyExists) == 3
    assert components.get_by_num(served.host.id, 1) in results


def test_a_component_serves_an_element_or_a_connection(components: HostComponents, entity: str, served: Served) -> None:
    both: Any = {"element_id": served.element.id, "connection_id": served.connection.id}
    rule = f"^{entity}: a host component serves an element or a connection, not both"
    with pytest.raises(InvalidValue, match=rule) as caught:
        components.create(served.host.id, 1, type="x", state="started", **both)
    assert isinstance(caught.value.__cause__, errors.CheckViolation)
    made = components.create(served.host.id, 1, type="x", state="started", element_id=served.element.id)
    patches: tuple[Any, ...] = (both, {"connection_id": served.connection.id})
    for patch in patches:
        with refused(InvalidValue, entity, made.id, rule):
            components.update(made.id, patch)
    switched: Any = {"element_id": None, "connection_id": served.connection.id}
    assert components.update(made.id, switched) == replace(made, **switched)


def test_a_refusal_of_a_rule_does_not_show_the_row(components: HostComponents, served: Served) -> None:
    made = components.create(served.host.id, 1, type="x", state="started", element_id=served.element.id)
    patches: tuple[Any, ...] = ({"connection_id": served.connection.id}, {"num": 2**63})
    for patch in patches:
        with pytest.raises(InvalidValue) as caught:
            components.update(made.id, patch)
        assert "Failing row" not in str(caught.value)


def test_a_component_that_was_not_made_has_no_key(components: HostComponents, entity: str, served: Served) -> None:
    both: Any = {"element_id": served.element.id, "connection_id": served.connection.id}
    with refused(InvalidValue, entity, None):
        components.create(served.host.id, 1, type="x", state="started", **both)


def test_references_of_a_component_must_exist(components: HostComponents, served: Served) -> None:
    with refused(NotFound, "host", NOBODY, f"^host {NOBODY} does not exist$") as caught:
        components.create(NOBODY, 1, type="x", state="started")
    assert isinstance(caught.value.__cause__, errors.ForeignKeyViolation)
    made = components.create(served.host.id, 1, type="x", state="started")
    for what in ("element", "connection"):
        reference: Any = {f"{what}_id": NOBODY}
        with refused(NotFound, what, NOBODY, f"^{what} {NOBODY} does not exist$"):
            components.create(served.host.id, 2, type="x", state="started", **reference)
        with refused(NotFound, what, NOBODY):
            components.update(made.id, reference)
    assert components.list_of_host(served.host.id) == [made]


def test_an_unknown_component_is_not_found(components: HostComponents, entity: str, served: Served) -> None:
    calls: list[Callable[[int], object]] = [
        components.get,
        lambda id: components.update(id, {"num": 1}),
        lambda id: components.set_attrs(id, {"a": 1}),
        components.delete,
    ]
    for call in calls:
        with refused(NotFound, entity, NOBODY, f"^{entity} {NOBODY} does not exist$"):
            call(NOBODY)
    with refused(NotFound, entity, (served.host.id, 5)):
        components.get_by_num(served.host.id, 5)


def test_components_are_listed_by_host_and_by_what_they_serve(components: HostComponents, served: Served) -> None:
    on = partial(components.create, type="x", state="started")
    a = on(served.host.id, 3, element_id=served.element.id)
    b = on(served.other_host.id, 2, element_id=served.element.id)
    c = on(served.host.id, 2, connection_id=served.connection.id)
    d = on(served.host.id, 1)
    assert components.list_of_host(served.host.id) == [a, c, d]
    assert components.list_of_host(served.host.id, limit=2) == [a, c]
    assert components.list_of_host(served.host.id, after=a.id, limit=1) == [c]
    assert components.list_of_host(served.host.id, after=d.id) == []
    assert components.list_of_element(served.element.id) == [a, b]
    assert components.list_of_connection(served.connection.id) == [c]
    assert components.list_of_element(NOBODY) == components.list_of_connection(NOBODY) == []


def test_a_patch_of_a_component_changes_only_what_it_names(components: HostComponents, served: Served) -> None:
    component = components.create(served.host.id, 1, type="x", state="started", attrs={"a": 1})
    patches: list[Any] = [
        {"num": 2**40},
        {"element_id": served.element.id},
        {"type": "tinc"},
        {"state": ""},
        {"element_id": None},
    ]
    for patch in patches:
        component = replace(component, **patch)
        assert components.update(component.id, patch) == component
    assert components.update(component.id, {}) == component == components.get(component.id)


def test_a_patch_of_a_component_is_checked(components: HostComponents, entity: str, served: Served) -> None:
    made = components.create(served.host.id, 1, type="x", state="started")
    patch: Any = {"host_id": served.other_host.id}
    with refused(InvalidValue, entity, "host_id", r"a patch cannot have 'host_id', only num, "):
        components.update(made.id, patch)
    assert_wrong_types_are_refused(
        components,
        entity,
        made.id,
        [("num", None), ("num", True), ("num", 1.0), ("element_id", "1"), ("state", None), ("type", 1)],
    )
    assert components.get(made.id) == made


def test_attrs_of_a_component_are_set_and_removed_at_once(components: HostComponents, served: Served) -> None:
    made = components.create(served.host.id, 1, type="x", state="started", attrs={"a": 1, "b": 2})
    assert components.set_attrs(made.id, {"c": 0.5}, ["a", "missing"]) == {"b": 2, "c": 0.5}
    assert components.get(made.id) == replace(made, attrs={"b": 2, "c": 0.5})


def test_threads_keep_each_others_attrs_of_a_component(components: HostComponents, served: Served) -> None:
    made = components.create(served.host.id, 1, type="x", state="started")
    assert_threads_keep_each_others_attrs(components, made.id)


def test_a_component_is_an_orphan_once_what_it_serves_is_gone(
    db: Database, components: HostComponents, served: Served, server: psycopg.Connection
) -> None:
    made = [
        components.create(served.host.id, 1, type="x", state="started", element_id=served.element.id),
        components.create(served.host.id, 2, type="x", state="started", connection_id=served.connection.id),
    ]
    db.connections.delete(served.connection.id)
    assert components.list_of_host(served.host.id) == [made[0], replace(made[1], connection_id=None)]
    db.elements.delete(served.element.id)
    assert components.list_of_host(served.host.id) == [replace(c, element_id=None, connection_id=None) for c in made]
    assert not usage_is_gone(server, made[0].usage_id)


def test_a_component_goes_with_its_usage(components: HostComponents, served: Served, server: psycopg.Connection) -> None:
    gone, kept = (components.create(served.host.id, n, type="x", state="started") for n in range(2))
    server.execute(
        "insert into usage_records (usage_id, type, begin_at, end_at) values (%s, '5minutes', %s, %s)",
        [gone.usage_id, MOMENT, MOMENT],
    )
    components.delete(gone.id)
    assert components.list_of_host(served.host.id) == [kept]
    assert usage_is_gone(server, gone.usage_id)


def test_references_to_a_deleted_component_become_null(
    db: Database, components: HostComponents, entity: str, served: Served
) -> None:
    made = [components.create(served.host.id, n, type="x", state="started") for n in range(2)]
    kind = entity.replace(" ", "_")
    references: Any = {f"{kind}{n}_id": component.id for n, component in enumerate(made, start=1)}
    assert db.connections.update(served.connection.id, references) == replace(served.connection, **references)
    if entity == "host element":
        db.elements.update(served.element.id, {"host_element_id": made[0].id})
    components.delete(made[0].id)
    references[f"{kind}1_id"] = None
    assert db.connections.get(served.connection.id) == replace(served.connection, **references)
    assert db.elements.get(served.element.id) == served.element


def test_a_hosts_report_on_a_component_is_stored_in_one_statement(
    components: HostComponents, served: Served, entity: str
) -> None:
    made = components.create(
        served.host.id, 1, type="x", state="created", element_id=served.element.id, attrs={"a": 1, "b": 2, "c": 3}
    )
    told = components.record(made.id, state="started", type="y", set={"b": {"x": [1]}, "d": 4}, remove=["a"])
    assert told == replace(made, state="started", type="y", attrs={"b": {"x": [1]}, "c": 3, "d": 4})
    assert components.get(made.id) == told
    assert components.record(made.id, state="prepared", type="y", set={}) == replace(told, state="prepared")
    with refused(NotFound, entity, NOBODY):
        components.record(NOBODY, state="started", type="y", set={})


def test_components_are_due_to_be_kept_alive_each_hour_but_orphans(
    db: Database, server: psycopg.Connection, components: HostComponents, served: Served, entity: str
) -> None:
    table = entity.replace(" ", "_") + "s"
    limit: dict[str, Any] = {"limit": 5, "lease": timedelta(minutes=1)}
    one = components.create(served.host.id, 1, type="x", state="started", element_id=served.element.id)
    other = components.create(served.other_host.id, 2, type="y", state="s", connection_id=served.connection.id)
    components.create(served.host.id, 3, type="x", state="started")
    claims, at = timed(db, lambda: components.claim_refreshes(**limit))
    until = at + timedelta(minutes=1)
    assert [replace(claim, next_refresh_at=MOMENT) for claim in claims] == [
        RefreshClaim(one.id, served.host.id, "host1", served.host.rpcurl, 1, "x", "started", MOMENT, until),
        RefreshClaim(other.id, served.other_host.id, "host2", "rpc://2", 2, "y", "s", MOMENT, until),
    ]
    for claim in claims:
        components.finish_refresh(claim.id, claim.lease_until)
    assert components.claim_refreshes(**limit) == []
    left = server.execute(f"select next_refresh_at between now() + %s and now() + %s from {table} where id = {one.id}", [
        timedelta(minutes=59), timedelta(hours=1)
    ]).fetchall()  # fmt: skip
    assert left == [(True,)]
    for id, minutes in ((one.id, 1), (other.id, 2)):
        server.execute(f"update {table} set next_refresh_at = now() - {minutes} * interval '1 minute' where id = {id}")
    assert [c.id for _ in range(3) for c in components.claim_refreshes(limit=1, lease=timedelta(minutes=1))] == [
        other.id, one.id
    ]  # fmt: skip
    # Whoever could not be reached is tried after those that have waited since before its lease ran out.
    server.execute(f"update {table} set refresh_lease_until = now() - interval '30 seconds' where id = {other.id}")
    server.execute(f"update {table} set refresh_lease_until = null where id = {one.id}")
    assert [c.id for _ in range(3) for c in components.claim_refreshes(limit=1, lease=timedelta(minutes=1))] == [
        one.id, other.id
    ]  # fmt: skip

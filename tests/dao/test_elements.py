"""Elements: types, parents, states, and what goes with what."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import psycopg
import pytest
from psycopg import errors

from tests.conftest import World
from tests.helpers.dao_cases import (
    BLOCKED,
    MOMENT,
    NOBODY,
    assert_threads_keep_each_others_attrs,
    assert_wrong_types_are_refused,
    refused,
    until,
    usage_is_gone,
)
from tests.helpers.element_cases import CHILDREN, ENDPOINTS, INTERFACES, PARENTLESS, Net, parent_of
from tomato_dao import Database, InvalidValue, NotFound, WrongState
from tomato_dao.rows import Connection, Element, replace


def ids(db: Database, topology_id: int) -> list[int]:
    return [e.id for e in db.elements.list_of_topology(topology_id)]


def test_a_new_element_has_defaults(net: Net) -> None:
    e = net.machine
    assert e == Element(
        e.id,
        net.id,
        "kvmqm",
        "created",
        None,
        None,
        None,
        None,
        None,
        None,
        None,
        None,
        None,
        None,
        e.usage_id,
        {"name": f"kvmqm{e.id}"},
    )
    assert isinstance(e.usage_id, int)


def test_an_element_keeps_what_it_is_given(db: Database, world: World, net: Net, server: psycopg.Connection) -> None:
    server.execute("insert into templates (id, tech, name) overriding system value values (41, 'kvmqm', 'x')")
    server.execute("insert into profiles (id, tech, name) overriding system value values (42, 'kvmqm', 'x')")
    server.execute("insert into networks (id, kind) overriding system value values (43, 'internet')")
    server.execute(
        "insert into network_instances (id, network_id, host_id, bridge) overriding system value values (44, 43, %s, 'br0')",
        [world.host.id],
    )
    references = {"site_id": world.site.id, "template_id": 41, "profile_id": 42, "network_id": 43, "network_instance_id": 44}
    given: dict[str, Any] = {"state": "prepared", **references, "attrs": {"name": "x"}}
    made = db.elements.create(net.id, "kvmqm", **given)
    assert made == replace(net.machine, id=made.id, usage_id=made.usage_id, **given)
    assert db.elements.get(made.id) == made
    for sql in ("delete from templates", "delete from profiles", "delete from network_instances", "delete from networks"):
        server.execute(sql)
    gone = dict.fromkeys(references.keys() - {"site_id"})
    assert db.elements.get(made.id) == replace(made, **gone)


def test_every_type_of_element_can_be_created_where_it_belongs(db: Database, net: Net) -> None:
    for type in (*CHILDREN, *PARENTLESS):
        parent_id = parent_of(db, net.id, type)
        made = db.elements.create(net.id, type, parent_id=parent_id)
        assert (made.type, made.parent_id) == (type, parent_id)


def test_an_unknown_type_of_element_is_refused(db: Database, net: Net) -> None:
    for type in ("xen", "tinc", "Kvmqm", ""):
        with pytest.raises(InvalidValue, match=r"^element: ") as caught:
            db.elements.create(net.id, type)
        assert isinstance(caught.value.__cause__, errors.IntegrityError)


def test_an_element_that_was_not_made_has_no_key(db: Database, net: Net) -> None:
    with refused(InvalidValue, "element", None, r"type is 'xen'"):
        db.elements.create(net.id, "xen")


def test_states_are_those_of_the_type(db: Database, net: Net) -> None:
    for type in (*CHILDREN, *PARENTLESS):
        e = db.elements.create(net.id, type, parent_id=parent_of(db, net.id, type))
        for state in ("prepared", "started", "created"):
            assert db.elements.update(e.id, {"state": state}) == replace(e, state=state)
        for state in ("stopped", "", *(["default"] if type != "external_network_endpoint" else [])):
            with refused(InvalidValue, "element", e.id, f"a state is .*: state is '{state}'"):
                db.elements.update(e.id, {"state": state})
    assert db.elements.create(net.id, "external_network_endpoint", state="default").state == "default"


def test_an_interface_needs_a_parent(db: Database, net: Net) -> None:
    for type in INTERFACES:
        with pytest.raises(InvalidValue, match=r"^element: an interface needs a parent") as caught:
            db.elements.create(net.id, type)
        assert isinstance(caught.value.__cause__, errors.CheckViolation)


def test_a_tinc_or_external_network_endpoint_can_be_without_a_parent(db: Database, net: Net) -> None:
    for type in ENDPOINTS:
        assert db.elements.create(net.id, type).parent_id is None


def test_only_children_have_a_parent(db: Database, net: Net) -> None:
    for type in PARENTLESS:
        with pytest.raises(InvalidValue, match=r"^element: .*have none: parent_id is"):
            db.elements.create(net.id, type, parent_id=net.machine.id)


def test_a_parent_is_of_the_type_that_has_such_children(db: Database, net: Net) -> None:
    parents = {type: db.elements.create(net.id, type).id for type in CHILDREN.values()}
    for child, right in CHILDREN.items():
        for type, parent_id in parents.items():
            if type != right:
                with pytest.raises(
                    InvalidValue, match=f"^element: the parent must be in .*: parent_id is {parent_id}$"
                ) as caught:
                    db.elements.create(net.id, child, parent_id=parent_id)
                assert isinstance(caught.value.__cause__, errors.ForeignKeyViolation)


def test_a_parent_is_of_the_same_topology(db: Database, world: World, net: Net) -> None:
    other = db.topologies.create("other", owner_id=world.user.id)
    with pytest.raises(InvalidValue, match=r"^element: the parent must be in the same topology"):
        db.elements.create(other.id, "kvmqm_interface", parent_id=net.machine.id)
    with pytest.raises(InvalidValue, match=f"parent_id is {NOBODY}$"):
        db.elements.create(net.id, "kvmqm_interface", parent_id=NOBODY)


def test_references_of_an_element_must_exist(db: Database, net: Net) -> None:
    with refused(NotFound, "topology", NOBODY, f"^topology {NOBODY} does not exist$") as caught:
        db.elements.create(NOBODY, "kvmqm")
    assert isinstance(caught.value.__cause__, errors.ForeignKeyViolation)
    for entity in ("site", "template", "profile", "network", "network instance", "host element"):
        reference: Any = {f"{entity.replace(' ', '_')}_id": NOBODY}
        with refused(NotFound, entity, NOBODY, f"^{entity} {NOBODY} does not exist$"):
            db.elements.update(net.machine.id, reference)
        if entity != "host element":
            with refused(NotFound, entity, NOBODY):
                db.elements.create(net.id, "kvmqm", **reference)


def test_an_unknown_element_or_connection_is_not_found(db: Database) -> None:
    for entity, dao in (("element", db.elements), ("connection", db.connections)):
        any_dao: Any = dao
        calls: list[Callable[[], object]] = [
            partial(any_dao.get, NOBODY),
            partial(any_dao.update, NOBODY, {"state": "started"}),
            partial(any_dao.set_attrs, NOBODY, {"a": 1}),
            partial(any_dao.delete, NOBODY),
        ]
        for call in calls:
            with refused(NotFound, entity, NOBODY, f"^{entity} {NOBODY} does not exist$"):
                call()


def test_elements_are_listed_in_pages_by_id(db: Database, world: World, net: Net) -> None:
    listed = [net.machine, *net.ends, *net.free]
    db.elements.create(db.topologies.create("other", owner_id=world.user.id).id, "repy")
    assert db.elements.list_of_topology(net.id) == listed
    assert db.elements.list_of_topology(net.id, limit=2) == listed[:2]
    assert db.elements.list_of_topology(net.id, after=listed[1].id, limit=2) == listed[2:4]
    assert db.elements.list_of_topology(net.id, after=listed[4].id) == []
    assert db.elements.list_children(net.machine.id) == [*net.ends]
    assert db.elements.list_children(net.free[0].id) == []


def test_a_patch_of_an_element_changes_only_what_it_names(db: Database, world: World, net: Net) -> None:
    he = db.host_elements.create(world.host.id, 1, type="kvmqm", state="started", element_id=net.machine.id)
    times = {"rextfv_started_at": MOMENT, "next_sync_at": MOMENT}
    patches: list[Any] = [{"host_element_id": he.id}, {"site_id": world.site.id}, times, {"state": "started"}]
    e = net.machine
    for patch in patches:
        e = replace(e, **patch)
        assert db.elements.update(e.id, patch) == e
    assert db.elements.update(e.id, {}) == e == db.elements.get(e.id)
    cleared = replace(e, next_sync_at=None, site_id=None, host_element_id=None)
    assert db.elements.update(e.id, {"next_sync_at": None, "site_id": None, "host_element_id": None}) == cleared


def test_a_patch_of_an_element_is_checked(db: Database, net: Net) -> None:
    for key in ("type", "topology_id", "parent_id", "connection_id", "attrs"):
        patch: Any = {key: None}
        with refused(InvalidValue, "element", key, f"a patch cannot have '{key}', only state, "):
            db.elements.update(net.machine.id, patch)
    assert_wrong_types_are_refused(
        db.elements,
        "element",
        net.machine.id,
        [("state", None), ("state", 1), ("site_id", "1"), ("template_id", True), ("next_sync_at", 1e9)],
    )
    assert db.elements.get(net.machine.id) == net.machine


def test_attrs_are_set_and_removed_at_once(db: Database, net: Net) -> None:
    for dao, row in ((db.elements, net.machine), (db.connections, net.connection)):
        any_dao: Any = dao
        first = row.attrs
        assert any_dao.set_attrs(row.id, {"a": 1, "b": 2}) == {**first, "a": 1, "b": 2}
        assert any_dao.set_attrs(row.id, {"c": {"d": []}}, ["a", "missing"]) == {**first, "b": 2, "c": {"d": []}}
        assert any_dao.get(row.id).attrs == {**first, "b": 2, "c": {"d": []}}


def test_threads_keep_each_others_attrs(db: Database, net: Net) -> None:
    assert_threads_keep_each_others_attrs(db.elements, net.machine.id)
    assert_threads_keep_each_others_attrs(db.connections, net.connection.id)


def test_an_element_goes_in_state_created_and_an_interface_also_prepared(db: Database, net: Net) -> None:
    for type in (*CHILDREN, *PARENTLESS):
        for state in ("created", "prepared", "started", *(["default"] if type == "external_network_endpoint" else [])):
            e = db.elements.create(net.id, type, state=state, parent_id=parent_of(db, net.id, type))
            if state == "created" or (state == "prepared" and type in INTERFACES):
                db.elements.delete(e.id)
                assert e.id not in ids(db, net.id)
            else:
                rule = rf"^element: only elements in the state created can be deleted .*prepared\): element {e.id} is {state}$"
                with refused(WrongState, "element", e.id, rule) as caught:
                    db.elements.delete(e.id)
                assert isinstance(caught.value.__cause__, psycopg.Error)
                assert db.elements.get(e.id) == e


def test_an_element_takes_children_connections_and_usage_along(db: Database, net: Net, server: psycopg.Connection) -> None:
    outer = db.elements.create(net.id, "kvmqm_interface", parent_id=net.machine.id)
    uplink = db.connections.create(net.free[0].id, outer.id)
    gone: list[Element | Connection] = [net.machine, *net.ends, outer, net.connection, uplink]
    for usage_id in (row.usage_id for row in gone):
        server.execute(
            "insert into usage_records (usage_id, type, begin_at, end_at) values (%s, '5minutes', %s, %s)",
            [usage_id, MOMENT, MOMENT],
        )
    db.elements.delete(net.machine.id)
    assert db.elements.list_of_topology(net.id) == [*net.free]
    assert db.connections.list_of_topology(net.id) == []
    assert usage_is_gone(server, *(row.usage_id for row in gone))
    assert not usage_is_gone(server, net.free[0].usage_id)


def test_an_element_stays_while_a_child_cannot_go(db: Database, net: Net) -> None:
    db.elements.update(net.ends[1].id, {"state": "started"})
    before = db.elements.list_of_topology(net.id)
    with refused(WrongState, "element", net.machine.id, f"element {net.ends[1].id} is started"):
        db.elements.delete(net.machine.id)
    assert db.elements.list_of_topology(net.id) == before
    assert db.connections.list_of_topology(net.id) == [net.connection]


def test_one_end_takes_the_connection_along_and_frees_the_other_end(db: Database, net: Net) -> None:
    db.elements.delete(net.ends[0].id)
    with refused(NotFound, "connection", net.connection.id):
        db.connections.get(net.connection.id)
    assert db.elements.get(net.ends[1].id) == replace(net.ends[1], connection_id=None)
    assert db.connections.create(net.ends[1].id, net.free[0].id).from_element_id == net.ends[1].id


@pytest.mark.parametrize("dao", ["host_elements", "host_connections"])
def test_components_of_a_deleted_element_or_connection_stay_as_orphans(db: Database, world: World, net: Net, dao: str) -> None:
    components = getattr(db, dao)
    served = [{"element_id": net.machine.id}, {"element_id": net.ends[0].id}, {"connection_id": net.connection.id}]
    made = [components.create(world.host.id, n, type="x", state="started", **serves) for n, serves in enumerate(served)]
    other = components.create(world.host.id, 9, type="x", state="started", element_id=net.free[0].id)
    db.elements.delete(net.machine.id)
    assert components.list_of_host(world.host.id) == [*(replace(c, element_id=None, connection_id=None) for c in made), other]


def test_interfaces_that_are_created_at_once_get_different_names(db: Database, net: Net, server: psycopg.Connection) -> None:
    machine = db.elements.create(net.id, "kvmqm")
    with ThreadPoolExecutor(1) as threads:
        with db.transaction():
            first = db.elements.create(net.id, "kvmqm_interface", parent_id=machine.id)
            second = threads.submit(db.elements.create, net.id, "kvmqm_interface", parent_id=machine.id)
            until(server, BLOCKED, 1)
        assert [first.attrs["name"], second.result(60).attrs["name"]] == ["eth0", "eth1"]

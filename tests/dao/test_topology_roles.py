"""Roles in topologies: there is always an owner."""

from collections.abc import Callable
from functools import partial
from threading import Barrier

import psycopg
import pytest
from psycopg import IsolationLevel, errors

from tests.conftest import World
from tests.helpers.dao_cases import NOBODY, at_once, refused
from tests.helpers.topology_cases import owners
from tomato_dao import Conflict, Database, InvalidValue, LastOwner, NotFound
from tomato_dao.rows import Topology, TopologyPermission, User


def test_a_role_is_set_and_set_again(db: Database, topology: Topology, bob: User) -> None:
    for role in ("user", "manager", "owner", "user"):
        given = TopologyPermission(topology.id, bob.id, role)
        assert db.topology_permissions.set(topology.id, bob.id, role) == given
        assert db.topology_permissions.get(topology.id, bob.id) == given


def test_a_role_is_one_of_three(db: Database, topology: Topology, bob: User) -> None:
    with refused(InvalidValue, "topology permission", (topology.id, bob.id), r"role is 'admin'") as caught:
        db.topology_permissions.set(topology.id, bob.id, "admin")
    assert isinstance(caught.value.__cause__, errors.CheckViolation)
    with pytest.raises(InvalidValue):
        db.topology_permissions.set(topology.id, bob.id, None)  # type: ignore[arg-type]


def test_a_role_needs_a_topology_and_a_user_that_exist(db: Database, topology: Topology, bob: User) -> None:
    with refused(NotFound, "topology", NOBODY, f"^topology {NOBODY} does not exist$"):
        db.topology_permissions.set(NOBODY, bob.id, "user")
    with refused(NotFound, "user", NOBODY, f"^user {NOBODY} does not exist$"):
        db.topology_permissions.set(topology.id, NOBODY, "user")


def test_a_role_that_nobody_gave_is_not_found(db: Database, topology: Topology, bob: User) -> None:
    for call in (db.topology_permissions.get, db.topology_permissions.delete):
        with refused(NotFound, "topology permission", (topology.id, bob.id)):
            call(topology.id, bob.id)


def test_roles_are_listed_by_user_and_by_topology(db: Database, world: World, bob: User) -> None:
    made = [db.topologies.create(name, owner_id=world.user.id).id for name in "cab"]
    given = [db.topology_permissions.set(id, bob.id, "user") for id in reversed(made)][::-1]
    assert db.topology_permissions.list_of_topology(made[0]) == [
        TopologyPermission(made[0], world.user.id, "owner"),
        TopologyPermission(made[0], bob.id, "user"),
    ]
    assert db.topology_permissions.list_of_user(bob.id) == given
    assert db.topology_permissions.list_of_user(bob.id, limit=2) == given[:2]
    assert db.topology_permissions.list_of_user(bob.id, after=made[1]) == given[2:]


def test_the_last_owner_cannot_be_removed(db: Database, world: World, topology: Topology, bob: User) -> None:
    db.topology_permissions.set(topology.id, bob.id, "manager")
    with refused(LastOwner, "topology permission", (topology.id, world.user.id), r"keeps its last owner") as caught:
        db.topology_permissions.delete(topology.id, world.user.id)
    assert isinstance(caught.value.__cause__, psycopg.Error)
    assert owners(db, topology.id) == [world.user.id]


def test_the_last_owner_cannot_be_lowered(db: Database, world: World, topology: Topology) -> None:
    for role in ("manager", "user"):
        with refused(LastOwner, "topology permission", (topology.id, world.user.id), r"keeps its last owner"):
            db.topology_permissions.set(topology.id, world.user.id, role)
    assert db.topology_permissions.set(topology.id, world.user.id, "owner").role == "owner"


def test_an_owner_can_go_while_another_stays(db: Database, world: World, topology: Topology, bob: User) -> None:
    db.topology_permissions.set(topology.id, bob.id, "owner")
    db.topology_permissions.delete(topology.id, world.user.id)
    assert owners(db, topology.id) == [bob.id]
    db.topology_permissions.set(topology.id, world.user.id, "owner")
    db.topology_permissions.set(topology.id, bob.id, "user")
    assert owners(db, topology.id) == [world.user.id]


def test_within_a_transaction_the_new_owner_comes_before_the_old_one_goes(
    db: Database, world: World, topology: Topology, bob: User
) -> None:
    with pytest.raises(LastOwner), db.transaction():
        db.topology_permissions.delete(topology.id, world.user.id)
    assert owners(db, topology.id) == [world.user.id]
    with db.transaction():
        db.topology_permissions.set(topology.id, bob.id, "owner")
        db.topology_permissions.delete(topology.id, world.user.id)
    assert owners(db, topology.id) == [bob.id]


def test_a_topology_without_owners_can_lose_its_users(
    db: Database, world: World, topology: Topology, server: psycopg.Connection
) -> None:
    with server.transaction():
        server.execute("alter table topology_permissions disable trigger user")
        server.execute("update topology_permissions set role = 'manager'")
        server.execute("alter table topology_permissions enable trigger user")
    db.topology_permissions.set(topology.id, world.user.id, "user")
    db.topology_permissions.delete(topology.id, world.user.id)
    assert db.topology_permissions.list_of_topology(topology.id) == []


def test_the_last_owner_cannot_be_moved_to_another_topology(
    db: Database, world: World, topology: Topology, bob: User, server: psycopg.Connection
) -> None:
    other = db.topologies.create("other", owner_id=bob.id)
    move = "update topology_permissions set topology_id = %s where topology_id = %s and user_id = %s"
    moved = [other.id, topology.id, world.user.id]
    with pytest.raises(psycopg.Error, match="is the last owner") as caught:
        server.execute(move, moved)
    assert caught.value.sqlstate == "TD003"
    assert (owners(db, topology.id), owners(db, other.id)) == ([world.user.id], [bob.id])
    db.topology_permissions.set(topology.id, bob.id, "owner")
    server.execute(move, moved)
    assert (owners(db, topology.id), owners(db, other.id)) == ([bob.id], [world.user.id, bob.id])


@pytest.mark.parametrize("way", ["are removed", "are lowered", "are deleted as users"])
def test_one_of_two_owners_who_leave_at_the_same_moment_stays(db: Database, world: World, bob: User, way: str) -> None:
    leave: dict[str, Callable[[int, int], object]] = {
        "are removed": db.topology_permissions.delete,
        "are lowered": lambda topology_id, user_id: db.topology_permissions.set(topology_id, user_id, "user"),
        "are deleted as users": lambda _, user_id: db.users.delete(user_id),
    }
    for _ in range(10 if way != "are deleted as users" else 1):
        t = db.topologies.create("t", owner_id=world.user.id)
        db.topology_permissions.set(t.id, bob.id, "owner")
        results = at_once(*(partial(leave[way], t.id, user.id) for user in (world.user, bob)))
        assert [type(r) for r in results].count(LastOwner) == 1
        assert len(owners(db, t.id)) == 1


@pytest.mark.parametrize(
    ("isolation", "refusal"),
    [
        (IsolationLevel.READ_COMMITTED, LastOwner),
        (IsolationLevel.REPEATABLE_READ, Conflict),
        (IsolationLevel.SERIALIZABLE, Conflict),
    ],
)
def test_one_of_two_owners_who_have_seen_each_other_in_a_transaction_stays(
    db: Database, world: World, topology: Topology, bob: User, isolation: IsolationLevel, refusal: type[Exception]
) -> None:
    db.topology_permissions.set(topology.id, bob.id, "owner")
    both_have_seen = Barrier(2)

    def leave(user_id: int) -> None:
        with db.transaction(isolation=isolation):
            assert len(owners(db, topology.id)) == 2
            both_have_seen.wait(60)
            db.topology_permissions.delete(topology.id, user_id)

    results = at_once(partial(leave, world.user.id), partial(leave, bob.id))
    assert sorted(type(r).__name__ for r in results) == sorted([refusal.__name__, "NoneType"])
    assert len(owners(db, topology.id)) == 1

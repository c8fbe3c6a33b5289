"""Effective roles of users on topologies: by permission, by flags; and the lists that say so."""

import gzip
import json
from collections.abc import Iterator
from itertools import product

import psycopg
import pytest

from tests.conftest import SHARED, World
from tests.helpers.dao_cases import NOBODY, refused
from tomato_dao import Database, NotFound
from tomato_dao.rows import Topology, User

pytestmark = pytest.mark.slow

RANKS = [None, "user", "manager", "owner"]


@pytest.fixture
def colleague(db: Database, world: World) -> User:
    """Somebody of the owner's organization."""
    return db.users.create("carol", organization_id=world.organization.id)


@pytest.fixture
def stranger(db: Database) -> User:
    """Somebody of another organization."""
    return db.users.create("bob", organization_id=db.organizations.create("org").id)


def flags(scope: str, role: str | None) -> list[str]:
    return [f"{scope}_topl_{role}"] if role else []


def test_the_highest_of_permission_and_flags_counts(db: Database, topology: Topology, colleague: User, stranger: User) -> None:
    for explicit, everywhere, at_home in product(RANKS, RANKS, RANKS):
        for user in (colleague, stranger):
            if explicit:
                db.topology_permissions.set(topology.id, user.id, explicit)
            db.users.update(user.id, {"flags": ["debug", *flags("global", everywhere), *flags("orga", at_home)]})
        # The organization's role counts although the owner is a stranger to it.
        own = at_home if explicit == "owner" else None
        ranks = [max(map(RANKS.index, (explicit, everywhere, home))) for home in (at_home, own)]
        for user, rank in zip((colleague, stranger), ranks, strict=True):
            assert db.topology_permissions.role(topology.id, user.id) == RANKS[rank]
            (found,) = db.topologies.list(asking_user_id=user.id)
            assert found.role == RANKS[rank]
            rows = [r for r in db.topology_permissions.matrix(topology.id) if r.user_id == user.id]
            assert [(r.topology_id, r.explicit_role, r.role) for r in rows] == [(topology.id, explicit, RANKS[rank])] * bool(
                rank
            )
            if explicit:
                db.topology_permissions.delete(topology.id, user.id)


def test_the_highest_of_several_flags_counts(db: Database, topology: Topology, colleague: User) -> None:
    db.users.update(colleague.id, {"flags": [*flags("orga", "user"), *flags("orga", "owner"), *flags("orga", "manager")]})
    assert db.topology_permissions.role(topology.id, colleague.id) == "owner"
    db.users.update(colleague.id, {"flags": [*flags("global", "user"), *flags("global", "manager")]})
    assert db.topology_permissions.role(topology.id, colleague.id) == "manager"


def test_only_an_owners_organization_counts(db: Database, topology: Topology, stranger: User) -> None:
    db.users.add_flag(stranger.id, "orga_topl_owner")
    friend = db.users.create("dave", organization_id=stranger.organization_id)
    for role, effective in (("user", None), ("manager", None), ("owner", "owner")):
        db.topology_permissions.set(topology.id, friend.id, role)
        assert db.topology_permissions.role(topology.id, stranger.id) == effective


def test_the_role_on_nothing_or_of_nobody_is_not_found(db: Database, world: World, topology: Topology) -> None:
    for key in ((NOBODY, world.user.id), (topology.id, NOBODY)):
        text = f"^topology {key[0]} or user {key[1]} does not exist$"
        with refused(NotFound, "topology permission", key, text):
            db.topology_permissions.role(*key)
    assert db.topology_permissions.matrix(NOBODY) == []


def test_lists_tell_the_asking_users_role_and_the_highest_state(
    db: Database, world: World, topology: Topology, stranger: User
) -> None:
    db.topology_permissions.set(topology.id, stranger.id, "manager")
    other = db.topologies.create("other", owner_id=world.user.id)
    alice, bob = world.user.id, stranger.id
    assert [(t.id, t.role) for t in db.topologies.list(asking_user_id=bob)] == [(other.id, None), (topology.id, "manager")]
    assert [t.role for t in db.topologies.list_of_user(alice, asking_user_id=bob)] == [None, "manager"]
    assert [t.role for t in db.topologies.list_of_organization(world.organization.id, asking_user_id=alice)] == ["owner"] * 2
    for nobody in (None, NOBODY):
        assert [t.role for t in db.topologies.list(asking_user_id=nobody)] == [None, None]
    assert db.topologies.list()[1].state == "created"
    network = db.elements.create(topology.id, "external_network")
    endpoint = db.elements.create(topology.id, "external_network_endpoint", state="default", parent_id=network.id)
    for state in ("created", "prepared", "started", "created"):
        db.elements.update(network.id, {"state": state})
        assert [t.state for t in db.topologies.list_of_user(alice)] == ["created", state]
    db.elements.update(endpoint.id, {"state": "prepared"})
    assert [t.state for t in db.topologies.list_of_organization(world.organization.id)] == ["created", "prepared"]


def test_flags_and_permissions_of_others_give_no_access(
    db: Database, topology: Topology, colleague: User, stranger: User
) -> None:
    db.users.update(stranger.id, {"flags": ["orga_topl_owner"]})
    other = db.topologies.create("other", owner_id=stranger.id)
    assert db.topologies.list_accessible(colleague.id) == []
    assert [t.id for t in db.topologies.list_accessible(stranger.id)] == [other.id]


def records(name: str) -> Iterator[tuple[str, int, dict[str, object]]]:
    path = SHARED / "legacy" / name
    if not path.exists():
        pytest.skip(f"the old dump is not at ../shared/data/legacy/{name}")
    for record in json.loads(gzip.decompress(path.read_bytes())):
        yield record["model"].removeprefix("tomato."), record["pk"], record["fields"]


@pytest.mark.parametrize(
    ("sample", "people", "labs"), [("small", 15, 12), pytest.param("medium", 80, 120, marks=pytest.mark.long)]
)
def test_every_role_of_a_real_installation_is_as_the_rule_reads(
    db: Database, server: psycopg.Connection, sample: str, people: int, labs: int
) -> None:
    organizations: list[int] = []
    users: dict[int, tuple[int, list[str]]] = {}
    sets: dict[object, int] = {}
    entries: list[tuple[object, int, str]] = []
    for model, pk, fields in records(f"{sample}.json.gz"):
        match model:
            case "organization":
                organizations.append(pk)
            case "user":
                users[pk] = int(str(fields["organization"])), json.loads(str(fields["attrs"])).get("flags", [])
            case "topology":
                sets[fields["permissions"]] = pk
            case "permissionentry" if fields["role"] and fields["user"]:
                entries.append((fields["set"], int(str(fields["user"])), str(fields["role"])))
    permissions = {(sets[s], user): role for s, user, role in entries if s in sets}
    assert (len(users), len(sets)) == (people, labs)
    with server.transaction(), server.cursor() as cursor:
        cursor.executemany(
            "insert into organizations (id, name) overriding system value values (%s, %s::bigint::text)",
            [(o, o) for o in organizations],
        )
        cursor.executemany(
            "insert into users (id, name, organization_id, flags) overriding system value"
            " values (%s, %s::bigint::text, %s, %s)",
            [(u, u, organization, flags) for u, (organization, flags) in users.items()],
        )
        cursor.executemany(
            "insert into topologies (id, name) overriding system value values (%s, 'x')", [(t,) for t in sets.values()]
        )
        cursor.executemany("insert into topology_permissions values (%s, %s, %s)", [(*k, r) for k, r in permissions.items()])

    expected: dict[tuple[int, int], str | None] = {}
    for topology, (user, (organization, flags)) in product(sets.values(), users.items()):
        owners = [u for (t, u), role in permissions.items() if t == topology and role == "owner"]
        at_home = organization in [users[owner][0] for owner in owners]
        roles = ("user", "manager", "owner")
        held = [r for r in roles if f"global_topl_{r}" in flags or (at_home and f"orga_topl_{r}" in flags)]
        expected[topology, user] = RANKS[max(map(RANKS.index, [permissions.get((topology, user)), *held]))]
    assert set(expected.values()) == set(RANKS)

    with db.transaction():
        assert {key: db.topology_permissions.role(*key) for key in expected} == expected
    for user in users:
        found = {(t.id, user): t.role for t in db.topologies.list(asking_user_id=user, limit=1000)}
        assert found == {key: role for key, role in expected.items() if key[1] == user}
        accessible = [(t.id, t.role) for t in db.topologies.list_accessible(user, limit=1000)]
        assert accessible == sorted(((t, role) for (t, _), role in found.items() if role), reverse=True)
        assert [t.id for t in db.topologies.iterate(accessible_to=user)] == [t for t, _ in accessible]
    for topology in sets.values():
        matrix = {(r.topology_id, r.user_id): r.role for r in db.topology_permissions.matrix(topology)}
        assert matrix == {key: role for key, role in expected.items() if role and key[0] == topology}

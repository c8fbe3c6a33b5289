"""Users and their quotas: names of several origins, flags, attrs, logins, and what goes with a user."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import psycopg
import pytest
from msgspec.structs import fields
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
from tomato_dao import AlreadyExists, Ambiguous, Database, InvalidValue, LastOwner, NotFound
from tomato_dao.rows import FullUser, Quota, UsageRecord, User, asdict, replace

HASH = "$2b$12$hash"
FLAGS = [
    "debug", "error_notify", "no_topology_create", "over_quota", "new_account", "restricted_profiles",
    "restricted_templates", "restricted_networks", "nomails", "global_admin", "global_host_manager", "global_topl_owner",
    "global_topl_manager", "global_topl_user", "global_host_contact", "global_admin_contact", "orga_admin",
    "orga_host_manager", "orga_topl_owner", "orga_topl_manager", "orga_topl_user", "orga_host_contact",
    "orga_admin_contact",
]  # fmt: skip


def give_old_flag(server: psycopg.Connection, user: User) -> None:
    """A flag that only the load of an old dump can bring, when the rules are off."""
    with server.transaction():
        server.execute("alter table users disable trigger user")
        server.execute("update users set flags = '{old}' where id = %s", [user.id])
        server.execute("alter table users enable trigger user")


def test_a_user_keeps_what_it_is_given(db: Database, world: World) -> None:
    made = db.users.create(
        "bob",
        organization_id=world.organization.id,
        origin="idp",
        realname="Bob Ü",
        email="bob@uni.example",
        flags=["debug", "nomails"],
        attrs={"_lang": "de"},
    )
    assert made == User(
        made.id, "bob", "idp", world.organization.id, "Bob Ü", "bob@uni.example", ["debug", "nomails"], None, None,
        made.last_login_at, made.usage_id, {"_lang": "de"},
    )  # fmt: skip
    assert isinstance(made.usage_id, int)
    assert db.users.get(made.id) == made == db.users.get_by_name("bob", "idp")


def test_a_new_user_has_defaults(world: World) -> None:
    u = world.user
    assert u == User(u.id, "alice", "", world.organization.id, "", "", [], None, None, u.last_login_at, u.usage_id, {})
    assert u.last_login_at is not None


def test_flags_can_be_given_as_a_tuple(db: Database, world: World) -> None:
    assert db.users.create("bob", organization_id=world.organization.id, flags=("debug",)).flags == ["debug"]


def test_a_password_that_is_cached_has_its_time(db: Database, world: World) -> None:
    made, moment = timed(db, lambda: db.users.create("bob", organization_id=world.organization.id, password_hash=HASH))
    assert (made.password_hash, made.password_at) == (HASH, moment)


def test_a_name_can_be_used_once_per_origin(db: Database, world: World) -> None:
    db.users.create("alice", organization_id=world.organization.id, origin="idp")
    with refused(AlreadyExists, "user", ("alice", "idp"), r"^user with name 'alice', origin 'idp' already exists$") as caught:
        db.users.create("alice", organization_id=world.organization.id, origin="idp")
    assert isinstance(caught.value.__cause__, errors.UniqueViolation)


def test_a_move_to_an_origin_that_has_the_name_is_refused_with_both(db: Database, world: World) -> None:
    db.users.create("alice", organization_id=world.organization.id, origin="idp")
    with pytest.raises(AlreadyExists, match=r", origin 'idp'"):
        db.users.update(world.user.id, {"origin": "idp"})
    with pytest.raises(AlreadyExists, match=r", origin 'idp'"):
        db.users.update(world.user.id, {"origin": "idp", "name": "alice"})
    assert db.users.get(world.user.id) == world.user


def test_a_name_alone_finds_the_only_user_of_that_name(db: Database, world: World) -> None:
    assert db.users.get_by_name("alice") == world.user
    with refused(NotFound, "user", "bob", r"^user 'bob' does not exist$"):
        db.users.get_by_name("bob")


def test_a_name_in_two_origins_is_ambiguous(db: Database, world: World) -> None:
    other = db.users.create("alice", organization_id=world.organization.id, origin="idp")
    with refused(Ambiguous, "user", "alice", r"^user 'alice' exists in several origins \('', 'idp'\): pass the origin$"):
        db.users.get_by_name("alice")
    assert db.users.get_by_name("alice", origin="") == world.user
    assert db.users.get_by_name("alice", origin="idp") == other
    assert db.users.list_by_name("alice") == [world.user, other]
    assert db.users.list_by_name("bob") == []


def test_an_unknown_user_is_not_found(db: Database, world: World) -> None:
    calls: list[Callable[[int], object]] = [
        db.users.get,
        lambda id: db.users.update(id, {"name": "x"}),
        lambda id: db.users.set_attrs(id, {"a": 1}),
        lambda id: db.users.add_flag(id, "debug"),
        lambda id: db.users.remove_flag(id, "debug"),
        db.users.touch_login,
        db.users.delete,
    ]
    for call in calls:
        with refused(NotFound, "user", NOBODY, f"^user {NOBODY} does not exist$"):
            call(NOBODY)
    with refused(NotFound, "user", "alice@idp"):
        db.users.get_by_name("alice", "idp")


def test_a_user_needs_an_organization_that_exists(db: Database, world: World) -> None:
    with refused(NotFound, "organization", NOBODY, f"^organization {NOBODY} does not exist$") as caught:
        db.users.create("bob", organization_id=NOBODY)
    assert isinstance(caught.value.__cause__, errors.ForeignKeyViolation)
    with refused(NotFound, "organization", NOBODY):
        db.users.update(world.user.id, {"organization_id": NOBODY})
    assert db.users.list() == [world.user]


def test_users_are_listed_in_pages_by_id(db: Database, world: World) -> None:
    org = db.organizations.create("org")
    users = [world.user, *(db.users.create(name, organization_id=org.id, flags=["debug"]) for name in "cab")]
    assert db.users.list() == users
    assert db.users.list(limit=2) == users[:2]
    assert db.users.list(after=users[1].id, limit=1) == users[2:3]
    assert db.users.list_of_organization(world.organization.id) == users[:1]
    assert db.users.list_of_organization(org.id, limit=2) == users[1:3]
    assert db.users.list_of_organization(org.id, after=users[2].id) == users[3:]
    assert db.users.list_by_flag("debug", limit=2) == users[1:3]
    assert db.users.list_by_flag("debug", after=users[2].id) == users[3:]
    assert db.users.list_by_flag("nomails") == []
    assert db.users.list_by_flag("debug", organization_id=users[1].organization_id) == users[1:]
    assert db.users.list_by_flag("debug", organization_id=0) == []


def test_a_patch_of_a_user_changes_only_what_it_names(db: Database, world: World) -> None:
    org = db.organizations.create("org")
    patch: dict[str, Any] = {
        "name": "bob",
        "origin": "idp",
        "organization_id": org.id,
        "realname": "Bob",
        "email": "bob@uni.example",
        "flags": ["nomails", "debug"],
        "password_hash": HASH,
        "password_at": MOMENT,
        "last_login_at": MOMENT,
    }
    user = world.user
    for key, value in patch.items():
        one: Any = {key: value}
        updated = db.users.update(user.id, one)
        if key == "password_hash":
            one["password_at"] = updated.password_at
        user = replace(user, **one)
        assert updated == user
    assert db.users.update(user.id, {}) == user == db.users.get(user.id)


def test_none_clears_a_password_and_no_more(db: Database, world: World) -> None:
    user = db.users.update(world.user.id, {"password_hash": HASH, "password_at": MOMENT, "last_login_at": MOMENT})
    assert db.users.update(user.id, {"password_hash": None}) == replace(user, password_hash=None, password_at=None)


def test_a_patch_of_a_user_is_checked(db: Database, world: World) -> None:
    with refused(InvalidValue, "user", "quota", r"a patch cannot have 'quota', only name, origin, "):
        db.users.update(world.user.id, {"quota": 1})  # type: ignore[typeddict-unknown-key]
    assert_wrong_types_are_refused(
        db.users,
        "user",
        world.user.id,
        [("name", 5), ("organization_id", "1"), ("email", None), ("flags", "debug"), ("flags", None), ("last_login_at", 1.5)],
    )
    assert db.users.get(world.user.id) == world.user


def test_a_refusal_does_not_tell_the_cached_password(db: Database, world: World) -> None:
    with pytest.raises(InvalidValue) as caught:
        db.users.create("bob", organization_id=None, password_hash=HASH)  # type: ignore[arg-type]
    assert HASH not in str(caught.value)


def test_attrs_of_a_user_are_set_and_removed_at_once(db: Database, world: World) -> None:
    id = world.user.id
    assert db.users.set_attrs(id, {"a": 1, "b": "x"}) == {"a": 1, "b": "x"}
    assert db.users.set_attrs(id, {"c": [None]}, ["a", "missing"]) == {"b": "x", "c": [None]}
    assert db.users.get(id) == replace(world.user, attrs={"b": "x", "c": [None]})


def test_threads_keep_each_others_attrs_of_a_user(db: Database, world: World) -> None:
    assert_threads_keep_each_others_attrs(db.users, world.user.id)


def test_every_known_flag_can_be_added_and_removed(db: Database, world: World) -> None:
    for n, flag in enumerate(FLAGS):
        assert db.users.add_flag(world.user.id, flag) == FLAGS[: n + 1]
    for n, flag in enumerate(FLAGS):
        assert db.users.remove_flag(world.user.id, flag) == FLAGS[n + 1 :]


def test_a_flag_is_there_once(db: Database, world: World) -> None:
    db.users.add_flag(world.user.id, "debug")
    assert db.users.add_flag(world.user.id, "debug") == ["debug"]
    assert db.users.remove_flag(world.user.id, "nomails") == ["debug"]


def test_an_unknown_flag_is_refused(db: Database, world: World) -> None:
    rule = r"^user: a new flag must be a known one: .*[\"']root[\"']"
    with refused(InvalidValue, "user", world.user.id, rule) as caught:
        db.users.add_flag(world.user.id, "root")
    assert isinstance(caught.value.__cause__, psycopg.Error)
    with refused(InvalidValue, "user", world.user.id, rule):
        db.users.update(world.user.id, {"flags": ["debug", "root"]})
    with refused(InvalidValue, "user", "bob", rule):
        db.users.create("bob", organization_id=world.organization.id, flags=["root"])
    assert db.users.list() == [world.user]


def test_a_flag_is_never_null(db: Database, world: World) -> None:
    with refused(InvalidValue, "user", "flag"):
        db.users.add_flag(world.user.id, None)  # type: ignore[arg-type]
    with refused(InvalidValue, "user", "flags"):
        db.users.update(world.user.id, {"flags": ["debug", None]})  # type: ignore[list-item]
    assert db.users.get(world.user.id).flags == []


def test_a_flag_that_an_old_dump_brought_is_kept(db: Database, world: World, server: psycopg.Connection) -> None:
    give_old_flag(server, world.user)
    assert db.users.add_flag(world.user.id, "debug") == ["old", "debug"]
    assert db.users.update(world.user.id, {"flags": ["nomails", "old"]}).flags == ["nomails", "old"]
    assert db.users.list_by_flag("old") == [db.users.get(world.user.id)]


def test_a_flag_that_an_old_dump_brought_does_not_come_back(db: Database, world: World, server: psycopg.Connection) -> None:
    give_old_flag(server, world.user)
    assert db.users.remove_flag(world.user.id, "old") == []
    with refused(InvalidValue, "user", world.user.id):
        db.users.add_flag(world.user.id, "old")


def test_threads_that_add_flags_lose_none(db: Database, world: World) -> None:
    def add(flags: list[str]) -> None:
        for flag in flags:
            db.users.add_flag(world.user.id, flag)

    assert at_once(*(partial(add, FLAGS[n::3]) for n in range(3))) == [None, None, None]
    assert sorted(db.users.get(world.user.id).flags) == sorted(FLAGS)


def test_a_login_is_noted(db: Database, world: World) -> None:
    _, moment = timed(db, lambda: db.users.touch_login(world.user.id))
    assert db.users.get(world.user.id) == replace(world.user, last_login_at=moment)


def test_a_user_goes_with_quota_permissions_and_usage(db: Database, world: World, server: psycopg.Connection) -> None:
    bob = db.users.create("bob", organization_id=world.organization.id)
    t = db.topologies.create("t", owner_id=world.user.id)
    db.topology_permissions.set(t.id, bob.id, "owner")
    server.execute(
        "insert into usage_records (usage_id, type, begin_at, end_at) values (%s, 'hour', %s, %s)",
        [bob.usage_id, MOMENT, MOMENT],
    )
    db.users.delete(bob.id)
    with refused(NotFound, "user", bob.id):
        db.users.get(bob.id)
    with refused(NotFound, "quota", bob.id):
        db.quotas.get(bob.id)
    assert [p.user_id for p in db.topology_permissions.list_of_topology(t.id)] == [world.user.id]
    assert usage_is_gone(server, bob.usage_id)


def test_the_only_owner_of_a_topology_cannot_go(db: Database, world: World) -> None:
    t = db.topologies.create("t", owner_id=world.user.id)
    manager = db.users.create("bob", organization_id=world.organization.id)
    db.topology_permissions.set(t.id, manager.id, "manager")
    with refused(
        LastOwner, "user", world.user.id, rf"a topology keeps its last owner: .*user {world.user.id} .* topology {t.id}"
    ) as caught:
        db.users.delete(world.user.id)
    assert isinstance(caught.value.__cause__, psycopg.Error)
    assert db.users.get(world.user.id) == world.user
    assert db.topology_permissions.get(t.id, world.user.id).role == "owner"
    db.users.delete(manager.id)


def test_a_user_whose_topologies_are_gone_can_go(db: Database, world: World) -> None:
    db.topologies.delete(db.topologies.create("t", owner_id=world.user.id).id)
    db.users.delete(world.user.id)
    assert db.users.list() == []


def test_a_new_user_has_the_default_quota(db: Database, world: World) -> None:
    made, moment = timed(db, lambda: db.users.create("bob", organization_id=world.organization.id))
    quota = db.quotas.get(made.id)
    assert quota == Quota(made.id, 10e9, 100e9, 1.62e12, 12_960_000.0, 0.0, 0.0, 0.0, 0.0, moment, 1.0)
    assert {type(getattr(quota, f.name)) for f in fields(quota)} == {int, float, datetime}


def test_a_patch_of_a_quota_changes_only_what_it_names(db: Database, world: World) -> None:
    quota = db.quotas.get(world.user.id)
    patch: dict[str, Any] = {f.name: n / 3 for n, f in enumerate(fields(Quota)) if f.name not in ("user_id", "used_at")} | {
        "used_at": datetime(2026, 1, 1, tzinfo=UTC)
    }
    for key, value in patch.items():
        one: Any = {key: value}
        quota = replace(quota, **one)
        assert db.quotas.update(world.user.id, one) == quota
    assert db.quotas.update(world.user.id, {}) == quota == db.quotas.get(world.user.id)


def test_a_monthly_quota_can_be_nothing(db: Database, world: World) -> None:
    quota = db.quotas.update(world.user.id, {"monthly_memory": 0, "continuous_factor": 0})
    assert (quota.monthly_memory, quota.continuous_factor) == (0.0, 0.0)


def test_no_value_of_a_quota_is_negative(db: Database, world: World) -> None:
    before = db.quotas.get(world.user.id)
    for f in fields(Quota):
        if f.name in ("user_id", "used_at"):
            continue
        for value in (-1e-9, float("nan")):
            one: Any = {f.name: value}
            with pytest.raises(InvalidValue, match=r"^quota: "):
                db.quotas.update(world.user.id, one)
    with refused(InvalidValue, "quota", world.user.id, "the value must be a number of 0 or more: used_memory is -1") as caught:
        db.quotas.update(world.user.id, {"used_memory": -1})
    assert isinstance(caught.value.__cause__, errors.CheckViolation)
    assert db.quotas.get(world.user.id) == before


def test_a_patch_of_a_quota_is_checked(db: Database, world: World) -> None:
    with refused(InvalidValue, "quota", "user_id", r"a patch cannot have 'user_id'"):
        db.quotas.update(world.user.id, {"user_id": 1})  # type: ignore[typeddict-unknown-key]
    assert_wrong_types_are_refused(
        db.quotas,
        "quota",
        world.user.id,
        [("used_at", None), ("used_at", 0), ("monthly_memory", "1e9"), ("used_traffic", True)],
    )


def test_the_quota_of_an_unknown_user_is_not_found(db: Database) -> None:
    with refused(NotFound, "quota", NOBODY, f"^quota {NOBODY} does not exist$"):
        db.quotas.get(NOBODY)
    with refused(NotFound, "quota", NOBODY):
        db.quotas.update(NOBODY, {"used_memory": 1})


def test_full_users_have_quota_and_current_usage(db: Database, server: psycopg.Connection, world: World) -> None:
    other = db.organizations.create("other")
    bob = db.users.create("bob", organization_id=other.id, flags=["debug"])
    carol = db.users.create("carol", organization_id=world.organization.id)
    server.execute("delete from quotas where user_id = %s", [carol.id])
    assert bob.usage_id
    record = UsageRecord(bob.usage_id, "5minutes", MOMENT, MOMENT + timedelta(minutes=5), 1, 2.5, 3, 4, 5)
    server.execute(
        "insert into usage_records (usage_id, type, begin_at, end_at, measurements, memory, diskspace, traffic, cputime)"
        " values (%s, %s, %s, %s, %s, %s, %s, %s, %s)",
        list(asdict(record).values()),
    )
    told = [
        FullUser(**asdict(user), organization_name=name, quota=quota, usage=usage)
        for user, name, quota, usage in (
            (world.user, "uni", db.quotas.get(world.user.id), None),
            (bob, "other", db.quotas.get(bob.id), record),
            (carol, "uni", None, None),
        )
    ]
    assert db.users.list_full() == told
    assert db.users.list_full(after=world.user.id, limit=1) == told[1:2]
    assert db.users.list_full(organization_id=world.organization.id) == [told[0], told[2]]
    assert db.users.list_full(flag="debug") == [told[1]]
    assert db.users.list_full(flag="debug", organization_id=world.organization.id) == []
    assert [db.users.full(user.id) for user in (world.user, bob, carol)] == told
    with refused(NotFound, "user", NOBODY):
        db.users.full(NOBODY)

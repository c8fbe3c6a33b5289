"""Organizations, sites and hosts, in what they are alike: names, pages, patches, attrs."""

from dataclasses import dataclass
from functools import partial
from typing import Any

import pytest
from msgspec.structs import astuple
from psycopg import errors

from tests.conftest import World
from tests.helpers.dao_cases import NOBODY, assert_threads_keep_each_others_attrs, at_once, ids, refused
from tomato_dao import AlreadyExists, Database, InvalidValue, NotFound
from tomato_dao.rows import FullHost, replace


@dataclass(frozen=True)
class Place:
    """An organization, a site or a host, with what is common to their DAOs."""

    dao: Any
    entity: str
    row: Any
    longest_name: int


@pytest.fixture
def places(db: Database, world: World) -> list[Place]:
    """Provide the world's organization, site and host."""
    return [
        Place(db.organizations, "organization", world.organization, 50),
        Place(db.sites, "site", world.site, 50),
        Place(db.hosts, "host", world.host, 255),
    ]


def another(db: Database, world: World, entity: str, name: str) -> Any:
    if entity == "organization":
        return db.organizations.create(name)
    if entity == "site":
        return db.sites.create(name, organization_id=world.organization.id)
    return db.hosts.create(name, address="10.0.0.2", rpcurl=f"rpc://{name}", site_id=world.site.id)


def test_a_place_is_found_by_id_and_by_name(places: list[Place]) -> None:
    for place in places:
        assert place.dao.get(place.row.id) == place.row
        assert place.dao.get_by_name(place.row.name) == place.row


def test_an_unknown_place_is_not_found(places: list[Place]) -> None:
    for place in places:
        with refused(NotFound, place.entity, NOBODY, f"^{place.entity} {NOBODY} does not exist$"):
            place.dao.get(NOBODY)
        with refused(NotFound, place.entity, "x"):
            place.dao.get_by_name("x")
        with refused(NotFound, place.entity, "x"):
            place.dao.update("x", {"name": "y"})
        with refused(NotFound, place.entity, "x"):
            place.dao.set_attrs("x", {"a": 1})
        with refused(NotFound, place.entity, "x", f"^{place.entity} 'x' does not exist$"):
            place.dao.delete("x")


def test_a_value_that_cannot_be_an_id_is_refused(places: list[Place]) -> None:
    for place in places:
        for id in ("1", 1.5, 2**63):
            with refused(InvalidValue, place.entity, "id"):
                place.dao.get(id)


def test_a_name_is_taken_once(db: Database, world: World, places: list[Place]) -> None:
    for place in places:
        name = place.row.name
        with refused(AlreadyExists, place.entity, name, f"^{place.entity} with name '{name}' already exists$") as caught:
            another(db, world, place.entity, name)
        assert isinstance(caught.value.__cause__, errors.UniqueViolation)


def test_a_place_is_not_renamed_to_a_name_that_is_taken(db: Database, world: World, places: list[Place]) -> None:
    for place in places:
        another(db, world, place.entity, "other")
        with refused(AlreadyExists, place.entity, "other", f"^{place.entity} with name 'other' already exists$"):
            place.dao.update(place.row.name, {"name": "other"})
        assert place.dao.get(place.row.id) == place.row


def test_a_place_can_be_renamed(places: list[Place]) -> None:
    for place in places:
        assert place.dao.update(place.row.name, {"name": "new"}) == replace(place.row, name="new")
        assert place.dao.get_by_name("new").id == place.row.id
        with refused(NotFound, place.entity, place.row.name):
            place.dao.get_by_name(place.row.name)


def test_a_name_has_a_longest_length(db: Database, world: World, places: list[Place]) -> None:
    for place in places:
        longest = "ü" * place.longest_name
        assert another(db, world, place.entity, longest).name == longest
        with refused(InvalidValue, place.entity, longest + "x", f"at most {place.longest_name} characters") as caught:
            another(db, world, place.entity, longest + "x")
        assert isinstance(caught.value.__cause__, errors.CheckViolation)


def test_a_long_value_is_shortened_in_a_refusal(db: Database, world: World, places: list[Place]) -> None:
    for place in places:
        with refused(InvalidValue, place.entity, "x" * 100_000, r"name is 'x{78}…$"):
            another(db, world, place.entity, "x" * 100_000)


def test_a_name_has_no_slash(db: Database, world: World, places: list[Place]) -> None:
    for place in places:
        with refused(InvalidValue, place.entity, "a/b", "no “/”: name is 'a/b'"):
            another(db, world, place.entity, "a/b")
        with refused(InvalidValue, place.entity, place.row.name, "no “/”: name is 'a/b'"):
            place.dao.update(place.row.name, {"name": "a/b"})


def test_a_text_that_postgresql_cannot_hold_is_refused(db: Database, world: World, places: list[Place]) -> None:
    for place in places:
        for text in ("a\0b", "a\ud800b"):
            with pytest.raises(InvalidValue, match=f"^{place.entity}: "):
                another(db, world, place.entity, text)
            with pytest.raises(InvalidValue, match=f"^{place.entity}: "):
                place.dao.set_attrs(place.row.name, {"key": text})
        assert place.dao.get(place.row.id) == place.row


def test_places_are_listed_in_pages_by_id(db: Database, world: World, places: list[Place]) -> None:
    for place in places:
        made = ids([place.row, *(another(db, world, place.entity, name) for name in "cab")])
        assert ids(place.dao.list()) == made
        assert ids(place.dao.list(limit=2)) == made[:2]
        assert ids(place.dao.list(after=made[1], limit=2)) == made[2:]
        assert place.dao.list(after=made[3]) == []


def test_lists_have_whole_rows(db: Database, world: World) -> None:
    assert (db.organizations.list(), db.sites.list()) == ([world.organization], [world.site])
    (listed,) = db.hosts.list()
    assert db.hosts.list_of_site(world.site.id) == [listed]
    assert isinstance(listed, FullHost)
    assert astuple(listed) == (*astuple(world.host), ["unreachable"], None, "lab", "uni")


def test_a_page_of_less_than_nothing_is_refused(places: list[Place]) -> None:
    for place in places:
        with pytest.raises(InvalidValue, match=f"^{place.entity}: LIMIT must not be negative$"):
            place.dao.list(limit=-1)


def test_a_patch_changes_only_what_it_names(places: list[Place]) -> None:
    for place in places:
        changed = place.dao.update(place.row.name, {"description_text": "text"})
        assert changed == replace(place.row, description_text="text")
        assert place.dao.update(place.row.name, {}) == changed
        assert place.dao.get(place.row.id) == changed


def test_a_patch_with_an_unknown_key_is_refused(places: list[Place]) -> None:
    for place in places:
        for key in ("colour", "id", "usage_id", "attrs"):
            with refused(InvalidValue, place.entity, key, f"a patch cannot have '{key}', only name, "):
                place.dao.update(place.row.name, {"description_text": "text", key: 1})
        assert place.dao.get(place.row.id) == place.row


def test_attrs_are_set_and_removed_at_once(places: list[Place]) -> None:
    for place in places:
        name = place.row.name
        assert place.dao.set_attrs(name, {"a": 1, "b": {"c": None}}) == {"a": 1, "b": {"c": None}}
        assert place.dao.set_attrs(name, {"d": 0.5}, ["a", "missing"]) == {"b": {"c": None}, "d": 0.5}
        assert place.dao.set_attrs(name, {}, ("b",)) == {"d": 0.5}
        assert place.dao.get_by_name(name) == replace(place.row, attrs={"d": 0.5})


def test_a_single_text_is_no_list_of_keys_to_remove(places: list[Place]) -> None:
    for place in places:
        place.dao.set_attrs(place.row.name, {"a": 1, "b": 2, "ab": 3})
        with refused(InvalidValue, place.entity, "remove"):
            place.dao.set_attrs(place.row.name, {}, "ab")
        assert place.dao.get(place.row.id).attrs == {"a": 1, "b": 2, "ab": 3}


def test_attrs_are_always_an_object(places: list[Place]) -> None:
    for place in places:
        for attrs in ([1], "text", 5):
            with pytest.raises(InvalidValue):
                place.dao.set_attrs(place.row.name, attrs)
        assert place.dao.get(place.row.id).attrs == {}


def test_threads_keep_each_others_attrs(places: list[Place]) -> None:
    for place in places:
        assert_threads_keep_each_others_attrs(place.dao, place.row.name)


def test_threads_that_create_one_name_make_one_place(db: Database, world: World, places: list[Place]) -> None:
    for place in places:
        results = at_once(*[partial(another, db, world, place.entity, "new")] * 4)
        assert sorted(type(r).__name__ for r in results).count("AlreadyExists") == 3
        assert place.dao.get_by_name("new") in results

"""Organizations, sites and hosts: names, references, patches, attrs."""

import pytest
from conftest import World

from tomato_dao import AlreadyExists, Database


def test_a_name_is_taken_once(db: Database, world: World) -> None:
    with pytest.raises(AlreadyExists, match="organization with name 'uni' already exists"):
        db.organizations.create("uni")

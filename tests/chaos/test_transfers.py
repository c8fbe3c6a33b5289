"""Dumps that are changed, dumps and loads that are ended: the outcome is exact, or one clear line and nothing has changed."""

import os
import random
from pathlib import Path

import psycopg
import pytest

from tests.chaos.ended import Ended
from tests.chaos.fuzzing import fuzz
from tests.chaos.transfers import Fuzz, Loads
from tests.helpers.element_cases import Net
from tomato_dao import Database

pytestmark = [pytest.mark.slow, pytest.mark.as_owner]


@pytest.fixture
def seed() -> str:
    """Provide the seed of mutants and moments: that of the environment, or any; a failure shows it."""
    seed = os.environ.get("SEED") or str(random.randrange(10**6))  # noqa: S311 (no secret)
    print(f"SEED={seed}")
    return seed


def test_a_changed_dump_is_taken_as_it_says_or_refused_by_one_line(
    db: Database, net: Net, server: psycopg.Connection, seed: str
) -> None:
    db.key_values.set("odd", {"": [1, None, "\u2028\\N\t"]})
    found = Fuzz()
    loads = Loads(db, server, found)
    for n in range(60):
        loads.one(f"{seed}.{n}", check_only=0.93)
    assert found.faults == []
    assert found.seen["check: refused"] > 10


def test_a_dump_or_load_that_is_ended_leaves_nothing_half_done(
    db: Database, tomato_url: str, net: Net, tmp_path: Path, seed: str
) -> None:
    db.key_values.set("odd", {"": [1, None, "\u2028\\N\t"]})
    found = Fuzz()
    Ended(tomato_url, tmp_path, found, longest=0.7).one(seed)
    assert found.faults == []


@pytest.mark.long
def test_changed_and_ended_transfers_of_every_table(tomato_url: str, tmp_path: Path, seed: str) -> None:
    found = fuzz(tomato_url, tmp_path, seed, 60)
    print(found.seen)
    assert found.faults == []
    for one in ("check: taken", "check: refused", "replace: taken", "replace: refused", "merge: taken", "merge: refused"):
        assert found.seen[one]

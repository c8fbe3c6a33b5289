"""check-rollout on 40 labelled migrations: none that breaks older code is missed, none that doesn't is refused."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic

import pytest

from checks import plans, release
from checks.release import promised
from checks.rollout import Rollout
from tomato_dao.database import QUERIES
from tomato_dao.sql.query import Query

CORPUS = sorted(Path(__file__).with_name("rollout_corpus").glob("*.sql"))
SIZE = 3000
SAMPLE = CORPUS[::7]


@contextmanager
def on_testbed(queries: Iterable[Query], size: int, *, plans_too: bool) -> Iterator[Rollout]:
    """Provide the contract of some of this code's queries on a testbed of its schema."""
    with plans.testbed(size) as connection:
        yield Rollout(release.contract("0", promised(connection, queries, size)), connection, size, plans_too)


def label(file: Path) -> str:
    return file.read_text().split("\n")[0].removeprefix("-- ")


def found(rollout: Rollout, file: Path) -> list[str]:
    """Apply a migration, return what it breaks, and undo it."""
    with rollout.connection.transaction(force_rollback=True):
        rollout.connection.execute(file.read_text().encode())
        rollout.known.clear()
        return [str(broken) for broken in rollout.broken()]


@pytest.mark.slow
def test_migrations_are_judged_as_they_are_labelled() -> None:
    assert {label(file) for file in SAMPLE} == {"compatible", "breaks"}
    queries = [query for query in QUERIES.values() if query.name.startswith(("organizations.", "hosts.get", "users.get"))]
    with on_testbed(queries, 100, plans_too=False) as base:
        for file in SAMPLE:
            assert bool(found(base, file)) == (label(file) == "breaks"), file.name


@pytest.mark.long
def test_none_of_40_labelled_migrations_is_missed_or_refused_wrongly() -> None:
    assert len(CORPUS) == 40
    with on_testbed(QUERIES.values(), SIZE, plans_too=True) as base:
        judge(base)


def judge(base: Rollout) -> None:
    missed, alarms, slowest = [], {}, 0.0
    for file in CORPUS:
        start = monotonic()
        broken = found(base, file)
        slowest = max(slowest, monotonic() - start)
        print(f"{file.stem}: {label(file)}, {len(broken)} breaks, {monotonic() - start:.1f} s: {broken[:2]}")
        if label(file) == "breaks" and not broken:
            missed.append(file.name)
        if label(file) == "compatible" and broken:
            alarms[file.name] = broken
    assert (missed, alarms) == ([], {})
    assert slowest < 20

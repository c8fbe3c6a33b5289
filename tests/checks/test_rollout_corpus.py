"""check-rollout on 40 labelled migrations: none that breaks older code is missed, none that doesn't is refused."""

from collections.abc import Iterator
from pathlib import Path
from time import monotonic

import pytest

from checks import plans, release
from checks.release import promised
from checks.rollout import Rollout
from tomato_dao.database import QUERIES

CORPUS = sorted(Path(__file__).with_name("rollout_corpus").glob("*.sql"))
SIZE = 3000
SAMPLE = CORPUS[::7]


@pytest.fixture(scope="module")
def base() -> Iterator[Rollout]:
    """Provide this code's contract on a testbed of its schema."""
    with plans.testbed(SIZE) as connection:
        yield Rollout(release.contract("0", promised(connection, QUERIES.values(), SIZE)), connection, SIZE)


def label(file: Path) -> str:
    return file.read_text().split("\n")[0].removeprefix("-- ")


def found(rollout: Rollout, file: Path) -> list[str]:
    """Apply a migration, return what it breaks, and undo it."""
    with rollout.connection.transaction(force_rollback=True):
        rollout.connection.execute(file.read_text().encode())
        rollout.known.clear()
        return [str(broken) for broken in rollout.broken()]


@pytest.mark.slow
def test_migrations_are_judged_as_they_are_labelled(base: Rollout) -> None:
    assert {label(file) for file in SAMPLE} == {"compatible", "breaks"}
    for file in SAMPLE:
        assert bool(found(base, file)) == (label(file) == "breaks"), file.name


@pytest.mark.long
def test_none_of_40_labelled_migrations_is_missed_or_refused_wrongly(base: Rollout) -> None:
    assert len(CORPUS) == 40
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

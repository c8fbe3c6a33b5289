"""Short storms over threads and over asyncio: what callers were told holds. `make chaos` has longer ones, in processes."""

import os
import random
from collections import Counter
from pathlib import Path

import pytest

from tests.chaos import lists, workload
from tests.chaos.faults import Faults
from tests.chaos.judging import counts, judge
from tests.chaos.proxy import Proxy
from tests.chaos.storm import NAME, Ways, in_threads, ways

pytestmark = pytest.mark.slow
NETWORK = ("cut", "delay", "black_hole")
SECONDS = 3


@pytest.fixture
def seed() -> int:
    """Provide the storm's seed: that of the environment, or any; a failure shows it."""
    seed = int(os.environ.get("SEED") or random.randrange(10**6))  # noqa: S311 (no secret)
    print(f"SEED={seed}")
    return seed


def test_answers_to_callers_hold_in_a_storm(tomato_url: str, seed: int) -> None:
    workload.prepare(tomato_url)
    proxy = Proxy(tomato_url)
    faults = Faults(tomato_url, seed, [proxy])
    try:
        results = in_threads(
            proxy.url, seed, SECONDS, lambda: faults.rage(SECONDS, ("kill", "kill", "stop", *NETWORK), 0.15), (False, True)
        )
    finally:
        proxy.close()
    print(seen := counts(results), faults.done)
    assert judge(tomato_url, results) == []
    assert seen["acknowledged"] > 50
    assert faults.done


def test_it_holds_through_restarts_on_standbys_and_after_a_promotion(tmp_path: Path, seed: int) -> None:
    with ways(tmp_path / "primary", durable=False) as servers:
        done: Counter[str] = Counter()
        results = in_threads(
            servers.url, seed, SECONDS, lambda: done.update(until_promoted(servers, seed)), (False, True),
            kinds=(*workload.ALL, lists.on_standbys), deadlines=False, replicas=[servers.standby], promoted=True,
        )  # fmt: skip
        print(seen := counts(results), done)
        assert judge(servers.pair.standby.url(NAME), results) == []
    assert seen["acknowledged"] > 50
    assert seen["read on standbys"] > 0
    assert done["restart_fast"] == done["restart_immediate"] == 1


def until_promoted(servers: Ways, seed: int) -> Counter[str]:
    """Restart the primary twice with other faults between, then promote the standby."""
    faults = servers.faults(seed)
    for restart in (faults.restart_fast, faults.restart_immediate):
        faults.rage(SECONDS / 4, ("kill", "kill_on_standby", "lag", *NETWORK), 0.1)
        restart()
        faults.done[restart.__name__] += 1
    servers.promote()
    return faults.done

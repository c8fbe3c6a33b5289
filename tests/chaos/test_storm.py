"""A short storm over threads and over asyncio: what callers were told holds. `make chaos` has longer ones and restarts."""

import os
import random
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.chaos import workload
from tests.chaos.faults import Faults
from tests.chaos.judging import counts, judge
from tests.chaos.proxy import Proxy

pytestmark = pytest.mark.slow
FAULTS = ("kill", "kill", "stop", "cut", "delay", "black_hole")
SECONDS = 3


def test_what_callers_were_told_holds_in_a_storm(tomato_url: str) -> None:
    seed = int(os.environ.get("SEED") or random.randrange(10**6))  # noqa: S311 (no secret)
    print(f"SEED={seed}")
    workload.prepare(tomato_url)
    proxy, together = Proxy(tomato_url), threading.Barrier(3)
    faults = Faults(tomato_url, seed, proxy)
    try:
        with ThreadPoolExecutor(2) as threads:
            running = [threads.submit(workload.work, proxy.url, seed, n, SECONDS, together, is_async=bool(n)) for n in range(2)]
            together.wait(60)
            faults.rage(SECONDS, FAULTS, 0.15)
            results = [each.result(90) for each in running]
    finally:
        proxy.close()
    print(seen := counts(results), faults.done)
    assert judge(tomato_url, results) == []
    assert seen["acknowledged"] > 50
    assert faults.done

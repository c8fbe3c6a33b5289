"""The proof of the proof: bugs that are patched into the layer are found by a storm, each as what it is."""

from collections.abc import Callable, Iterator

import pytest

from tests.chaos import workload
from tests.chaos.bugs import BUGS, OF_STANDBYS, Bug
from tests.chaos.faults import Faults
from tests.chaos.judging import judge
from tests.chaos.proxy import Proxy
from tests.chaos.storm import NAME, Ways, in_threads, ways

pytestmark = pytest.mark.long
SECONDS = 2.5
STORMS = 5  # at most, until it is found
PATIENCE = 3  # seconds that a connection is waited for


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.plant.__name__)
def test_a_bug_is_found(bug: Bug, tomato_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    bug.plant(monkeypatch)

    def storm(seed: int) -> list[str]:
        workload.prepare(tomato_url)
        proxy = Proxy(tomato_url)
        faults = Faults(tomato_url, seed, [proxy])
        pause = 0.2 if "cut" in bug.faults else 0.06

        def rage() -> None:
            if bug.faults:
                faults.rage(SECONDS, bug.faults, pause)

        try:
            results = in_threads(proxy.url, seed, SECONDS, rage, (bug.is_async,) * 2, kinds=bug.kinds, patience=PATIENCE)
        finally:
            proxy.close()
        return judge(tomato_url, results)

    assert_found(bug, storm)


@pytest.fixture(scope="module")
def lagging(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ways]:
    """Provide a primary and its standby, which is always a little behind."""
    with ways(tmp_path_factory.mktemp("lagging") / "primary", durable=False) as servers:
        servers.pair.standby.configure("recovery_min_apply_delay", "100ms")
        yield servers


@pytest.mark.parametrize("bug", OF_STANDBYS, ids=lambda bug: bug.plant.__name__)
def test_a_bug_of_reads_on_standbys_is_found(bug: Bug, lagging: Ways, monkeypatch: pytest.MonkeyPatch) -> None:
    def storm(seed: int) -> list[str]:
        workload.prepare(lagging.pair.primary.url(NAME))
        lagging.pair.caught_up()
        with monkeypatch.context() as planted:
            bug.plant(planted)
            results = in_threads(
                lagging.url, seed, SECONDS, lambda: None, (False, True), kinds=bug.kinds, replicas=[lagging.standby]
            )
        return judge(lagging.pair.primary.url(NAME), results)

    assert_found(bug, storm)


def assert_found(bug: Bug, storm: Callable[[int], list[str]]) -> None:
    """Let some storms rage, each of another seed, until the bug has come to light."""
    found: list[str] = []
    for seed in range(STORMS):
        found = storm(seed)
        if any(line.startswith(bug.found) for line in found):
            return
    pytest.fail(f"not found: {found[:5]}")

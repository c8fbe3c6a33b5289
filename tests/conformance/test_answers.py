"""Conformance: the DAOs answer as the real old backend did, on the data that it dumped at that moment.

A difference is a fault, but for the documented ones that stand here, where the old answer was a slip or the new schema says it
otherwise.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest

import tomato_dao
from tests.conformance.comparing import ABSENT, Compared, Difference, compare
from tests.helpers.legacy_cases import sample
from tests.helpers.transfer_cases import another_database
from tomato_dao.transfer.legacy.report import LegacySummary

pytestmark = [pytest.mark.as_owner, pytest.mark.slow]  # a load needs the owner


@dataclass(frozen=True)
class Rule:
    """Why answers differ, and which differences it explains: by “key id/path”, and by what both said."""

    name: str
    where: str
    explains: Callable[[Difference], bool]

    def covers(self, difference: Difference) -> bool:
        """Return whether the rule explains a difference."""
        place = f"{difference.key} {difference.id}{difference.path}"
        return re.fullmatch(self.where, place) is not None and self.explains(difference)


DOCUMENTED = [
    Rule("role null is no role", r"infos \d+/permissions/.*", lambda d: (d.old, d.ours) == ("null", ABSENT)),
    Rule(
        "a disabled host is not unreachable, too",
        r"hosts_(stale|fresh) .*/problems",
        lambda d: (d.old, d.ours) == (["Manually disabled", "Host unreachable"], ["Manually disabled"]),
    ),
    Rule(
        "x/y is found by x, at any depth", r'select_stale \{"networkKinds": \["internet/tub"\]\}/.*', lambda d: d.ours != ABSENT
    ),
    Rule("twins of one tech and name are one", "resources (17|31)", lambda d: d.ours == ABSENT),
    Rule("a resource whose type has no table is dropped", "resources 30", lambda d: d.ours == ABSENT),
    Rule("an export tells no state of this installation", r"exports \d+/state_max", lambda d: d.ours == ABSENT),
    Rule(
        "a topology without a record in the newest settled window is not active",
        "statistics usage/topologies_active",
        lambda d: (d.old, d.ours) == (6, 2),
    ),
    Rule("what has no record in the newest settled window uses nothing now", r"infos \d+/usage", lambda d: d.ours is None),
]


@dataclass
class Loaded:
    """Result of loading the dump, and the comparison of its answers."""

    summary: LegacySummary
    compared: Compared

    def of(self, rule: Rule) -> list[Difference]:
        """Return the differences that a rule explains."""
        return [difference for difference in self.compared.differences if rule.covers(difference)]

    @property
    def others(self) -> list[Difference]:
        """Return the differences that no rule explains."""
        return [d for d in self.compared.differences if not any(rule.covers(d) for rule in DOCUMENTED)]

    def __str__(self) -> str:
        differ = {(d.key, d.id) for d in self.compared.differences}
        told = f"{self.compared.count} answers compared, {self.compared.count - len(differ)} equal"
        found = [f"{rule.name} ({len({(d.key, d.id) for d in self.of(rule)})})" for rule in DOCUMENTED if self.of(rule)]
        return f"{told}; documented: {', '.join(found) or 'none'}; others: {len(self.others)}"


@pytest.fixture(scope="module")
def loaded(tomato_server_url: str, tomato_template: str) -> Iterator[Loaded]:
    """Provide the dump of the real old backend, loaded as it is."""
    path = sample("real-0038.json.gz")
    with another_database(tomato_server_url, tomato_template) as db:
        summary = tomato_dao.load(db, path)
        assert isinstance(summary, LegacySummary)
        yield Loaded(summary, compare(db))


def test_every_answer_is_the_same_or_its_difference_has_a_name(loaded: Loaded, capsys: pytest.CaptureFixture[str]) -> None:
    with capsys.disabled():
        print(f"\nconformance: {loaded}")
    assert [str(difference) for difference in loaded.others] == []
    assert loaded.compared.count > 390


@pytest.mark.parametrize("rule", DOCUMENTED[:-1], ids=lambda rule: rule.name)
def test_documented_differences_are_there(loaded: Loaded, rule: Rule) -> None:
    assert loaded.of(rule)


def test_the_dump_is_loaded_as_it_is(loaded: Loaded) -> None:
    summary = loaded.summary
    assert (summary.refused, summary.mended) == ([], [])
    assert {(drop.model, drop.why): drop.records for drop in summary.drops} == {
        ("south.migrationhistory", "it only holds the schema version"): 38,
        ("tomato.permissionentry", "it has no role"): 2,
        ("tomato.resource", "resources of type vmid_range have no table"): 1,
        ("tomato.usagerecord", "it refers to an object that does not exist"): 47,
        ("tomato.usagestatistics", "nothing refers to it"): 9,
        ("tomato.usage", "no loaded record or quota refers to it"): 747,
    }
    assert {(merge.model, merge.pk, merge.into) for merge in summary.merges if merge.model != "tomato.templateonhost"} == {
        ("tomato.profile", "17", "14"),
        ("tomato.template", "31", "7"),
    }

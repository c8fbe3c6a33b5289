"""The judge finds each kind of fault in a small history, and none in a sound one."""

import pytest

from tests.chaos import checker, holders
from tests.chaos.history import Append, Call, Outcome, Read


def call(who: str, *ops: Read | Append, begin: float = 0, end: float = 9, outcome: Outcome = "ok") -> Call:
    return Call("lists", who, begin, end, outcome, "", list(ops))


A1, A2, B1, B2 = Append("a", 1), Append("a", 2), Append("b", 11), Append("b", 12)
SOUND = [call("one", Read("a", ()), A1), call("two", Read("a", (1,)), A2), call("three", Read("a", (1, 2)))]


def test_a_sound_history_has_no_faults() -> None:
    unknown = [call("four", Append("a", 4), outcome="unknown"), call("five", Append("a", 5), outcome="failed")]
    assert checker.faults([*SOUND, *unknown], {"a": [1, 2]}, serializable="lists") == []
    assert checker.faults([*SOUND, *unknown], {"a": [1, 2, 4]}, serializable="lists") == []


@pytest.mark.parametrize(
    ("calls", "final", "fault"),
    [
        (SOUND, {"a": [1]}, "lost"),
        (SOUND, {"a": [1, 2, 2]}, "doubled"),
        (SOUND, {"a": [1, 2, 3]}, "from nowhere"),
        ([call("one", A1, outcome="failed")], {"a": [1]}, "a failure that was carried out"),
        ([call("one", A1, B1, outcome="unknown")], {"a": [1], "b": []}, "half a transaction"),
        ([call("one", A1), call("two", Read("a", (7, 1)))], {"a": [1]}, "no state"),
        ([call("one", A1, end=1), call("two", Read("a", ()), begin=2)], {"a": [1]}, "stale"),
        ([call("one", A1, B1), call("two", A2, B2)], {"a": [1, 2], "b": [12, 11]}, "cycle of 2"),
        ([call("one", A1, Read("b", (11,))), call("two", B1, Read("a", (1,)))], {"a": [1], "b": [11]}, "cycle of 2"),
        ([call("one", A1, Read("b", ())), call("two", B1, Read("a", ()))], {"a": [1], "b": [11]}, "cycle of 2"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_each_fault_of_lists_is_found(calls: list[Call], final: dict[str, list[int]], fault: str) -> None:
    found = checker.faults(calls, final, serializable="lists")
    assert any(line.startswith(fault) for line in found)


def test_a_write_skew_is_allowed_where_nothing_is_serializable() -> None:
    calls = [call("one", A1, Read("b", ())), call("two", B1, Read("a", ()))]
    assert checker.faults(calls, {"a": [1], "b": [11]}) == []


def test_two_holders_are_found_and_one_after_the_other_are_not() -> None:
    def held(who: str, begin: float, end: float) -> Call:
        return Call("lock", who, begin, end, facts={"thing": 1, "had": (begin, end)})

    assert holders.overlaps([held("one", 1, 2), held("two", 2, 3)], "lock") == []
    assert holders.overlaps([held("one", 1, 2.5), held("two", 2, 3)], "lock")
    assert holders.overlaps([held("one", 1, 9), held("two", 2, 3), held("three", 4, 5)], "lock")


def test_an_unheard_change_is_found_unless_some_were_missed_since() -> None:
    deleted = Call("delete", "one", 5, 6, "ok", facts={"id": 7})
    assert holders.unheard([deleted], [(6, "deleted", 7)], 9) == []
    assert holders.unheard([deleted], [(6, "missed", None)], 9) == []
    assert holders.unheard([deleted], [(4, "missed", None), (6, "deleted", 8)], 9)
    assert holders.unheard([deleted], [], 5.5) == []

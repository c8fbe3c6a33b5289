"""Judges of what one alone may have: locks, leases, connections; and of rows, finished items and events."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence

from tests.chaos.history import Call


def overlaps(calls: Sequence[Call], kind: str) -> list[str]:
    """Return what two had at once. facts of a call: thing, had (from, until), both included in when it was surely had."""
    by_thing: dict[object, list[tuple[float, float, str]]] = defaultdict(list)
    for call in calls:
        if call.kind == kind and "had" in call.facts:
            by_thing[call.facts["thing"]].append((*call.facts["had"], call.who))
    found = []
    for thing, spans in by_thing.items():
        spans.sort()
        last, holder = 0.0, ""
        for begin, until, who in spans:
            if begin < last:
                found.append(
                    f"two holders: {holder} and {who} had {kind} {thing} at once, for {min(last, until) - begin:.4f} s"
                )
            if until > last:
                last, holder = until, who
    return found


def finished_twice(calls: Sequence[Call]) -> list[str]:
    """Return items of which more than one worker was told that it had finished them."""
    done = Counter(call.facts["thing"] for call in calls if call.kind == "finish" and call.outcome == "ok")
    return [f"finished twice: {thing}, {number} times" for thing, number in done.items() if number > 1]


def created(calls: Sequence[Call], names: Iterable[str]) -> list[str]:
    """Return rows that are lost, doubled, or there although their call was refused. names: of all rows after the storm."""
    there = Counter(names)
    found = [f"doubled: row {name} is {number} times there" for name, number in there.items() if number > 1]
    for call in calls:
        if call.kind == "create":
            name = call.facts["name"]
            if call.outcome == "ok" and not there[name]:
                found.append(f"lost: row {name} was acknowledged")
            if call.outcome == "failed" and there[name]:
                found.append(f"a failure that was carried out: row {name}, told as {call.error}")
    return found


_EVENTS = {"delete": "deleted", "change": "state"}


def unheard(calls: Sequence[Call], heard: Sequence[tuple[float, str, int | None]], until: float) -> list[str]:
    """Return committed changes of which a listener heard nothing, nor that it had missed some.

    heard: time, change and the topology's id. until: a time after which the listener heard of one more change.
    """
    events = {(change, id) for _, change, id in heard}
    missed = max((at for at, change, _ in heard if change == "missed"), default=0.0)
    return [
        f"unheard: {call.kind} of topology {call.facts['id']} by {call.who}"
        for call in calls
        if call.kind in _EVENTS and call.outcome == "ok" and missed < call.begin and call.end < until
        if (_EVENTS[call.kind], call.facts["id"]) not in events
    ]


def wrong_answers(calls: Sequence[Call]) -> list[str]:
    """Return calls that got an answer to another question."""
    return [f"a wrong answer: {call.who} got {call.facts['wrong']}" for call in calls if "wrong" in call.facts]

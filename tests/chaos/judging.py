"""The whole judgement of a storm: what the processes saw, against what is in the database afterwards."""

from collections import Counter
from collections.abc import Sequence

import psycopg

from tests.chaos import checker, holders
from tests.chaos import lists as work
from tests.chaos.history import Call, Result


def judge(url: str, results: Sequence[Result]) -> list[str]:
    """Return all faults, of all kinds."""
    calls = [call for result in results for call in result.calls]
    found = [fault for result in results for fault in result.faults]
    with psycopg.connect(url) as connection:
        lists = {
            k: [id for id, _ in v] for k, v in connection.execute("select key, value from key_values where key ~ '^[rs]\\d'")
        }
        names = [name for (name,) in connection.execute("select name from topologies where name like 'kept %'")]
        total = connection.execute(
            "select coalesce(sum((e ->> 1)::int), 0) from key_values, jsonb_array_elements(value) e where key ~ '^[rs]\\d'"
        ).fetchone()
    if total != (0,):
        found.append(f"half a transfer: the sum is {total} after the storm")
    for level, keys in work.LISTS.items():
        chosen = [call for call in calls if call.kind in (f"lists {level}", "sum")]
        found += checker.faults([_of(call, keys) for call in chosen], {k: lists[k] for k in keys}, serializable="lists s")
    found += holders.created(calls, names) + holders.finished_twice(calls) + holders.wrong_answers(calls)
    for kind in ("lock", "lease", "connection"):
        found += holders.overlaps(calls, kind)
    for result in results:
        found += holders.unheard(calls, result.heard, result.listened_until)
    return found


def _of(call: Call, keys: Sequence[str]) -> Call:
    """Return a call with its operations on some lists only."""
    if call.kind != "sum":
        return call
    return Call(
        call.kind,
        call.who,
        call.begin,
        call.end,
        call.outcome,
        call.error,
        [op for op in call.ops if op.key in keys],
        call.facts,
    )


def counts(results: Sequence[Result]) -> dict[str, int]:
    """Return how many calls had which outcome, how many events were heard and missed, and what standbys have served."""
    outcomes: Counter[str] = Counter(call.outcome for result in results for call in result.calls)
    heard: Counter[str] = Counter(change for result in results for _, change, _ in result.heard)
    return {
        "calls": outcomes.total(),
        "acknowledged": outcomes["ok"],
        "refused": outcomes["failed"],
        "unknown": outcomes["unknown"],
        "events": heard.total() - heard["missed"],
        "missed": heard["missed"],
        "read on standbys": sum(result.served for result in results),
    }

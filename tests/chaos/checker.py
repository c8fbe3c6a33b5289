"""Judge of a history of lists: each fault that it finds is one line; none means that what was promised was kept.

The lists show the order in which entries were appended, and each read shows how far a transaction saw. From these follow who
wrote before whom (ww), who read from whom (wr), and who read before whom (rw); a cycle of them has no order at all.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise

from tests.chaos.history import Append, Call

Lists = Mapping[str, Sequence[int]]


def faults(calls: Sequence[Call], final: Lists, *, serializable: str = "") -> list[str]:
    """Return what is wrong with transactions over lists.

    final: the ids of each list's entries after the storm.
    serializable: the kind of calls whose order must include who read before whom.
    """
    calls = [call for call in calls if call.ops]
    found = [*_entries(calls, final), *_reads(calls, final), *_stale(calls)]
    return found + ([] if found else _cycles(calls, final, serializable))


def _entries(calls: Sequence[Call], final: Lists) -> Iterable[str]:
    """Yield entries that are lost, doubled, of nobody or of a transaction that failed, and transactions that are half there."""
    there = Counter((key, id) for key, ids in final.items() for id in ids)
    for (key, id), number in there.items():
        if number > 1:
            yield f"doubled: entry {id} is {number} times in {key}"
    known = {op[:2]: call for call in calls for op in call.appends()}
    for entry in there.keys() - known.keys():
        yield f"from nowhere: entry {entry[1]} of {entry[0]} was appended by nobody"
    for call in calls:
        made = [op in there for op in map(tuple, call.appends())]
        if call.outcome == "failed" and any(made):
            yield f"a failure that was carried out: {call.appends()} by {call.who}, told as {call.error}"
        elif call.outcome == "ok" and not all(made):
            lost = [op for op, is_there in zip(call.appends(), made, strict=True) if not is_there]
            yield f"lost: {lost} by {call.who} was acknowledged"
        elif any(made) and not all(made):
            yield f"half a transaction: {call.appends()} by {call.who}"


def _reads(calls: Sequence[Call], final: Lists) -> Iterable[str]:
    """Yield reads that no moment of the list explains: of what was rolled back, in another order, or overwritten since."""
    for call in calls:
        own = {op.id for op in call.appends()}
        for read in call.reads():
            ids = [id for id in read.ids if id not in own]
            whole = final.get(read.key, ())
            if ids != list(whole[: len(ids)]):
                yield f"no state of {read.key}: {call.who} read {_end(ids)}, and the list has {_end(whole[: len(ids)])} there"


def _end(ids: Sequence[int]) -> str:
    return f"[… {', '.join(map(str, ids[-5:]))}] ({len(ids)})"


def _stale(calls: Sequence[Call]) -> Iterable[str]:
    """Yield reads of transactions that began when an append was acknowledged, and did not see it.

    A call whose facts have a process as “own” must see only what that has written.
    """
    acknowledged = sorted(
        ((call.end, op, call.who) for call in calls if call.outcome == "ok" for op in call.appends()), key=lambda a: a[0]
    )
    by_key: dict[str, list[tuple[float, Append, str]]] = {}
    for end, op, who in acknowledged:
        by_key.setdefault(op.key, []).append((end, op, who))
    for call in calls:
        for read in call.reads():
            seen = set(read.ids)
            for end, op, who in by_key.get(read.key, ()):
                if end >= call.begin:
                    break
                if op.id not in seen and who.startswith(call.facts.get("own", "")):
                    yield f"stale: {call.who} read {read.key} without {op.id}, acknowledged {call.begin - end:.3f} s before"
                    break


def _cycles(calls: Sequence[Call], final: Lists, serializable: str) -> list[str]:
    """Return transactions of which each came before the next, and the last before the first."""
    present = {(key, id) for key, ids in final.items() for id in ids}
    done = [call for call in calls if call.outcome == "ok" or any(tuple(op) in present for op in call.appends())]
    writer = {tuple(op): n for n, call in enumerate(done) for op in call.appends()}
    after: list[dict[int, str]] = [{} for _ in done]

    def edge(first: int | None, then: int | None, why: str) -> None:
        if first is not None and then is not None and first != then:
            after[first].setdefault(then, why)

    for key, ids in final.items():
        for one, two in pairwise(ids):
            edge(writer.get((key, one)), writer.get((key, two)), f"ww {key}")
    for n, call in enumerate(done):
        own = {op.id for op in call.appends()}
        for read in call.reads():
            ids = [id for id in read.ids if id not in own]
            if ids:
                edge(writer.get((read.key, ids[-1])), n, f"wr {read.key}")
            if call.kind == serializable:
                following = next((id for id in final.get(read.key, ())[len(ids) :] if id not in own), None)
                edge(n, writer.get((read.key, following)) if following else None, f"rw {read.key}")
    return [_told(component, done, after) for component in _components(after)]


def _told(component: list[int], done: Sequence[Call], after: Sequence[Mapping[int, str]]) -> str:
    members = set(component)
    edges = [f"{done[a].who} {why} {done[b].who}" for a in component for b, why in after[a].items() if b in members]
    return f"cycle of {len(component)}: {'; '.join(edges[:8])}"


def _components(after: Sequence[Mapping[int, str]]) -> list[list[int]]:
    """Return the strongly connected components of more than one, by Tarjan's algorithm without recursion."""
    index: dict[int, int] = {}
    low: dict[int, int] = {}
    stack: list[int] = []
    on_stack: set[int] = set()
    found = []
    for root in range(len(after)):
        work = [(root, iter(after[root]))] if root not in index else []
        while work:
            node, following = work[-1]
            if node not in index:
                index[node] = low[node] = len(index)
                stack.append(node)
                on_stack.add(node)
            then = next(following, None)
            if then is not None:
                if then not in index:
                    work.append((then, iter(after[then])))
                elif then in on_stack:
                    low[node] = min(low[node], index[then])
                continue
            work.pop()
            if work:
                low[work[-1][0]] = min(low[work[-1][0]], low[node])
            if low[node] == index[node]:
                component = stack[stack.index(node) :]
                del stack[len(stack) - len(component) :]
                on_stack.difference_update(component)
                if len(component) > 1:
                    found.append(component)
    return found

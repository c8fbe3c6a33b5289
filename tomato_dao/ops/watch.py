"""`tomato-dao doctor --watch N`: print a page about the workers' calls and waits every N seconds."""

import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from time import monotonic
from typing import Any

import psycopg

from ..errors import TomatoError, from_driver
from ..printable import printable
from ..server.probe import probe
from ..server.waiting import sleep
from ..sql.wording import counted
from .cli import duration, megabytes
from .examinations import BAD, NOTE, examine
from .examinations.findings import rows
from .urls import owner_url

_CLEAR = "\x1b[H\x1b[2J"  # clears a terminal
_LOOKS = 20  # samples per page, at intervals of at least _SHORTEST
_SHORTEST = 0.1  # minimum seconds between two samples
_EXAMINED = 10  # seconds after which the doctor's findings are refreshed
_SHOWN = 15  # queries on a page


def watch(seconds: float, pool_size: int) -> None:
    """Print a page every `seconds`, until interrupted. A server that does not answer is tried again."""
    while True:
        try:
            with probe(owner_url()) as connection:
                connection.execute("set statement_timeout = '30s'")
                connection.execute("set lock_timeout = '1s'")
                for page in _pages(connection, seconds, pool_size):
                    _show(page)
        except (TomatoError, psycopg.Error) as error:
            told = from_driver(error) if isinstance(error, psycopg.Error) else error
            _show([f"{_now()}: no figures: {told}"])
            sleep(seconds)


@dataclass(slots=True)
class _Work:
    """Samples of a running query: their number, its longest call, and its waits."""

    seen: int = 0
    longest: float = 0
    waits: "Counter[str]" = field(default_factory=Counter)


def _pages(connection: psycopg.Connection, seconds: float, pool_size: int) -> Iterator[list[str]]:
    """Sample the sessions many times within each period, and yield a page of the results."""
    place = f"{connection.info.dbname} on {connection.info.host}:{connection.info.port}"
    examined, advised = 0.0, ""
    while True:
        if not examined or monotonic() > examined + _EXAMINED:
            findings = list(examine(connection, pool_size, without=("queries",)))  # the page has its own, current ones
            levels = ((BAD, "to do"), (NOTE, "worth a look"))
            found = [(words, [f.topic for f in findings if f.level == level]) for level, words in levels]
            advised = "; ".join(f"{words}: {', '.join(topics)}" for words, topics in found if topics) or "all is well"
            examined = monotonic()
        (before,) = rows(connection, "activity.counters")
        work: dict[str, _Work] = {}
        looks, end = 0, monotonic() + seconds
        while not looks or monotonic() < end:
            _look(connection, work)
            looks += 1
            sleep(max(min(seconds / _LOOKS, end - monotonic()), min(_SHORTEST, seconds / 2)))
        (after,) = rows(connection, "activity.counters")
        sessions = rows(connection, "sessions")
        yield [f"{place}: {advised}", *_header(before, after, sessions), "", *_table(work, looks)]


def _look(connection: psycopg.Connection, work: dict[str, _Work]) -> None:
    for row in rows(connection, "activity.at_work"):
        name = row["query"] if row["active"] else f"in a transaction after {row['query']}"
        one = work.setdefault(name, _Work())
        one.seen += 1
        one.longest = max(one.longest, row["seconds"] or 0)
        if row["wait"]:
            one.waits[row["wait"]] += 1


def _header(before: dict[str, Any], after: dict[str, Any], sessions: list[dict[str, Any]]) -> list[str]:
    """Return the lines about the whole server: rates since the last page."""
    passed = max(after["now"] - before["now"], 0.001)
    grown = {name: max(after[name] - before[name], 0) for name in ("transactions", "hit", "read", "rows_written")}
    blocks = grown["hit"] + grown["read"]
    figures = [
        f"{grown['transactions'] / passed:,.0f} transactions/s",
        f"{grown['rows_written'] / passed:,.0f} rows written/s",
        f"{blocks / passed:,.0f} blocks/s",
        f"{grown['hit'] / blocks:.1%} of them from the cache" if blocks else "",
        f"{megabytes((after['wal'] - before['wal']) / passed)} of WAL/s" if after["wal"] and before["wal"] else "",
    ]
    states: Counter[str] = Counter()
    for row in sessions:
        states[row["state"]] += row["sessions"]
    told = ", ".join(f"{number} {state}" for state, number in states.most_common())
    return [
        f"{_now()}  PostgreSQL {after['version']}, up for {duration(after['up_seconds'])}",
        ", ".join(filter(None, figures)),
        f"{counted(states.total() + 1, 'session')} of {after['allowed']}: this one{f', {told}' if told else ''}",
    ]


def _table(work: dict[str, _Work], looks: int) -> list[str]:
    """Return the busiest queries, each with its average number of running sessions, longest call and waits."""
    if not work:
        return [f"no query was running in {counted(looks, 'sample')}"]
    busiest = sorted(work.items(), key=lambda item: (-item[1].seen, item[0]))[:_SHOWN]
    width = max(len(name) for name, _ in busiest)
    lines = [f"{'query':{width}}  {'sessions':>8}  {'longest':>9}  waits"]
    for name, one in busiest:
        waits = ", ".join(f"{wait} {number / one.seen:.0%}" for wait, number in one.waits.most_common(3))
        lines.append(f"{name:{width}}  {one.seen / looks:>8.2f}  {one.longest:>7.2f} s  {waits}".rstrip())
    return lines


def _now() -> str:
    return f"{datetime.now(UTC):%H:%M:%S} UTC"


def _show(page: list[str]) -> None:
    if sys.stdout.isatty():
        sys.stdout.write(_CLEAR)
    print(*(printable(line, 1000) for line in page), "", sep="\n", flush=True)

"""Helpers for tests of DAOs: calls at one moment, refusals that say what they are about, attrs that threads change."""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from threading import Barrier
from time import monotonic, sleep
from typing import Any, TypeVar

import psycopg
import pytest

from tomato_dao import Database, InvalidValue, TomatoError

T = TypeVar("T")
NOBODY = 987654321  # an id that nothing has
MOMENT = datetime(2026, 3, 4, 5, 6, 7, 891011, tzinfo=UTC)


def at_once(*calls: Callable[[], object]) -> list[object]:
    """Return what each call returned, or how it was refused; all start at the same moment, each in a thread of its own."""
    start = Barrier(len(calls))

    def run(call: Callable[[], object]) -> object:
        start.wait(60)
        try:
            return call()
        except TomatoError as error:
            return error

    with ThreadPoolExecutor(len(calls)) as threads:
        return list(threads.map(run, calls))


def timed(db: Database, call: Callable[[], T]) -> tuple[T, datetime]:
    """Return what a call returned, and the time that it was on the server."""
    with db.transaction(), db.connection() as connection:
        result = call()
        row = connection.execute("select now()").fetchone()
    assert row
    return result, row[0]


@contextmanager
def refused(
    kind: type[TomatoError], entity: str | None, key: object, match: str | None = None
) -> Iterator[pytest.ExceptionInfo[TomatoError]]:
    """Expect the block to be refused with an error of exactly that kind, entity and key."""
    with pytest.raises(kind, match=match) as caught:
        yield caught
    assert (caught.type, caught.value.entity, caught.value.key) == (kind, entity, key)


def set_many_attrs(dao: Any, key: object, prefix: str) -> None:
    for n in range(20):
        dao.set_attrs(key, {f"{prefix}{n}": n}, [f"{prefix}{n - 1}"])
        dao.set_attrs(key, {f"{prefix}{n}": n, f"{prefix}_kept_{n}": n})


def assert_threads_keep_each_others_attrs(dao: Any, key: object) -> None:
    first = dao.set_attrs(key, {})
    assert at_once(*(partial(set_many_attrs, dao, key, prefix) for prefix in "abc")) == [None, None, None]
    left = first | {f"{prefix}_kept_{n}": n for prefix in "abc" for n in range(20)} | dict.fromkeys(["a19", "b19", "c19"], 19)
    assert dao.set_attrs(key, {}) == left


def assert_wrong_types_are_refused(dao: Any, entity: str, key: object, values: list[tuple[str, object]]) -> None:
    for column, value in values:
        given = "None" if value is None else type(value).__name__
        with refused(InvalidValue, entity, column, f"^{entity}: {column} is .*, not {given}$"):
            dao.update(key, {column: value})


def usage_is_gone(server: psycopg.Connection, *usage_ids: int | None) -> bool:
    """Neither the usage identities nor records of them are left; on a cluster, once the next accounting has begun."""
    if server.execute("select to_regclass('usage_removed') is not null").fetchone() == (True,):
        server.execute("select forget_removed_usage('{}')")
    left = server.execute(
        "select id from usage_statistics where id = any(%(ids)s)"
        " union all select usage_id from usage_records where usage_id = any(%(ids)s)",
        {"ids": list(usage_ids)},
    )
    return None not in usage_ids and left.fetchall() == []


BLOCKED = "count(*) = %s from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'"


def until(server: psycopg.Connection, condition: str, *values: object) -> None:
    """Wait, 60 seconds at most, until the server says that the condition holds."""
    deadline = monotonic() + 60
    while server.execute(f"select {condition}", values).fetchone() != (True,):
        assert monotonic() < deadline, f"never became true: {condition}"
        sleep(0.005)
        server.execute("select pg_stat_clear_snapshot()")  # a transaction sees pg_stat_activity as it was at first


def ids(rows: Iterable[Any]) -> list[int]:
    return [row.id for row in rows]

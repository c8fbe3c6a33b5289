"""Dump and load keep every value, and take as long as they need, whatever settings the role has."""

import io
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

import tomato_dao
from tests.conftest import World
from tests.helpers.dao_cases import until
from tests.helpers.session_cases import blocked
from tests.helpers.transfer_cases import by_hand, dumped, organization, rows_of, site
from tomato_dao import Database
from tomato_dao.transfer.report import Progress

pytestmark = [pytest.mark.as_owner, pytest.mark.slow]  # a load needs the owner

FORMATS = {
    "extra_float_digits": "0",  # 0.1 + 0.2 would be 0.3
    "timezone": "Asia/Kolkata",
    "datestyle": "German",
    "intervalstyle": "sql_standard",
    "bytea_output": "escape",
    "array_nulls": "off",
}
TYPED = """
create table typed (
  id int primary key, n double precision, r real, at timestamptz, here timestamp, d date, i interval, b bytea, list text[]
)
"""
VALUES = """
insert into typed values (
  1, 0.1::float8 + 0.2::float8, 1.1000001::real, '2026-03-04 05:06:07.891011+00', '2026-03-04 05:06:07.5', '2026-03-04',
  '1 year -2 days 03:04:05.6', '\\x00ff5c', array['a', null, 'NULL']
)
"""
LIMIT = 0.5  # seconds; a busy machine may need some of them for what comes before the pauses
LIMITS = ["statement_timeout", "idle_in_transaction_session_timeout"]


@contextmanager
def connected(url: str, settings: dict[str, str]) -> Iterator[Database]:
    """Provide a Database of two connections, “odd”, whose sessions begin with these settings, as those of a role would."""
    options = " ".join(f"-c {name}={value}" for name, value in settings.items())
    with tomato_dao.connect(make_conninfo(url, options=options), pool_size=2, application_name="odd") as db:
        yield db


def test_formats_of_the_role_change_no_value(db: Database, world: World, server: psycopg.Connection, tomato_url: str) -> None:
    server.execute(TYPED)
    server.execute(VALUES)
    before, text = rows_of(server), dumped(db)
    with connected(tomato_url, FORMATS) as odd:
        assert dumped(odd) == text
        assert dumped(odd, jobs=2) == text
        tomato_dao.load(odd, io.BytesIO(text), replace=True)
        assert rows_of(server) == before


@pytest.fixture
def limited(server: psycopg.Connection, tomato_url: str) -> Iterator[Database]:
    """Provide a Database whose statements and transactions may take, and idle, half a second."""
    names = [*LIMITS, "transaction_timeout"] if server.info.server_version >= 170000 else LIMITS
    with connected(tomato_url, dict.fromkeys(names, f"{LIMIT * 1000:.0f}")) as db:
        yield db


class _Slow(io.RawIOBase):
    """A file whose parts come later than the time limit."""

    def __init__(self, *parts: bytes) -> None:
        self._parts = list(parts)

    def read(self, size: int = -1) -> bytes:
        if not self._parts:
            return b""
        time.sleep(LIMIT + 0.1)
        assert len(self._parts[0]) <= size
        return self._parts.pop(0)


def test_a_load_waits_for_its_source_beyond_the_time_limits(db: Database, limited: Database) -> None:
    """The source pauses before the first COPY, where the transaction idles, and inside of it."""
    text = by_hand(db, [organization(1), organization(2), site(1, 2)]).getvalue()
    first, second = text.index(b'{"model":"organization"'), text.index(b'{"model":"organization","pk":2')
    tomato_dao.load(limited, _Slow(text[:first], text[first:second], text[second:]))  # type: ignore[arg-type]
    assert [o.id for o in db.organizations.list()] == [1, 2]


def test_a_dump_waits_for_locks_and_its_file_beyond_the_time_limits(
    db: Database, world: World, server: psycopg.Connection, limited: Database
) -> None:
    text, file = dumped(db), io.BytesIO()
    told: list[Progress] = []

    def pause_once(progress: Progress) -> None:
        if not told:
            time.sleep(LIMIT + 0.1)
        told.append(progress)

    with ThreadPoolExecutor(1) as threads:
        with server.transaction():
            server.execute("lock table users in access exclusive mode")
            dump = threads.submit(tomato_dao.dump, limited, file, progress=pause_once)
            until(server, *blocked("odd"))
            time.sleep(LIMIT + 0.1)
        dump.result(60)
    assert file.getvalue() == text

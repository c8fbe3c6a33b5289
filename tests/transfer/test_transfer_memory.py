"""Dump and load need little memory, however much there is."""

import io
from pathlib import Path

import psycopg
import pytest

from tests.helpers.transfer_cases import by_hand, organization, peak_memory
from tomato_dao import Database, InvalidValue
from tomato_dao.transfer.dump import LONGEST
from tomato_dao.transfer.load import check

pytestmark = [pytest.mark.as_owner, pytest.mark.slow]  # a load needs the owner

MOST = 96  # MB, and beyond rows of 1 MB four times the longest line


def test_memory_does_not_grow_with_the_rows(tomato_url: str, server: psycopg.Connection, tmp_path: Path) -> None:
    file = str(tmp_path / "dump.json")
    server.execute("insert into usage_statistics (attrs) select '{}' from generate_series(1, 150000)")
    server.execute(
        "insert into key_values (key, value) select n, to_jsonb(repeat(md5(n::text), 25000)) from generate_series(1, 60) n"
    )
    for command in (
        ["dump", "--output", file],
        ["dump", "--jobs", "2"],
        ["load", "--replace", file],
        ["load", "--merge", file],
    ):
        assert peak_memory(tomato_url, *command) < MOST, command


@pytest.mark.long
@pytest.mark.parametrize(("before", "count", "jobs"), [(0, 1000, "1"), (60000, 300, "2")])
def test_rows_that_were_compressed_are_no_exception(
    tomato_url: str, server: psycopg.Connection, before: int, count: int, jobs: str
) -> None:
    """Two kilobytes in the table, a megabyte in the dump, and more of them than are read at once, also after small ones."""
    server.execute("insert into organizations (name) select 'small ' || n from generate_series(1, %s) n", [before])
    server.execute(
        "insert into organizations (name, description) select n, repeat(e'\\x01', 165000) from generate_series(1, %s) n",
        [count],
    )
    assert peak_memory(tomato_url, "dump", "--jobs", jobs) < MOST


@pytest.mark.long
def test_many_small_rows_beside_a_large_one_are_no_exception(tomato_url: str, server: psycopg.Connection) -> None:
    server.execute("insert into key_values (key, value) select n, '1' from generate_series(1, 400000) n")
    server.execute("alter table key_values alter value set storage external")
    server.execute("insert into key_values (key, value) select 'large', to_jsonb(repeat('x', 10000))")
    for command in (["dump"], ["dump", "--jobs", "2"]):
        assert peak_memory(tomato_url, *command) < MOST, command


@pytest.mark.long
def test_a_large_row_needs_four_times_its_size(tomato_url: str, db: Database, tmp_path: Path) -> None:
    file = tmp_path / "dump.json"
    size = 64
    file.write_bytes(by_hand(db, [organization(n, description_text="ä" * (size << 19)) for n in range(1, 6)]).getvalue())
    for command in (
        ["load", "--check", str(file)],
        ["load", "--replace", str(file)],
        ["load", "--merge", str(file)],
        ["dump"],
        ["dump", "--jobs", "4"],
    ):
        assert peak_memory(tomato_url, *command) < MOST + 4 * size, command


def test_a_line_that_never_ends_is_refused_in_time(db: Database) -> None:
    class Endless(io.BytesIO):
        count = 0

        def read(self, size: int | None = -1) -> bytes:
            self.count += size or 0
            assert self.count <= LONGEST + (1 << 20)
            return super().read(size) or bytes(size or 0)

    head = by_hand(db, []).getvalue().rsplit(b'{"model"', 1)[0]
    with pytest.raises(InvalidValue, match="line 3: it is longer than 512 MiB, the limit for a line"):
        check(Endless(head))

"""Dumps of each release load for ever: as a load at the release's schema followed by the migrations since."""

import io
from pathlib import Path

import psycopg
import pytest

from checks.cut import KEPT, keep_dump
from tomato_dao import connect, dump
from tomato_dao.ops.older import load_older
from tomato_dao.ops.scratch import scratch_database
from tomato_dao.server import schema
from tomato_dao.transfer import catalog
from tomato_dao.transfer.files import Source, source
from tomato_dao.transfer.load import lacking, load, migrations_of

pytestmark = [pytest.mark.slow, pytest.mark.as_owner]
DUMPS = sorted(KEPT.glob("dump-*.json.zst"))


def loaded(url: str, file: Path) -> dict[str, int]:
    with source(file) as chunks:
        if lacking(migrations_of(chunks)):
            return load_older(url, chunks).models
        with connect(url) as db:
            return load(db, chunks).models


@pytest.mark.one_server
@pytest.mark.parametrize("file", DUMPS, ids=lambda file: file.name)
def test_a_kept_dump_loads_with_every_row(tomato_url: str, file: Path) -> None:
    counts = loaded(tomato_url, file)
    with source(file) as chunks:
        told = b"".join(chunks).rsplit(b'{"model":"dump.trailer"', 1)[1]
    assert f'"rows":{sum(counts.values())}'.encode() in told
    with psycopg.connect(tomato_url) as connection:
        assert connection.execute("select value::text from key_values where key = 'odd'").fetchone() == (
            '{"": [' + "1" + "0" * 400 + ', 0, 0.10, "\u2028\\\\", {"a": {}}], "ü": "𝄞"}',
        )
    with connect(tomato_url) as db:
        dump(db, first := io.BytesIO())
        first.seek(0)
        load(db, first, replace=True)
        dump(db, second := io.BytesIO())
    assert first.getvalue() == second.getvalue()


def test_a_dump_that_is_kept_has_every_table_and_loads_as_it_was(
    tomato_server_url: str, tomato_template: str, tmp_path: Path
) -> None:
    file = keep_dump("0.0.0", tmp_path)
    with scratch_database(tomato_server_url, template=tomato_template) as url:
        loaded(url, file)
        with psycopg.connect(url) as connection:
            tables = catalog.tables(connection)
            assert [
                t.name for t in tables if connection.execute(f'select from "{t.name}" limit 1'.encode()).rowcount == 0
            ] == []
        with connect(url) as db:
            dump(db, again := io.BytesIO())
    with source(file) as chunks:
        assert b"".join(chunks) == again.getvalue()
    assert schema.known()[-1].encode() in again.getvalue()[:1000]


class Dripping(io.BytesIO):
    """A file that comes in small parts."""

    def read(self, size: int | None = -1) -> bytes:
        """Return a few bytes at a time, as a pipe may."""
        return super().read(min(size or 0, 100))


def test_the_migrations_of_a_dump_are_found_however_slowly_it_comes() -> None:
    for file in DUMPS:
        with source(file) as chunks:
            whole = b"".join(chunks)
        dripping = Source(Dripping(whole), lambda: None)
        assert migrations_of(dripping) == migrations_of(Source(io.BytesIO(whole), lambda: None)) != []
        assert b"".join(dripping) == whole


def test_no_migrations_are_looked_for_far_in_a_file_without_lines() -> None:
    file = io.BytesIO(b"x" * (8 << 20))
    assert migrations_of(Source(file, lambda: None)) == []
    assert file.tell() <= 2 << 20


def test_a_dump_lacks_the_migrations_after_its_own() -> None:
    ours = schema.known()
    assert [lacking(ours[:n]) for n in range(1, len(ours) + 1)] == [ours[n:] for n in range(1, len(ours) + 1)]
    assert lacking(["20200101000000"]) == []  # of before the first release

"""The longest line: a dump refuses what a load would refuse, and nothing shorter."""

import io
from pathlib import Path

import psycopg
import pytest

import tomato_dao
from tests.helpers.transfer_cases import dumped, rows_of
from tomato_dao import Database, InvalidValue
from tomato_dao.transfer import dump, reader

pytestmark = [pytest.mark.as_owner, pytest.mark.slow]  # which a load needs

LONGEST = 2 << 20  # bytes, instead of 512 MiB


@pytest.fixture(autouse=True)
def _shorter_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (dump, reader):
        monkeypatch.setattr(module, "LONGEST", LONGEST)


def add_line(server: psycopg.Connection, length: int) -> None:
    """Insert a row whose line in a dump has so many bytes, its comma included."""
    line = '{"model":"key_value","pk":1000,"fields":{"key":"long","value":"","attrs":{}}},'
    server.execute(
        "insert into key_values (id, key, value) overriding system value values (1000, 'long', to_jsonb(repeat('x', %s)))",
        [length - len(line)],
    )


@pytest.mark.parametrize("jobs", [1, 2])
def test_the_longest_line_is_dumped_and_loaded(db: Database, server: psycopg.Connection, jobs: int) -> None:
    add_line(server, LONGEST)
    text, before = dumped(db, jobs=jobs), rows_of(server)
    assert max(map(len, text.split(b"\n"))) == LONGEST
    tomato_dao.load(db, io.BytesIO(text), replace=True)
    assert rows_of(server) == before
    begin, end = text.index(b'{"model":"key_value"'), text.rindex(b"\n{")
    cut = reader.DumpReader([text[:begin], text[begin:end], text[end:]])  # the line is read before its end is seen
    assert sum(block.rows for block in cut.blocks(cut.header.tables)) == 2  # and the settings


@pytest.mark.parametrize("storage", ["extended", "external"])
def test_a_longer_line_is_refused(db: Database, server: psycopg.Connection, tmp_path: Path, storage: str) -> None:
    """Both of a value that is compressed into a page, beside others, and of one that is stored apart."""
    server.execute(f"alter table key_values alter value set storage {storage}")
    server.execute("insert into key_values (key, value) select n, '1' from generate_series(1, 10) n")
    add_line(server, LONGEST + 1)
    said = 'a key_value makes a line of 2 MiB, and 2 is the most that can be loaded again: it begins with {"model"'
    with pytest.raises(InvalidValue, match=said):
        tomato_dao.dump(db, tmp_path / "dump.json")
    assert list(tmp_path.iterdir()) == []


def test_many_short_lines_may_be_longer_together(
    db: Database, server: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dump, "LONGEST", 1000)
    server.execute("insert into key_values (key, value) select n, '1' from generate_series(1, 100) n")
    assert len(dumped(db)) > 5000

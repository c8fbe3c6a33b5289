"""A load sends rows of numbers, times and words in COPY's binary format; nobody can tell but by its time."""

import io
import json
from collections.abc import Callable, Sequence
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg import sql

import tomato_dao
from tests.helpers.transfer_cases import as_json, by_hand, floats, instants, numbers, texts
from tomato_dao import Database, TomatoError
from tomato_dao.transfer import catalog, record
from tomato_dao.transfer.binary import _KEPT, BEGIN, END, _Kept, can_be_binary
from tomato_dao.transfer.catalog import Table
from tomato_dao.transfer.reader import DumpReader

pytestmark = pytest.mark.as_owner  # which a load needs

integers = st.sampled_from([0, 1, 2**15, 2**31, 2**63]).flatmap(lambda n: st.sampled_from([str(n), str(n - 1), str(-n)]))
VALUES = {
    "q": integers, "i": integers, "h": integers,
    "d": numbers | floats.map(as_json) | floats.map(abs).map(repr),
    "instant": instants.map(lambda at: as_json(at.isoformat())) | st.sampled_from([
        '"2026-01-31T24:00:00+00:00"', '"2026-02-31T12:00:00+00:00"', '"2026-01-31T12:00:60+00:00"', '"2026-01-31T12:00:00Z"',
        '"2026-01-31T12:00:00+23:00"', '"2026-W01-1T12:00:00+00:00"', '"infinity"', '"0000-01-31T12:00:00+00:00"', "null",
    ]),
    "word": texts.map(as_json) | st.sampled_from(['"hour"', '"5minutes"', f'"{"x" * 61}"']),
}  # fmt: skip
PLAIN = {"q": "7", "i": "7", "h": "7", "d": "0.5", "instant": '"2026-01-31T12:00:00.5+00:00"', "word": '"hour"'}


@pytest.fixture
def table(server: psycopg.Connection) -> Table:
    """Return a table of all types that are sent in binary, of which there is another for their rows as text."""
    for name in ("binary_things", "text_things"):
        server.execute(
            sql.SQL(
                'create table {} (id bigint, kind text, "class" smallint not null, fourth int not null, at instant not null,'
                " size double precision not null, word text not null, primary key (id, kind))"
            ).format(sql.Identifier(name))
        )
    return next(table for table in catalog.tables(server) if table.name == "binary_things")


def line(table: Table, values: Sequence[str]) -> bytes:
    fields = ",".join(f'"{c.name}":{value}' for c, value in zip(table.fields, values[len(table.key) :], strict=True))
    pk = ",".join(values[: len(table.key)])
    return f'{{"model":"{table.model}","pk":[{pk}],"fields":{{{fields}}}}},\n'.encode()


def copied(server: psycopg.Connection, name: str, columns: Sequence[catalog.Column], form: str, data: bytes) -> list[Any]:
    """Return the rows as a table has them once they were copied into it, each value as the server would send it."""
    names = sql.SQL(", ").join(sql.Identifier(column.name) for column in columns)
    query = sql.SQL("copy {} ({}) from stdin (format {})").format(sql.Identifier(name), names, sql.SQL(form))
    with server.transaction(force_rollback=True):
        with server.cursor() as cursor, cursor.copy(query) as copy:
            copy.write(data)
        found = sql.SQL("select *, float8send(size) from {} order by id, kind").format(sql.Identifier(name))
        return server.execute(found).fetchall()


@pytest.mark.slow
@given(st.data())
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_rows_are_the_same_in_both_formats(server: psycopg.Connection, table: Table, data: st.DataObject) -> None:
    reading = record.RecordReader(table)
    assert reading.binary
    lines = []
    for n in range(data.draw(st.integers(1, 3))):
        odd = data.draw(st.sets(st.sampled_from(table.columns), max_size=2))
        values = [data.draw(VALUES[column.wire]) if column in odd else PLAIN[column.wire] for column in table.columns]
        lines.append(line(table, [str(n), *values[1:]] if table.columns[0] not in odd else values))
    text = b"".join(lines)
    if found := reading.binary.rows(text):
        rows, size = found
        assert size == len(lines)
        as_text = b"\n".join(reading.binary.as_text(text))
        try:
            expected = copied(server, "text_things", table.columns, "text", as_text)
        except psycopg.errors.UniqueViolation:
            return
        assert copied(server, "binary_things", reading.binary.columns, "binary", BEGIN + rows + END) == expected


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.replace(b'"size":0.5', b'"size":0.5,"size":0.5'),
        lambda text: text.replace(b'"size":0.5', b'"size" :0.5'),
        lambda text: text.replace(b'"size":0.5', b'"size":\n0.5'),
        lambda text: text.replace(b'"size":0.5', b'"size":-0'),
        lambda text: text.replace(b'"size":0.5', b'"size":1e-400'),
        lambda text: text.replace(b'"size":0.5', b'"size":0.%b1' % (b"0" * 400)),
        lambda text: text.replace(b'"size"', b'"sizes"'),
        lambda text: text.replace(b'"binary_thing"', b'"text_thing"'),
        lambda text: text.replace(b'"hour"', b'"h\\u006fur"'),
        lambda text: text.replace(b'"hour"', b'"%b"' % (b"x" * 61)),
        lambda text: text.replace(b"7", b"7.0"),
        lambda text: text.replace(b'+00:00"', b'+01:00"'),
        lambda text: text.replace(b".5+00:00", b".1234567+00:00"),  # digits that the server rounds
        lambda text: text.replace(b"},\n", b"}\n"),
    ],
)
def test_a_line_that_is_not_plain_is_left_to_the_text_format(table: Table, change: Callable[[bytes], bytes]) -> None:
    reading = record.RecordReader(table)
    assert reading.binary
    plain = b"".join(line(table, [str(n), *(PLAIN[column.wire] for column in table.columns[1:])]) for n in range(3))
    assert reading.binary.rows(plain)
    assert change(plain) != plain
    assert reading.binary.rows(change(plain)) is None


class LineByLine(io.BytesIO):
    """A dump that arrives so slowly that each line is looked at by itself."""

    def read(self, size: int | None = -1, /) -> bytes:
        """Return the next line."""
        return super().readline(-1 if size is None else size)


def usage(pk: tuple[int, str, str], **fields: Any) -> dict[str, Any]:
    numbers = dict.fromkeys(("memory", "diskspace", "traffic", "cputime", "measurements"), 1)
    return {"model": "usage_record", "pk": pk, "fields": {"begin_at": "2026-01-31T00:00:00+00:00", **numbers, **fields}}


END_AT = "2026-01-31T00:05:00+00:00"
IDENTITY = {"model": "usage_statistic", "pk": 1, "fields": {"attrs": {}}}
GOOD = [usage((1, kind, END_AT)) for kind in ("day", "hour", "month")]


@pytest.mark.one_server
@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (usage((1, "decade", END_AT)), "line 7: usage_record 1, decade, .*: a type is 5minutes, hour"),
        (
            usage((1, "year", END_AT), begin_at="2027-01-31T00:00:00+00:00"),
            "line 7: usage_record 1, year, .*: a record can't end before it begins",
        ),
        (usage((1, "day", END_AT)), "line 7: usage_record 1, day, .*: it exists already, on line 4"),
        (usage((2, "year", END_AT)), "line 7: usage_record 2, year, .*: usage_id 2 refers to a missing usage_statistic"),
    ],
)
def test_a_refused_row_is_named_as_in_the_text_format(
    db: Database, wrong: dict[str, Any], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    dump = by_hand(db, [IDENTITY, *GOOD, wrong]).getvalue()
    with db.connection() as connection:
        tables = catalog.tables(connection)
    blocks = [
        b for b in DumpReader(dump.splitlines(keepends=True)).blocks(tables) if b.table.name == "usage_records" and b.rows
    ]
    assert [block.binary is not None for block in blocks] == [False, True, True, True]  # the first one has the table's reader
    messages = []
    for allowed in (can_be_binary, lambda _: False):
        monkeypatch.setattr(record, "can_be_binary", allowed)
        for merge in (False, True):
            with pytest.raises(TomatoError, match=said) as refused:
                tomato_dao.load(db, LineByLine(dump), merge=merge)
            messages.append((type(refused.value), str(refused.value)))
    assert messages[:2] == messages[2:]


def test_formats_can_change_within_a_table(db: Database, server: psycopg.Connection) -> None:
    odd = json.dumps(usage((1, "year", END_AT), traffic=-0.0)) + ","
    tomato_dao.load(
        db, LineByLine(by_hand(db, [IDENTITY, *GOOD, odd.removesuffix(","), usage((1, "5minutes", END_AT))]).getvalue())
    )
    rows = server.execute("select type, end_at, float8send(traffic) from usage_records order by ctid").fetchall()
    assert [row[0] for row in rows] == ["day", "hour", "month", "year", "5minutes"]
    assert {row[1].isoformat() for row in rows} == {END_AT}
    assert [row[2][0] for row in rows] == [0x3F, 0x3F, 0x3F, 0x80, 0x3F]


def test_times_and_words_are_cached_up_to_a_number() -> None:
    made: list[str] = []

    def make(text: str) -> bytes:
        made.append(text)
        return text.encode()

    cache = _Kept(make)
    for n in range(2 * _KEPT + 5):
        assert cache[str(n)] == cache[str(n)] == str(n).encode()
        assert len(cache) <= _KEPT
    assert len(made) == 2 * _KEPT + 5

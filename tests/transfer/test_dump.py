"""The dump: everything as of one moment, in a format that any JSON tool reads, and every value exactly as it was."""

import hashlib
import io
import json
import select
import threading
from collections.abc import Generator, Iterator, Sequence
from contextlib import ExitStack
from decimal import Decimal
from pathlib import Path
from select import POLLHUP, POLLIN, POLLOUT
from time import process_time
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st
from psycopg import sql
from psycopg.pq import TransactionStatus
from psycopg.waiting import Ready, Wait

import tomato_dao
from tests.conftest import World
from tests.helpers.hanging_cases import stopped
from tests.helpers.transfer_cases import (
    FLOATS,
    INSTANTS,
    NUMBERS,
    TEXTS,
    another_database,
    as_json,
    dumped,
    floats,
    instants,
    jsons,
    records,
    rows_of,
    texts,
)
from tomato_dao import Database, NotAllowed, WrongSchema, WrongState, connect
from tomato_dao.server import schema
from tomato_dao.transfer import catalog, snapshot
from tomato_dao.transfer.dump import _ENOUGH, _Body, trailer

pytestmark = [pytest.mark.as_owner, pytest.mark.slow]  # which a load needs


def test_a_dump_is_a_json_array_with_a_record_per_line(db: Database, world: World) -> None:
    text = dumped(db)
    lines = text.decode().splitlines()
    assert (lines[0], lines[-1]) == ("[", "]")
    assert [json.loads(line.removesuffix(",")) for line in lines[1:-1]] == json.loads(text)
    head, *found, tail = json.loads(text)
    assert head["model"] == "dump.header"
    assert (head["fields"]["format"], head["fields"]["schema_version"]) == (1, schema.known()[-1])
    assert head["fields"]["migrations"] == schema.known()
    assert list(tail["fields"]["models"]) == head["fields"]["models"]
    assert tail["fields"]["rows"] == len(found) == sum(tail["fields"]["models"].values())
    (user,) = [record for record in found if record["model"] == "user"]
    assert (user["pk"], user["fields"]["name"], user["fields"]["organization_id"]) == (
        world.user.id,
        "alice",
        world.organization.id,
    )
    assert "id" not in user["fields"]
    quota = next(record for record in found if record["model"] == "quota")
    assert (quota["pk"], quota["fields"]["monthly_cputime"]) == (world.user.id, 12960000)


def test_a_reader_may_dump(db: Database, world: World, reader_url: str) -> None:
    with tomato_dao.connect(reader_url) as reader:
        assert dumped(reader, jobs=2) == dumped(db)


def test_a_dump_is_in_an_open_file_before_that_is_closed(db: Database, world: World, tmp_path: Path) -> None:
    with (tmp_path / "dump").open("wb") as file:
        tomato_dao.dump(db, file)
        assert (tmp_path / "dump").read_bytes() == dumped(db)


def test_another_schema_is_refused_with_what_is_missing(db: Database, server: psycopg.Connection) -> None:
    server.execute("delete from schema_migrations where version = %s", [schema.known()[-1]])
    with pytest.raises(WrongSchema, match=f"lacks 1 of .* migrations \\({schema.known()[-1]} is next\\)"):
        dumped(db)


@pytest.mark.one_server
def test_a_database_that_lost_its_schema_is_refused_before_its_tables_are_read(
    db: Database, server: psycopg.Connection
) -> None:
    server.execute("drop schema public cascade; create schema public")
    with pytest.raises(WrongSchema, match=f"lacks {len(schema.known())} of"):
        dumped(db)


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_table_that_cannot_be_read_is_told_as_the_server_tells_it(
    db: Database, world: World, server: psycopg.Connection, reader_url: str, jobs: int
) -> None:
    server.execute("revoke execute on function to_json(anyelement) from public")
    with connect(reader_url) as reader, pytest.raises(NotAllowed, match="permission denied for function to_json"):
        dumped(reader, jobs=jobs)


def test_a_dump_has_a_transaction_of_its_own(db: Database) -> None:
    with pytest.raises(WrongState), db.transaction():
        dumped(db)


def choice(values: Sequence[Any], n: int) -> Any:
    """Return one value after the other, over and over."""
    return values[n % len(values)]


# Text that PostgreSQL stores: no U+0000, no half of a surrogate pair.
@pytest.fixture(scope="module")
def values(tomato_server_url: str, tomato_template: str) -> Iterator[tuple[Database, Database]]:
    """Two databases with one table, which has every kind of column, in another order of columns than the key's."""
    create = """
    create table odd_values (
      t text not null, n double precision, at instant, j jsonb not null, k text, b boolean, i smallint,
      list text[], "Odd ""name"" x" numeric, primary key (k, t)
    )
    """
    with (
        another_database(tomato_server_url, tomato_template) as one,
        another_database(tomato_server_url, tomato_template) as two,
    ):
        for db in (one, two):
            with db.connection() as connection:
                names = [sql.Identifier(table.name) for table in catalog.tables(connection)]
                connection.execute(sql.SQL("drop table {} cascade").format(sql.SQL(", ").join(names)))  # they take time
                connection.execute(create)
        yield one, two


ODD_VALUES = [
    (
        text, choice(FLOATS, n), choice([*INSTANTS, None], n), as_json({text: ("number", choice(NUMBERS, n))}), f"k{n}",
        choice([True, False, None], n), choice([-(2**15), 2**15 - 1, None], n), [text, None, choice(TEXTS, n + 1)],
        Decimal(choice(NUMBERS, n)),
    )
    for n, text in enumerate(TEXTS)
]  # fmt: skip


@pytest.mark.slow
@example(rows=ODD_VALUES)
@given(
    st.lists(
        st.tuples(
            texts, st.none() | floats, st.none() | instants, jsons.map(as_json), texts, st.none() | st.booleans(),
            st.none() | st.integers(-(2**15), 2**15 - 1), st.none() | st.lists(st.none() | texts, max_size=3),
            st.none() | st.decimals(allow_nan=False, allow_infinity=False),
        ),
        max_size=40, unique_by=lambda row: (row[0], row[4]),
    )
)  # fmt: skip
@settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck), phases=set(Phase) - {Phase.shrink})
def test_every_value_survives(values: tuple[Database, Database], rows: list[tuple[Any, ...]]) -> None:
    one, two = values
    with one.connection() as connection, connection.cursor() as cursor:
        connection.execute("truncate odd_values")
        cursor.executemany("insert into odd_values values (%s, %s, %s, %s::jsonb, %s, %s, %s, %s, %s)", rows)
        before = rows_of(connection)
    text = dumped(one)
    tomato_dao.load(two, io.BytesIO(text), replace=True)
    with two.connection() as connection:
        after = rows_of(connection)
    # Each of the many examples that a shrinking would try costs a load: instead, show the rows in question.
    changed = [pair for pair in zip(before["odd_values"], after["odd_values"], strict=True) if pair[0] != pair[1]]
    assert changed == []
    assert after == before
    assert dumped(two) == text


@pytest.mark.slow
def test_large_values_survive(db: Database, world: World) -> None:
    with db.connection() as connection:
        connection.execute("insert into error_groups values ('g', repeat(E'\\n\"\\\\x', 100000) || repeat(md5('x'), 1600000))")
        connection.execute(
            "insert into key_values (key, value) values ('deep', (repeat('[', 3000) || repeat(']', 3000))::jsonb)"
        )
        connection.execute(
            "insert into key_values (key, value) select 'wide', to_jsonb(array_agg(n || 'x')) from generate_series(1, 150000) n"
        )
        before = rows_of(connection)
    text = dumped(db)
    assert len(text) > 50_000_000
    tomato_dao.load(db, io.BytesIO(text), replace=True)
    with db.connection() as connection:
        assert rows_of(connection) == before
    assert dumped(db) == text


def test_rows_keep_their_order_whatever_their_size(db: Database, server: psycopg.Connection) -> None:
    server.execute(
        "insert into key_values (key, value) select n, to_jsonb(repeat(md5(n::text), (n * 7919) % 190)) "
        "from generate_series(3000, 1, -1) n"
    )
    text = dumped(db)
    tomato_dao.load(db, io.BytesIO(text), replace=True)
    assert dumped(db) == text


@pytest.mark.one_server
@pytest.mark.slow
def test_several_jobs_write_the_same_bytes(db: Database, server: psycopg.Connection, tomato_url: str) -> None:
    server.execute("insert into usage_statistics (attrs) select '{}' from generate_series(1, 100)")
    server.execute(
        "insert into usage_records (usage_id, type, begin_at, end_at, memory) select 1 + n % 100, '5minutes', "
        "timestamptz '2026-01-01' + n * interval '1 s', timestamptz '2026-01-01' + n * interval '1 s', random() "
        "from generate_series(1, 60000) n"
    )
    text = dumped(db)
    assert dumped(db, jobs=2) == dumped(db, jobs=3) == dumped(db, jobs=100_000) == text
    with tomato_dao.connect(tomato_url, pool_size=2) as small:
        assert dumped(small, jobs=4) == text
    with tomato_dao.connect(tomato_url, pool_size=50) as large:
        assert dumped(large, jobs=100_000) == text
    assert len(records(text)) == 60100


@pytest.fixture
def readers(monkeypatch: pytest.MonkeyPatch) -> list[snapshot._SnapshotReader]:
    """Provide a list that gets the readers of each dump, one for each connection."""
    found: list[snapshot._SnapshotReader] = []
    lines = snapshot._lines

    def noted(reader: snapshot._SnapshotReader, readers: Sequence[snapshot._SnapshotReader]) -> Iterator[snapshot.DumpedLines]:
        found[:] = readers
        return lines(reader, readers)

    monkeypatch.setattr(snapshot, "_lines", noted)
    return found


def test_a_dump_takes_one_connection_unless_told_otherwise(
    db: Database, world: World, readers: list[snapshot._SnapshotReader]
) -> None:
    tomato_dao.dump(db, io.BytesIO())
    assert len(readers) == 1
    tomato_dao.dump(db, io.BytesIO(), jobs=2)
    assert len(readers) == 2


@pytest.mark.slow
def test_jobs_that_are_given_up_leave_the_pool_whole(
    db: Database, server: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    stopped_sessions: list[bool] = []
    stop = snapshot._SnapshotReader.stop

    def noted(self: snapshot._SnapshotReader) -> None:
        was_reading = self._connection.pgconn.transaction_status == TransactionStatus.ACTIVE
        stop(self)
        if was_reading:
            stopped_sessions.append(self._connection.closed)

    monkeypatch.setattr(snapshot._SnapshotReader, "stop", noted)
    server.execute("insert into usage_statistics (attrs) select '{}' from generate_series(1, 200000)")

    class Full(io.RawIOBase):
        def write(self, _: object) -> int:
            raise OSError(28, "No space left on device")

    for jobs in (1, 3):
        with pytest.raises(OSError, match="No space left"):
            tomato_dao.dump(db, Full(), jobs=jobs)  # type: ignore[arg-type]
    assert set(stopped_sessions) == {True}  # at once, and not by a rollback in the midst of a COPY
    assert dumped(db, jobs=4).count(b"usage_statistic") > 200000


def test_a_small_dump_is_written_in_one_piece(db: Database, world: World) -> None:
    pieces: list[int] = []

    class Output(io.BytesIO):
        def write(self, data: Any) -> int:
            pieces.append(len(data))
            return super().write(data)

    tomato_dao.dump(db, Output())
    assert len(pieces) == 2  # and its trailer


@pytest.mark.parametrize("size", [_ENOUGH - 1, _ENOUGH, _ENOUGH + 1])
def test_pieces_of_any_size_are_written_in_order(size: int) -> None:
    file = io.BytesIO()
    body = _Body(file)
    for n, piece in enumerate((1, size, 1, size, size, 1)):
        body.write(bytes([n]) * piece)
    body.end({})
    expected = b"".join(bytes([n]) * piece for n, piece in enumerate((1, size, 1, size, size, 1)))
    assert file.getvalue() == expected + trailer({}, hashlib.sha256(expected).hexdigest()) + b"\n]\n"


def test_a_reader_goes_on_with_what_its_socket_is_ready_for(db: Database) -> None:
    told: list[Ready | int] = []

    def reading() -> Generator[Wait, Ready | int, None]:
        while len(told) < 5:
            told.append((yield Wait.RW))

    with db.connection() as connection:
        reader = snapshot._SnapshotReader(connection, [], set(), 1)
    reader._reading = reading()
    reader.start()
    assert reader.events == POLLIN | POLLOUT
    for events in (POLLIN, POLLOUT, POLLIN | POLLOUT, POLLHUP):
        reader.go_on(events)
    assert told == [Ready.R, Ready.W, Ready.RW, Ready.R]
    reader.go_on(POLLIN)
    assert reader.events == 0  # it is at its end, and waits for nothing


def test_a_dump_reads_no_further_ahead_than_it_may(
    db: Database, server: psycopg.Connection, monkeypatch: pytest.MonkeyPatch, readers: list[snapshot._SnapshotReader]
) -> None:
    server.execute("insert into key_values (key, value) select n, to_jsonb(repeat('x', 1000)) from generate_series(1, 20000) n")
    monkeypatch.setattr(snapshot, "_AHEAD", 1 << 18)
    most = taken = 0
    with snapshot.taken(db, 2) as found:
        for piece in found.pieces:
            for block in piece:
                taken += len(block.text)
                most = max(most, *(sum(len(ahead.text) for ahead in reader.found if ahead) for reader in readers))
                sockets = select.poll()
                for reader in readers:
                    if reader.events:
                        sockets.register(reader.socket, reader.events)
                sockets.poll(1000 if any(reader.events for reader in readers) else 0)
    assert taken > 20_000_000
    assert most < 1 << 19


def test_a_dump_that_waits_for_the_server_does_not_use_the_cpu(tomato_url: str, server: psycopg.Connection) -> None:
    server.execute("insert into key_values (key, value) select n, to_jsonb(repeat('x', 1000)) from generate_series(1, 20000) n")
    stop = ExitStack()
    resumed = threading.Event()
    used: list[float] = []

    def resume() -> None:
        resumed.set()
        stop.close()

    class Output(io.BytesIO):
        def write(self, data: Any) -> int:
            if not used:
                used.append(process_time())
                stop.enter_context(stopped(server, "dumping"))
                threading.Timer(2, resume).start()
            elif len(used) == 1 and resumed.is_set():
                used.append(process_time())
            return super().write(data)

    with connect(tomato_url, application_name="dumping") as db, stop:
        tomato_dao.dump(db, Output())
    began, ended = used
    assert ended - began < 0.5


@pytest.mark.one_server
@pytest.mark.slow
def test_a_dump_among_writers_has_no_dangling_reference(
    db: Database, world: World, tomato_server_url: str, tomato_template: str
) -> None:
    over = threading.Event()
    document = {
        "file_information": {"version": 3},
        "topology": {
            "attrs": {"name": "t"},
            "elements": [
                {"id": 1, "type": "openvz", "parent": None, "attrs": {}},
                {"id": 2, "type": "openvz_interface", "parent": 1, "attrs": {}},
                {"id": 3, "type": "openvz_interface", "parent": 1, "attrs": {}},
            ],
            "connections": [{"id": 1, "type": "bridge", "elements": [2, 3], "attrs": {}}],
        },
    }

    def work() -> None:
        while not over.is_set():
            db.topologies.delete(db.topologies.import_(json.dumps(document), owner_id=world.user.id).topology_id)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    try:
        texts_found = [dumped(db, jobs=1 + n % 2) for n in range(4)]
    finally:
        over.set()
        for thread in threads:
            thread.join()
    with another_database(tomato_server_url, tomato_template) as other:
        for text in texts_found:
            tomato_dao.load(other, io.BytesIO(text), replace=True)
            assert dumped(other) == text

"""The load: into an empty database, instead of what is there, or merged into it; and all of the schema as it was."""

import copy
import io
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from time import monotonic

import psycopg
import pytest

import tomato_dao
from tests.conftest import World
from tests.helpers.transfer_cases import another_database, by_hand, dumped, organization, records, rows_of, schema_of, site
from tomato_dao import AlreadyExists, Database, InvalidValue, NotAllowed, NotEmpty, NotFound, WrongState
from tomato_dao.transfer import engine
from tomato_dao.transfer.catalog import Table
from tomato_dao.transfer.load import check
from tomato_dao.transfer.record import RecordReader
from tomato_dao.transfer.report import Progress, Summary

pytestmark = [pytest.mark.as_owner, pytest.mark.slow]  # which a load needs


@pytest.mark.one_server
def test_a_dump_loaded_elsewhere_gives_the_same_rows(
    db: Database, world: World, server: psycopg.Connection, tomato_server_url: str, tomato_template: str
) -> None:
    topology = db.topologies.create("lab", owner_id=world.user.id)
    machine = db.elements.create(topology.id, "openvz", attrs={"name": "vm"})
    ends = [db.elements.create(topology.id, "openvz_interface", parent_id=machine.id).id for _ in range(2)]
    db.connections.create(*ends)
    text = dumped(db)
    with another_database(tomato_server_url, tomato_template) as other:
        summary = tomato_dao.load(other, io.BytesIO(text))
        assert summary.models["element"] == 3
        assert summary.rows == len(records(text)) + 1
        assert dumped(other) == text
        with other.connection() as connection:
            assert rows_of(connection) == rows_of(server)
            assert schema_of(connection) == schema_of(server)
        assert other.topologies.full(topology.id) == db.topologies.full(topology.id)


def test_summaries_tell_how_long_a_dump_its_check_and_its_load_took(db: Database, tmp_path: Path) -> None:
    file = tmp_path / "dump.json"
    calls: list[Callable[[], Summary]] = [
        lambda: tomato_dao.dump(db, file),
        lambda: check(file),
        lambda: tomato_dao.load(db, file),
    ]
    for call in calls:
        began = monotonic()
        summary = call()
        assert 0 < summary.seconds <= monotonic() - began


@pytest.mark.slow
def test_ids_go_on_after_the_highest(db: Database) -> None:
    tomato_dao.load(db, by_hand(db, [organization(7), organization(1000), organization(5)]))
    assert db.organizations.create("next").id == 1001
    tomato_dao.load(db, by_hand(db, [organization(3)]), replace=True)
    assert db.organizations.create("next").id == 4
    tomato_dao.load(db, by_hand(db, []), replace=True)
    assert db.organizations.create("next").id == 1


@pytest.mark.slow
def test_a_merge_never_sets_a_sequence_back(db: Database) -> None:
    """Remove the row with the highest id, which a load or a call made, and merge afterwards, also twice."""
    tomato_dao.load(db, by_hand(db, [organization(1000)]))
    db.organizations.delete("org1000")
    tomato_dao.load(db, by_hand(db, [organization(3)]), merge=True)
    tomato_dao.load(db, by_hand(db, [organization(4)]), merge=True)
    used = db.organizations.create("used").id
    assert used == 1001
    db.organizations.delete("used")
    tomato_dao.load(db, by_hand(db, [organization(5)]), merge=True)
    assert db.organizations.create("next").id == 1002
    tomato_dao.load(db, by_hand(db, [organization(2000)]), merge=True)
    assert db.organizations.create("last").id == 2001


def test_a_piece_that_ends_with_a_block_leaves_none_out(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    def blocks(tables: list[Table]) -> Iterator[engine.Block]:
        (table,) = (table for table in tables if table.name == "organizations")
        for n in range(1, 5):
            row = RecordReader(table).row(b"%b," % json.dumps(organization(n), separators=(",", ":")).encode())
            assert row
            monkeypatch.setattr(engine, "_PIECE", len(row))
            yield engine.Block(table, row, 1, n)

    assert engine.load_blocks(db, blocks)["organization"] == 4
    assert [o.id for o in db.organizations.list()] == [1, 2, 3, 4]


def test_only_an_empty_database_is_loaded_into_unasked(db: Database, world: World) -> None:
    text = dumped(db)
    told = r"is not empty \(there are usage_statistics\): load into another, or with replace"
    with pytest.raises(NotEmpty, match=told) as caught:
        tomato_dao.load(db, io.BytesIO(text))
    assert caught.value.entity == "usage_statistic"
    with pytest.raises(InvalidValue, match="a load can replace or merge, not both"):
        tomato_dao.load(db, io.BytesIO(text), replace=True, merge=True)
    with pytest.raises(WrongState), db.transaction():
        tomato_dao.load(db, io.BytesIO(text), replace=True)
    assert dumped(db) == text


def test_a_replacing_load_leaves_nothing_of_before(db: Database, world: World, server: psycopg.Connection) -> None:
    before = schema_of(server)
    tomato_dao.load(db, by_hand(db, [organization(5)]), replace=True)
    assert [(record["model"], record["pk"]) for record in records(dumped(db))] == [("organization", 5)]
    assert schema_of(server) == before
    with pytest.raises(AlreadyExists):
        db.organizations.create("org5")
    with pytest.raises(NotFound):
        db.sites.create("s", organization_id=99)


def test_a_merge_inserts_updates_and_leaves_the_rest(db: Database, server: psycopg.Connection) -> None:
    tomato_dao.load(db, by_hand(db, [*map(organization, (1, 2, 9)), site(1, 1)]))
    before = schema_of(server)
    swapped = [organization(1, "org2"), organization(2, "org1", attrs={"n": 1.10}), organization(4), site(2, 4)]
    summary = tomato_dao.load(db, by_hand(db, swapped), merge=True)
    assert summary.models["organization"] == 3
    assert [(o.id, o.name) for o in db.organizations.list()] == [(1, "org2"), (2, "org1"), (4, "org4"), (9, "org9")]
    assert {s.id: s.organization_id for s in db.sites.list()} == {1: 1, 2: 4}
    assert db.organizations.create("next").id == 10
    assert schema_of(server) == before


@pytest.mark.slow
def test_a_merge_names_who_is_in_the_way(db: Database) -> None:
    tomato_dao.load(db, by_hand(db, [organization(1), organization(2)]))
    text = dumped(db)
    for lines, said in (
        ([organization(3, "org2")], "line 3: organization 3: another organization of the database has the same name"),
        ([organization(3), organization(3, "x")], "line 4: organization 3: it exists already, on line 3"),
        (
            [organization(4, "y"), organization(3, "y")],
            "line 4: organization 3: its name is that of the organization on line 3",
        ),
    ):
        with pytest.raises(AlreadyExists, match=said):
            tomato_dao.load(db, by_hand(db, lines), merge=True)
    with pytest.raises(NotFound, match="line 3: site 1: organization_id 99 refers to a missing organization"):
        tomato_dao.load(db, by_hand(db, [site(1, 99)]), merge=True)
    with pytest.raises(InvalidValue, match="line 4: organization 3: a name has at most 50 characters"):
        tomato_dao.load(db, by_hand(db, [organization(5), organization(3, "a/b")]), merge=True)
    assert dumped(db) == text


def test_a_merge_that_breaks_a_row_that_stays_says_which(db: Database, world: World) -> None:
    topologies = [db.topologies.create(name, owner_id=world.user.id).id for name in "ab"]
    machine = db.elements.create(topologies[0], "openvz")
    interface = db.elements.create(topologies[0], "openvz_interface", parent_id=machine.id)
    (moved,) = [r for r in records(dumped(db)) if (r["model"], r["pk"]) == ("element", machine.id)]
    moved["fields"]["topology_id"] = topologies[1]
    with pytest.raises(NotFound, match=f"to missing records: element {interface.id}: topology_id, parent_id, parent_type"):
        tomato_dao.load(db, by_hand(db, [moved]), merge=True)


def test_our_triggers_are_off_while_it_loads(db: Database, world: World) -> None:
    topology = db.topologies.create("lab", owner_id=world.user.id)
    machine = db.elements.create(topology.id, "openvz")
    ends = [db.elements.create(topology.id, "openvz_interface", parent_id=machine.id).id for _ in range(2)]
    found = records(dumped(db))
    connection = {
        "model": "connection", "pk": 1, "fields": {
            "topology_id": topology.id, "type": "bridge", "state": "created", "host_connection1_id": None,
            "host_connection2_id": None, "host_element1_id": None, "host_element2_id": None, "usage_id": None, "attrs": {},
        },
    }  # fmt: skip
    for record in found:
        if record["model"] == "element" and record["pk"] in ends:
            record["fields"]["connection_id"] = 1
        if record["model"] == "user":
            record["fields"]["flags"] = ["of an old installation"]
    kept = [record for record in found if record["model"] != "topology_permission"]
    tomato_dao.load(db, by_hand(db, [*kept, connection]), replace=True)
    assert [db.elements.get(end).connection_id for end in ends] == [1, 1]
    assert db.users.get(world.user.id).flags == ["of an old installation"]
    with pytest.raises(InvalidValue, match="a new flag must be a known one"):
        db.users.add_flag(world.user.id, "another")


def test_a_connection_without_two_ends_is_refused(db: Database, world: World) -> None:
    topology = db.topologies.create("lab", owner_id=world.user.id)
    machine = db.elements.create(topology.id, "openvz")
    ends = [db.elements.create(topology.id, "openvz_interface", parent_id=machine.id).id for _ in range(3)]
    connection = db.connections.create(ends[0], ends[1])
    text = dumped(db)
    found = records(text)
    line = 3 + [(r["model"], r["pk"]) for r in found].index(("connection", connection.id))
    (third,) = (r for r in found if (r["model"], r["pk"]) == ("element", ends[2]))
    third["fields"]["connection_id"] = connection.id
    (second,) = (r for r in found if (r["model"], r["pk"]) == ("element", ends[1]))
    (alone := copy.deepcopy(second))["fields"]["connection_id"] = None
    with pytest.raises(InvalidValue, match=f": connection {connection.id}: 1 end$"):
        tomato_dao.load(db, by_hand(db, [alone if r is second else r for r in found if r is not third]), replace=True)
    said = f"connection {connection.id}: 3 ends$"
    with pytest.raises(InvalidValue, match=f"^connections need exactly two ends: line {line}: {said}"):
        tomato_dao.load(db, by_hand(db, found), replace=True)
    with pytest.raises(InvalidValue, match=f"^connections need exactly two ends: {said}"):
        tomato_dao.load(db, by_hand(db, [third]), merge=True)
    assert dumped(db) == text


def test_disabled_triggers_stay_disabled(db: Database, server: psycopg.Connection) -> None:
    server.execute("alter table users disable trigger users_flags_inserted")
    server.execute("alter table users enable always trigger users_flags_updated")
    server.execute("alter table elements enable replica trigger elements_removable")
    before = schema_of(server)
    tomato_dao.load(db, by_hand(db, [organization(1)]))
    assert schema_of(server) == before


@pytest.mark.slow
@pytest.mark.parametrize("merge", [False, True])
def test_a_table_that_takes_several_copies_comes_whole(db: Database, monkeypatch: pytest.MonkeyPatch, merge: bool) -> None:
    monkeypatch.setattr(engine, "_PIECE", 1)
    lines = [organization(n, attrs={"long": "x" * 10000}) for n in range(1, 101)]
    tomato_dao.load(db, by_hand(db, lines), merge=merge)
    text = dumped(db)
    assert records(text) == lines
    lines.append(organization(101, "a/b"))
    with pytest.raises(InvalidValue, match="line 103: organization 101: a name has at most 50 characters"):
        tomato_dao.load(db, by_hand(db, lines), replace=not merge, merge=merge)
    lines[-1] = organization(101, "org7")
    with pytest.raises(AlreadyExists, match="line 103: organization 101: its name is that of the organization on line 9"):
        tomato_dao.load(db, by_hand(db, lines), replace=not merge, merge=merge)
    assert dumped(db) == text


@pytest.mark.parametrize("merge", [False, True])
def test_a_load_by_another_than_the_owner_is_refused(db: Database, world: World, app_url: str, merge: bool) -> None:
    text = dumped(db)
    with (
        tomato_dao.connect(app_url, pool_size=1) as worker,
        pytest.raises(NotAllowed, match=r"a load must run as the owner of the tables; set OWNER_DATABASE_URL$"),
    ):
        tomato_dao.load(worker, io.BytesIO(text), replace=not merge, merge=merge)
    assert dumped(db) == text


def test_lines_may_be_written_otherwise(db: Database) -> None:
    """Other order of models, members and fields, spaces, escapes; only a line is a record."""
    backwards = [
        json.dumps({"pk": 1, **site(1, 5, longitude=8.5)}, indent=None, separators=(" , ", " : ")),
        json.dumps(dict(reversed(organization(5, "Zoë \U0001d11e\u2028").items())), ensure_ascii=True) + "  ",
        json.dumps(organization(6, attrs={"\\u0041\n": ["\\", "\t"]}), sort_keys=True),
        json.dumps(organization(7, attrs={"a": [1]}), separators=(",", ":")).replace("[1]", "[\t1 \r]"),
    ]
    tomato_dao.load(db, by_hand(db, [line.rstrip() for line in backwards]))
    assert db.sites.get_by_name("site1").longitude == 8.5
    assert db.organizations.get(5).name == "Zoë \U0001d11e\u2028"
    assert db.organizations.get(6).attrs == {"\\u0041\n": ["\\", "\t"]}
    assert db.organizations.get(7).attrs == {"a": [1]}


def test_a_file_is_loaded_by_path_or_open(db: Database, world: World, tmp_path: object) -> None:
    text = dumped(db)

    class OnlyReads(io.RawIOBase):
        def __init__(self) -> None:
            self._file = io.BytesIO(text)

        def read(self, size: int = -1) -> bytes:
            return self._file.read(min(size, 7))

    tomato_dao.load(db, OnlyReads(), replace=True)  # type: ignore[arg-type]
    assert dumped(db) == text
    tomato_dao.dump(db, f"{tmp_path}/d.json.zst")
    tomato_dao.load(db, f"{tmp_path}/d", replace=True)
    assert dumped(db) == text


def test_progress_is_reported(db: Database, server: psycopg.Connection, tmp_path: Path) -> None:
    server.execute("insert into usage_statistics (attrs) select '{}' from generate_series(1, 1000)")
    told: list[Progress] = []
    text = io.BytesIO()
    tomato_dao.dump(db, text, progress=told.append)
    assert (told[-1].doing, told[-1].part, told[-1].rows) == ("dumping", 1.0, 1001)
    text.seek(0)
    tomato_dao.load(db, text, replace=True, progress=told.append)
    assert {"loading", "building indexes", "checking references"} <= {progress.doing for progress in told}
    assert told[-1].rows == 1001
    told.clear()
    (tmp_path / "dump.json").write_bytes(text.getvalue())
    tomato_dao.load(db, tmp_path / "dump", replace=True, progress=told.append)
    loading = [progress.part for progress in told if progress.doing == "loading"]
    assert loading
    assert all(part is not None and 0 < part <= 1 for part in loading)
    assert {progress.part for progress in told if progress.doing != "loading"} == {None}

"""Faults of a file are named with line and record, and leave the database as it was."""

import io
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from itertools import chain
from typing import Any

import psycopg
import pytest

import tomato_dao
from tests.conftest import World
from tests.helpers.transfer_cases import another_database, by_hand, closed, dumped, organization, records, rows_of, site
from tomato_dao import AlreadyExists, Database, InvalidValue, NotFound, TomatoError, WrongSchema
from tomato_dao.server import schema
from tomato_dao.transfer.blame import RowLines, Search
from tomato_dao.transfer.catalog import Reference, Table
from tomato_dao.transfer.load import check
from tomato_dao.transfer.reader import _SLICE, DumpReader

pytestmark = [pytest.mark.as_owner, pytest.mark.slow]  # which a load needs

Line = dict[str, Any] | str


def org_line(change: Callable[[str], str]) -> str:
    return change(json.dumps(organization(5), ensure_ascii=False))


WRONG_LINES: list[tuple[str, Sequence[Line], str]] = [
    ("not JSON", ["nothing"], "line 3: not JSON from column 1 on"),
    ("no object", ["[1]"], "line 3: expected an object, not an array"),
    ("no model", ['{"pk": 1, "fields": {}}'], "line 3: “model” is missing"),
    ("unknown model", [organization(4), {**organization(5), "model": "planet"}], "line 4: the model planet is unknown"),
    ("no pk", [{k: v for k, v in organization(5).items() if k != "pk"}], "line 3: organization: “pk” is missing"),
    ("no fields", ['{"model": "organization", "pk": 5}'], "line 3: organization 5: “fields” is missing"),
    ("another member", [{**organization(5), "x": 1}], "line 3: organization 5: “x” is not allowed beside"),
    ("unknown field", [organization(5, colour="red")], "line 3: organization 5: the field colour is unknown"),
    (
        "missing field",
        [org_line(lambda text: text.replace('"image_url": "", ', ""))],
        "line 3: organization 5: the field image_url is missing",
    ),
    ("field twice", [org_line(lambda t: t.replace('"fields": {', '"fields": {"name": "x", '))], "5: “name” occurs twice"),
    ("number for text", [organization(5, name=7)], "line 3: organization 5: name is 7, but must be a string"),
    ("null for text", [organization(5, description=None)], "organization 5: description is null, but must be a string"),
    ("text for number", [organization(5, usage_id="7")], 'organization 5: usage_id is "7", but must be an integer'),
    ("fraction for integer", [organization(5, usage_id=1.5)], "organization 5: usage_id is 1.5, but must be an integer"),
    ("too large an integer", [organization(5, usage_id=2**63)], "organization 5: value .9223372036854775808. is out of"),
    ("text for fraction", [site(1, 5, longitude="8.5")], 'site 1: longitude is "8.5", but must be a number, or “NaN”'),
    ("pk of a wrong type", [{**organization(5), "pk": "5"}], 'organization "5": id is "5", but must be an integer'),
    ("pk is an array", [{**organization(5), "pk": [5]}], r"organization \[5\]: id is \[5\], but must be an integer"),
    ("pk twice", [organization(5), organization(6), organization(5, name="again")],
     "line 5: organization 5: it exists already, on line 3"),
    ("name twice", [organization(5), organization(6, name="org5")],
     "line 4: organization 6: its name is that of the organization on line 3"),
    ("name twice, with another model between", [organization(5), site(1, 5), organization(6), organization(7, name="org5")],
     "line 6: organization 7: its name is that of the organization on line 3"),
    ("a value of 60 characters", [organization(5, name="/" * 60)], f"name is '{'/' * 60}'"),
    ("a longer value", [organization(5, name="/" * 61)], f"name is '{'/' * 59}…'"),
    ("reference to nothing", [organization(5), site(1, 5), site(2, 99)],
     "references to missing records: line 5: site 2: organization_id 99 refers to a missing organization"),
    ("U+0000", [organization(5, name="a\0b")], r"line 3: organization 5: a string has the character U\+0000"),
    ("U+0000 in JSON", [organization(5, attrs={"a": ["\0"]})], r"line 3: organization 5: a string has the character U\+0000"),
    ("half a pair", [org_line(lambda t: t.replace("org5", "\\ud800"))], "organization 5: a string has half a surrogate"),
    ("half a pair in JSON", [org_line(lambda t: t.replace("{}", '{"a": "\\udc00x"}'))], "a string has half a surrogate pair"),
    ("half a pair, bare", [organization(5, name="\ud800")], "line 3: it has bytes that are not valid UTF-8"),
    ("JSON of a wrong kind", [organization(5, attrs=[1])], "line 3: organization 5: attrs must be a JSON object: attrs is "),
    ("a rule", [organization(4), organization(5, name="a/b")],
     "line 4: organization 5: a name has at most 50 characters and no “/”: name is 'a/b'"),
    ("no comma", [org_line(lambda t: t), "{}{}"], "not JSON from column 3 on"),
    ("NaN bare", [site(1, 5, longitude=float("nan"))], "line 3: site 1: not JSON from column"),
]  # fmt: skip


@pytest.fixture(scope="module")
def empty(tomato_server_url: str, tomato_template: str) -> Iterator[Database]:
    """Provide an empty database, for what is refused and leaves it so."""
    with another_database(tomato_server_url, tomato_template) as db:
        yield db
        assert records(dumped(db)) == []


@pytest.mark.parametrize(("lines", "said"), [case[1:] for case in WRONG_LINES], ids=[case[0] for case in WRONG_LINES])
def test_a_wrong_line_is_named(empty: Database, lines: Sequence[Line], said: str) -> None:
    with pytest.raises(TomatoError, match=said):
        tomato_dao.load(empty, by_hand(empty, lines))


def test_a_refused_file_leaves_the_database_as_it_was(db: Database, world: World, server: psycopg.Connection) -> None:
    before, dump = rows_of(server), dumped(db)
    for mode in ("replace", "merge"):
        for wrong in (site(2, 99), organization(5), "nothing"):
            with pytest.raises(TomatoError):
                tomato_dao.load(db, by_hand(db, [organization(5), wrong]), replace=mode == "replace", merge=mode == "merge")
    assert rows_of(server) == before
    assert dumped(db) == dump


def test_ten_references_to_nothing_are_named_in_the_files_order(empty: Database) -> None:
    lines = [organization(1), *(site(n, 1 if n % 2 else 1000 + n) for n in range(1, 30))]
    with pytest.raises(NotFound) as refused:
        tomato_dao.load(empty, by_hand(empty, lines))
    assert str(refused.value).startswith("the first 10 references to missing records: ")
    named = [part.split(":")[0].split()[-1] for part in str(refused.value).split("records: ")[1].split(";")]
    assert [int(line) for line in named] == [3 + n for n in range(2, 22, 2)]
    with pytest.raises(NotFound, match=r"^references to missing records: ([^;]*;){9}[^;]*$"):
        tomato_dao.load(empty, by_hand(empty, lines[:21]))


def test_references_of_rows_without_a_line_come_last(monkeypatch: pytest.MonkeyPatch, db: Database) -> None:
    """As those of a partitioned table, whose rows are in no order."""
    found = [(None, "b"), (3, "c"), (None, "a"), (1, "d")]
    monkeypatch.setattr(Search, "_dangling", lambda *_: found)
    with db.connection() as connection:
        error = Search(connection, RowLines(), staged=False).dangling([Reference("", "a", (), "b", ())], {})
    assert str(error) == "references to missing records: line 1: d; line 3: c; b; a"


def test_the_line_of_a_row_of_a_partitioned_table_is_not_told_unless_it_is_staged(db: Database) -> None:
    plain, whole = (Table("organizations", "organization", (), (), members=members) for members in ((), ("a partition",)))
    lines = RowLines()
    lines.add("organizations", 5, 3)
    with db.connection() as connection:
        connection.execute("create temp table load_organizations (id bigint)")
        for table, staged, line in ((plain, False, 3), (plain, True, 3), (whole, False, None), (whole, True, 3)):
            assert Search(connection, lines, staged=staged)._line(table, "(0,1)") == line


def test_kinds_of_errors_tell_faults_apart(empty: Database) -> None:
    for kind, lines in (
        (AlreadyExists, [organization(5), organization(5)]),
        (NotFound, [site(1, 5)]),
        (InvalidValue, [organization(5, name="a/b")]),
    ):
        with pytest.raises(TomatoError) as refused:
            tomato_dao.load(empty, by_hand(empty, lines))
        assert refused.type is kind


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"format": 2}, "the dump is of format 2, this tomato-dao reads 1"),
        ({"migrations": None}, "the header is damaged"),
        ({"columns": {}}, "the header is damaged"),
        ({"models": []}, "the header is damaged"),
    ],
    ids=str,
)
def test_a_header_that_is_not_understood_is_refused(empty: Database, change: dict[str, Any], said: str) -> None:
    with pytest.raises(InvalidValue, match=said):
        tomato_dao.load(empty, by_hand(empty, [], **change))


def test_another_schema_is_refused_with_its_migrations(empty: Database) -> None:
    with pytest.raises(WrongSchema, match=r"migrations that this code does not know \(29990101000000\)"):
        tomato_dao.load(empty, by_hand(empty, [], migrations=[*tomato_dao.server.schema.known(), "29990101000000"]))
    older = by_hand(empty, [], migrations=tomato_dao.server.schema.known()[:-1])
    with pytest.raises(WrongSchema, match=f"the dump lacks 1 of .* migrations \\({tomato_dao.server.schema.known()[-1]}\\)"):
        tomato_dao.load(empty, older)
    for versions in ([], tomato_dao.server.schema.known()[1:]):
        for read in (check, partial(tomato_dao.load, empty)):
            with pytest.raises(WrongSchema, match=r"the dump lacks migrations .*: no release has this schema"):
                read(by_hand(empty, [], migrations=versions))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"rows": 2}, "the trailer says 2 records, the file has 1"),
        ({"models": {"organization": 2}}, "the trailer says 2 organization records, the file has 1"),
        ({"models": {"organization": 1, "site": 1}}, "the trailer says 1 site records, the file has 0"),
        ({"sha256": "0" * 64}, "the content doesn't match the trailer's hash"),
        ({"models": None}, "the trailer is damaged"),
    ],
    ids=str,
)
def test_a_trailer_that_does_not_fit_is_refused(empty: Database, change: dict[str, Any], said: str) -> None:
    text = by_hand(empty, [organization(5)]).getvalue().decode().split('{"model": "dump.trailer"')[0]
    with pytest.raises(InvalidValue, match=said):
        tomato_dao.load(empty, io.BytesIO(closed(text, **change)))
    assert empty.organizations.list() == []


@pytest.mark.parametrize(
    ("after", "said"),
    [
        (b"", "^the file ends after line 4, without its trailer: it is cut off$"),
        (b"]", "^the file ends in the middle of line 5: it is cut off$"),
        (b"\n", "^line 5: only “]” may follow the trailer$"),
        (b"]\n\n", "^line 5: only “]” may follow"),
        (b"]\n]\n", "^line 5: only “]” may follow"),
        (b'{"model":"organization"},\n]\n', "^line 5: only “]” may follow"),
    ],
)
@pytest.mark.parametrize("size", [1, 1000], ids=["in pieces", "at once"])
def test_nothing_but_a_bracket_follows_the_trailer(empty: Database, after: bytes, said: str, size: int) -> None:
    text = by_hand(empty, [organization(5)]).getvalue()
    assert check(io.BytesIO(text)).rows == 1
    rest = [after[n : n + size] for n in range(0, len(after), size)]
    with pytest.raises(InvalidValue, match=said):
        read_all([text.removesuffix(b"]\n"), *rest])


@pytest.mark.parametrize("line", [1, 2, 3, 5, 6])
def test_bytes_that_are_no_text_are_told_by_line_where_lines_come_one_by_one(empty: Database, line: int) -> None:
    lines = by_hand(empty, [organization(5)]).getvalue().splitlines(keepends=True)
    with pytest.raises(InvalidValue, match=f"^line {line}: it has bytes that are not valid UTF-8$"):
        read_all([*lines[: line - 1], b"\xff\n"])


@pytest.mark.parametrize("before", range(-4, 1))
def test_bytes_that_are_no_text_are_told_by_line_wherever_a_character_is_cut(empty: Database, before: int) -> None:
    """Around the border of the slices in which a text is looked through."""
    start, _ = by_hand(empty, []).getvalue().split(b'{"model": "dump.trailer"')
    line = start.count(b"\n") + 1
    with pytest.raises(InvalidValue, match=f"^line {line}: it has bytes that are not valid UTF-8$"):
        read_all([start, b"a" * (_SLICE + before) + "€".encode() + b"\xff\n\n\n"])


def test_a_file_that_never_ends_after_its_trailer_is_not_read_on(empty: Database) -> None:
    text = by_hand(empty, [organization(5)]).getvalue()
    more = iter([b"]\n"] * 1000)
    with pytest.raises(InvalidValue, match="only “]” may follow the trailer"):
        read_all(chain([text], more))
    assert len(list(more)) == 999


def test_a_dump_that_was_written_anew_is_known_as_such(db: Database, world: World) -> None:
    text = dumped(db)
    for anew in (
        json.dumps(json.loads(text)).encode(),
        json.dumps(json.loads(text), indent=2).encode(),
        text.replace(b"\n", b"\r\n"),
    ):
        with pytest.raises(InvalidValue, match="or was written anew by another program"):
            check(io.BytesIO(anew))


@pytest.mark.parametrize("text", [b"", b"[", b"[\n", b"{}\n", b"[]\n", b"[\n]\n", b"\xff\xfe\n", b"nothing at all"])
def test_a_file_that_is_not_a_dump_is_refused(text: bytes) -> None:
    with pytest.raises(InvalidValue):
        check(io.BytesIO(text))


def small_dump() -> bytes:
    """Return a dump of two models in a few hundred bytes."""
    head = {
        "format": 1, "schema_version": schema.known()[-1], "migrations": schema.known(), "models": ["a", "b"],
        "keys": {"a": ["id"], "b": ["x", "y"]},
        "columns": {"a": {"id": "integer", "t": "text?", "j": "json"}, "b": {"x": "integer", "y": "text", "n": "number"}},
    }  # fmt: skip
    lines = [
        json.dumps({"model": "dump.header", "fields": head}),
        '{"model":"a","pk":1,"fields":{"t":"ä\\n\\u0001","j":{"x":[1.10,null]}}}',
        '{"model":"a","pk":2,"fields":{"t":null,"j":{}}}',
        '{"model":"b","pk":[1,"x"],"fields":{"n":"NaN"}}',
    ]
    return closed("[\n" + "".join(f"{line},\n" for line in lines))


def read_all(chunks: Iterable[bytes]) -> dict[str, int]:
    """Read a dump of whatever models its header tells of; how many rows of each there are."""
    reader = DumpReader(chunks)
    counts: dict[str, int] = {}
    for block in reader.blocks(reader.header.tables):
        counts[block.table.model] = counts.get(block.table.model, 0) + block.rows
    return counts


def test_a_line_with_bytes_that_are_no_text_is_told_by_its_number() -> None:
    """Characters of two bytes, in lines of odd length, are cut by the slices in which a long text is decoded."""
    lines = ["", *["é" * 6] * 29_999]
    for number in (1, 2, 5_000, 5_042, 5_043, 20_000, 30_000):
        text = "".join(f"{line}\n" for line in lines).encode().split(b"\n")
        text[number - 1] += b"\xff"
        with pytest.raises(InvalidValue, match=f"^line {number}: it has bytes that are not valid UTF-8$"):
            DumpReader([b"\n".join(text)])


@pytest.mark.parametrize("size", [1, 100_000])
def test_bytes_that_are_no_text_are_found_anywhere(size: int) -> None:
    """Characters of three bytes are cut by the slices in which a long text is decoded."""
    text = closed(small_dump().decode().split('{"model": "dump.trailer"')[0].replace("ä", "€" * size))
    assert read_all([text]) == {"a": 2, "b": 1}
    last = text.index(b'{"model":"b"')
    for chunks in ([text], [text[:last], text[last:]]):
        with pytest.raises(InvalidValue, match=r"^line 5: it has bytes that are not valid UTF-8$"):
            read_all(chunk.replace(b'"x"]', b'"\xff"]') for chunk in chunks)


def test_a_file_cut_off_at_any_byte_is_refused() -> None:
    text = small_dump()
    assert read_all([text]) == {"a": 2, "b": 1}
    for length in range(len(text)):
        with pytest.raises(InvalidValue):
            read_all([text[:length]])


@pytest.mark.parametrize("mask", [0x01, 0x02, 0x20, 0x80, 0xFF], ids=hex)
def test_a_byte_that_was_changed_is_noticed(mask: int) -> None:
    text = small_dump()
    for place in range(len(text)):
        changed = bytearray(text)
        changed[place] ^= mask
        with pytest.raises(InvalidValue):
            read_all([bytes(changed)])


def renamed(text: bytes, what: str, *, in_records: bool) -> bytes:
    """Return a dump in whose header, or also in whose records, a model or column has another name, with a fitting hash."""
    lines = text.decode().split('{"model": "dump.trailer"')[0].splitlines(keepends=True)
    changed = [line.replace(f'"{what}"', f'"{what}x"') if n == 1 or in_records else line for n, line in enumerate(lines)]
    return closed("".join(changed))


@pytest.mark.parametrize("what", ["homepage_url", "organization"])
@pytest.mark.parametrize("in_records", [False, True], ids=["header", "header and records"])
def test_a_check_and_a_load_agree_on_names_that_were_changed(db: Database, what: str, in_records: bool) -> None:
    text = renamed(by_hand(db, [organization(5)]).getvalue(), what, in_records=in_records)
    said = []
    for read in (check, partial(tomato_dao.load, db)):
        try:
            said.append(str(read(io.BytesIO(text)).rows))
        except TomatoError as error:
            said.append(str(error))
    assert said[0] == said[1]
    assert said[0] == "1" or "x is unknown" in said[0]


@pytest.mark.slow
def test_a_load_notices_cuts_and_changes_too(db: Database, world: World) -> None:
    text = dumped(db)
    for length in (0, 1, 100, len(text) // 2, len(text) - 200, len(text) - 3, len(text) - 1):
        with pytest.raises(InvalidValue):
            tomato_dao.load(db, io.BytesIO(text[:length]), replace=True)
    for old, new in ((b'"uni"', b'"una"'), (b"alice", b"alicf"), (b'"organization","pk":1', b'"organization","pk":7')):
        with pytest.raises(InvalidValue, match="doesn't match the trailer's hash"):
            tomato_dao.load(db, io.BytesIO(text.replace(old, new, 1)), replace=True)
    assert dumped(db) == text

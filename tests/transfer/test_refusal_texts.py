"""Each refusal of a file, to the letter: its class, what it is about, and its message, as kept in refusals.txt."""

import gzip
import io
import json
import re
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import zstandard

import tomato_dao
from tests.helpers.transfer_cases import another_database, by_hand, closed, dumped, organization, records, site
from tests.transfer.test_load_bad_input import WRONG_LINES, Line
from tomato_dao import Database, TomatoError
from tomato_dao.transfer.load import check

pytestmark = [pytest.mark.as_owner, pytest.mark.slow]  # which a load needs

KEPT = Path(__file__).with_name("refusals.txt")
PARTS = ["wrong lines", "more lines", "ends", "other files"]
IN_THE_WAY = "a name of the database"  # where a load replaces the database, it is not
MORE_LINES: list[tuple[str, Sequence[Line]]] = [
    ("characters of two bytes in a value that the server refuses", [organization(5, name="é" * 40 + "/")]),
    ("a character of two bytes where a value is cut", [organization(5, usage_id="é" * 200)]),
    ("text for an array", [{
        "model": "user", "pk": 5, "fields": {
            "name": "u", "origin": "", "organization_id": 5, "realname": "", "email": "", "flags": "x", "password_hash": None,
            "password_at": None, "last_login_at": None, "usage_id": None, "attrs": {},
        },
    }]),
    ("nothing in an object", ["{}"]),
    ("nothing in fields", [{**organization(5), "fields": {}}]),
    ("eleven references to nothing", [site(n, 100 + n) for n in range(1, 12)]),
    (IN_THE_WAY, [organization(6, name="org1")]),
    ("a name that the file gives away, twice", [organization(1, name="x"), *(organization(n, name="org1") for n in (6, 7))]),
    ("a permission of a topology that is not there", [{
        "model": "topology_permission", "pk": [1, 2], "fields": {"role": "owner"},
    }]),
]  # fmt: skip
HEADERS: list[tuple[str, dict[str, Any]]] = [
    ("format", {"format": 2}),
    ("text as format", {"format": "x" * 70}),
    ("migrations", {"migrations": None}),
    ("columns", {"columns": {}}),
    ("models", {"models": []}),
    ("an older schema", {"migrations": tomato_dao.server.schema.known()[:-1]}),
    ("a schema that never was", {"migrations": tomato_dao.server.schema.known()[1:]}),
    ("a newer schema", {"migrations": [*tomato_dao.server.schema.known(), "29990101000000"]}),
]
TRAILERS: list[tuple[str, dict[str, Any]]] = [
    ("rows", {"rows": 2}),
    ("rows of a model", {"models": {"organization": 2}}),
    ("rows of a model that is not there", {"models": {"organization": 1, "site": 1}}),
    ("hash", {"sha256": "0" * 64}),
    ("models", {"models": None}),
]


def other_files(dump: bytes) -> Iterator[tuple[str, bytes]]:
    """Yield files that are no dumps, or dumps that another program has changed."""
    yield from {
        "empty": b"",
        "a bracket": b"[",
        "a bracket and a newline": b"[\n",
        "an object": b"{}\n",
        "nothing in brackets": b"[\n]\n",
        "an array on one line": b"[1, 2]",
        "a zip archive": b"PK\3\4" + dump,
        "xz": b"\xfd7zXZ\0",
        "bzip2": b"BZh9",
        "7z": b"7z\xbc\xaf\x27\x1c",
        "lz4": b"\x04\x22\x4d\x18",
        "UTF-16": dump.decode().encode("utf-16"),
        "UTF-16 without a mark": dump.decode().encode("utf-16-le"),
        "UTF-32": dump.decode().encode("utf-32"),
        "UTF-16, big end first": b"\xfe\xff" + dump.decode().encode("utf-16-be"),
        "UTF-16 without a mark, big end first": dump.decode().encode("utf-16-be"),
        "UTF-32, big end first": b"\0\0\xfe\xff" + dump.decode().encode("utf-32-be"),
        "a backup": b"PGDMP\1\x0e",
        "a line before": b"Welcome to Debian\n" + dump,
        "two lines and a space before": b"Welcome\n\n  " + dump,
        "a mark and a line before": b"\xef\xbb\xbfWelcome\n" + dump,
        "a line before that is no text": b"Gr\xfc\xdfe\n" + dump,
        "CRLF": dump.replace(b"\n", b"\r\n"),
        "one line": json.dumps(json.loads(dump)).encode(),
        "indented": json.dumps(json.loads(dump), indent=1).encode(),
        "cut off": dump[:-20],
        "cut off after a line": dump[: dump.rindex(b"\n", 0, -4) + 1],
        "gzip, cut off": gzip.compress(dump)[:-4],
        "gzip, damaged": gzip.compress(dump)[:-8] + bytes(8),
        "zstd, cut off": zstandard.compress(dump)[:-4],
    }.items()


@pytest.fixture(scope="module")
def one(tomato_server_url: str, tomato_template: str) -> Iterator[Database]:
    """Provide a database with one organization, for what is refused and leaves it so."""
    with another_database(tomato_server_url, tomato_template) as db:
        tomato_dao.load(db, by_hand(db, [organization(1)]))
        yield db
        assert [record["pk"] for record in records(dumped(db))] == [1]


def told(read: Callable[[io.BytesIO], object], text: bytes) -> str:
    """Return what a reader says of a file."""
    try:
        read(io.BytesIO(text))
    except TomatoError as error:
        about = f" of {error.entity} {error.key}" if error.entity else ""
        return f"{type(error).__name__}{about}: {error}"
    return "taken"


def files(db: Database, part: str) -> Iterator[tuple[str, bytes]]:
    """Yield the names and contents of wrong files."""
    right = by_hand(db, [organization(5)]).getvalue()
    if part in ("wrong lines", "more lines"):
        for name, lines, *_ in WRONG_LINES if part == "wrong lines" else MORE_LINES:
            if name != "too large an integer":  # told in the server's words
                yield name, by_hand(db, lines).getvalue()
    elif part == "ends":
        for name, change in HEADERS:
            yield f"header: {name}", by_hand(db, [], **change).getvalue()
        start = right.decode().split('{"model": "dump.trailer"')[0]
        for name, change in TRAILERS:
            yield f"trailer: {name}", closed(start, **change)
    else:
        yield from other_files(right)


def refusals(db: Database, part: str) -> Iterator[str]:
    """Yield a line for each file and reader."""
    readers: dict[str, Callable[[io.BytesIO], object]] = {
        "check": check,
        "replace": partial(tomato_dao.load, db, replace=True),
        "merge": partial(tomato_dao.load, db, merge=True),
    }
    for name, text in files(db, part):
        before = ""
        for reader, read in readers.items():
            if (name, reader) == (IN_THE_WAY, "replace"):
                continue
            said = told(read, text)
            assert reader == "check" or said != "taken", name
            if said != before:  # mostly all say the same
                yield f"{name}, {reader}: {said}"
            before = said


def test_each_kept_refusal_is_compared() -> None:
    assert [line for line in KEPT.read_text("utf-8").splitlines() if line.startswith("#")] == [f"# {part}" for part in PARTS]


@pytest.mark.parametrize("part", PARTS)
def test_refusals_are_told_to_the_letter(one: Database, part: str) -> None:
    found = "".join(f"{line}\n" for line in refusals(one, part))
    for version in tomato_dao.server.schema.known():
        found = found.replace(version, "V")  # a new migration is no other refusal
    found = re.sub(r"of \d+ migrations", "of N migrations", found)
    found = re.sub(r"0x[0-9a-f]+", "0xN", found)
    kept = re.search(rf"^# {part}\n((?:[^#].*\n)*)", KEPT.read_text("utf-8"), re.MULTILINE)
    assert kept
    assert found == kept[1], "if the new wording is intended, change tests/transfer/refusals.txt"

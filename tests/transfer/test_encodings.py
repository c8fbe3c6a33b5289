"""Dumps that came through other programs: a mark of UTF-8 is skipped, other formats are named for what they are."""

import bz2
import gzip
import io
import json
import lzma
import zipfile
from collections.abc import Callable

import pytest
import zstandard

from tests.helpers.transfer_cases import another_database, dumped
from tomato_dao import Database, InvalidValue
from tomato_dao.transfer.files import chunks, source
from tomato_dao.transfer.legacy.reader import LegacyRecords, is_legacy
from tomato_dao.transfer.load import check, load

NOTE = {"model": "tomato.keyvaluepair", "pk": 1, "fields": {"key": "a", "attrs": "{}"}}
OLD = json.dumps([NOTE])
BOM = b"\xef\xbb\xbf"


def zipped(text: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("dump.json", text)
    return file.getvalue()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (zipped, r"^it is a zip archive: unpack it first \(unzip\)$"),
        (lzma.compress, r"^it is compressed by xz: unpack it first \(xz -d\)$"),
        (bz2.compress, "^it is compressed by bzip2: "),
        (
            lambda text: text.decode().encode("utf-16"),
            r"^it is encoded in UTF-16: convert it first \(iconv -f UTF-16 -t UTF-8\)$",
        ),
        (lambda text: text.decode().encode("utf-16-le"), "^it is encoded in UTF-16: .*UTF-16LE"),
        (lambda text: text.decode().encode("utf-16-be"), "^it is encoded in UTF-16: .*UTF-16BE"),
        (lambda text: text.decode().encode("utf-32"), "^it is encoded in UTF-32: "),
        (lambda text: gzip.compress(text.decode().encode("utf-16")), "^it is encoded in UTF-16: "),
        (lambda text: b"DEBUG: started\n" + text, "^the dump begins in line 2, after “DEBUG: started”: remove what"),
        (lambda text: BOM + b"one\n\n two\n" + text, "^the dump begins in line 4, after “one”: "),
    ],
)
@pytest.mark.parametrize("text", [OLD.encode(), b'[\n{"model": "dump.header"},\n]\n'], ids=["old", "new"])
def test_a_file_of_another_format_is_named(text: bytes, change: Callable[[bytes], bytes], said: str) -> None:
    with pytest.raises(InvalidValue, match=said):
        check(io.BytesIO(change(text)))
    with pytest.raises(InvalidValue, match=said), source(io.BytesIO(change(text))) as file:
        file.recognise(is_legacy)


@pytest.mark.parametrize("pack", [bytes, gzip.compress, zstandard.compress], ids=["plain", "gzip", "zstd"])
def test_a_mark_of_utf8_is_skipped(pack: Callable[[bytes], bytes]) -> None:
    with source(io.BytesIO(pack(BOM + OLD.encode()))) as file:
        assert file.recognise(is_legacy)
        assert [record.pk for record in LegacyRecords(file)] == [1]


class Dribble(io.BytesIO):
    """A file that gives a byte at a time, as a pipe may."""

    def read(self, _: int | None = -1) -> bytes:
        """Give the next byte."""
        return super().read(1)


@pytest.mark.parametrize("text", [b"", b"[", b"x", BOM, BOM + b"[", OLD.encode(), BOM + OLD.encode(), OLD.encode("utf-8")[:3]])
def test_a_file_that_comes_byte_by_byte_is_read_alike(text: bytes) -> None:
    assert b"".join(chunks(Dribble(text))) == b"".join(chunks(io.BytesIO(text))) == text.removeprefix(BOM)


@pytest.mark.one_server
@pytest.mark.slow
@pytest.mark.as_owner
def test_a_dump_with_a_mark_of_utf8_is_loaded(db: Database, tomato_server_url: str, tomato_template: str) -> None:
    db.key_values.set("Zürich", 1)
    text = dumped(db)
    with another_database(tomato_server_url, tomato_template) as other:
        load(other, io.BytesIO(BOM + text))
        assert dumped(other) == text

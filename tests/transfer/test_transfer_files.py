"""Files of dumps: written whole and safe on disk, through links, and read however they were compressed."""

import gzip
import io
import os
import re
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import zstandard

from tests.helpers.lock_cases import line, process
from tomato_dao import NotFound, Unavailable
from tomato_dao.transfer import files


@pytest.mark.parametrize("name", ["../elsewhere/real.json", "/elsewhere/real.json"], ids=["relative", "absolute"])
@pytest.mark.parametrize("exists", [True, False])
def test_a_link_is_followed_and_stays(tmp_path: Path, name: str, exists: bool) -> None:
    real, link = tmp_path / "elsewhere" / "real.json", tmp_path / "here" / "link.json"
    for path in (real, link):
        path.parent.mkdir()
    if exists:
        real.write_text("the one before")
    target = name if name.startswith(".") else f"{tmp_path}{name}"
    link.symlink_to(target)
    with files.written(link) as file:
        file.write(b"a dump")
    assert str(link.readlink()) == target
    assert real.read_bytes() == link.read_bytes() == b"a dump"
    assert not real.is_symlink()
    assert {path for path in tmp_path.rglob("*") if not path.is_dir()} == {real, link}


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="open files are known on Linux only")
@pytest.mark.parametrize("ending", ["", ".gz", ".zst"])
def test_nothing_stays_open(tmp_path: Path, ending: str) -> None:
    with files.written(tmp_path / f"dump.json{ending}") as file:
        file.write(b"a dump")
    with files.source(tmp_path / f"dump.json{ending}") as chunks:
        assert b"".join(chunks) == b"a dump"
    opened = [os.path.realpath(path) for path in Path("/proc/self/fd").iterdir()]
    assert [path for path in opened if path.startswith(os.path.realpath(tmp_path))] == []


def test_a_compressed_file_has_a_checksum(tmp_path: Path) -> None:
    with files.written(tmp_path / "dump.json.zst") as file:
        file.write(b"a dump")
    assert zstandard.get_frame_parameters((tmp_path / "dump.json.zst").read_bytes()).has_checksum


def test_a_file_is_compressed_by_the_ending_of_what_a_link_names(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("real.json.gz")
    with files.written(tmp_path / "link") as file:
        file.write(b"a dump")
    content = (tmp_path / "real.json.gz").read_bytes()
    assert gzip.decompress(content) == b"a dump"
    assert content[4:8] == bytes(4)  # no time, so that equal dumps are equal files


def test_what_is_no_regular_file_is_written_in_place(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe.gz"
    os.mkfifo(pipe)
    reading = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        with files.written(pipe) as file:
            file.write(b"a dump")
        assert gzip.decompress(os.read(reading, 1000)) == b"a dump"
    finally:
        os.close(reading)
    assert list(tmp_path.iterdir()) == [pipe]
    assert pipe.is_fifo()


def test_a_leftover_that_is_gone_before_it_is_removed_is_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As where the process that left it removes it at last."""
    monkeypatch.setattr(files, "abandoned", lambda directory, _: [directory / "gone"])
    with files.written(tmp_path / "dump.json") as file:
        file.write(b"a dump")
    assert (tmp_path / "dump.json").read_bytes() == b"a dump"


@pytest.mark.parametrize("ending", [".json", ".json.gz", ".json.zst"])
def test_a_file_gets_its_name_once_its_content_is_on_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ending: str) -> None:
    """Observe the calls: the content is synced under another name, then the directory that names it."""
    path = tmp_path / f"dump{ending}"
    synced: list[tuple[bytes | None, bool]] = []
    fsync = os.fsync

    def observed(descriptor: int) -> None:
        inode = os.fstat(descriptor).st_ino
        (found,) = (found for found in (tmp_path, *tmp_path.iterdir()) if found.stat().st_ino == inode)
        synced.append((None if found == tmp_path else found.read_bytes(), path.exists()))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", observed)
    with files.written(path) as file:
        file.write(b"a dump")
        assert synced == []
    assert synced == [(path.read_bytes(), False), (None, True)]
    assert b"".join(files.chunks(io.BytesIO(path.read_bytes()))) == b"a dump"


def test_a_file_that_cannot_be_synced_leaves_the_one_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "dump.json"
    path.write_text("the one before")

    def fails(descriptor: int) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "fsync", fails)
    with pytest.raises(Unavailable, match=f"can't write {path}: Input/output error"), files.written(path) as file:
        file.write(b"a dump")
    assert {found.name: found.read_text() for found in tmp_path.iterdir()} == {"dump.json": "the one before"}


@pytest.mark.parametrize("compress", [gzip.compress, zstandard.compress], ids=["gzip", "zstd"])
@pytest.mark.parametrize("parts", [["a ", "dump"], ["", "a dump"], ["a", " ", "dump", ""]], ids=len)
def test_several_compressed_parts_are_read_as_one(compress: Callable[[bytes], bytes], parts: Sequence[str]) -> None:
    """Compressed files that were joined, as by cat, and those of tools that compress in several threads."""
    file = b"".join(compress(part.encode()) for part in parts)
    assert b"".join(files.chunks(io.BytesIO(file))) == b"a dump"


def test_a_name_with_an_ending_gets_no_other(tmp_path: Path) -> None:
    for ending in (".json", ".gz", ".zst"):
        for more in (".json", ".json.gz", ".json.zst"):
            (tmp_path / f"dump{ending}{more}").touch()
        with pytest.raises(NotFound, match=rf"^there is no file dump\{ending} in {re.escape(str(tmp_path))}$"):
            files.find(tmp_path / f"dump{ending}")
    (tmp_path / "other.json.gz").touch()
    assert files.find(tmp_path / "other") == tmp_path / "other.json.gz"


def test_a_directory_of_the_name_does_not_hide_the_file(tmp_path: Path) -> None:
    name = tmp_path / "dump"
    name.mkdir()
    assert files.find(name) == name
    (tmp_path / "dump.json").touch()
    assert files.find(name) == tmp_path / "dump.json"
    name.rmdir()
    name.touch()
    assert files.find(name) == name


KILLED = """
import os, pathlib, signal, sys
from tomato_dao.transfer import files
with files.written(pathlib.Path(sys.argv[1])) as file:
    file.write(b"half a dump")
    print("writing", flush=True)
    signal.pause()
"""


def test_files_of_one_name_that_are_begun_at_once_are_not_taken_for_leftovers(tmp_path: Path) -> None:
    def write(text: str) -> None:
        for _ in range(10):
            with files.written(tmp_path / "dump.json") as file:
                file.write(text.encode())

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(write, "abcdefgh"))
    assert [path.name for path in tmp_path.iterdir()] == ["dump.json"]


@pytest.mark.slow
def test_leftovers_of_a_killed_dump_go_with_the_next_and_files_being_written_stay(tmp_path: Path) -> None:
    path, others = tmp_path / "dump.json", tmp_path / ".dump.json.original"
    others.touch()
    with process(KILLED, str(path)) as dead, process(KILLED, str(path)) as alive:
        assert (line(dead), line(alive)) == ("writing", "writing")
        dead.kill()
        dead.wait(60)
        with files.written(path) as file:
            file.write(b"a dump")
        assert alive.poll() is None
        (left,) = (found for found in tmp_path.iterdir() if found not in (path, others))
        alive.kill()
        alive.wait(60)
    assert left in files.abandoned(tmp_path, r"\..+")
    with files.written(path) as file:
        file.write(b"another")
    assert {found.name for found in tmp_path.iterdir()} == {path.name, others.name}

"""Dump files: finding, opening, decompressing, recognising, and writing them completely or not at all."""

import fcntl
import gzip
import io
import itertools
import os
import re
import secrets
import stat
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import IO, Any

import zstandard

from ..errors import InvalidValue, NotFound, Unavailable
from ..server import arguments
from ..server.commands import command_line

ENDINGS = ("", ".json", ".json.gz", ".json.zst")
BACKUP = b"PGDMP"  # the first bytes of pg_dump's custom format
_BUFFER = 1 << 18
COMPRESSED = _GZIP, _ZSTD = b"\x1f", b"\x28"
_UTF8_MARK = b"\xef\xbb\xbf"
_LONGEST_MARK = 8
# First bytes of files that are not dumps, or that must be unpacked or converted first. The first match applies.
_OTHER_FORMATS = {
    b"PK": "it is a zip archive: unpack it first (unzip)",
    b"\xfd7zXZ\x00": "it is compressed by xz: unpack it first (xz -d)",
    b"BZh": "it is compressed by bzip2: unpack it first (bzip2 -d)",
    b"7z\xbc\xaf\x27\x1c": "it is a 7z archive: unpack it first (7z x)",
    b"\x04\x22\x4d\x18": "it is compressed by lz4: unpack it first (lz4 -d)",
    b"\xff\xfe\x00\x00": "it is encoded in UTF-32: convert it first (iconv -f UTF-32 -t UTF-8)",
    b"\x00\x00\xfe\xff": "it is encoded in UTF-32: convert it first (iconv -f UTF-32 -t UTF-8)",
    b"\xff\xfe": "it is encoded in UTF-16: convert it first (iconv -f UTF-16 -t UTF-8)",
    b"\xfe\xff": "it is encoded in UTF-16: convert it first (iconv -f UTF-16 -t UTF-8)",
    b"[\x00": "it is encoded in UTF-16: convert it first (iconv -f UTF-16LE -t UTF-8)",
    b"\x00[": "it is encoded in UTF-16: convert it first (iconv -f UTF-16BE -t UTF-8)",
}
_ARRAY = re.compile(rb"^[ \t]*\[[ \t\r]*(?:\{|$)", re.MULTILINE)


def find(name: str | os.PathLike[str]) -> Path:
    """Return the file with this name, or this name and a dump's ending. Raises NotFound."""
    path = Path(name)
    endings = ENDINGS[:1] if path.suffix in (".json", ".gz", ".zst") else ENDINGS
    candidates = [Path(os.fspath(name) + ending) for ending in endings]
    try:
        found = [path for path in candidates if path.exists()]
    except OSError as error:
        raise Unavailable(f"can't read {name}: {error.strerror}") from error
    if not found:
        others = f", nor one that ends in {', '.join(endings[1:])}" if endings[1:] else ""
        raise NotFound(f"there is no file {path.name} in {path.parent.absolute()}{others}")
    return next((path for path in found if not path.is_dir()), found[0])


@contextmanager
def opened(path: Path) -> Iterator[IO[bytes]]:
    """Open a file for reading bytes. Raises Unavailable if it cannot be opened."""
    try:
        file = path.open("rb", buffering=_BUFFER)
    except OSError as error:
        raise Unavailable(f"can't read {path}: {error.strerror}") from error
    with file:
        yield file


class Source:
    """Content of a file, decompressed, as chunks of bytes. Its start can be inspected before.

    part: a function that returns the fraction of the file (0 to 1) that has been read, or None if that is unknown.
    """

    def __init__(self, file: IO[bytes], part: Callable[[], float | None]) -> None:
        self.part = part
        self._chunks = chunks(file)

    def __iter__(self) -> Iterator[bytes]:
        """Yield the chunks, once."""
        return self._chunks

    def recognise(self, judge: Callable[[bytes], bool | None]) -> bool:
        """Call `judge` with more and more of the start until its result is not None, and return it; False at the end."""
        start = b""
        verdict = None
        for chunk in self._chunks:
            start += chunk
            verdict = judge(start)
            if verdict is not None:
                break
        self._chunks = itertools.chain([start], self._chunks) if start else self._chunks
        return bool(verdict)


@contextmanager
def source(file: str | os.PathLike[str] | IO[bytes] | Source) -> Iterator[Source]:
    """Provide a file to read: an open one, or one with this name (its ending may be omitted)."""
    if isinstance(file, Source):
        yield file
    elif not isinstance(file, str | os.PathLike) and hasattr(file, "read"):
        yield Source(file, lambda: None)
    else:
        with opened(find(arguments.path("a dump", file))) as stream:
            status = os.fstat(stream.fileno())
            size = status.st_size if stat.S_ISREG(status.st_mode) else 0
            yield Source(stream, lambda: stream.tell() / size if size else None)


def chunks(file: IO[bytes]) -> Iterator[bytes]:
    """Yield a file's content, decompressed if its first bytes show a compression, without a byte order mark.

    Raises InvalidValue if decompression fails or the format is another one, Unavailable if reading fails.
    """
    source = file if isinstance(file, io.BufferedReader) else io.BufferedReader(_Raw(file), _BUFFER)
    try:
        start = source.peek(1)[:1]
        text: io.BufferedReader | gzip.GzipFile | zstandard.ZstdDecompressionReader = source
        if start == _GZIP:
            text = gzip.GzipFile(fileobj=source)
        elif start == _ZSTD:
            text = zstandard.ZstdDecompressor().stream_reader(source, read_across_frames=True)
        # A read that repeats until the buffer is full would not notice an interrupt in between.
        chunk = more = text.read1(_BUFFER)
        while more and len(chunk) < _LONGEST_MARK:
            more = text.read1(_BUFFER)
            chunk += more
        _refuse_other_formats(chunk)
        chunk = chunk.removeprefix(_UTF8_MARK) or text.read1(_BUFFER)
        while chunk:
            yield chunk
            chunk = text.read1(_BUFFER)
    except (EOFError, gzip.BadGzipFile, zlib.error, zstandard.ZstdError) as error:
        raise InvalidValue(f"the compressed file is damaged or cut off: {error}") from error
    except OSError as error:
        raise Unavailable(f"reading failed: {error.strerror or error}") from error


def _refuse_other_formats(start: bytes) -> None:
    """Raise InvalidValue for the start of a known file format, or of a file with a dump further on."""
    if start.startswith(BACKUP):
        raise InvalidValue(f"it is a backup, not a dump: {command_line('restore')} restores it")
    for mark, said in _OTHER_FORMATS.items():
        if start.startswith(mark):
            raise InvalidValue(said)
    begin = start.removeprefix(_UTF8_MARK).lstrip()
    if begin[:1] not in (b"[", b"") and (array := _ARRAY.search(begin)):
        line = start.count(b"\n", 0, len(start) - len(begin) + array.start()) + 1
        first = begin.split(b"\n", 1)[0].strip()[:60].decode(errors="replace")
        raise InvalidValue(f"the dump begins in line {line}, after “{first}”: remove what another program has put before it")


class _Raw(io.RawIOBase):
    """A read-only stream, wrapped so that its start can be inspected."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        data = self._file.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)


@contextmanager
def written(path: Path) -> Iterator[IO[bytes]]:
    """Write a file that appears, complete and on disk, at the end of the block, with mode 0600.

    It is compressed according to its ending (.gz, .zst). Until the end it has a temporary name, and it is removed if the block
    fails. Leftovers of killed processes are removed first. Anything but a regular file is written directly. Raises Unavailable
    if writing fails.
    """
    try:
        if path.exists() and not stat.S_ISREG(path.stat().st_mode):
            with path.open("wb") as file, compressed(file, path.suffix) as output:
                yield output
            return
        path = Path(os.path.realpath(path))
        part = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
        with temporary_file(part, rf"\.{re.escape(path.name)}\.[a-z0-9_]{{8}}\.part") as descriptor:
            with os.fdopen(descriptor, "wb", closefd=False) as file:
                with compressed(file, path.suffix) as output:
                    yield output
                file.flush()
                os.fsync(descriptor)
            part.replace(path)
        directory = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)
    except BrokenPipeError:
        raise
    except OSError as error:
        raise Unavailable(f"can't write {path}: {error.strerror}") from error


@contextmanager
def temporary_file(path: Path, leftovers: str) -> Iterator[int]:
    """Create a file with mode 0600 and provide its descriptor. At the end it is removed, unless it was renamed.

    leftovers: a regular expression for the names of such files in the same directory. Those of killed processes are removed
    first. Raises FileExistsError.
    """
    with ExitStack() as stack:
        with _alone_in(path.parent):
            for left in abandoned(path.parent, leftovers):
                left.unlink(missing_ok=True)
            stack.callback(path.unlink, missing_ok=True)  # before it is there: a signal may come as soon as it is
            try:
                descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
            except FileExistsError:
                stack.pop_all()  # it is another process's
                raise
            stack.callback(os.close, descriptor)
            hold(descriptor)
        yield descriptor


@contextmanager
def _alone_in(directory: Path) -> Iterator[None]:
    """Lock a directory against other processes that begin files or remove leftovers, which could remove a new file."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        hold(descriptor)
        yield
    finally:
        os.close(descriptor)


def hold(descriptor: int) -> None:
    """Mark a file as in use while it is open. Waits for other holders."""
    with suppress(OSError):  # on file systems without locks, abandoned() finds none either
        fcntl.flock(descriptor, fcntl.LOCK_EX)


def abandoned(directory: Path, pattern: str) -> list[Path]:
    """Return this user's files in a directory whose names match a regular expression and that no process `hold`s."""
    found = []
    for path in directory.iterdir():
        if not re.fullmatch(pattern, path.name):
            continue
        with suppress(OSError):  # locked, removed, or another user's
            descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
            try:
                status = os.fstat(descriptor)
                if stat.S_ISREG(status.st_mode) and status.st_uid == os.geteuid():
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    found.append(path)
            finally:
                os.close(descriptor)
    return found


@contextmanager
def compressed(file: IO[bytes], ending: str) -> Iterator[Any]:
    """Write to a file, compressed according to its ending."""
    if ending == ".gz":
        with gzip.GzipFile(filename="", mode="wb", fileobj=file, mtime=0, compresslevel=6) as output:
            yield output
    elif ending == ".zst":
        compressor = zstandard.ZstdCompressor(level=3, write_checksum=True)
        with compressor.stream_writer(file, closefd=False) as output:
            yield output
    else:
        yield file

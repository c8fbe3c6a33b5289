"""Reader of the old dump as a stream: a JSON array in any layout, read one record at a time.

It does not use ijson, which is faster (yajl2_c on a dump of 55 MB: 1.5 to 2.0 s instead of 2.6 s, 13 MB of memory instead of 35
MB with all of this package) but refuses Python's NaN and Infinity, silently replaces a lone surrogate by “?”, treats an object
instead of the array as no records, and reports neither line and column nor the length of a record.
"""

import codecs
import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from ...errors import InvalidValue
from ...sql.wording import counted

LONGEST = 512 << 20  # maximum characters of a record
_LOOKED_AT = 64 << 20  # bytes within which the first record must name its model
_SPACE = re.compile(r"[ \t\n\r]*")
_MODEL = re.compile(rb'(?<!\\)"model"\s*:\s*"([^"]*)"')
# The longest token that may be truncated at the end of a chunk: a literal such as -Infinity, or a pair of \uXXXX.
_LONGEST_TOKEN = 16
_ENDS = re.compile(r"[,\]}]")  # characters that follow a complete token


@dataclass(slots=True)
class Record:
    """A record of the file. size: its number of characters in the file."""

    model: str
    pk: Any
    fields: dict[str, Any]
    size: int


def is_legacy(start: bytes) -> bool | None:
    """Return whether the start of a file is an old dump's: the first model is of the app. None: more text is needed."""
    if not re.match(rb"\s*(\[\s*(\{|$)|$)", start):
        return False
    if found := _MODEL.search(start):
        return b"." in found[1] and not found[1].startswith(b"dump.")
    return None if len(start) < _LOOKED_AT else False


class LegacyRecords(Iterator[Record]):
    """The records of a file, given as chunks of bytes. Raises InvalidValue, with the place, if it is no old dump."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._chunks = iter(chunks)
        self._decoder = codecs.getincrementaldecoder("utf-8")()
        self._scan = json.JSONDecoder().raw_decode
        self._text = ""  # text that was read and, from _at on, not yet returned
        self._at = 0
        self._lines = 1  # the line of the start of _text
        self._column = 1  # and its column
        self._count = 0
        self.size = 0  # bytes read so far

    def __next__(self) -> Record:
        """Return the next record."""
        mark = self._mark()
        if self._count == 0:
            if mark not in ("[", ""):
                raise self._wrong("an old dump must be a JSON array, starting with “[”")
            mark = mark and self._mark(peek=True)
            if mark not in ("]", ""):
                return self._record()
            self._at += len(mark)
        elif mark == ",":
            return self._record()
        if mark == "":
            raise self._cut_off()
        if mark != "]":
            raise self._wrong(f"“,” or “]” is expected after a record, not {mark!r}", back=1)
        if self._mark():
            raise self._wrong("there must be nothing after the end of the array", back=1)
        raise StopIteration

    def _mark(self, *, peek: bool = False) -> str:
        """Return the next character that is not white space, or an empty string at the end of the file."""
        while True:
            found = _SPACE.match(self._text, self._at)
            self._at = found.end() if found else self._at
            if self._at < len(self._text):
                mark = self._text[self._at]
                self._at += not peek
                return mark
            if not self._more():
                return ""

    def _record(self) -> Record:
        if self._mark(peek=True) not in ("{", ""):
            raise self._wrong("a record is expected: “{”")
        while True:
            try:
                value, end = self._scan(self._text, self._at)
                break
            except json.JSONDecodeError as error:
                rest = self._text[error.pos : error.pos + _LONGEST_TOKEN]
                place = error.pos - self._at
                open_string = error.msg.startswith("Unterminated string")
                at_end = open_string or len(rest) < _LONGEST_TOKEN
                if at_end and self._more(len(self._text) - self._at):
                    continue
                if at_end and (open_string or not _ENDS.search(rest)):
                    raise self._cut_off() from None
                raise self._wrong(f"not JSON: {error.msg}", back=-place) from None
            except (RecursionError, ValueError) as error:
                raise self._wrong(f"can't be read: {error}") from None
        size, self._at, self._count = end - self._at, end, self._count + 1
        model, pk, fields = (value.get(name) for name in ("model", "pk", "fields"))
        if not isinstance(model, str) or not isinstance(fields, dict) or len(value) > 3 or isinstance(pk, dict | list | None):
            raise self._wrong("a record must have a model, a pk and fields, and nothing else", back=size)
        return Record(model, pk, fields, size)

    def _more(self, least: int = 0) -> bool:
        """Read more, doubling the text so that a long record is not parsed too often. Return False at the end of the file."""
        if len(self._text) - self._at > LONGEST:
            raise self._wrong(f"the record is longer than {LONGEST >> 20} MiB")
        pieces, length = [self._text[self._at :]], 0
        self._move(self._at)
        ended = False
        while length <= least and not ended:
            chunk = next(self._chunks, b"")
            begun = len(self._decoder.getstate()[0])  # bytes of a character that the chunk before has cut
            try:
                pieces.append(self._decoder.decode(chunk, not chunk))
            except UnicodeDecodeError as error:
                at = self.size - begun + error.start + 1
                raise InvalidValue(f"the file is not UTF-8 at byte {at}: {error.reason}") from None
            self.size += len(chunk)
            length += len(pieces[-1])
            ended = not chunk
        self._text = "".join(pieces)
        return length > 0

    def _move(self, to: int) -> None:
        """Drop the text up to a position, and update line and column."""
        if newlines := self._text.count("\n", 0, to):
            self._lines += newlines
            self._column = to - self._text.rindex("\n", 0, to)
        else:
            self._column += to
        self._text, self._at = self._text[to:], 0

    def _wrong(self, message: str, back: int = 0) -> InvalidValue:
        self._move(self._at - back)
        return InvalidValue(f"line {self._lines}, column {self._column} (after {counted(self._count, 'record')}): {message}")

    def _cut_off(self) -> InvalidValue:
        return InvalidValue(f"the file ends after {counted(self._count, 'record')}, without the array's end: it is cut off")

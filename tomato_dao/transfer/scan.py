"""Scanner that splits JSON text into parts and validates it, with numbers and nesting of any size."""

import re

import msgspec

_TOKEN = re.compile(
    rb"""[ \t\r\n]*+(?:
      ("(?:[^"\\\x00-\x1f]++|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*+")
      |(-?(?:0|[1-9][0-9]*+)(?:\.[0-9]++)?+(?:[eE][-+]?[0-9]++)?+|true|false|null)
      |([][{}:,])
    )""",
    re.VERBOSE,
).match
_SPACE = re.compile(rb"[ \t\r\n]*+").match
_STRING, _SCALAR, _MARK = 1, 2, 3
_VALUE, _FIRST_VALUE, _KEY, _FIRST_KEY, _COLON, _AFTER = range(6)  # expected next; first: or the end of what has begun


Span = tuple[int, int]


def parts(text: bytes, span: Span | None = None) -> list[tuple[bytes, Span]]:
    """Return the keys of an object (empty for an array's elements) with the positions of their values; none for a scalar.

    span: the position in the text (default: the whole text). Values can be large, so they are not copied.

    Raises ValueError, with the column, if the text is not JSON or has characters that PostgreSQL cannot store.
    """
    found = []
    open_marks = bytearray()
    at, stop = span or (0, len(text))
    expected, key, start = _VALUE, b"", at
    while True:
        match = _TOKEN(text, at, stop)
        if match is None:
            raise ValueError(f"not JSON from column {_SPACE(text, at, stop).end() + 1} on")  # type: ignore[union-attr]
        kind = match.lastindex or 0
        begin, at = match.span(kind)
        mark = text[begin] if kind == _MARK else 0
        if kind == _STRING and text.find(b"\\u", begin, at) >= 0:
            text_of(text[begin:at])
        if len(open_marks) == 1 and expected in (_VALUE, _FIRST_VALUE):
            start = begin
        if kind == _STRING and expected in (_KEY, _FIRST_KEY):
            if len(open_marks) == 1:
                key = text[begin:at]
            expected = _COLON
            continue
        if mark in (0x7B, 0x5B) and expected in (_VALUE, _FIRST_VALUE):
            open_marks.append(mark)
            expected = _FIRST_KEY if mark == 0x7B else _FIRST_VALUE
            continue
        if mark == 0x3A and expected == _COLON:
            expected = _VALUE
            continue
        if mark == 0x2C and expected == _AFTER and open_marks:
            expected = _KEY if open_marks[-1] == 0x7B else _VALUE
            continue
        if (
            mark in (0x7D, 0x5D)
            and open_marks
            and open_marks[-1] == mark - 2
            and expected in (_FIRST_KEY, _FIRST_VALUE, _AFTER)
        ):
            open_marks.pop()
        elif kind == _MARK or expected not in (_VALUE, _FIRST_VALUE):
            raise ValueError(f"not JSON from column {begin + 1} on")
        if len(open_marks) == 1:
            found.append((key, (start, at)))
        expected = _AFTER
        if not open_marks:
            if (end := _SPACE(text, at, stop).end()) != stop:  # type: ignore[union-attr]
                raise ValueError(f"not JSON from column {end + 1} on")
            return found


def text_of(string: bytes) -> str:
    """Decode a JSON string. Raises ValueError for U+0000 and lone surrogates, which PostgreSQL cannot store."""
    try:
        text = msgspec.json.decode(string)
    except msgspec.DecodeError:
        raise ValueError("a string has half a surrogate pair, which is no character") from None
    if "\0" in text:
        raise ValueError("a string has the character U+0000, which PostgreSQL can't store")
    return str(text)

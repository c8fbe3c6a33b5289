"""Foreign text, as messages, logs and tables show it: names, keys and values of a file, of rows or of the server.

Whoever writes such text must not be able to end the line, to send commands to the reader's terminal, or to flood it.
"""

import re

_LONGEST = 200  # characters of a name or value within a message
# Characters that JSON may hold unescaped although a terminal obeys them; JSON escapes ASCII's control characters anyway.
_BEYOND_JSON = re.compile("[\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def printable(text: object, longest: int | None = _LONGEST) -> str:
    r"""Return text on one line, with what is not printable escaped as in Python's literals (\n, \x1b, \u2028).

    longest: characters after which it is cut off, with “…” as the last one; None for text that keeps its length.
    """
    line = str(text)
    if longest is not None and len(line) > longest:
        line = line[: longest - 1] + "…"
    if not line.isprintable():
        line = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in line)
        if longest is not None and len(line) > longest:
            line = line[: longest - 1] + "…"
    return line


def quoted(value: object, longest: int = 80) -> str:
    """Return a value as Python writes it, cut off where it is longer than so many characters."""
    try:
        return printable(repr(value), longest)
    except (ValueError, RecursionError):  # an integer of thousands of digits, or what is nested as deep
        return f"a {type(value).__name__} that is too large to show"


def one_line(text: object, longest: int | None = 1000) -> str:
    """Return what a program or the server said in several lines, as one."""
    return printable(" ".join(str(text).split()), longest)


def json_escaped(text: str) -> str:
    """Return a JSON text that says the same, without the characters that a terminal would obey."""
    return _BEYOND_JSON.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def message(text: str) -> str:
    """Return an error's message as one line; of one that is very long, the beginning and the end, where the advice is."""
    line = printable(text, None)
    return line if len(line) <= 4000 else f"{line[:3000]} … {line[-900:]}"

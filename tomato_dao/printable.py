"""Safe formatting of foreign text for messages, logs and tables: names, keys and values of files, rows or the server.

Such text must not be able to end the line, to send control sequences to a terminal, or to flood it.
"""

import re

_LONGEST = 200  # maximum characters of a name or value within a message
# Control characters for terminals that JSON may contain unescaped. JSON always escapes ASCII's control characters.
_BEYOND_JSON = re.compile("[\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def printable(text: object, longest: int | None = _LONGEST) -> str:
    r"""Return text on one line, with what is not printable escaped as in Python's literals (\n, \x1b, \u2028).

    longest: the number of characters after which it is truncated, with “…” as the last one; None: no limit.
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
    """Return the repr of a value, truncated to a number of characters."""
    try:
        return printable(repr(value), longest)
    except (ValueError, RecursionError):  # an integer of thousands of digits, or equally deep nesting
        return f"a {type(value).__name__} that is too large to show"


def one_line(text: object, longest: int | None = 1000) -> str:
    """Join a message of several lines into one."""
    return printable(" ".join(str(text).split()), longest)


def json_escaped(text: str) -> str:
    """Escape the control characters for terminals in a JSON text, without changing its meaning."""
    return _BEYOND_JSON.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def message(text: str) -> str:
    """Return an error's message as one line. A very long one is shortened in the middle, since the advice is at the end."""
    line = printable(text, None)
    return line if len(line) <= 4000 else f"{line[:3000]} … {line[-900:]}"

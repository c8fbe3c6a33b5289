"""SQL tokens as PostgreSQL's scanner finds them, as far as they decide which :name is a parameter.

Strings, quoted names and comments are recognized, since a colon inside them has no meaning. Words and numbers are read as a
whole, since a quote or dollar sign belongs to the word before it: n$a$ is a name, and E'\\'' a string with an escape.
"""

import re
from collections.abc import Iterator
from enum import Enum, auto

# Character classes that contain everything beyond ASCII are written as negated classes: Python takes 30 ms to compile
# [\x80-\U0010ffff].
_START = r"[^\x00-@\[-^`{-\x7f]"  # a letter or _
_WORD = rf"{_START}[^\x00-#%-/:-@\[-^`{{-\x7f]*+"  # letters, digits, _ and $
_TAG = rf"(?:{_START}[^\x00-/:-@\[-^`{{-\x7f]*+)?"
_NUMBER = r"(?:0[xX][0-9A-Fa-f_]++|0[oO][0-7_]++|0[bB][01_]++|[0-9][0-9_]*+(?:\.(?!\.)[0-9_]*+)?(?:[eE][-+]?[0-9][0-9_]*+)?)"
_ESCAPED = r"'(?:[^'\\]|\\.|'')*+'"
# A string continues, and keeps its kind, if only blanks, comments and at least one newline precede the next quote.
_GOES_ON = r"(?:[ \t\f\v]|--[^\n\r]*+)*+[\n\r](?:[ \t\n\r\f\v]|--[^\n\r]*+[\n\r])*+"
_TOKEN = re.compile(
    rf"""
      (?P<quoted>
        [eE]{_ESCAPED}(?:{_GOES_ON}{_ESCAPED})*+
        | '(?:[^']|'')*+'
        | "(?:[^"]|"")*+"
        | \$(?P<tag>{_TAG})\$.*?\$(?P=tag)\$
      )
    | (?P<comment>--[^\n\r]*+)
    | (?P<nested>/\*)
    | (?P<open>[eE]?'|"|\${_TAG}\$)
    | (?P<number>\$[0-9]++)
    | (?P<parameter>:(?![eEbBxX]'|[uU]&['"]){_WORD})
    | (?P<opening>\[)
    | (?P<closing>\])
    | (?P<text>::|:=|(?:(?![eE]'){_WORD}|{_NUMBER}|[\x00-!\#%&(-,.;-@\\^`{{-\x7f]++)++|.)
    """,
    re.DOTALL | re.VERBOSE,
)
_COMMENT_MARK = re.compile(r"/\*|\*/")
# the end of a word, of a quoted text, or of brackets; a dollar sign only ends a value as a part of a word
_VALUE_BEFORE = re.compile(r"[^\x00-!#-&(*-/:-@\[\\^`{-\x7f]|(?<=[^\x00-#%-/:-@\[-^`{-\x7f])\$")
_ENDS_NUMBER = re.compile(r"(?:^|[\x00-#%-\-/:-@\[-^`{-\x7f])[0-9][0-9_]*\.\Z")  # “1.” ends a value too, a bare point does not


class Kind(Enum):
    """A token's kind. NUMBER is a numbered parameter ($1), TEXT everything that needs no distinction."""

    TEXT = auto()
    QUOTED = auto()
    COMMENT = auto()
    PARAMETER = auto()
    NUMBER = auto()


class Unterminated(ValueError):
    """A string, a quoted name or a comment has no end.

    position: the index of its first character, from 0.
    """

    def __init__(self, what: str, position: int) -> None:
        super().__init__(f"{what} has no end")
        self.position = position


def tokens(sql: str) -> Iterator[tuple[Kind, str]]:
    """Yield the tokens of a text. Joined, they give the text again.

    Inside square brackets a colon right after a value belongs to a slice, as in [1:n]. Anywhere else :n is a parameter.

    Raises Unterminated if a string, quoted name or comment has no end.
    """
    at = depth = 0
    while match := _TOKEN.match(sql, at):
        kind, start, at = match.lastgroup, at, match.end()
        if kind == "text":
            yield Kind.TEXT, match[0]
        elif kind == "parameter":
            if depth and (_VALUE_BEFORE.match(sql, start - 1) or _ENDS_NUMBER.search(sql, 0, start)):
                at = start + 1
                yield Kind.TEXT, ":"
            else:
                yield Kind.PARAMETER, match[0]
        elif kind == "quoted":
            yield Kind.QUOTED, match[0]
        elif kind == "comment":
            yield Kind.COMMENT, match[0]
        elif kind == "nested":
            at = _end_of_comment(sql, start)
            yield Kind.COMMENT, sql[start:at]
        elif kind == "open":
            raise Unterminated(f"what begins with {match[0]}", start)
        elif kind == "number":
            yield Kind.NUMBER, match[0]
        else:
            depth = depth + 1 if kind == "opening" else max(depth - 1, 0)
            yield Kind.TEXT, match[0]


def _end_of_comment(sql: str, start: int) -> int:
    depth = 0
    for mark in _COMMENT_MARK.finditer(sql, start):
        depth += 1 if mark[0] == "/*" else -1
        if not depth:
            return mark.end()
    raise Unterminated("the comment that begins with /*", start)

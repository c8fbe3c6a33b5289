"""Mutants of SQL: clauses and conditions left out, comparisons, joins, orders and constants changed.

The text is cut into tokens, no more: what a change makes invalid the server refuses, and it is counted as stillborn.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from .mutant import Change

_TOKEN = re.compile(
    r"""(?P<skip>--[^\n]*|/\*.*?\*/|\s+|\$\w*\$)|(?P<text>'(?:[^']|'')*'|"(?:[^"]|"")*")|(?P<parameter>(?<!:):[a-z_]\w*)
    |(?P<number>\d+(?:\.\d+)?)|(?P<word>[a-z_]\w*)|(?P<sign>::|:=|<=|>=|<>|\|\||->>?|=>|@>|<@|.)""",
    re.DOTALL | re.IGNORECASE | re.VERBOSE,
)
_SWAPS = {
    "<": "<=",
    "<=": "<",
    ">": ">=",
    ">=": ">",
    "=": "<>",
    "<>": "=",
    "+": "-",
    "-": "+",
    "/": "*",
    "min": "max",
    "max": "min",
    "least": "greatest",
    "greatest": "least",
    "sum": "max",
    "or": "and",
    "true": "false",
    "false": "true",
    "desc": "asc",
    "asc": "desc",
    "exists": "not exists",
    "bool_or": "bool_and",
    "bool_and": "bool_or",
}
# One after the other: words, and what is put in their place.
_PHRASES = {
    "left join": "inner join",
    "distinct on": None,
    "distinct": "",
    "is not null": "is null",
    "is null": "is not null",
    "is not distinct from": "is distinct from",
    "is distinct from": "is not distinct from",
    "not exists": "exists",
    "not in": "in",
    "skip locked": "",
    "nowait": "",
    "union all": "union",
    "filter": None,
    "nulls first": "nulls last",
    "nulls last": "nulls first",
    "before delete": "after delete",
}
# Keywords that end a clause, at its own depth of brackets.
_ENDS = re.compile(
    r"(select|from|where|group|having|window|order|limit|offset|for|union|except|intersect|on|returning|left|inner|cross"
    r"|join|full|then|else|when|end|loop|set|into|using|rows|range|as|do|execute)"
)
_LOCK = re.compile(r"(update|no key update|share|key share)\b", re.IGNORECASE)
_OBJECT = re.compile(
    r"^create (?:or replace )?(?:constraint )?(?P<kind>function|procedure|view|trigger) (?P<name>\w+)", re.MULTILINE
)
_DROP = re.compile(r"^drop (function|procedure|view|trigger) (?:if exists )?(\w+)", re.MULTILINE)
_QUERY = re.compile(r"^-- name: *(?P<name>\w+).*\n(?:--.*\n)*", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Piece:
    """A query, function, view or trigger: its name and where it is in its file."""

    name: str
    kind: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class _Token:
    text: str
    kind: str
    start: int
    end: int
    depth: int


def queries(text: str) -> list[Piece]:
    """Return the queries of a query file."""
    heads = list(_QUERY.finditer(text))
    ends = [*(head.start() for head in heads[1:]), len(text)]
    return [Piece(head["name"], "query", head.end(), end) for head, end in zip(heads, ends, strict=False)]


def objects(text: str) -> list[Piece]:
    """Return the functions, views and triggers that a migration makes."""
    up = text.partition("-- migrate:down")[0]
    return [Piece(found["name"], found["kind"], found.end(), _end_of_object(up, found.end())) for found in _OBJECT.finditer(up)]


def dropped(text: str) -> list[tuple[str, str]]:
    """Return the kinds and names of the functions, views and triggers that a migration removes."""
    return _DROP.findall(text.partition("-- migrate:down")[0])


def _end_of_object(text: str, start: int) -> int:
    head = text[start:].partition(";")[0]
    if tag := re.search(r"\$\w*\$", head):
        return text.index(tag[0], start + tag.end())
    if "begin atomic" in head:
        return text.index("\nend;", start)
    return start + len(head)


def changes(text: str, piece: Piece) -> list[Change]:
    """All changes of a query, or of an object."""
    tokens = list(_tokens(text, piece))
    found = sorted({change for place in range(len(tokens)) for change in _changes(text, tokens, place)})
    lines = [text.count("\n", 0, start) + 1 for start, _, _ in found]
    return [Change(piece.name, *change, (line, line)) for change, line in zip(found, lines, strict=True)]


def _tokens(text: str, piece: Piece) -> Iterator[_Token]:
    depth = 0
    for match in _TOKEN.finditer(text, piece.start, piece.end):
        if match.lastgroup == "skip":
            continue
        word = match[0].lower() if match.lastgroup == "word" else match[0]
        depth -= word in (")", "]")
        yield _Token(word, match.lastgroup or "", match.start(), match.end(), depth)
        depth += word in ("(", "[")


def _changes(text: str, tokens: list[_Token], place: int) -> Iterator[tuple[int, int, str]]:
    token = tokens[place]
    if token.kind == "number":
        yield token.start, token.end, str(int(token.text) + 1) if token.text.isdigit() else f"{float(token.text) + 1}"
    elif token.kind == "text":
        if found := re.match(r"'(\d+)( \w+)'$", token.text):
            yield token.start, token.end, f"'{int(found[1]) + 1}{found[2]}'"
    elif phrase := next((phrase for phrase in _PHRASES if _is_at(tokens, place, phrase)), None):
        new = _PHRASES[phrase]
        if new is not None and not (place and tokens[place - 1].text == "is"):  # is (not) distinct from
            yield token.start, tokens[place + phrase.count(" ")].end, new
    elif token.text in _SWAPS and not (token.text == "exists" and tokens[place - 1].text == "not"):
        if token.kind == "word" or (_is_binary(tokens, place) and (token.text != "=" or _is_compared(tokens, place))):
            yield token.start, token.end, _SWAPS[token.text]
    elif token.text == "coalesce":
        yield from _without_default(tokens, place)
    elif token.text == "perform":
        yield token.start, tokens[_end(tokens, place, ";")].start, "null"
    elif token.text in ("where", "having", "and", "on") or (token.text == "when" and tokens[place + 1].text == "("):
        yield from _without_condition(text, tokens, place)
    elif token.text == "filter" or (token.text == "order" and _is_at(tokens, place, "order by")):
        yield from _without_clause(tokens, place)
    elif token.text == "limit":
        count = tokens[place + 1]
        yield count.start, count.end, f"1000 + {count.text}"
    elif token.text == "for" and _LOCK.match(" ".join(t.text for t in tokens[place + 1 : place + 4])):
        yield from _without_clause(tokens, place)
    if token.text == "not" and not _is_at(tokens, place, "not exists") and tokens[place - 1].text not in ("is", "if"):
        yield token.start, token.end, ""


def _is_at(tokens: list[_Token], place: int, phrase: str) -> bool:
    words = phrase.split()
    return [token.text for token in tokens[place : place + len(words)]] == words


def _is_binary(tokens: list[_Token], place: int) -> bool:
    """Return whether an operator has an operand on its left."""
    before = tokens[place - 1] if place else None
    return before is not None and (before.kind != "sign" or before.text in (")", "]")) and place + 1 < len(tokens)


def _is_compared(tokens: list[_Token], place: int) -> bool:
    """Return whether a “=” compares, and in no condition that is left out as a whole anyway."""
    for token in reversed(tokens[:place]):
        if token.depth <= tokens[place].depth and token.kind == "word":
            if token.text in ("set", "using", "where", "on", "and", "having"):
                return False
            if token.text in ("if", "elsif", "when", "select", "or", "not"):
                return True
    return False


def _end(tokens: list[_Token], place: int, *also: str) -> int:
    """Return the place after a clause: where its brackets close, the next clause begins or a word stands that ends it too."""
    depth = tokens[place].depth
    for n in range(place + 1, len(tokens)):
        token = tokens[n]
        if token.depth < depth or (token.depth == depth and token.text in (";", *also)):
            return n
        if token.depth == depth and token.kind == "word" and ";" not in also and _ENDS.fullmatch(token.text):
            if token.text == "from" and tokens[n - 1].text == "distinct":
                continue
            if token.text == "for" and tokens[place].text == "for":
                continue
            return n
    return len(tokens)


def _stop(tokens: list[_Token], end: int) -> int:
    """Return where the token before a place ends."""
    return tokens[end - 1].end


def _without_clause(tokens: list[_Token], place: int) -> Iterator[tuple[int, int, str]]:
    token = tokens[place]
    if token.text == "filter":
        close = next(n for n in range(place + 2, len(tokens)) if tokens[n].depth == token.depth and tokens[n].text == ")")
        yield token.start, tokens[close].end, ""
    elif token.text == "for":
        depth = token.depth
        ends = (n for n in range(place, len(tokens)) if tokens[n].depth < depth or tokens[n].text in (";", "loop"))
        yield token.start, _stop(tokens, next(ends, len(tokens))), ""
    else:
        yield token.start, _stop(tokens, _end(tokens, place)), ""


def _without_condition(text: str, tokens: list[_Token], place: int) -> Iterator[tuple[int, int, str]]:
    """Have one of the conditions that are joined by “and” hold always."""
    token = tokens[place]
    if token.text == "and" and _is_between(tokens, place):
        return
    if token.text == "on" and (tokens[0].text in ("before", "after") or tokens[place + 1].text == "conflict"):
        return  # a trigger's table
    end = _end(tokens, place, "and", "or", ",")
    if token.text in ("on", "where", "having", "and", "when") and end > place + 1:
        condition = tokens[place + 1 : end]
        if any(t.text == "between" and t.depth == token.depth for t in condition):
            end = _end(tokens, end, "and", "or", ",") if end < len(tokens) else end
        if [token.text for token in tokens[place + 1 : end]] != ["true"]:
            start, stop = tokens[place + 1].start, _stop(tokens, end)
            yield start, stop, f"({text[start:stop]} or true)"  # the parameters must stay


def _is_between(tokens: list[_Token], place: int) -> bool:
    """Return whether an “and” belongs to a “between”."""
    for token in reversed(tokens[:place]):
        if token.depth == tokens[place].depth and token.text == "between":
            return True
        if token.depth < tokens[place].depth or token.text in ("and", "or", "where", "on"):
            return False
    return False


def _without_default(tokens: list[_Token], place: int) -> Iterator[tuple[int, int, str]]:
    """Leave out the last thing that coalesce falls back on."""
    commas: list[int] = []
    for n in range(place + 2, len(tokens)):
        if tokens[n].depth == tokens[place].depth and tokens[n].text == ")":
            if commas:
                yield tokens[commas[-1]].start, tokens[n].start, ""
            return
        if tokens[n].depth == tokens[place].depth + 1 and tokens[n].text == ",":
            commas.append(n)

"""Mutants of a dump's file: records and header changed, with a trailer that fits again; bytes changed as by a bad disk."""

import gzip
import json
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import zstandard

from tests.helpers.transfer_cases import closed

_VALUES = (
    "null", "true", "0", "-0", "1.5", "1e400", "-1", "9223372036854775808", "9" * 400, '""', '"x"', '"NaN"', '"a\\u0000b"',
    '"\\ud800"', '"\\ud834\\udd1e"', '"\\u2028\\\\N\\\\."', '"2026-01-31T12:00:00+00:00"', '"0000-01-01T00:00:00+00:00"',
    '"2026-02-30T25:00:00+99:99"', '"2026-01-31T12:00:00.123456-07:00"', "[]", "[null]", "[1, 2]", "{}", '{"a": 1, "a": 2}',
    '{"": {"": []}}', "[" * 20_000 + "]" * 20_000, "NaN", "nul", '"\t"', "01", "+1", "'x'", '"' + "ü" * 3000 + '"',
)  # fmt: skip
Lines = list[str]
Structural = Callable[[random.Random, Lines], None]


@dataclass(frozen=True)
class Mutant:
    """A changed file. how: the changes. is_closed: its trailer fits what it has now, as far as a program could make it fit."""

    text: bytes
    how: str
    is_closed: bool


def mutant(chance: random.Random, base: bytes) -> Mutant:
    """Return a mutant of a dump."""
    how: list[str] = []
    text, is_closed = base, True
    if chance.random() < 0.75:
        *lines, trailer, _, _ = base.decode().split("\n")  # not splitlines: records have any characters
        for change in chance.choices(_STRUCTURAL, k=chance.choice([1, 1, 1, 2, 3])):
            change(chance, lines)
            how.append(change.__name__)
        body = "".join(f"{line}\n" for line in lines)
        if chance.random() < 0.9:
            text = closed(body)
        else:
            text, is_closed = f"{body}{trailer}\n]\n".encode("utf-8", "surrogatepass"), False
    if not how or chance.random() < 0.1:
        for bytes_changed in chance.choices(_OF_BYTES, k=chance.choice([1, 1, 2])):
            text = bytes_changed(chance, text)
            how.append(bytes_changed.__name__)
        is_closed = False
    return Mutant(text, ", ".join(how), is_closed)


def _any(chance: random.Random, lines: Lines) -> int:
    """Return the number of a record's line, or now and then of the header's."""
    return chance.randrange(1 if chance.random() < 0.1 else min(2, len(lines) - 1), len(lines))


def drop(chance: random.Random, lines: Lines) -> None:
    """Leave out a line."""
    if len(lines) > 3:
        del lines[_any(chance, lines)]


def double(chance: random.Random, lines: Lines) -> None:
    """Have a line twice."""
    line = lines[_any(chance, lines)]
    lines.insert(_any(chance, lines), line)


def swap(chance: random.Random, lines: Lines) -> None:
    """Let two lines change places."""
    one, other = _any(chance, lines), _any(chance, lines)
    lines[one], lines[other] = lines[other], lines[one]


def shuffle(chance: random.Random, lines: Lines) -> None:
    """Have all records in any order."""
    records = lines[2:]
    chance.shuffle(records)
    lines[2:] = records


def value(chance: random.Random, lines: Lines) -> None:
    """Give a member another value, of any kind or one from elsewhere."""

    def change(fields: dict[str, str]) -> None:
        new = (
            chance.choice(_VALUES)
            if chance.random() < 0.7
            else chance.choice(list(_fields(lines[_any(chance, lines)]).values()) or ["1"])
        )
        fields[chance.choice(list(fields))] = new

    _edit(chance, lines, change)


def rename(chance: random.Random, lines: Lines) -> None:
    """Give a member another name, or that of another one."""

    def change(fields: dict[str, str]) -> None:
        names = list(fields)
        fields[chance.choice([*names, "x", "id", "", "\u2028"])] = fields.pop(chance.choice(names))

    _edit(chance, lines, change)


def remove(chance: random.Random, lines: Lines) -> None:
    """Leave out a member."""

    def change(fields: dict[str, str]) -> None:
        del fields[chance.choice(list(fields))]

    _edit(chance, lines, change)


def reorder(chance: random.Random, lines: Lines) -> None:
    """Have a record's members in another order, with spaces between."""
    n = _any(chance, lines)
    try:
        record = json.loads(lines[n].removesuffix(","))
        fields = list(record["fields"].items())
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return
    chance.shuffle(fields)
    members = list((record | {"fields": dict(fields)}).items())
    chance.shuffle(members)
    lines[n] = json.dumps(dict(members), ensure_ascii=chance.random() < 0.5) + ","


def key(chance: random.Random, lines: Lines) -> None:
    """Give a record another key, or the key of another one."""
    n = _any(chance, lines)
    start, found, rest = lines[n].partition('"pk":')
    if found:
        _, comma, rest = rest.partition(',"fields"')
        lines[n] = start + found + chance.choice([*_VALUES, "1", "2", "[1, 2]"]) + comma + rest


def punctuation(chance: random.Random, lines: Lines) -> None:
    """Leave out a character of JSON's, or put one in."""
    n = _any(chance, lines)
    at = chance.randrange(len(lines[n]) + 1)
    lines[n] = (
        lines[n][:at]
        + chance.choice(['"', "{", "}", "[", "]", ",", ":", "\\", "\\u", " ", "\t", "\r", ""])
        + lines[n][at + 1 :]
    )


def empty(chance: random.Random, lines: Lines) -> None:
    """Put in an empty line, or the end of the array."""
    lines.insert(_any(chance, lines), chance.choice(["", " ", "]", "[", "null,", "{},", "\ufeff"]))


def ends_of_lines(chance: random.Random, lines: Lines) -> None:
    """End lines as another system does."""
    lines[:] = [f"{line}\r" for line in lines]


def of_the_header(chance: random.Random, lines: Lines) -> None:
    """Change what the header tells."""
    try:
        head = json.loads(lines[1].removesuffix(","))
        fields = head["fields"]
        name = chance.choice(list(fields))
        fields[name] = chance.choice([
            None, [], {}, "x", 7, True, [None], {"host": None}, {"host": ["id"]}, ["planet"], [["host"]],
            fields[name][:-1] if isinstance(fields[name], list) else {},
        ])  # fmt: skip
    except (ValueError, TypeError, KeyError, RecursionError):
        return
    lines[1] = json.dumps(head) + ","


def _edit(chance: random.Random, lines: Lines, change: Callable[[dict[str, str]], None]) -> None:
    """Change the members of a record's fields, which are given as JSON text."""
    n = _any(chance, lines)
    fields = _fields(lines[n])
    if not fields:
        return
    start = lines[n].partition('"fields":')[0]
    change(fields)
    inside = ",".join(f"{json.dumps(name, ensure_ascii=False)}:{text}" for name, text in fields.items())
    lines[n] = f'{start}"fields":{{{inside}}}}},'


def _fields(line: str) -> dict[str, str]:
    try:
        fields = json.loads(line.removesuffix(","))["fields"]
        return {name: json.dumps(found, ensure_ascii=False, separators=(",", ":")) for name, found in fields.items()}
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return {}


def truncate(chance: random.Random, text: bytes) -> bytes:
    """Cut the file off."""
    return text[: chance.randrange(len(text) + 1)]


def flip(chance: random.Random, text: bytes) -> bytes:
    """Flip some bits."""
    changed = bytearray(text)
    for _ in range(chance.choice([1, 1, 2, 10]) if changed else 0):
        changed[chance.randrange(len(changed))] ^= 1 << chance.randrange(8)
    return bytes(changed)


def cut_out(chance: random.Random, text: bytes) -> bytes:
    """Lose some bytes in the middle."""
    at = chance.randrange(len(text) + 1)
    return text[:at] + text[at + chance.choice([1, 2, 100, 4096]) :]


def repeat(chance: random.Random, text: bytes) -> bytes:
    """Have some bytes twice, or the whole file."""
    one, other = sorted((chance.randrange(len(text) + 1), chance.randrange(len(text) + 1)))
    return text + text if chance.random() < 0.1 else text[:other] + text[one:]


def scribble(chance: random.Random, text: bytes) -> bytes:
    """Write any bytes over some."""
    at, size = chance.randrange(len(text) + 1), chance.choice([1, 4, 512])
    return text[:at] + chance.choice([chance.randbytes(size), bytes(size)]) + text[at + size :]


def pack(chance: random.Random, text: bytes) -> bytes:
    """Compress the file, and damage it then, in most cases."""
    packed = gzip.compress(text, 1, mtime=0) if chance.random() < 0.5 else zstandard.compress(text)
    return packed if chance.random() < 0.3 else chance.choice([truncate, flip, cut_out])(chance, packed)


_STRUCTURAL: Sequence[Structural] = (
    drop, double, swap, shuffle, value, value, value, value, rename, remove, reorder, key, key, punctuation, empty,
    ends_of_lines, of_the_header,
)  # fmt: skip
_OF_BYTES: Sequence[Callable[[random.Random, bytes], bytes]] = (truncate, flip, flip, cut_out, repeat, scribble, pack)

"""Conversion of the old dump's values for columns of a given type. ValueError for a value that would lose information."""

import json
import math
import re
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import msgspec

_NUL = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")
_NUMBER = re.compile(r"\s*[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?\s*|NaN|-?Infinity")
_SAFE_LENGTH = 7  # maximum characters of a number that jsonb certainly accepts
_LARGEST_EXPONENT = 131071  # maximum exponent of a jsonb number


class Number(str):
    """The text of a JSON number."""

    __slots__ = ()


def parse(text: object) -> Any:
    """Parse JSON, keeping the text of numbers. NaN and Infinity become strings, an empty text an empty object."""
    if not isinstance(text, str):
        raise ValueError("must be a string that holds JSON")
    if text == "":
        return {}
    try:
        return json.loads(text, parse_float=_as_written, parse_int=_as_written, parse_constant=str)
    except json.JSONDecodeError as error:
        raise ValueError(f"is not JSON: {error}") from None
    except RecursionError:
        raise ValueError("is nested too deeply") from None


def _as_written(number: str) -> Number:
    if len(number) > _SAFE_LENGTH and Decimal(number).adjusted() > _LARGEST_EXPONENT:
        raise ValueError("has a number beyond what jsonb holds")
    return Number(number)


def written(value: Any) -> str:
    """Return the JSON text of a parsed value. Raises ValueError for a value that jsonb refuses."""
    try:
        text = _ENCODER.encode(value)
    except UnicodeEncodeError:
        raise ValueError("holds a lone surrogate") from None
    except RecursionError:
        raise ValueError("is nested too deeply") from None
    if rb"\u0000" in text and _NUL.search(text):
        raise ValueError(r"holds \u0000")
    return text.decode()


def _verbatim(number: Number) -> msgspec.Raw:
    return msgspec.Raw(str(number))


_ENCODER = msgspec.json.Encoder(enc_hook=_verbatim)


def json_or_text(value: object) -> str:
    """Return a JSON text unchanged, and any other text as a JSON string."""
    if not isinstance(value, str):
        raise ValueError("must be a string")
    try:
        parsed = parse(value)
    except ValueError:
        parsed = value
    return written(parsed)


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError("must be a text")
    if not value.isascii() and any("\ud800" <= c <= "\udfff" for c in value):
        raise ValueError("holds a lone surrogate")
    if "\0" in value:
        raise ValueError(r"holds \u0000")
    return value


def _texts(value: object) -> list[str]:
    if not isinstance(value, list) or not all(isinstance(text, str) and not isinstance(text, Number) for text in value):
        raise ValueError("must be a list of texts")
    return [_text(text) for text in value]


def _number(value: object) -> float | int:
    if isinstance(value, Number):
        value = json.loads(value)
    elif isinstance(value, str) and _NUMBER.fullmatch(value):
        value = float(value)
    if not isinstance(value, float | int) or isinstance(value, bool):
        raise ValueError("must be a number")
    return value


def _double(value: object) -> float:
    if type(value) is float:
        return value
    number = _number(value)
    try:
        return float(number)
    except OverflowError:
        raise ValueError("is too large a number") from None


def _integer(bits: int) -> Callable[[object], int]:
    limit = 1 << (bits - 1)

    def read(value: object) -> int:
        number = value if type(value) is int else _number(value)
        if isinstance(number, float):
            if not number.is_integer():
                raise ValueError("must be a whole number")
            number = int(number)
        if not -limit <= number < limit:
            raise ValueError(f"must be a whole number below {limit}")
        return number

    return read


def _boolean(value: object) -> bool:
    if isinstance(value, Number):
        value = json.loads(value)
    if not isinstance(value, bool | int) or value not in (0, 1):
        raise ValueError("must be true or false")
    return bool(value)


def _instant(value: object) -> datetime:
    seconds = _number(value)
    if not math.isfinite(seconds):
        raise ValueError("must be a time")
    try:
        return datetime.fromtimestamp(seconds, UTC)
    except (ValueError, OverflowError, OSError):
        raise ValueError("must be a time of the years 1 to 9999, in seconds since 1970") from None


READERS: dict[str, Callable[[Any], object]] = {
    "smallint": _integer(16),
    "integer": _integer(32),
    "bigint": _integer(64),
    "double precision": _double,
    "boolean": _boolean,
    "text": _text,
    "text[]": _texts,
    "instant": _instant,
    "jsonb": written,
}

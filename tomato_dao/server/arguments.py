"""Checks of arguments beside the values of queries: seconds, counts, names. InvalidValue says what is wrong with one."""

import os
import threading
from pathlib import Path
from typing import cast

from ..errors import InvalidValue

LONGEST = threading.TIMEOUT_MAX  # seconds that Python can wait for
_LONGEST_LIMIT = (2**31 - 1) // 1000  # seconds that the server can limit a statement to


def seconds(name: str, value: object) -> float:
    """Return a number of seconds, of 0 or more, that can be waited for."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= LONGEST:
        raise InvalidValue(f"{name} must be 0 or more seconds, not {_shown(value)}")
    return value


def limit(name: str, value: object) -> float:
    """Return a number of seconds, of 0 or more, after which the server may end a statement."""
    if seconds(name, value) > _LONGEST_LIMIT:
        raise InvalidValue(f"{name} must be at most {_LONGEST_LIMIT:,} seconds (0: no limit), not {_shown(value)}")
    return cast("float", value)


def count(name: str, value: object, least: int) -> int:
    """Return a whole number that is not below another."""
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise InvalidValue(f"{name} must be a whole number of {least} or more, not {_shown(value)}")
    return value


def text(name: str, value: object) -> str:
    """Return a text that can be sent to the server."""
    if not isinstance(value, str) or not value.isprintable():
        raise InvalidValue(f"{name} must be a string without control characters, not {_shown(value)}")
    return value


def path(name: str, value: object) -> Path:
    """Return a path that the system can have."""
    if isinstance(value, str | os.PathLike):
        try:
            if b"\0" not in os.fsencode(value) and os.fspath(value):
                return Path(value)
        except UnicodeEncodeError:
            pass
    raise InvalidValue(f"{name} must be the path of a file, not {_shown(value)}")


def url(value: object) -> str:
    """Return a database's URL without what surrounds it: a newline or blank of a file; InvalidValue never shows it."""
    if not isinstance(value, str) or not value.strip().isprintable():
        raise InvalidValue("the database URL must have the form postgresql://user@host:port/database")
    return value.strip()


def _shown(value: object) -> str:
    """Return a wrong value, as a message names it."""
    if isinstance(value, int) and abs(value) > 10**20:
        return "a number of that size"
    return ascii(value)[:80] if isinstance(value, int | float | str | None) else f"a {type(value).__name__}"

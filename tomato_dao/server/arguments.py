"""Checks of arguments other than values of queries: seconds, counts, names. InvalidValue explains what is wrong."""

import os
import threading
from pathlib import Path
from typing import cast

from ..errors import InvalidValue

LONGEST = threading.TIMEOUT_MAX  # the longest wait that Python supports, in seconds
_LONGEST_LIMIT = (2**31 - 1) // 1000  # the longest statement_timeout that the server accepts, in seconds


def seconds(name: str, value: object) -> float:
    """Check a number of seconds to wait, 0 or more, and return it."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= LONGEST:
        raise InvalidValue(f"{name} must be 0 or more seconds, not {_shown(value)}")
    return value


def limit(name: str, value: object) -> float:
    """Check a number of seconds for a statement_timeout, 0 or more, and return it."""
    if seconds(name, value) > _LONGEST_LIMIT:
        raise InvalidValue(f"{name} must be at most {_LONGEST_LIMIT:,} seconds (0: no limit), not {_shown(value)}")
    return cast("float", value)


def count(name: str, value: object, least: int) -> int:
    """Check an integer against its minimum and return it."""
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise InvalidValue(f"{name} must be a whole number of {least} or more, not {_shown(value)}")
    return value


def text(name: str, value: object) -> str:
    """Check that a text can be sent to the server and return it."""
    if not isinstance(value, str) or not value.isprintable():
        raise InvalidValue(f"{name} must be a string without control characters, not {_shown(value)}")
    return value


def path(name: str, value: object) -> Path:
    """Check that a path is valid for the operating system and return it."""
    if isinstance(value, str | os.PathLike):
        try:
            if b"\0" not in os.fsencode(value) and os.fspath(value):
                return Path(value)
        except UnicodeEncodeError:
            pass
    raise InvalidValue(f"{name} must be the path of a file, not {_shown(value)}")


def url(value: object) -> str:
    """Return a database's URL without surrounding white space, as read from a file. InvalidValue never shows the URL."""
    if not isinstance(value, str) or not value.strip().isprintable():
        raise InvalidValue("the database URL must have the form postgresql://user@host:port/database")
    return value.strip()


def _shown(value: object) -> str:
    """Format an invalid value for a message."""
    if isinstance(value, int) and abs(value) > 10**20:
        return "a number of that size"
    return ascii(value)[:80] if isinstance(value, int | float | str | None) else f"a {type(value).__name__}"

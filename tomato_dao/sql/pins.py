"""The settings that every session of ours pins, whatever role, database, server or environment say: what the code depends on.

They go along when a session is opened, so that “reset all” comes back to them. A pooler in transaction mode takes none: there
the session sets those few that such poolers keep for each client, and the roles have the others (`make roles`).
"""

import re
from collections.abc import Mapping

import psycopg

SCHEMA = "public"  # where all tables are; named in the migrations' and the doctor's SQL too

PINNED = {
    # which tables are meant; nothing temporary stands before them
    "search_path": f"{SCHEMA},pg_temp",
    # how values are written as text and in JSON, and how text is read
    "datestyle": "ISO,MDY",
    "intervalstyle": "postgres",
    "timezone": "UTC",
    "bytea_output": "hex",
    "extra_float_digits": "1",
    "lc_numeric": "C",
    "lc_monetary": "C",
    "lc_time": "C",
    "array_nulls": "on",
    "xmloption": "content",
    # how statements are understood
    "standard_conforming_strings": "on",
    "backslash_quote": "safe_encoding",
    "transform_null_equals": "off",
    "quote_all_identifiers": "off",
    # what a statement sees, and whether all of it
    "default_transaction_isolation": "read committed",
    "default_transaction_deferrable": "off",
    "gin_fuzzy_search_limit": "0",
    # what ends a session that has done no wrong; how long statements may take is the caller's
    "exit_on_error": "off",
    "idle_session_timeout": "0",
    # compiling a plan costs more than any of our statements
    "jit": "off",
}

# Settings that the server reports of a session by itself, and that poolers keep for each client.
_REPORTED = {
    "TimeZone": "UTC",
    "DateStyle": "ISO, MDY",
    "IntervalStyle": "postgres",
    "standard_conforming_strings": "on",
}


def options(settings: Mapping[str, str]) -> str:
    """Return settings as libpq's “options”, and PGOPTIONS, have them."""
    return " ".join(f"-c {name}={escaped(value)}" for name, value in settings.items())


def escaped(value: str) -> str:
    """Return a setting's value as it stands in “options”."""
    return re.sub(r"([\\\s])", r"\\\1", value)


def without_ours(options: str) -> str:
    """Return what “options” has beside settings that are pinned and time limits."""
    ours = re.compile(r"-c (\w+)=((?:\\.|\S)*)\s*")
    return ours.sub(lambda found: "" if found[1] in PINNED or found[1].endswith("_timeout") else found[0], options).strip()


def corrections(info: psycopg.ConnectionInfo) -> str:
    """Return what sets what a session says that it has otherwise; empty where it has all."""
    wrong = {name: value for name, value in _REPORTED.items() if info.parameter_status(name) != value}
    return "; ".join(f"set {name} = '{value}'" for name, value in wrong.items())


def settle(connection: psycopg.Connection) -> None:
    """Set what the session says that it has otherwise: behind a pooler, or since PGTZ or PGDATESTYLE came after the options."""
    if statements := corrections(connection.info):
        connection.execute(statements.encode())

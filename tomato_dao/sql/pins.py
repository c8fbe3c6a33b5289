"""Settings that the code depends on. Every session pins them, regardless of role, database, server and environment.

They are sent as options when a session is opened, so that “reset all” returns to them. A pooler in transaction mode accepts no
options: there the session sets the few that such poolers keep for each client, and the roles set the others (`make roles`).
"""

import re
from collections.abc import Mapping

import psycopg

SCHEMA = "public"  # the schema of all tables, also named in the SQL of migrations and of the doctor

PINNED = {
    # name resolution: temporary objects come last
    "search_path": f"{SCHEMA},pg_temp",
    # conversion of values to and from text and JSON
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
    # interpretation of statements
    "standard_conforming_strings": "on",
    "backslash_quote": "safe_encoding",
    "transform_null_equals": "off",
    "quote_all_identifiers": "off",
    # visibility of rows
    "default_transaction_isolation": "read committed",
    "default_transaction_deferrable": "off",
    "gin_fuzzy_search_limit": "0",
    # timeouts that would end a healthy session; statement timeouts are the caller's choice
    "exit_on_error": "off",
    "idle_session_timeout": "0",
    # compiling a plan costs more than any of our statements takes
    "jit": "off",
}

# Settings that the server reports for each session, and that poolers keep for each client.
_REPORTED = {
    "TimeZone": "UTC",
    "DateStyle": "ISO, MDY",
    "IntervalStyle": "postgres",
    "standard_conforming_strings": "on",
}


def options(settings: Mapping[str, str]) -> str:
    """Format settings for libpq's “options” and PGOPTIONS."""
    return " ".join(f"-c {name}={escaped(value)}" for name, value in settings.items())


def escaped(value: str) -> str:
    """Escape a setting's value for “options”."""
    return re.sub(r"([\\\s])", r"\\\1", value)


def without_ours(options: str) -> str:
    """Return “options” without pinned settings and time limits."""
    ours = re.compile(r"-c (\w+)=((?:\\.|\S)*)\s*")
    return ours.sub(lambda found: "" if found[1] in PINNED or found[1].endswith("_timeout") else found[0], options).strip()


def corrections(info: psycopg.ConnectionInfo) -> str:
    """Return statements that correct a session's reported settings, or an empty string if all are right."""
    wrong = {name: value for name, value in _REPORTED.items() if info.parameter_status(name) != value}
    return "; ".join(f"set {name} = '{value}'" for name, value in wrong.items())


def settle(connection: psycopg.Connection) -> None:
    """Correct a session's reported settings, which a pooler, PGTZ or PGDATESTYLE may have changed."""
    if statements := corrections(connection.info):
        connection.execute(statements.encode())

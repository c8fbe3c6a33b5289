"""Time limits of the user or the server, which must not end a dump or a load: it takes as long as its rows need."""

import psycopg

_LIFT = """
set local statement_timeout = 0;
set local lock_timeout = 0;
set local idle_in_transaction_session_timeout = 0;
"""
_LIFT_17 = _LIFT + "set local transaction_timeout = 0;"  # which PostgreSQL 17 brought


def lift(connection: psycopg.Connection) -> None:
    """Let the transaction in progress go on without time limits; this takes no snapshot."""
    connection.execute(_LIFT_17 if connection.info.server_version >= 170000 else _LIFT)

"""Timeouts of the user or the server, which must not end a dump or load."""

import psycopg

_LIFT = """
set local statement_timeout = 0;
set local lock_timeout = 0;
set local idle_in_transaction_session_timeout = 0;
"""
_LIFT_17 = _LIFT + "set local transaction_timeout = 0;"  # new in PostgreSQL 17


def lift(connection: psycopg.Connection) -> None:
    """Disable timeouts for the current transaction, without taking a snapshot."""
    connection.execute(_LIFT_17 if connection.info.server_version >= 170000 else _LIFT)

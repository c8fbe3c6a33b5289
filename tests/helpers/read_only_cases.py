"""Helpers for tests of two servers of which one turns read-only."""

from contextlib import ExitStack

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from tests.helpers.session_cases import fill
from tomato_dao import Database


def admit(url: str, other: psycopg.Connection) -> None:
    """Create the user of another server's session on the server of the URL. Skips the test if their versions differ."""
    with psycopg.connect(url, autocommit=True) as there:
        if other.info.server_version // 10000 != there.info.server_version // 10000:
            pytest.skip("servers of two versions do not know the same settings")
        if there.execute("select from pg_roles where rolname = %s", [other.info.user]).rowcount == 0:
            there.execute(sql.SQL("create role {} superuser login").format(sql.Identifier(other.info.user)))


def hosts(pair: tuple[str, str], *, like: str = "", **settings: str) -> str:
    """Return a URL that names both servers. like: the one whose user and other settings it has (default: the second)."""
    first, second = (conninfo_to_dict(url) for url in pair)
    both = {name: f"{first.get(name, '')},{second.get(name, '')}" for name in ("host", "hostaddr", "port")}
    return make_conninfo(like or pair[1], **{**both, **settings})


def set_read_only(url: str, value: str | None) -> None:
    change = f"set default_transaction_read_only = {value}" if value else "reset default_transaction_read_only"
    with psycopg.connect(url, autocommit=True, options="-c default_transaction_read_only=off") as connection:
        connection.execute(f"alter system {change}".encode())
        connection.execute("select pg_reload_conf()")


def turn_read_only(url: str, db: Database) -> None:
    """Make the server read-only, and wait until all sessions of the pool know."""
    fill(db)
    set_read_only(url, "on")
    with ExitStack() as leases:
        for connection in [leases.enter_context(db.connection()) for _ in range(db.stats().pool.size)]:
            while connection.execute("show default_transaction_read_only").fetchone() != ("on",):
                pass


def stored(url: str) -> set[str]:
    with psycopg.connect(url) as connection:
        return {name for (name,) in connection.execute("select name from organizations")}

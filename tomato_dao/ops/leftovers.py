"""Leftover databases and files of killed processes. Those in use are locked, and locks end with their process."""

import re
import secrets
from contextlib import suppress

import psycopg
from psycopg import sql

SCRATCH = "tomato_scratch_"  # the prefix of scratch databases' names
_LOCKS = 0x6C656674  # "left", the first half of the locks' keys


def restored_as(name: str) -> str:
    """Return a new name for the database into which a backup is restored."""
    return f"{name}_restore_{secrets.token_hex(4)}"


def unfinished(name: str) -> str:
    """Return a regular expression for the names that `restored_as` returns for a database."""
    return f"^{re.escape(name)}_restore_[0-9a-f]{{8}}$"


def claim(server: psycopg.Connection, name: str) -> None:
    """Mark a database, which need not exist yet, as in use until this session of the database postgres ends."""
    server.execute("select pg_advisory_lock(%s, hashtext(%s))", [_LOCKS, name])


def abandoned(server: psycopg.Connection, pattern: str) -> list[str]:
    """Return the databases that match a regular expression and are neither claimed nor in use."""
    found = server.execute(
        """
        select d.datname::text
        from pg_database d
        where d.datname ~ %s and not exists (select from pg_stat_activity a where a.datid = d.oid)
          and not exists (
            select from pg_locks l
            where l.locktype = 'advisory' and l.classid = %s and l.objid = hashtext(d.datname::text)::oid and l.objsubid = 2
          )
        order by 1
        """,
        [pattern, _LOCKS],
    )
    return [name for (name,) in found]


def drop_abandoned(server: psycopg.Connection, pattern: str) -> None:
    """Drop `abandoned` databases in a session of the database postgres, except those that this user may not drop."""
    for name in abandoned(server, pattern):
        if server.execute("select pg_try_advisory_lock(%s, hashtext(%s))", [_LOCKS, name]).fetchone() != (True,):
            continue
        with suppress(psycopg.errors.InsufficientPrivilege, psycopg.errors.ObjectInUse):
            server.execute(sql.SQL("drop database if exists {}").format(sql.Identifier(name)))
        server.execute("select pg_advisory_unlock(%s, hashtext(%s))", [_LOCKS, name])

"""Temporary databases, for the schema file, the queries' types, older dumps, tests and the demo."""

import secrets
from collections.abc import Iterator
from contextlib import closing, contextmanager
from urllib.parse import quote

import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict

from ..errors import Unavailable
from ..server.probe import maintenance
from .databases import create_database
from .leftovers import SCRATCH, claim, drop_abandoned
from .migrate import migrate


@contextmanager
def scratch_database(server_url: str, *, migrated: bool = True, template: str | None = None) -> Iterator[str]:
    """Provide the URL of a new database on a server; it is dropped at the end of the block.

    Args:
        server_url: A URL of the server.
        migrated: Apply all migrations (default), or leave the database empty.
        template: A database to copy instead, to which nobody may be connected. A copy takes 0.02 s (0.06 s with fsync), the
            migrations 1.0 s.

    Databases left by killed processes are dropped first. Raises Unavailable if the user may not create databases.
    """
    name = f"{SCRATCH}{secrets.token_hex(6)}"
    url = with_database(server_url, name)
    with closing(maintenance(url)) as server:
        drop_abandoned(server, f"^{SCRATCH}[0-9a-f]{{12}}$")
        claim(server, name)
        if template is None:
            create_database(url)
        else:
            _copy_database(server, name, template)
        try:
            if migrated and template is None:
                migrate(url)
            yield url
        finally:
            _drop(server, name, url)


def with_database(url: str, name: str) -> str:
    """Return the URL of another database on the same server."""
    settings = {k: str(v) for k, v in conninfo_to_dict(url.strip()).items() if v is not None and k != "dbname"}
    query = "&".join(f"{quote(k)}={quote(v, safe='')}" for k, v in settings.items())
    return f"postgresql:///{quote(name, safe='')}?{query}"


def _copy_database(server: psycopg.Connection, name: str, template: str) -> None:
    # Copying files takes a third of the time of logging every page, unless a checkpoint has to wait for a disk.
    (is_synced,) = server.execute("select current_setting('fsync')::bool").fetchone() or (True,)
    copy = sql.SQL("create database {} template {} strategy {}")
    strategy = sql.SQL("wal_log" if is_synced else "file_copy")
    try:
        server.execute(copy.format(sql.Identifier(name), sql.Identifier(template), strategy))
    except psycopg.Error as error:
        raise Unavailable(f"{template} cannot be copied: {error.diag.message_primary}") from error


def _drop(server: psycopg.Connection, name: str, url: str) -> None:
    """Drop a scratch database like `drop_database`, in the session that created it if that is still open."""
    try:
        _drop_with(server, name)
    except psycopg.OperationalError:
        drop_database(url)


def drop_database(url: str) -> None:
    """Drop the database of a URL, if it exists, and end this user's sessions in it.

    Raises Unavailable if another user is connected to it. (“with (force)” would also end autovacuum's sessions, which needs
    a superuser.)
    """
    name = str(conninfo_to_dict(url)["dbname"])
    with maintenance(url) as connection:
        try:
            _drop_with(connection, name)
        except psycopg.Error as error:
            raise Unavailable(f"the database {name} cannot be dropped: {error.diag.message_primary}") from error


def _drop_with(server: psycopg.Connection, name: str) -> None:
    ours = "select pg_terminate_backend(pid, 5000) from pg_stat_activity where datname = %s and usename = current_user"
    server.execute(ours, [name])
    server.execute(sql.SQL("drop database if exists {}").format(sql.Identifier(name)))

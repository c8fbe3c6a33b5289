"""Databases that live for as long as a block: for the schema file, the queries' faces, tests and the demo."""

import secrets
from collections.abc import Iterator
from contextlib import closing, contextmanager
from urllib.parse import quote

import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict

from ..errors import Unavailable
from ..server.probe import maintenance
from .leftovers import SCRATCH, claim, drop_abandoned
from .migrate import create_database, migrate


@contextmanager
def scratch_database(server_url: str, *, migrated: bool = True, template: str | None = None) -> Iterator[str]:
    """Provide the URL of a new database on the server of a URL, which is dropped at the end.

    migrated: False for an empty one. template: the database to copy instead, in which nobody may be connected; a copy takes
    0.02 s (0.06 s on a server with fsync), the migrations 1.0 s.

    Those that were left by processes which were killed are dropped first. Raises Unavailable where the user may not create
    databases.
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
    """Return the URL of another database of the same server."""
    settings = {k: str(v) for k, v in conninfo_to_dict(url.strip()).items() if v is not None and k != "dbname"}
    query = "&".join(f"{quote(k)}={quote(v, safe='')}" for k, v in settings.items())
    return f"postgresql:///{quote(name, safe='')}?{query}"


def _copy_database(server: psycopg.Connection, name: str, template: str) -> None:
    # Copying files takes a third of the time of logging every page, where no checkpoint has to wait for a disk.
    (is_synced,) = server.execute("select current_setting('fsync')::bool").fetchone() or (True,)
    copy = sql.SQL("create database {} template {} strategy {}")
    strategy = sql.SQL("wal_log" if is_synced else "file_copy")
    try:
        server.execute(copy.format(sql.Identifier(name), sql.Identifier(template), strategy))
    except psycopg.Error as error:
        raise Unavailable(f"{template} cannot be copied: {error.diag.message_primary}") from error


def _drop(server: psycopg.Connection, name: str, url: str) -> None:
    """Drop a scratch database as `drop_database` does, by the session that made it where the server has not ended it since."""
    try:
        _drop_with(server, name)
    except psycopg.OperationalError:
        drop_database(url)


def drop_database(url: str) -> None:
    """Drop the database that a URL names, and end this user's sessions in it; fine where it isn't there.

    Raises Unavailable where somebody else is connected to it. (“with (force)” would want to end autovacuum's sessions too,
    which only a superuser may.)
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

"""Databases that live for as long as a block: for the schema file, the queries' faces, tests and the demo."""

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import quote

from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from ..pool import probe
from .migrate import create_database, migrate


@contextmanager
def scratch_database(server_url: str, *, migrated: bool = True) -> Iterator[str]:
    """The URL of a new database on the server of a URL, migrated or empty; it is dropped at the end.

    Raises Unavailable where the user may not create databases.
    """
    url = with_database(server_url, f"tomato_scratch_{secrets.token_hex(6)}")
    create_database(url)
    try:
        if migrated:
            migrate(url)
        yield url
    finally:
        drop_database(url)


def with_database(url: str, name: str) -> str:
    """The URL of another database of the same server."""
    settings = {k: str(v) for k, v in conninfo_to_dict(url).items() if v is not None and k != "dbname"}
    query = "&".join(f"{quote(k)}={quote(v, safe='')}" for k, v in settings.items())
    return f"postgresql:///{quote(name, safe='')}?{query}"


def drop_database(url: str) -> None:
    """Drop the database that a URL names, and end who is connected to it; fine where it isn't there."""
    name = str(conninfo_to_dict(url)["dbname"])
    with probe(make_conninfo(url, dbname="postgres")) as connection:
        connection.execute(sql.SQL("drop database if exists {} with (force)").format(sql.Identifier(name)))

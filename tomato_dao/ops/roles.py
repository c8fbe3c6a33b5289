"""`tomato-dao roles`: the roles of db/roles.sql, made where they aren't there, with their privileges in a database."""

import argparse
from collections.abc import Sequence

import psycopg
from psycopg.conninfo import make_conninfo

from ..errors import NotAllowed, TomatoError, from_driver
from ..server import schema
from ..server.commands import command_line
from ..server.probe import probe
from .migrate import create_database
from .urls import owner_url

OWNER, APP, READER = ROLES = ("tomato_owner", "tomato_app", "tomato_reader")
_LOCK = 0x726F6C6573  # "roles"


def make_roles(url: str) -> None:
    """Run db/roles.sql on a database, which is made where it isn't there.

    url: of a superuser, or of a user that may create roles and owns the database. Raises NotAllowed for anybody else.
    """
    create_database(url)
    # Roles are the whole server's, so the lock is in a database that all have.
    with probe(make_conninfo(url, dbname="postgres")) as server, server.transaction(), probe(url) as connection:
        server.execute("select pg_advisory_xact_lock(%s)", [_LOCK])
        try:
            with connection.transaction():
                connection.execute((schema.DB_DIR / "roles.sql").read_bytes())
        except (
            psycopg.errors.InsufficientPrivilege,
            psycopg.errors.ReadOnlySqlTransaction,
        ) as error:  # tomato_reader only reads
            raise NotAllowed(
                f"{connection.info.user} may not make the roles ({error.diag.message_primary}): run it as a superuser, "
                f"OWNER_DATABASE_URL=postgresql://postgres@…/… {command_line('roles')}"
            ) from error
        except psycopg.Error as error:
            raise from_driver(error) from error


def main(prog: str, arguments: Sequence[str]) -> None:
    """`tomato-dao roles`"""
    argparse.ArgumentParser(
        prog=prog,
        description="Make the roles of db/roles.sql in the server, and give them their privileges in the database, of "
        "OWNER_DATABASE_URL or DATABASE_URL (else the embedded ones).",
    ).parse_args(arguments)
    url = owner_url()
    make_roles(url)
    print(f"the roles {', '.join(ROLES)} have their privileges")
    try:
        with probe(url) as connection:
            without = connection.execute(
                "select rolname from pg_authid where rolname = any(%s) and rolpassword is null", [list(ROLES)]
            )
            for (role,) in without.fetchall():
                print(f"{role} has no password; where the server asks for one, set it in psql: \\password {role}")
    except (psycopg.Error, TomatoError):
        print("passwords are set in psql: \\password tomato_app")

"""`tomato-dao roles`: create the roles of db/roles, and grant them their privileges in a database."""

from collections.abc import Sequence
from itertools import islice
from time import sleep

import psycopg
from psycopg import sql

from ..errors import NotAllowed, TomatoError, from_driver
from ..server import schema
from ..server.backoff import pauses
from ..server.commands import command_line
from ..server.planted import refuse_planted
from ..server.probe import probe
from ..server.session import CATALOG_PATH
from ..sql import pins
from ..transfer import limits
from .cli import Parser
from .databases import create_database
from .migration_lock import lock_migrations, make_migration_lock
from .privileges import script
from .urls import owner_url

OWNER, APP, READER = ROLES = ("tomato_owner", "tomato_app", "tomato_reader")


def make_roles(url: str) -> None:
    """Create the roles of db/roles unless they exist, and grant them their privileges in a database; create it if needed.

    url: the URL of a superuser, or of a user who may create roles and owns the database. Raises NotAllowed for any other user,
    and WrongSchema if the schema is newer than this code or has objects of other owners.
    """
    create_database(url)
    with probe(url) as connection:
        schema.refuse_unknown(schema.applied(connection), connection.info.dbname)  # its tables may need other privileges
    with probe(url, path=CATALOG_PATH) as connection:
        refuse_planted(connection)  # tomato_owner becomes the owner of all objects in the schema
        try:
            make_migration_lock(connection)
            _run_scripts(connection)
        except (
            psycopg.errors.InsufficientPrivilege,
            psycopg.errors.ReadOnlySqlTransaction,
        ) as error:  # tomato_reader only reads
            raise NotAllowed(
                f"{connection.info.user} may not create the roles ({error.diag.message_primary}): run this as a superuser, "
                f"OWNER_DATABASE_URL=postgresql://postgres@…/… {command_line('roles')}"
            ) from error
        except psycopg.Error as error:
            raise from_driver(error) from error


def _run_scripts(connection: psycopg.Connection) -> None:
    """Run the scripts of db/roles in one transaction.

    Roles belong to the whole server. If another process creates them at the same time, this transaction fails when that one
    commits, and is retried.
    """
    for pause in islice(pauses(0.1, 1), 5):
        try:
            with connection.transaction():
                limits.lift(connection)
                lock_migrations(connection)
                for name in ("roles", "ownership", "privileges"):
                    connection.execute(script(name))
                _pin_settings(connection)
            return
        except (psycopg.errors.UniqueViolation, psycopg.errors.DuplicateObject, psycopg.errors.InternalError_) as error:
            conflict = error
            sleep(pause)
    raise conflict


def _pin_settings(connection: psycopg.Connection) -> None:
    """Set the pinned settings for the roles, since sessions behind a pooler cannot set them."""
    pin = sql.SQL("alter role {} set {} = {}")
    for role in map(sql.Identifier, ROLES):
        for name, value in pins.PINNED.items():
            values = sql.SQL(", ").join(map(sql.Literal, value.split(",")))
            connection.execute(pin.format(role, sql.Identifier(name), values))


def main(prog: str, arguments: Sequence[str]) -> None:
    """Run `tomato-dao roles`."""
    Parser(
        prog=prog,
        description="Create the roles of db/roles on the server, and grant them their privileges in the database, of "
        "OWNER_DATABASE_URL or DATABASE_URL (else the embedded ones).",
    ).parse_args(arguments)
    url = owner_url()
    make_roles(url)
    print(f"the roles {', '.join(ROLES)} exist and have their privileges")
    try:
        with probe(url, path=CATALOG_PATH) as connection:
            without = connection.execute(
                "select rolname from pg_authid where rolname = any(%s) and rolpassword is null", [list(ROLES)]
            )
            for (role,) in without.fetchall():
                print(f"{role} has no password; if the server asks for one, set it in psql: \\password {role}")
    except (psycopg.Error, TomatoError):
        print("passwords are set in psql: \\password tomato_app")

"""Creation of databases, encoded in UTF8 on any server."""

import psycopg
from psycopg import sql

from ..errors import NotAllowed, Unavailable
from ..server.probe import connect_to, connection_settings, database_name, maintenance, passes


def create_database(url: str, timeout: float = 0) -> None:
    """Create the database of a URL, encoded in UTF8, unless it exists. timeout: seconds to wait for a server.

    Raises NotAllowed if the user may not create it, and Unavailable if creating it fails otherwise.
    """
    settings = connection_settings(url, "tomato-dao migrate")
    try:
        connect_to(settings, 0).close()
        return
    except Unavailable as error:  # server or database is missing or closed: the next connection shows which
        if not timeout and isinstance(error.__cause__, psycopg.errors.ConnectionTimeout):
            raise  # a server that does not answer has no database that does
    try:
        server = maintenance(url, timeout)
    except Unavailable as error:
        connect_to(settings, 0 if passes(error) else timeout).close()
        return
    name = database_name(url)
    with server:
        if server.execute("select from pg_database where datname = %s", [name]).fetchone() is None:
            _create(server, name)
        else:
            connect_to(settings, timeout).close()  # raises the reason, unless another process has created it since


def _create(server: psycopg.Connection, name: str) -> None:
    try:
        create_utf8(server, name)
    except (psycopg.errors.DuplicateDatabase, psycopg.errors.UniqueViolation):
        pass  # another process has created it first
    except psycopg.errors.InsufficientPrivilege as error:
        user = server.info.user
        raise NotAllowed(
            f"the database {name} does not exist, and the user {user} may not create databases; a superuser (postgres) can, in "
            f'psql: create database "{name}" owner "{user}" encoding \'UTF8\' template template0; or allow it to the '
            f'user: alter role "{user}" createdb'
        ) from error
    except psycopg.Error as error:
        said = error.diag.message_primary
        raise Unavailable(f"the database {name} does not exist and cannot be created: {said}") from error


def create_utf8(server: psycopg.Connection, name: str) -> None:
    """Create an empty database encoded in UTF8, independent of the server's other databases.

    Its locale is the server's if that supports UTF8, else C.UTF-8, or C if the server's machine lacks that.
    """
    create = sql.SQL("create database {} encoding 'UTF8' template template0").format(sql.Identifier(name))
    try:
        server.execute(create)
    except psycopg.errors.InvalidParameterValue:  # encoding and locale do not match
        try:
            server.execute(create + sql.SQL(" locale 'C.UTF-8'"))
        except psycopg.errors.WrongObjectType:
            server.execute(create + sql.SQL(" locale 'C'"))

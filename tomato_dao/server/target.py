"""The database of an open session, in the form that each external program needs to connect to the same one.

libpq, pg_dump, psql and dbmate each read URLs, service files and PG* variables in their own way. So a session is opened first,
and child processes get its host, port, user and database, without the variables that could select another database.
"""

import os
from dataclasses import dataclass
from typing import LiteralString
from urllib.parse import quote, urlencode

import psycopg
from psycopg import pq

from .probe import maintenance, takes_options

# Identifies the database globally: another server has another system identifier. If reading that is not permitted, the server's
# start time replaces it. db/guard uses the same query.
_IDENTITY: LiteralString = """
select format('%s/%s/%s', {}, d.oid, d.datname) from pg_database d where d.datname = current_database()
"""
_SYSTEM: LiteralString = "(select c.system_identifier from pg_control_system() c)"
_STARTED: LiteralString = "extract(epoch from pg_postmaster_start_time())"
_MAY_HAVE_TEMPORARY_TABLES = "select has_database_privilege(current_database(), 'temporary')"
_MAY_KNOW_SYSTEM = "select has_function_privilege('pg_control_system()', 'execute')"
# Settings that only matter for opening a session, and those that the child process sets itself.
_DONE = ("service", "servicefile", "target_session_attrs", "load_balance_hosts", "connect_timeout")
_OWN = ("options", "application_name", "client_encoding", "password")
# Parameters of a URL that dbmate's driver, lib/pq, interprets like libpq.
_FOR_DBMATE = ("sslmode", "sslrootcert", "sslcert", "sslkey")


@dataclass(frozen=True, slots=True)
class Target:
    """The database of an open session.

    settings: libpq's settings for another connection, without the password. options: the session's options, or None if a pooler
    accepts none. encrypted: whether the session is encrypted. version: libpq's number of the server's version. identity: the
    result of `identity_of`. has_temporary_tables: whether the user may create temporary tables.
    """

    settings: dict[str, str]
    password: str | None
    options: str | None
    encrypted: bool
    version: int
    identity: str
    has_temporary_tables: bool

    @property
    def database(self) -> str:
        """The database's name."""
        return self.settings["dbname"]

    def url(self, database: str | None = None) -> str:
        """Return a URL of the database, or of another one of the server, with the password: only for use in this process."""
        settings = {**self.settings, "dbname": database or self.database}
        if self.password:
            settings["password"] = self.password
        return f"postgresql://?{urlencode(settings, quote_via=quote)}"

    def environment(self, application_name: str) -> dict[str, str]:
        """Return the environment of a child process that uses libpq: this process's, with this database only."""
        variables = {option.keyword.decode(): option.envvar.decode() for option in pq.Conninfo.get_defaults() if option.envvar}
        told = {variables[name]: value for name, value in self.settings.items() if name in variables}
        told |= {"PGAPPNAME": application_name, "PGCLIENTENCODING": "UTF8", "PGCONNECT_TIMEOUT": "5"}
        if self.password:
            told["PGPASSWORD"] = self.password
        if self.options:
            told["PGOPTIONS"] = self.options
        return {**_outside(), **told}

    def environment_for_dbmate(self, options: str) -> dict[str, str]:
        """Return the environment of dbmate. Its URL has no password, since dbmate passes it on as an argument.

        options: additional settings for PGOPTIONS.
        """
        settings = {name: self.settings[name] for name in _FOR_DBMATE if name in self.settings}
        if settings.get("sslmode") in ("prefer", "allow"):  # not every dbmate 2 supports these
            settings["sslmode"] = "require" if self.encrypted else "disable"
        host, port = self.settings["host"], self.settings["port"]
        user, name = quote(self.settings["user"], safe=""), quote(self.database, safe="")
        if host.startswith("/"):
            settings |= {"socket": host, "port": port, "sslmode": "disable"}
            place = ""
        else:
            if settings.get("sslmode") != "verify-full":
                host = self.settings.get("hostaddr") or host  # a host name may have several addresses
            place = f"{f'[{host}]' if ':' in host else host}:{port}"
        url = f"postgres://{user}@{place}/{name}?{urlencode(settings, quote_via=quote)}"
        told = {"DATABASE_URL": url}
        if self.options is not None:
            told["PGOPTIONS"] = f"{self.options} {options}"
        if self.password:
            told["PGPASSWORD"] = self.password
        return {**_outside(), **told}


def target_of(connection: psycopg.Connection) -> Target:
    """Return the database of a session."""
    pgconn = connection.pgconn
    given = {option.keyword.decode(): option.val.decode() for option in pgconn.info if option.val is not None}
    settings = {name: value for name, value in given.items() if name not in (*_DONE, *_OWN)}
    info = connection.info
    settings |= {"host": info.host, "port": str(info.port), "user": info.user, "dbname": info.dbname}
    settings["hostaddr"] = "" if info.host.startswith("/") else info.hostaddr
    return Target(
        settings=settings,
        password=info.password or None,
        options=given.get("options") if takes_options(connection) else None,
        encrypted=bool(pgconn.ssl_in_use),
        version=info.server_version,
        identity=identity_of(connection),
        has_temporary_tables=connection.execute(_MAY_HAVE_TEMPORARY_TABLES).fetchone() == (True,),
    )


def identity_of(connection: psycopg.Connection) -> str:
    """Return the system identifier, OID and name of a session's database."""
    may = connection.execute(_MAY_KNOW_SYSTEM).fetchone() == (True,)
    (identity,) = connection.execute(_IDENTITY.format(_SYSTEM if may else _STARTED)).fetchone() or ("",)
    return str(identity)


def server_of(url: str) -> str:
    """Resolve a URL, independently of later changes of the environment, to the server's database “postgres”."""
    with maintenance(url) as connection:
        return target_of(connection).url()


def _outside() -> dict[str, str]:
    """Return this process's environment without the variables that select a database for libpq or dbmate."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("PG", "DBMATE_", "DATABASE_URL"))}

"""Connections outside the pool: addresses, settings, refusals, and the check that the server is suitable."""

import logging
import math
import os
import pwd
import re
from collections.abc import Mapping
from itertools import zip_longest
from time import monotonic, sleep
from types import MappingProxyType

import psycopg
from psycopg import pq
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from ..errors import InvalidValue, TomatoError, Unavailable, WrongSchema, from_driver
from ..sql import pins
from . import arguments
from .backoff import pauses
from .commands import command_line
from .session import CATALOG_PATH, SCHEMA_PATH, Session, look_up_in

OLDEST_SERVER = 150000
CONNECT_TIMEOUT = 5  # seconds, for each address of a host name
# libpq gives no SQLSTATE for a refused connection, only a message in the server's language. So every refusal counts as
# temporary unless libpq or an English message of the server shows that it is final.
_FINAL = re.compile(
    r"password authentication failed|authentication failed for user|no password supplied|pg_hba\.conf"
    r'|(database|role|user) ".*" does not exist|no such (database|user)|[Pp]ermission denied|not permitted to log in'
    r"|Name or service not known|No address associated|nodename nor servname|No such device|is too long"
    r"|certificate|does not support SSL|invalid response|[Ii]nvalid |[Uu]nrecognized |[Uu]nsupported |cannot be (set|changed)"
)
_FULL = "too many|connection slots"
_TRANSIENT_STATES = ("53", "57P", "08")
# Poolers' English refusals of a connection with startup parameters.
_TAKES_NO_OPTIONS = "unsupported startup parameter|support command-line options"
logger = logging.getLogger(__name__)


def session_settings(
    url: str, application_name: str, statement_timeout: float | None, server_version: int = 0
) -> dict[str, object]:
    """Return the settings of a pooled connection. Without a timeout, a pooler in transaction mode accepts all of them.

    server_version: libpq's number; some limits exist in later servers only.
    """
    if statement_timeout is None:
        settings = connection_settings(url, application_name)
        del settings["options"]
        if options := _given_options(conninfo_to_dict(url)):
            settings["options"] = options
        return settings
    milliseconds = str(math.ceil(statement_timeout * 1000))  # 0 would mean no limit
    limits = {"statement_timeout": milliseconds, "idle_in_transaction_session_timeout": milliseconds}
    if server_version >= 170000:
        limits["transaction_timeout"] = "0"
    return connection_settings(url, application_name, limits)


def connection_settings(url: str, application_name: str, limits: Mapping[str, str] = MappingProxyType({})) -> dict[str, object]:
    """Return libpq's settings for a URL. The URL's own settings take precedence, except over pinned settings.

    limits: settings that the URL's options may override. Raises InvalidValue, without showing the URL, if it is malformed.
    """
    try:
        given = conninfo_to_dict(arguments.url(url))
    except psycopg.ProgrammingError:
        raise InvalidValue("the database URL is not of the form postgresql://user@host:port/database") from None
    outside = [str(given.get(name, "")) for name in ("host", "port", "dbname")]
    if any("@" in text and not text.startswith("/") for text in outside):
        raise InvalidValue("the password in the database URL contains an @ or /: write them as %40 and %2F")
    if "search_path" in str(given.get("options", "")):
        raise InvalidValue(f"the tables are in the schema {pins.SCHEMA}: remove search_path from the database URL's options")
    options = [pins.options(limits), _given_options(given), pins.options(pins.PINNED)]
    return {
        "application_name": application_name,
        "connect_timeout": CONNECT_TIMEOUT,
        "keepalives_idle": 30,
        "keepalives_interval": 10,
        "keepalives_count": 3,
        "tcp_user_timeout": 60000,
        **given,
        "client_encoding": "UTF8",
        "options": " ".join(filter(None, options)),
    }


def seeks_writable(settings: Mapping[str, object]) -> str:
    """Return the target_session_attrs that makes libpq search for a writable server, or an empty string.

    libpq searches if settings or environment request it, and among several hosts unless they request another kind of server.
    """
    default = {option.keyword.decode(): option.val for option in pq.Conninfo.get_defaults() if option.val}

    def given(name: str) -> str:
        return str(settings.get(name) or default.get(name, b"").decode())

    attrs = given("target_session_attrs")
    if attrs in ("read-write", "primary"):
        return attrs
    return "read-write" if attrs in ("", "any") and "," in given("host") + given("hostaddr") else ""


def resolved(settings: Mapping[str, object]) -> dict[str, str]:
    """Resolve connection settings through service files and PG* variables, as libpq does, without a connection."""
    pgconn = pq.PGconn.connect_start(make_conninfo(**settings).encode())  # type: ignore[arg-type]
    try:
        return {option.keyword.decode(): option.val.decode() for option in pgconn.info if option.val is not None}
    finally:
        pgconn.finish()


def database_name(url: str) -> str:
    """Return the name of a URL's database, which need not exist."""
    return resolved(connection_settings(url, "tomato-dao")).get("dbname", "")


def _given_options(given: Mapping[str, object]) -> str:
    """Return the user's options: from the URL, else from its service, else from the environment."""
    if "options" in given:
        return str(given["options"])
    if "service" in given or "PGSERVICE" in os.environ:
        return resolved(given).get("options", "")
    return os.environ.get("PGOPTIONS", "")


def probe(
    url: str, timeout: float = 0, *, application_name: str = "tomato-dao", path: str = SCHEMA_PATH, primary_for: str = ""
) -> psycopg.Connection:
    """Open a connection outside the pool, and check that the server is suitable.

    primary_for: the feature that needs the primary, such as “locks”: a writable server is searched among several hosts, and
    Unavailable is raised on a standby.

    timeout: seconds to retry a server that is full or unavailable. path: the search_path (SCHEMA_PATH or CATALOG_PATH of
    tomato_dao.server.session). Raises Unavailable if no connection is possible, with a message of one line that names the
    server and the remedy and never the password; WrongSchema for a server older than PostgreSQL 15 or an encoding other than
    UTF8.
    """
    settings = connection_settings(url, application_name)
    if primary_for and (attrs := seeks_writable(settings)):
        settings["target_session_attrs"] = attrs
    connection = connect_to(settings, timeout, path)
    try:
        check_server(connection)
        _check_encoding(connection)
        if primary_for:
            _refuse_standby(connection, primary_for)
    except (WrongSchema, Unavailable):
        connection.close()
        raise
    return connection


def _refuse_standby(connection: psycopg.Connection, what: str) -> None:
    """Raise Unavailable on a standby, whose sessions are separate from the primary's. what: the feature, for the message."""
    try:
        (is_standby,) = connection.execute("select pg_is_in_recovery()").fetchone() or (False,)
    except psycopg.Error as error:
        raise from_driver(error) from error
    if is_standby:
        raise Unavailable(
            f"the server at {_place(connection.info.get_parameters())} is a standby, and {what} need the primary: put it into "
            "the URL, or all servers with target_session_attrs=read-write"
        )


def maintenance(url: str, timeout: float = 0) -> psycopg.Connection:
    """Connect to the database “postgres” of a URL's server, to create databases and roles, without time limits.

    Its encoding does not matter, since new databases get their own. timeout and errors are those of `probe`.
    """
    limits = {"statement_timeout": "0", "lock_timeout": "0", "idle_in_transaction_session_timeout": "0"}
    settings = {**connection_settings(url, "tomato-dao", limits), "dbname": "postgres"}
    connection = connect_to(settings, timeout, CATALOG_PATH)
    try:
        check_server(connection)
        if connection.info.server_version >= 170000 and takes_options(connection):
            connection.execute("set transaction_timeout = 0")
    except WrongSchema:
        connection.close()
        raise
    return connection


def takes_options(connection: psycopg.Connection) -> bool:
    """Return whether the session has the requested settings. A pooler in transaction mode accepts none."""
    return "options" in connection.info.get_parameters()


def connect_to(settings: Mapping[str, object], timeout: float, path: str = SCHEMA_PATH) -> psycopg.Connection:
    """Open a connection in autocommit mode. timeout, path and Unavailable are those of `probe`."""
    deadline = monotonic() + timeout
    told = False
    for pause in pauses(0.1, 2):
        try:
            connection = _connected(settings)
            look_up_in(connection, path)
            return connection
        except psycopg.OperationalError as error:
            failed = _unreachable(settings, error)
            if monotonic() + pause > deadline or not _may_pass(error):
                raise failed from error
        except psycopg.Error as error:
            raise from_driver(error) from error
        except UnicodeError as error:  # from Python's lookup of a host name with an empty or too long label
            raise InvalidValue(f"can't connect to {_place(settings)}: the host name is unknown: {error}") from error
        if not told:
            logger.warning("%s (trying again for %g s)", failed, timeout)
            told = True
        sleep(pause)
    raise AssertionError("asks until it returns or raises")


def _connected(settings: Mapping[str, object]) -> psycopg.Connection:
    """Open a session with its settings. If a pooler refuses the options and none are the user's, open it without them."""
    try:
        connection = Session.connect(autocommit=True, **settings)  # type: ignore[arg-type]
    except psycopg.OperationalError as error:
        users = pins.without_ours(str(settings.get("options", "")))
        if users or not re.search(_TAKES_NO_OPTIONS, str(error)):
            raise
        without = {name: value for name, value in settings.items() if name != "options"}
        connection = Session.connect(autocommit=True, **without)  # type: ignore[arg-type]
    pins.settle(connection)
    return connection


def passes(refusal: TomatoError) -> bool:
    """Return whether a refusal is temporary: the server is full, starting, restarting or failing over.

    Every refusal that is not known to be final counts as temporary.
    """
    error = refusal.__cause__
    return isinstance(error, psycopg.OperationalError) and _may_pass(error)


def _may_pass(error: psycopg.OperationalError) -> bool:
    if error.sqlstate:
        return error.sqlstate.startswith(_TRANSIENT_STATES)
    if error.pgconn is not None and error.pgconn.needs_password:
        return False
    first, *others = str(error).split("\n- ")  # with several hosts, of all that were tried
    return any(not _FINAL.search(said) for said in others or [first])


def is_full(refusal: TomatoError) -> bool:
    """Return whether the server refused a connection, in English, because its connection limit is reached."""
    return bool(re.search(_FULL, str(refusal)))


def check_server(connection: psycopg.Connection) -> None:
    """Raise WrongSchema for a server that is too old."""
    version = connection.info.server_version
    if version < OLDEST_SERVER:
        raise WrongSchema(
            f"the server at {_place(connection.info.get_parameters())} is PostgreSQL {version // 10000}; "
            "tomato-dao needs 15 or later: upgrade the server, or point DATABASE_URL at another"
        )


def _check_encoding(connection: psycopg.Connection) -> None:
    if (encoding := connection.info.parameter_status("server_encoding")) != "UTF8":
        raise WrongSchema(
            f"the database {connection.info.dbname} is encoded in {encoding}; tomato-dao needs UTF8: create it anew with "
            "create database … encoding 'UTF8' template template0"
        )


def _unreachable(settings: Mapping[str, object], error: psycopg.OperationalError) -> Unavailable:
    """Return an error message of one line: the server, its message, and the remedy."""
    said = "; ".join(line.strip() for line in str(error).splitlines() if not line.startswith("\t"))
    if re.search(_FULL, said):
        advice = "it has reached its connection limit: use fewer worker processes or smaller pools"
    elif re.search('database ".*" does not exist', said):
        advice = f"{command_line('migrate')} creates it"
    elif re.search("not currently accepting connections", said):
        advice = "a restore is replacing it, or it was closed to connections: try again in a moment"
    elif re.search("Peer authentication failed", said):
        advice = (
            "through its socket this server, as Debian sets it up, lets in only who has the same name in the operating system "
            f"as in the database, and here that is “{_system_user()}”: either run the command as the database's user (sudo -u "
            "postgres …), or have a role of your own name made (sudo -u postgres createuser --createdb "
            f"{_system_user()}) and leave the user out of DATABASE_URL, or connect with a password, by host: "
            "postgresql://user:password@localhost/database"
        )
    elif re.search("no pg_hba.conf entry", said):
        advice = "add a line to the server's pg_hba.conf that allows this user from this host"
    elif re.search('role ".*" does not exist', said):
        advice = "put an existing user into DATABASE_URL, or create this one (sudo -u postgres createuser …)"
    elif error.pgconn is not None and error.pgconn.needs_password:
        advice = "set a password in the URL, in PGPASSWORD or in ~/.pgpass"
    elif error.pgconn is not None and error.pgconn.used_password and not _may_pass(error):
        advice = "check user and password in DATABASE_URL"
    else:
        advice = "check that the server is running and that DATABASE_URL has the right host, port, user and database"
    return Unavailable(f"can't connect to {_place(settings)}: {said}; {advice}")


def _system_user() -> str:
    """Return the name of the operating system's user, which libpq uses by default."""
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return str(os.geteuid())


def _place(settings: Mapping[str, object]) -> str:
    hosts = str(settings.get("host") or settings.get("hostaddr") or "the default host").split(",")
    ports = str(settings.get("port", "")).split(",")
    if len(ports) == 1:
        ports *= len(hosts)
    servers = ", ".join(f"{host}:{port or 5432}" for host, port in zip_longest(hosts, ports, fillvalue="?"))
    return f"{servers}, database {settings.get('dbname', '(default)')}"

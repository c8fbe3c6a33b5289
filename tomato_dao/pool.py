"""The pool: psycopg_pool, with everything about a connection set in this one place, and a shorter way between two calls."""

import os
import threading
from collections import deque
from collections.abc import Mapping
from time import monotonic, sleep
from weakref import WeakSet

import psycopg
from psycopg import pq
from psycopg.conninfo import conninfo_to_dict
from psycopg_pool import ConnectionPool, PoolClosed, PoolTimeout

from .adapters import adapt, log_notice
from .errors import InvalidValue, Unavailable, WrongLayout
from .queries import Query
from .statements import Connection, Shape

OLDEST_SERVER = 150000
CONNECT_TIMEOUT = 5  # seconds, for each address that a host name has
_LIFETIME = 3600  # seconds that a connection is used for
_IDLE_AFTER = 60  # seconds without work after which a connection goes back to psycopg_pool, which closes what is too many
_IDLE = pq.TransactionStatus.IDLE


class Pool:
    """At most `size` connections for all threads of a process; who comes first is served first.

    psycopg_pool makes and replaces the connections and keeps the queue of those who wait. Taking a connection from it
    and giving it back costs as much as a statement, so while nobody waits a connection stays here between two calls.
    """

    def __init__(
        self, url: str, *, size: int, timeout: float, statement_timeout: float, application_name: str, prepare: bool
    ) -> None:
        self.size = size
        self._shapes: dict[Query, Shape] | None = None if prepare else {}
        self._all: WeakSet[Connection] = WeakSet()
        self._idle: deque[Connection] = deque()
        self._waiting = 0  # who must be served through psycopg_pool's queue
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self._pool = ConnectionPool(
            connection_class=Connection,
            kwargs={
                **_settings(url, application_name, statement_timeout if prepare else None),
                "autocommit": True,
                "prepare_threshold": None,
            },
            configure=self._configure,
            min_size=1,
            max_size=size,
            max_lifetime=_LIFETIME,
            timeout=timeout,
            name=application_name,
            open=False,
        )
        self._pool.open()
        threading.Thread(target=self._tidy, name=f"{application_name}-tidy", daemon=True).start()

    def lease(self) -> Connection:
        """A connection for the caller alone, until `give_back`; Unavailable where none is free in time."""
        try:
            return self._idle.pop()
        except IndexError:
            pass
        with self._lock:
            self._waiting += 1
        try:
            # Who gave one back before it could see us waiting has left it here.
            return self._idle.pop() if self._idle else self._pool.getconn()
        except IndexError:
            return self._pool.getconn()
        except PoolTimeout as error:
            raise Unavailable(
                f"no connection free after {self._pool.timeout:g} s: all {self.size} of this process's pool are at work "
                f"and {self._waiting - 1} more tasks wait; make the pool larger or the tasks shorter"
            ) from error
        except PoolClosed as error:
            raise Unavailable("the database is closed") from error
        finally:
            with self._lock:
                self._waiting -= 1

    def give_back(self, connection: Connection) -> None:
        """The end of a lease."""
        connection.used_at = now = monotonic()
        if self._waiting or connection.pgconn.transaction_status != _IDLE or now > connection.expires_at:
            self._pool.putconn(connection)
            return
        self._idle.append(connection)
        if self._waiting:  # since we looked
            self._return_idle()

    def close(self, grace: float) -> None:
        """Let what runs go on for `grace` seconds, cancel the rest, close all connections."""
        with self._lock:
            self._waiting += 1  # for ever: what is given back goes to psycopg_pool, which closes it
        self._closed.set()
        self._return_idle()
        self._pool.close()
        deadline = monotonic() + grace
        while self._at_work() and monotonic() < deadline:
            sleep(0.01)
        for connection in self._at_work():
            connection.cancel_safe(timeout=grace)

    def _at_work(self) -> list[Connection]:
        return [c for c in self._all if c.pgconn.transaction_status == pq.TransactionStatus.ACTIVE]

    def _return_idle(self, *, unused_since: float | None = None) -> None:
        """Give connections back to psycopg_pool: those unused since a time, longest unused first, else all."""
        try:
            while unused_since is None or self._idle[0].used_at < unused_since:
                self._pool.putconn(self._idle.popleft())
        except IndexError:
            pass

    def _tidy(self) -> None:
        while not self._closed.wait(_IDLE_AFTER / 2):
            self._return_idle(unused_since=monotonic() - _IDLE_AFTER)

    def _configure(self, connection: Connection) -> None:
        adapt(connection)
        connection.add_notice_handler(log_notice)
        connection.shapes = self._shapes
        connection.expires_at = monotonic() + _LIFETIME
        if self._shapes is not None:
            connection.execute("set timezone = 'UTC'")  # a pooler refuses it as an option of the connection, but keeps it
        self._all.add(connection)


def database_url() -> str:
    """Where the database is: DATABASE_URL, else that of the embedded server, which is started where it isn't running."""
    if url := os.environ.get("DATABASE_URL"):
        return url
    from .ops import embedded

    return embedded.start()


def _settings(url: str, application_name: str, statement_timeout: float | None) -> dict[str, object]:
    settings = connection_settings(url, application_name)
    if statement_timeout is not None:
        milliseconds = round(statement_timeout * 1000)
        ours = f"-c statement_timeout={milliseconds} -c idle_in_transaction_session_timeout={milliseconds} -c timezone=UTC"
        settings["options"] = f"{ours} {settings.get('options', '')}".strip()
    return settings


def connection_settings(url: str, application_name: str) -> dict[str, object]:
    """What libpq is given for a URL: the URL's own settings win. InvalidValue, without the URL, where it isn't one."""
    try:
        given = conninfo_to_dict(url)
    except psycopg.ProgrammingError:
        raise InvalidValue("the database URL is not of the form postgresql://user@host:port/database") from None
    if any("@" in str(given.get(name, "")) for name in ("host", "port", "dbname")):
        raise InvalidValue("the database URL has an @ or / in its password: write them as %40 and %2F")
    return {
        "application_name": application_name,
        "connect_timeout": CONNECT_TIMEOUT,
        "keepalives_idle": 30,
        "keepalives_interval": 10,
        "keepalives_count": 3,
        "tcp_user_timeout": 60000,
        **given,
    }


def probe(url: str) -> psycopg.Connection:
    """A connection to a server that this code can use.

    Raises Unavailable where there is none, in one line that says which and what to do and never the password, and
    WrongLayout for a server older than PostgreSQL 15 or another encoding than UTF8.
    """
    settings = connection_settings(url, "tomato-dao")
    try:
        connection = psycopg.connect(autocommit=True, **settings)  # type: ignore[arg-type]
    except psycopg.OperationalError as error:
        raise unreachable(settings, error) from error
    try:
        check_server(connection)
    except WrongLayout:
        connection.close()
        raise
    return connection


def check_server(connection: psycopg.Connection) -> None:
    """WrongLayout for a server that is too old or a database of another encoding."""
    version = connection.info.server_version
    if version < OLDEST_SERVER:
        raise WrongLayout(
            f"the server at {_place(connection.info.get_parameters())} is PostgreSQL {version // 10000}; "
            "tomato-dao needs 15 or later: upgrade the server, or point DATABASE_URL at another"
        )
    if (encoding := connection.info.parameter_status("server_encoding")) != "UTF8":
        raise WrongLayout(
            f"the database {connection.info.dbname} is encoded in {encoding}; tomato-dao needs UTF8: create it anew with "
            "create database … encoding 'UTF8' template template0"
        )


def unreachable(settings: Mapping[str, object], error: psycopg.OperationalError) -> Unavailable:
    """One line: which server, what it said, what to do."""
    said = " ".join(str(error).split())
    if error.pgconn is not None and error.pgconn.needs_password:
        advice = "give a password in the URL, in PGPASSWORD or in ~/.pgpass"
    elif error.pgconn is not None and error.pgconn.used_password:
        advice = "check user and password in DATABASE_URL"
    else:
        advice = "check that the server runs and that DATABASE_URL names its host, port, user and database"
    return Unavailable(f"can't connect to {_place(settings)}: {said}; {advice}")


def _place(settings: Mapping[str, object]) -> str:
    host, port = settings.get("host", "the default host"), settings.get("port", 5432)
    return f"{host}:{port}, database {settings.get('dbname', '(default)')}"

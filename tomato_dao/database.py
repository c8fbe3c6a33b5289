"""`connect()` and what it returns: a Database with a DAO per entity, over one pool that all threads share."""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from types import SimpleNamespace, TracebackType
from typing import Any

import psycopg
from psycopg import IsolationLevel
from psycopg_pool import ConnectionPool, PoolClosed, PoolTimeout

from . import layout, queries, statements
from .dao.connections import Connections
from .dao.elements import Elements
from .dao.host_components import HostComponents
from .dao.hosts import Hosts
from .dao.organizations import Organizations
from .dao.quotas import Quotas
from .dao.sites import Sites
from .dao.topologies import Topologies
from .dao.topology_permissions import TopologyPermissions
from .dao.users import Users
from .errors import Call, InvalidValue, Unavailable, entity_of, from_driver
from .pool import database_url, open_pool, probe
from .queries import Query
from .statements import Connection

QUERIES = queries.load(layout.DB_DIR / "queries")


def connect(
    url: str | None = None,
    *,
    pool_size: int = 8,
    timeout: float = 30,
    statement_timeout: float = 60,
    application_name: str = "tomato-dao",
) -> "Database":
    """Connect to a database whose layout is this code's.

    url: a PostgreSQL URL (default: DATABASE_URL, else the embedded server). pool_size: how many connections this
    process holds at most. timeout: seconds that a call waits for one of them. statement_timeout: seconds that a
    statement may run, and a transaction may idle. application_name: how the server shows this process.

    Raises Unavailable where the server can't be reached, WrongLayout where it, its encoding or its layout doesn't fit.
    """
    url = url or database_url()
    with probe(url) as connection:
        layout.check(connection)
    pool = open_pool(
        url, size=pool_size, timeout=timeout, statement_timeout=statement_timeout, application_name=application_name
    )
    pool.open()
    return Database(pool)


class Database:
    """A DAO per entity over one pool; safe to share between threads; `with` closes it.

    Each DAO method is one statement, atomic by itself. Get one from `connect()`.
    """

    def __init__(self, pool: ConnectionPool[Connection]) -> None:
        self._pool = pool
        self._local = threading.local()
        self.organizations = Organizations(self._bind("organizations"))
        self.sites = Sites(self._bind("sites"))
        self.hosts = Hosts(self._bind("hosts"))
        self.users = Users(self._bind("users"))
        self.quotas = Quotas(self._bind("quotas"))
        self.topologies = Topologies(self._bind("topologies"), self._bind("topology_exchange"))
        self.topology_permissions = TopologyPermissions(self._bind("topology_permissions"))
        self.elements = Elements(self._bind("elements"))
        self.connections = Connections(self._bind("connections"))
        self.host_elements = HostComponents(self._bind("host_elements"), "host element")
        self.host_connections = HostComponents(self._bind("host_connections"), "host connection")

    def __enter__(self) -> "Database":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Close the pool; calls that wait for a connection fail with Unavailable."""
        self._pool.close()

    @contextmanager
    def transaction(self, *, isolation: IsolationLevel | None = None, read_only: bool = False) -> Iterator[None]:
        """Join this thread's calls into one transaction; nested: savepoints.

        isolation, read_only: of the outermost transaction (default: the server's). Whatever leaves the block as an
        exception rolls it back.
        """
        outer: Connection | None = getattr(self._local, "connection", None)
        if outer is not None:
            if isolation is not None or read_only:
                raise InvalidValue("isolation and read_only are for the outermost transaction")
            with outer.transaction():
                yield
            return
        with self._lease() as connection:
            connection.isolation_level, connection.read_only = isolation, read_only or None
            self._local.connection = connection
            try:
                with connection.transaction():
                    yield
            except psycopg.Error as error:
                raise from_driver(error) from error
            finally:
                self._local.connection = None
                if not connection.closed:
                    connection.isolation_level = connection.read_only = None

    @contextmanager
    def connection(self) -> Iterator[psycopg.Connection[tuple[Any, ...]]]:
        """The escape hatch: a leased psycopg connection in autocommit mode (inside `transaction()`: its connection)."""
        current: Connection | None = getattr(self._local, "connection", None)
        if current is not None:
            yield current
        else:
            with self._lease() as connection:
                yield connection

    def query(self, name: str, values: dict[str, object]) -> list[object]:
        """Run a named query ("hosts.get") with its parameters by name: its rows, or the number of rows that it changed.

        For tools; code calls the DAO. Raises InvalidValue where there is no such query or the parameters are not its.
        """
        if name not in QUERIES:
            raise InvalidValue(f"there is no query {name!r}")
        query = QUERIES[name]
        if set(values) != set(query.parameters):
            raise InvalidValue(f"{name} takes the parameters ({', '.join(query.parameters)}), not ({', '.join(values)})")
        found = self._run(query, [values[p] for p in query.parameters])
        return [found] if query.kind == "!" else found

    @contextmanager
    def _lease(self) -> Iterator[Connection]:
        try:
            connection = self._pool.getconn()
        except PoolTimeout as error:
            stats = self._pool.get_stats()
            raise Unavailable(
                f"no connection free after {self._pool.timeout:g} s: all {self._pool.max_size} of this process's pool are "
                f"at work and {stats.get('requests_waiting', 0)} more tasks wait"
            ) from error
        except PoolClosed as error:
            raise Unavailable("the database is closed") from error
        try:
            yield connection
        finally:
            self._pool.putconn(connection)

    def _bind(self, entity: str) -> Any:
        """The queries of one file as functions of their parameters, typed by the face of the same name in dao/faces."""
        kinds = {"": self._run, "!": self._run, "^": self._first, "<!": self._only, "$": self._only}
        own = (q for q in QUERIES.values() if q.entity == entity)
        return SimpleNamespace(**{q.name.partition(".")[2]: partial(_positional, kinds[q.kind], q) for q in own})

    def _first(self, query: Query, values: Sequence[object]) -> Any:
        rows = self._run(query, values)
        return rows[0] if rows else None

    def _only(self, query: Query, values: Sequence[object]) -> Any:
        return self._run(query, values)[0]

    def _run(self, query: Query, values: Sequence[object]) -> Any:
        """The query's rows; of a query that returns none, how many rows it changed."""
        connection: Connection | None = getattr(self._local, "connection", None)
        try:
            if connection is not None:
                return _execute(connection, query, values)
            with self._lease() as leased:
                return _execute(leased, query, values)
        except psycopg.Error as error:
            named = dict(zip(query.parameters, values, strict=True))
            raise from_driver(error, Call(entity_of(query.entity), query.verb, named)) from error


def _positional(run: Callable[[Query, Sequence[object]], Any], query: Query, *values: object) -> Any:
    return run(query, values)


def _execute(connection: Connection, query: Query, values: Sequence[object]) -> Any:
    prepared, result = statements.run(connection, query, values)
    return result.command_tuples or 0 if query.kind == "!" else prepared.rows(result)

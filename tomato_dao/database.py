"""A Database: a DAO per entity, over one pool that all threads share."""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from time import monotonic
from typing import Any

import psycopg

from . import rows
from .dao import rules  # noqa: F401 (importing it registers the rules)
from .dao.connections import Connections
from .dao.elements import Elements
from .dao.error_dumps import ErrorDumps
from .dao.error_groups import ErrorGroups
from .dao.host_components import HostComponents
from .dao.hosts import Hosts
from .dao.key_values import KeyValues
from .dao.link_measurements import LinkMeasurements
from .dao.links import Links
from .dao.network_instances import NetworkInstances
from .dao.networks import Networks
from .dao.organizations import Organizations
from .dao.profiles import Profiles
from .dao.quotas import Quotas
from .dao.resources import Resources
from .dao.settings import InstallationSettings
from .dao.sites import Sites
from .dao.statistics import Statistics
from .dao.tasks import Tasks
from .dao.templates import Templates
from .dao.templates_on_hosts import TemplatesOnHosts
from .dao.topologies import Topologies
from .dao.topology_permissions import TopologyPermissions
from .dao.usage import Usage
from .dao.users import Users
from .errors import Unavailable, WrongState, from_driver
from .events import Entities, Events, Listener
from .locks import Kind, Lock, Locks
from .pool import Pool
from .replicas import UNSERVED, Replicas
from .server import arguments, schema
from .server.positions import OF_PRIMARY, Position
from .sql import query_files
from .sql.query import Query
from .sql.statements import QueryConnection, bound
from .sql.timing import DeadlinePassed
from .transactions import Transactions, failed

QUERIES = query_files.load(schema.DB_DIR / "queries", rows.CLASSES)


class Database(Transactions):
    """A DAO per entity over one pool; safe to share between threads; `with` closes it.

    Each DAO method is one statement, atomic by itself. Get one from `connect()`.
    """

    def __init__(self, pool: Pool, locks: Locks, events: Events, replicas: Replicas | None = None) -> None:
        super().__init__(pool)
        self._replicas = replicas
        self._locks = locks
        self._events = events
        self._bind = partial(bound, QUERIES.values(), self._run if replicas is None else self._run_in_block)
        self.organizations = Organizations(self._bind("organizations"))
        self.sites = Sites(self._bind("sites"))
        self.hosts = Hosts(self._bind("hosts"))
        self.users = Users(self._bind("users"))
        self.quotas = Quotas(self._bind("quotas"))
        self.usage = Usage(self._bind("usage"))
        self.links = Links(self._bind("links"))
        self.topologies = Topologies(self._bind("topologies"), self._bind("topology_exchange"))
        self.topology_permissions = TopologyPermissions(self._bind("topology_permissions"))
        self.elements = Elements(self._bind("elements"))
        self.connections = Connections(self._bind("connections"))
        self.host_elements = HostComponents(self._bind("host_elements"), "host element")
        self.host_connections = HostComponents(self._bind("host_connections"), "host connection")
        self.tasks = Tasks(self._bind("tasks"))
        self.statistics = Statistics(self._bind("statistics"))
        self.templates = Templates(self._bind("templates"))
        self.templates_on_hosts = TemplatesOnHosts(self._bind("templates_on_hosts"))
        self.profiles = Profiles(self._bind("profiles"))
        self.networks = Networks(self._bind("networks"))
        self.network_instances = NetworkInstances(self._bind("network_instances"))
        self.link_measurements = LinkMeasurements(self._bind("link_measurements"))
        self.key_values = KeyValues(self._bind("key_values"))
        self.error_groups = ErrorGroups(self._bind("error_groups"))
        self.error_dumps = ErrorDumps(self._bind("error_dumps"))
        self.resources = Resources(self._bind("resources"))
        self.settings = InstallationSettings(self._bind("settings"))

    def __enter__(self) -> "Database":
        """Return the Database itself. Defined here although inherited: jedi knows no Self of another class."""
        return self

    def close(self, grace: float = 5) -> None:
        """Close all connections. What runs may go on for `grace` seconds, then it is cancelled and raises Unavailable.

        Listeners end at once, locks last.
        """
        self._events.close()
        if self._replicas is not None:
            self._replicas.close(grace)
        super().close(grace)
        self._locks.close()

    def exclusive(self, kind: Kind, id: int, *, wait: float = 0, reentrant: bool = False) -> AbstractContextManager[Lock]:
        """Have a topology, element or connection to oneself, among all processes, while in the block (docs/guides/locks.md).

        kind: "topology", "element" or "connection". id: which one; whether it exists is not asked. wait: seconds to wait for
        whoever has it. Locks are independent of each other and of rows: nobody is kept from reading or writing. They belong
        to a thread, and are no part of `transaction()`: take the lock around it, so that it is committed when others come.

        A server that is full or not there is waited for as well, for no longer.

        reentrant: let a thread that has the lock in once more, as functions need that call each other (default: WrongState).
        The outermost block frees it; the others give the outermost's lock. Tasks of asyncio are not let in to each other.

        Raises Busy where another worker has it (for so long), WrongState where this thread has, InvalidValue, and Unavailable
        where there is no server. Where the session of this process's locks ends, others may get them: leaving the block
        raises LockLost then, or gives a note to the error that the block raised; `as lock` has a `check()` that tells earlier,
        and nested work is not let in.
        """
        return self._locks.hold(kind, id, wait, reentrant)

    def listen(self, *entities: Entities, timeout: float | None = None) -> Listener:
        """Listen for changes of state, and of "topologies" for deletions, from now on.

        `for event in db.listen("elements"):` waits for them.

        entities: some of "topologies", "elements", "connections". timeout: seconds without an event after which a loop ends
        (default: never); it can be started again.

        A statement or transaction gives one `Event` (tomato_dao.events) per topology, entity and change, once it is
        committed. Where events may have been missed there is one that says so: after a connection was lost, and for a
        listener with 10,000 events waiting. It needs a session of its own: see DIRECT_DATABASE_URL.

        A server that is full or not there is waited for, as long as `connect`'s timeout says and not longer than this one.

        Raises InvalidValue, and Unavailable where there is no server or the database is closed; a waiting loop learns that too.
        """
        return self._events.listen(entities, timeout)

    def token(self) -> str:
        """Return a token of all that is committed now, for `reads(after=…)`, also of another process. One round trip.

        Raises WrongState inside of `transaction()`, which is not committed yet, and Unavailable.
        """
        if self._inside() is not None:
            raise WrongState("a token is taken after transaction(), when what was written is committed")
        return str(self._position())

    @contextmanager
    def reads(self, *, after: str | None = None, wait: float = 0.02) -> Iterator[None]:
        """Let standbys of `connect(replicas=…)` serve the block's calls that only read, of this thread or task.

        after: a token: what was committed before it was taken is seen (default: all that is committed when the block
        begins, which asks the primary once). wait: seconds for which a standby is waited for that has not come so far; then
        the primary serves the call, as it does writes, after which reads of the block see them, and transactions. Standbys that
        lag, cancel a query, are promoted or gone are left out and come back by themselves. Raises InvalidValue for no token.
        """
        position = None if after is None else Position.parse(after)
        arguments.seconds("wait", wait)
        if self._replicas is None:
            yield
            return
        with self._replicas.reading(position, wait):
            yield

    def reads_served(self) -> tuple[int, int]:
        """Return how many calls in `reads()` standbys have served, and how many the primary."""
        return (self._replicas.served, self._replicas.unserved) if self._replicas is not None else (0, 0)

    def _run(self, query: Query, values: Sequence[object]) -> object:
        """Return the query's rows, or the number of rows that it changed; a driver's error becomes one of ours.

        Where a connection turns out to be dead, a query that may be repeated is run again on another; any other gets no
        connection whose end has arrived already.
        """
        pool = self._pool
        inside = pool.local.connection
        if inside is not None:
            self._inside()
            if pool.over:
                raise Unavailable("the database is closed")
        connection = inside or (pool.lease() if query.repeatable else pool.lease_live())
        try:
            return connection.run(query, values)
        except psycopg.errors.InFailedSqlTransaction as error:
            raise failed(connection) from error
        except psycopg.Error as error:
            if not _may_run_again(connection, query, error) or inside is not None:
                told = from_driver(error, query.call(values), moved=connection.moved)
                if inside is not None and not (inside.closed and inside.failure):  # the first that ended it counts
                    inside.failure = str(told)
                raise told from error
        finally:
            if inside is None:
                pool.give_back(connection)
        return self._run_again(query, values)

    def _run_in_block(self, query: Query, values: Sequence[object]) -> object:
        """Do the same where there are standbys: in a block of reads a standby serves what only reads, if one is so far."""
        replicas = self._replicas
        reading = None if replicas is None or self._pool.local.connection is not None else replicas.current()
        if replicas is None or reading is None:
            return self._run(query, values)
        if not query.reads_only:
            try:
                return self._run(query, values)
            finally:
                reading.written()
        after = reading.after
        if after is None:
            writes = reading.writes
            after = self._position()
            reading.see(after, writes)
        found = replicas.run(reading.wait, after, query, values)
        return self._run(query, values) if found is UNSERVED else found

    def _after_transaction(self) -> None:
        if self._replicas is not None and (reading := self._replicas.current()) is not None:
            reading.written()

    def _position(self) -> Position:
        """Return the position behind all that is committed on the primary now."""
        rows: Any = self._run(OF_PRIMARY, ())
        return Position.parse(rows[0])

    def _run_again(self, query: Query, values: Sequence[object]) -> object:
        """Run a query on one connection after the other: after a restart of the server all are dead."""
        deadline = monotonic() + self._pool.timeout
        for attempts_left in range(self._pool.size, -1, -1):
            lease = self._pool.lease if query.repeatable else self._pool.lease_live
            connection = lease(max(deadline - monotonic(), 0))
            try:
                return connection.run(query, values)
            except psycopg.Error as error:
                if not _may_run_again(connection, query, error) or not attempts_left:
                    raise from_driver(error, query.call(values), moved=connection.moved) from error
            finally:
                self._pool.give_back(connection)
        raise AssertionError("the last attempt returns or raises")


def _may_run_again(connection: QueryConnection, query: Query, error: psycopg.Error) -> bool:
    """Return whether a call's session is over, and the server has done nothing that a second call would do twice."""
    return connection.ended(error) and not isinstance(error, DeadlinePassed) and (query.repeatable or connection.moved)

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
from .replicas import UNSERVED, Readings, Replicas
from .server import arguments, schema
from .server.positions import OF_PRIMARY, Position
from .sql import query_files
from .sql.binding import bound
from .sql.query import Query
from .sql.statements import QueryConnection
from .sql.timing import DeadlinePassed
from .transactions import Transactions, failed

QUERIES = query_files.QueryFiles(schema.DB_DIR / "queries", rows.CLASSES)


class Database(Transactions):
    """A DAO per entity over one pool; safe to share between threads; `with` closes it.

    `connect()` returns one. Each DAO method runs one SQL statement, which is atomic by itself.
    """

    def __init__(
        self, pool: Pool, locks: Locks, events: Events, replicas: Replicas | None = None, readings: Readings | None = None
    ) -> None:
        super().__init__(pool)
        self._replicas = replicas
        self._readings = replicas or readings  # None where writes bring no positions along
        self._locks = locks
        self._events = events
        self._bind = partial(bound, QUERIES, self._run if replicas is None else self._run_in_block)
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
        """Close all connections. Running calls may go on for `grace` seconds; then they are cancelled and raise Unavailable.

        Listeners are closed first, locks last.
        """
        self._events.close()
        if self._replicas is not None:
            self._replicas.close(grace)
        super().close(grace)
        self._locks.close()

    def exclusive(self, kind: Kind, id: int, *, wait: float = 0, reentrant: bool = False) -> AbstractContextManager[Lock]:
        """Hold an advisory lock on a topology, element or connection, across all processes, for the length of the block.

        The lock belongs to the calling thread and is independent of transactions and rows: it keeps nobody from reading or
        writing. Put `transaction()` inside the block, so that changes are committed before the lock is released. See
        docs/guides/locks.md.

        Args:
            kind: "topology", "element" or "connection".
            id: The id of the object; it need not exist.
            wait: Seconds to wait for another holder, and for a server that is full or out of reach.
            reentrant: Let a thread that holds the lock enter again (default: WrongState). The outermost block releases it.

        Returns:
            The `Lock`, whose `check()` asks the server whether it is still held.

        Raises:
            Busy: Another worker still holds the lock after `wait` seconds.
            WrongState: This thread holds the lock already.
            LockLost: Raised when leaving the block: the session that holds the locks ended, so another worker may have had
                the lock. If the block itself raised, that error gets a note instead.
            InvalidValue: The kind, id or wait is invalid.
            Unavailable: The server cannot be reached.

        Example::

            with db.exclusive("topology", lab.id, wait=10), db.transaction():
                db.topologies.update(lab.id, {"name": "new"})
        """
        return self._locks.hold(kind, id, wait, reentrant)

    def listen(self, *entities: Entities, timeout: float | None = None) -> Listener:
        """Listen for state changes, and for deletions of topologies, from now on.

        A statement or transaction sends one `Event` per topology, entity and change, when it commits. If events may have
        been missed, after a lost connection or with 10,000 events unread, an event with the change "missed" says so. A listener
        needs its own session: see DIRECT_DATABASE_URL and docs/guides/events.md.

        Args:
            entities: One or more of "topologies", "elements", "connections".
            timeout: Seconds without an event after which a loop over the listener ends; it can be started again (default:
                never).

        Raises:
            InvalidValue: An entity or the timeout is invalid.
            Unavailable: The server cannot be reached within `connect`'s timeout, or the database is closed, also during a
                loop.

        Example::

            for event in db.listen("elements"):
                print(event.id, event.change)
        """
        return self._events.listen(entities, timeout)

    def token(self, *, own: bool = False) -> str:
        """Return a token for everything committed so far, to be given to `reads(after=…)` in this or another process.

        Costs one round trip. With own=True the token covers the writes of this Database. With replicas, or
        `connect(tokens=True)`, each write returns its position, so such a token costs no round trip, except for the first one,
        and after `connection()` or a write whose answer was lost.

        Raises WrongState inside `transaction()`, which is not committed yet, and Unavailable.
        """
        if self._inside() is not None:
            raise WrongState(
                "token() cannot be called inside transaction(), whose writes are not committed yet: call it after the block"
            )
        if self._readings is None:
            return str(self._position())
        written = self._readings.own
        if own and (known := written.after) is not None:
            return str(known)
        writes = written.writes
        position = self._position()
        written.see(position, writes)
        return str(position)

    @contextmanager
    def reads(self, *, after: str | None = None, wait: float = 0.02) -> Iterator[None]:
        """Let the standbys of `connect(replicas=…)` serve the block's read-only calls, without ever returning stale rows.

        Writes, transactions and calls that no standby can serve in time go to the primary. Later reads in the block see the
        block's own writes. A standby that lags, cancels a query, is promoted or is gone is left out until it can be used
        again. See docs/guides/two-servers.md.

        Args:
            after: A token from `token()`; reads see everything that was committed before it (default: everything committed
                when the block begins, which asks the primary once).
            wait: Seconds to wait for a standby that has not replayed that yet.

        Raises:
            InvalidValue: The token or the time is invalid.
        """
        position = None if after is None else Position.parse(after)
        arguments.seconds("wait", wait)
        if self._replicas is None:
            yield
            return
        with self._replicas.reading(position, wait):
            yield

    def reads_served(self) -> tuple[int, int]:
        """Return how many calls in `reads()` were served by standbys, and how many by the primary."""
        return (self._replicas.served, self._replicas.unserved) if self._replicas is not None else (0, 0)

    def _run(self, query: Query, values: Sequence[object]) -> object:
        """Run a query and return its rows, or the number of rows that it changed. Raises a TomatoError for a driver's error.

        If the connection turns out to be dead, a query that may be repeated runs again on another one. Any other query only
        gets a connection whose session is not known to have ended.
        """
        pool = self._pool
        inside = pool.local.connection
        if inside is not None:
            self._inside()
            if pool.over:
                raise Unavailable("the database is closed")
        connection = inside or (pool.checkout() if query.repeatable else pool.checkout_live())
        try:
            return connection.run(query, values)
        except psycopg.errors.InFailedSqlTransaction as error:
            raise failed(connection) from error
        except psycopg.Error as error:
            if not _may_run_again(connection, query, error) or inside is not None:
                if inside is None and self._was_carried_out(connection, query, error):
                    return connection.answer()
                told = from_driver(error, query.call(values), moved=connection.moved)
                if inside is not None and not (inside.closed and inside.failure):  # the first that ended it counts
                    inside.failure = str(told)
                raise told from error
        finally:
            if inside is None:
                if not query.reads_only:
                    self._note_writes(connection)
                pool.release(connection)
        return self._run_again(query, values)

    def _was_carried_out(self, connection: QueryConnection, query: Query, error: psycopg.Error) -> bool:
        """Return whether a write was committed whose call has raised this error. Raises OutcomeUnknown."""
        states = ("begun", "sent", "done") if isinstance(error, DeadlinePassed) else ("begun", "sent")
        is_open = not query.repeatable and connection.commit_state in states
        return is_open and self._was_committed(connection)

    def _run_in_block(self, query: Query, values: Sequence[object]) -> object:
        """Run a query as `_run` does, on a standby if the caller is in a block of `reads()` and a standby is up to date."""
        replicas = self._replicas
        reading = None if replicas is None or self._pool.local.connection is not None else replicas.current()
        if replicas is None or reading is None:
            return self._run(query, values)
        if not query.reads_only:
            return self._run(query, values)
        after = reading.after
        if after is None:
            writes = reading.writes
            after = self._position()
            reading.see(after, writes)
        found = replicas.run(reading.wait, after, query, values)
        return self._run(query, values) if found is UNSERVED else found

    def _note_writes(self, connection: QueryConnection | None) -> None:
        if self._readings is None or (connection is not None and connection.commit_state in ("", "failed")):
            return
        position = None if connection is None else connection.position
        self._readings.written(None if position is None else Position.parse(position.decode()))

    def _position(self) -> Position:
        """Return the primary's WAL position behind everything committed so far."""
        rows: Any = self._run(OF_PRIMARY, ())
        return Position.parse(rows[0])

    def _run_again(self, query: Query, values: Sequence[object]) -> object:
        """Run a query on one connection after the other, since a restart of the server ends all of them."""
        deadline = monotonic() + self._pool.timeout
        for attempts_left in range(self._pool.size, -1, -1):
            checkout = self._pool.checkout if query.repeatable else self._pool.checkout_live
            connection = checkout(max(deadline - monotonic(), 0))
            try:
                return connection.run(query, values)
            except psycopg.Error as error:
                if not _may_run_again(connection, query, error) or not attempts_left:
                    if self._was_carried_out(connection, query, error):
                        return connection.answer()
                    raise from_driver(error, query.call(values), moved=connection.moved) from error
            finally:
                if not query.reads_only:
                    self._note_writes(connection)
                self._pool.release(connection)
        raise AssertionError("the last attempt returns or raises")


def _may_run_again(connection: QueryConnection, query: Query, error: psycopg.Error) -> bool:
    """Return whether a call's session has ended and running the call again cannot do its work twice."""
    return connection.ended(error) and not isinstance(error, DeadlinePassed) and (query.repeatable or connection.moved)

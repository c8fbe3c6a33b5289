"""The pool: psycopg_pool, with everything about a connection set in this one place, and a shorter way between two calls."""

import logging
import threading
from collections import deque
from collections.abc import Sequence
from contextlib import AbstractContextManager, ExitStack, suppress
from math import inf
from time import monotonic, sleep
from weakref import WeakSet, ref

import psycopg
from psycopg import pq
from psycopg_pool import ConnectionPool, PoolClosed, PoolTimeout

from .errors import Unavailable
from .server import fork
from .server.commits import server_of
from .server.metrics import PoolStats, turned_away
from .server.notices import PoolName, log_notice
from .server.opening import Opening
from .sql import pins
from .sql.adapters import adapt
from .sql.counters import AllCounts
from .sql.observing import Observer
from .sql.query import Query
from .sql.statements import QueryConnection, Shape
from .sql.timing import at_most, cut, left

logger = logging.getLogger(__name__)

LIFETIME = 3600  # seconds that a connection is used for
IDLE_AFTER = 60  # seconds without work after which a connection goes back to psycopg_pool, which closes what is too many
# Where the server refuses a connection it is asked again after 1, 2 and 4 seconds, and then from the beginning.
_BACKOFF = 8
_ASK = 2  # seconds after which psycopg_pool is asked again, in case it has given up
_ASK_WRITABLE = 1  # seconds after which several hosts are asked again: a standby is promoted in less than one
_PAUSE = 0.5  # seconds after which psycopg_pool is asked again, where asking failed for a reason of its own
_GRACE = 0.5  # seconds beyond the caller's, for a server that is there and slow
_STOPPING = 0.25  # seconds, at least, for psycopg_pool's threads to end
_SETTING_UP = 5  # seconds that a new session may take until it can be used
_IDLE, _ACTIVE = pq.TransactionStatus.IDLE, pq.TransactionStatus.ACTIVE


class _Waiter:
    """A place in the queue. `ready` is released when the task is given a connection, or none and the reason."""

    __slots__ = ("connection", "ready", "refusal")

    def __init__(self) -> None:
        self.connection: QueryConnection | None = None
        self.refusal = ""
        self.ready = threading.Lock()
        self.ready.acquire()


class _Local(threading.local):
    """Each thread's own: the connection of the transaction that it is in, and asyncio's task that began it."""

    connection: QueryConnection | None = None
    task: object = None


class Pool:
    """At most `size` connections for all threads of a process; tasks are served in the order in which they came.

    psycopg_pool makes the connections, replaces those that broke or are old, and closes what is too many. Taking one from
    it and giving it back costs as much as a statement, so between two calls a connection stays here, or is handed over to
    the next task in our queue. While tasks wait none is idle: a released connection goes to the first of them.
    """

    def __init__(
        self,
        url: str,
        *,
        size: int,
        application_name: str,
        timeout: float = 30,
        max_waiting: int | None = None,
        statement_timeout: float = 60,
        prepare: bool = True,
        log_slower_than: float | None = None,
        explain_slower_than: float | None = None,
        worker: bool = False,
        migrations: Sequence[str] | None = None,
        tokens: bool = False,
    ) -> None:
        """Open the pool; `tomato_dao.connect` and `Opening` document the parameters and errors."""
        self._opening = Opening(
            url,
            size=size,
            application_name=application_name,
            timeout=timeout,
            max_waiting=max_waiting,
            statement_timeout=statement_timeout,
            prepare=prepare,
            log_slower_than=log_slower_than,
            explain_slower_than=explain_slower_than,
            worker=worker,
            migrations=migrations,
            tokens=tokens,
        )
        self._opening.examine(timeout)
        self.url = url
        self.size, self.timeout = self._opening.size, self._opening.timeout
        self._seeks_writable = self._opening.seeks_writable
        self._kwargs = self._opening.kwargs()
        self._pool: ConnectionPool[QueryConnection] | None
        self._open()
        self._pool = self._started()
        fork.watch(self)

    def _open(self) -> None:
        """Start without connections and threads: at first, and in a child after a fork."""
        self.local = _Local()
        self.over = False  # closed, and the grace has passed: transactions must end
        self.counts = AllCounts()
        self._shapes: dict[Query, Shape] | None = None if self._opening.prepare else {}
        self._all: WeakSet[QueryConnection] = WeakSet()
        self._idle: deque[QueryConnection] = deque()
        self._waiters: deque[_Waiter] = deque()
        self._taken = 0  # from psycopg_pool, those that are coming included
        self._coming = 0
        self._lock = threading.RLock()  # a signal's handler may come while this thread has it, and close us or read our figures
        self._closing = False
        self._closed = threading.Event()  # for the thread that tidies
        self._name = PoolName(self._opening.application_name)
        self._pool = None  # until it is needed

    def _started(self) -> ConnectionPool[QueryConnection]:
        """Return psycopg_pool's pool, at work. Raises Unavailable where its threads or ours can't be started."""
        pool = ConnectionPool(
            connection_class=QueryConnection,
            kwargs=self._kwargs,
            name=self._name,
            configure=self._configure,
            min_size=1,
            max_size=self.size,
            max_lifetime=LIFETIME,
            timeout=_ASK_WRITABLE if self._seeks_writable else _ASK,
            reconnect_timeout=_ASK_WRITABLE if self._seeks_writable else _BACKOFF,
            open=False,
        )
        tidy = threading.Thread(target=_tidy, args=(ref(self), self._closed), name=f"{self._name}-tidy", daemon=True)
        try:
            pool.open()
            tidy.start()
        except BaseException as error:
            pool.close()
            if isinstance(error, RuntimeError):
                raise Unavailable(_no_thread(error)) from error
            raise
        return pool

    def after_fork_in_child(self) -> None:
        """Leave the connections to the parent, and open new ones."""
        fork.leave_to_parent(self._all)
        # Its threads did not come along, so closing it would wait for them. psycopg_pool 3.3 has no public way to forget it.
        if self._pool is not None:
            self._pool._closed = True
        self._lock = threading.RLock()  # a thread of the parent may have had it
        if not self._closing:
            self._open()

    def lease(self, timeout: float | None = None) -> QueryConnection:
        """Return a connection for the caller alone, until `give_back`.

        timeout: seconds to wait for one (default: the pool's). Raises Unavailable where none is free in time.
        """
        try:
            return self._idle.pop()  # atomic; the lock would cost a call half a microsecond
        except IndexError:
            return self._wait(left(self.timeout if timeout is None else timeout))

    def lease_live(self, timeout: float | None = None) -> QueryConnection:
        """Return a connection as `lease` does, and none whose session's end has arrived: for what can't be run again."""
        connection = self.lease(timeout)
        if not connection.has_ended():
            return connection
        deadline = monotonic() + (self.timeout if timeout is None else timeout)
        while connection.has_ended():
            self.give_back(connection)
            connection = self.lease(max(deadline - monotonic(), 0))
        return connection

    def give_back(self, connection: QueryConnection) -> None:
        """End a lease: hand the connection to the next task, keep it, or let psycopg_pool replace it."""
        if connection.pgconn.transaction_status == _IDLE and connection.used_at <= connection.expires_at:
            with self._lock:
                if self._waiters:
                    waiter = self._waiters.popleft()
                    waiter.connection = connection
                    waiter.ready.release()
                    return
                if not self._closing:
                    self._idle.append(connection)
                    return
        if connection.moved:
            self._look_for_writable()
        self._return([connection])

    def close(self, grace: float) -> None:
        """Let what runs go on for `grace` seconds, cancel the rest, close all connections; within a second more in any case."""
        deadline = monotonic() + grace
        with self._lock:
            self._closing = True
            self._refuse_all("the database is closed")
        self._closed.set()
        self.return_idle()
        if self._pool is not None:
            self._pool.close(max(grace, _STOPPING))
        while self._at_work() and monotonic() < deadline:
            sleep(0.01)
        self.over = True
        self._cancel(deadline=max(deadline, monotonic()) + _GRACE)

    def _cancel(self, deadline: float) -> None:
        """Cancel what runs, all at once, and end the sessions that don't answer to it in time."""
        running = [c for c in self._at_work() if c.pgconn.transaction_status == _ACTIVE]
        for connection in running:
            with suppress(RuntimeError):  # no thread can be started: the session is ended
                threading.Thread(target=_call_off, args=(connection,), name=f"{self._name}-cancel", daemon=True).start()
        while monotonic() < deadline and any(c.pgconn.transaction_status == _ACTIVE for c in running):
            sleep(0.01)
        for connection in running:
            if connection.pgconn.transaction_status == _ACTIVE:
                cut(connection)

    def _wait(self, timeout: float) -> QueryConnection:
        """Join the queue; the counts of those who waited are the connection's own, which nobody else uses meanwhile."""
        began = monotonic()
        waiter = _Waiter()
        try:
            with self._lock:
                if self._closing:
                    raise Unavailable("the database is closed")
                with suppress(IndexError):  # one may have been released since we looked
                    return self._idle.pop()
                waiting = len(self._waiters)
                if waiting < self._opening.max_waiting:
                    self._waiters.append(waiter)
            if waiting >= self._opening.max_waiting:
                raise self._turn_away(self._opening.full(waiting))
            self._grow()
            if not waiter.ready.acquire(timeout=timeout):
                self._leave(waiter)
                raise self._turn_away(f"no connection free after {timeout:.3g} s")
            connection = waiter.connection
            if connection is None:
                raise Unavailable(waiter.refusal)
            connection.counts.waits += 1
            connection.counts.waited += (waited := monotonic() - began)
            self._opening.waited(waited)
        except BaseException:
            self._leave(waiter)
            raise
        return connection

    def _leave(self, waiter: _Waiter) -> None:
        """Take a task out of the queue; the connection that it was handed all the same goes on to the next."""
        with self._lock:
            with suppress(ValueError):
                self._waiters.remove(waiter)
            connection, waiter.connection = waiter.connection, None
        if connection is not None:
            self.give_back(connection)

    def _grow(self) -> None:
        """Ask for as many connections as there are tasks that wait, and room.

        In threads of their own: a task that is interrupted while it waits inside psycopg_pool loses a connection. Where no
        thread can be started, tasks wait for those at work; where none is at work either, they are told.
        """
        with self._lock:
            if self._pool is None and self._waiters and not self._closing:
                try:
                    self._pool = self._started()
                except Unavailable as error:
                    self._refuse_all(str(error))
                    return
            while self._coming < len(self._waiters) and self._taken < self.size and not self._closing:
                called_off = threading.Event()
                fetch = threading.Thread(target=self._fetch, args=(called_off,), name=f"{self._name}-fetch", daemon=True)
                try:
                    self._taken += 1
                    self._coming += 1
                    fetch.start()
                except BaseException as error:
                    called_off.set()  # an interrupt may come when the thread has started
                    self._taken -= 1
                    self._coming -= 1
                    if not isinstance(error, RuntimeError):
                        raise
                    refusal = _no_thread(error)
                    logger.warning("the pool of %s: %s", self._name, refusal)
                    if not self._taken:
                        self._refuse_all(refusal)
                    return

    def _refuse_all(self, refusal: str) -> None:
        """Empty the queue, for a caller that has the lock: its tasks raise Unavailable."""
        while self._waiters:
            waiter = self._waiters.popleft()
            waiter.refusal = refusal
            waiter.ready.release()

    def _fetch(self, called_off: threading.Event) -> None:
        """Bring one more connection from psycopg_pool, for as long as somebody waits."""
        with self._lock:  # had by _grow until it is known that the thread counts
            pool = self._pool
            if called_off.is_set() or pool is None:
                return
        while True:
            try:
                connection = pool.getconn()
            except Exception as error:
                if not isinstance(error, PoolTimeout | PoolClosed):
                    logger.warning("the pool of %s requests a connection again", self._name, exc_info=True)
                    self._closed.wait(_PAUSE)
                with self._lock:
                    if isinstance(error, PoolClosed) or not self._waiters:
                        self._taken -= 1
                        self._coming -= 1
                        return
            else:
                try:
                    with self._lock:
                        self._coming -= 1
                    self.give_back(connection)
                except BaseException:
                    connection.close()
                    self._return([connection])
                    raise
                return

    def _turn_away(self, how: str) -> Unavailable:
        """Count a task that gets no connection, and return its error."""
        with self._lock:
            self.counts.turned_away += 1
        idle = list(self._idle)
        busy = [c for c in self._open_now() if c not in idle]
        return turned_away(how, self.size, busy, len(self._open_now()), len(self._waiters), self._name.refusal)

    def _open_now(self) -> list[QueryConnection]:
        with self._lock:
            return [connection for connection in self._all if not connection.closed]

    def observe(self, observer: Observer | None) -> None:
        """Tell an observer of all calls, waits and transactions from now on, or nobody."""
        with self._lock:  # a connection that comes now is either seen here, or sees the observer
            self._opening.observer = observer
            for connection in self._open_now():
                self._opening.watch(connection)

    def observed(self) -> AbstractContextManager[None]:
        """Return what the observer looks on at a transaction with."""
        return self._opening.observed()

    def stats(self) -> PoolStats:
        """Return the pool's figures now."""
        connections = len(self._open_now())
        waits, waited = self.counts.waits()
        kept = self._pool.get_stats()["pool_available"] if self._pool is not None else 0
        idle = min(len(self._idle) + kept, connections)
        return PoolStats(self.size, connections, idle, len(self._waiters), waits, waited, self.counts.turned_away)

    def _return(self, connections: Sequence[QueryConnection]) -> None:
        """Give connections to psycopg_pool, which replaces the broken and old."""
        if not connections:
            return
        with ExitStack() as all_steps:  # each is done, also where one before it fails
            all_steps.callback(self._grow)
            all_steps.callback(self._untake, len(connections))
            for connection in connections:
                all_steps.callback(self._put, connection)

    def _put(self, connection: QueryConnection) -> None:
        """Give a connection to psycopg_pool, and again where that fails: it would keep the place of one that never comes."""
        if self._pool is not None:
            try:
                self._pool.putconn(connection)
            except BaseException:
                connection.close()
                self._pool.putconn(connection)
                raise

    def _untake(self, number: int) -> None:
        with self._lock:
            self._taken -= number

    def _look_for_writable(self) -> None:
        """Leave the server that turned read-only: close the idle sessions, and have new ones looked for elsewhere."""
        logger.warning("the pool of %s leaves a server that has become read-only, and looks for a writable one", self._name)
        self._kwargs["target_session_attrs"] = self._seeks_writable
        idle = []
        with self._lock, suppress(IndexError):  # a lease may take the last one meanwhile
            while True:
                idle.append(self._idle.popleft())
        for connection in idle:
            connection.close()
        self._return(idle)

    def return_idle(self, *, unused_since: float = inf) -> None:
        """Give idle connections to psycopg_pool: those unused since a time of the monotonic clock (default: all)."""
        unused = []
        with self._lock, suppress(IndexError):  # a lease may take the last one meanwhile
            while self._idle[0].used_at < unused_since:
                unused.append(self._idle.popleft())
        self._return(unused)

    def _at_work(self) -> list[QueryConnection]:
        """Return the connections that run a statement or are in a transaction."""
        rest = (_IDLE, pq.TransactionStatus.UNKNOWN)
        return [c for c in self._open_now() if c.pgconn.transaction_status not in rest]

    def _configure(self, connection: QueryConnection) -> None:
        with at_most(_SETTING_UP):
            self._set_up(connection)

    def _set_up(self, connection: QueryConnection) -> None:
        self._name.refusal = ""
        adapt(connection)
        connection.add_notice_handler(log_notice)
        connection.shapes = self._shapes
        connection.keeps_statements = self._shapes is None
        connection.ask_behind = self._opening.ask_behind
        connection.asks_id = bool(self._seeks_writable)
        connection.expires_at = monotonic() + LIFETIME
        connection.seeks_writable = bool(self._seeks_writable) and not connection.wait(connection.role_reads_only())
        self.counts.assign(connection)
        pins.settle(connection)
        connection.server = server_of(connection)
        with self._lock:
            self._all.add(connection)
            self._opening.watch(connection)


def _call_off(connection: QueryConnection) -> None:
    with suppress(psycopg.Error):
        connection.cancel_safe(timeout=_GRACE)


def _no_thread(error: BaseException) -> str:
    return f"cannot start a thread to open a connection, as this process is at its limit: {error}"


def _tidy(pool: "ref[Pool]", closed: threading.Event) -> None:
    """Let psycopg_pool have what is unused, which closes what is too many; ends with the pool."""
    while not closed.wait(IDLE_AFTER / 2) and (found := pool()) is not None:
        found.return_idle(unused_since=monotonic() - IDLE_AFTER)
        del found

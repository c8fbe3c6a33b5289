"""The connection pool: psycopg_pool with all connection settings in one place, and a faster checkout between calls."""

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
from .server.metrics import PoolStats, rejected
from .server.notices import PoolName, log_notice
from .server.opening import Opening
from .server.waiting import acquire
from .sql import pins
from .sql.adapters import adapt
from .sql.counters import AllCounts
from .sql.observing import Observer
from .sql.prepared import Shape
from .sql.query import Query
from .sql.statements import QueryConnection
from .sql.timing import at_most, cut, left

logger = logging.getLogger(__name__)

LIFETIME = 3600  # seconds after which a connection is replaced
IDLE_AFTER = 60  # seconds idle after which a connection is returned to psycopg_pool, which closes surplus ones
# After a refused connection, psycopg_pool tries again after 1, 2 and 4 seconds, and then starts over.
_BACKOFF = 8
_ASK = 2  # seconds after which psycopg_pool is asked again, in case it has given up
_ASK_WRITABLE = 1  # the same if the URL has several hosts: promoting a standby takes less than a second
_PAUSE = 0.5  # seconds after which psycopg_pool is asked again if it raised an unexpected error
_GRACE = 0.5  # seconds beyond the caller's timeout, for a slow server
_STOPPING = 0.25  # minimum seconds for psycopg_pool's threads to end
_SETTING_UP = 5  # seconds allowed for setting up a new session
_IDLE, _ACTIVE = pq.TransactionStatus.IDLE, pq.TransactionStatus.ACTIVE


class _Waiter:
    """A place in the queue. `ready` is released when the task has got a connection or a refusal."""

    __slots__ = ("connection", "ready", "refusal")

    def __init__(self) -> None:
        self.connection: QueryConnection | None = None
        self.refusal = ""
        self.ready = threading.Lock()
        self.ready.acquire()


class _Local(threading.local):
    """Thread-local state: the connection of the current transaction, and the asyncio task that began it."""

    connection: QueryConnection | None = None
    task: object = None


class Pool:
    """A pool of at most `size` connections, shared by all threads of a process. Waiting tasks are served in order.

    psycopg_pool opens the connections, replaces broken and expired ones, and closes surplus ones. A checkout from it and the
    release cost as much as a statement. So a released connection stays idle here, or is handed to the first task in the queue;
    while tasks wait, no connection is idle.
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
        """Open the pool. See `tomato_dao.connect` and `Opening` for parameters and errors."""
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
        """Initialize the pool without connections and threads: when it is opened, and in a child after a fork."""
        self.local = _Local()
        self.over = False  # the pool was closed and the grace period has passed: transactions must end
        self.counts = AllCounts()
        self._shapes: dict[Query, Shape] | None = None if self._opening.prepare else {}
        self._all: WeakSet[QueryConnection] = WeakSet()
        self._idle: deque[QueryConnection] = deque()
        self._waiters: deque[_Waiter] = deque()
        self._taken = 0  # checked out of psycopg_pool, including those being opened
        self._coming = 0
        self._lock = threading.RLock()  # reentrant: a signal handler may close the pool, or read its statistics
        self._closing = False
        self._closed = threading.Event()  # wakes the thread that runs _tidy
        self._name = PoolName(self._opening.application_name)
        self._pool = None  # created when it is needed

    def _started(self) -> ConnectionPool[QueryConnection]:
        """Return psycopg_pool's pool, started. Raises Unavailable if its threads or ours cannot be started."""
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
        """Leave the inherited connections to the parent and start with an empty pool."""
        fork.leave_to_parent(self._all)
        # Its threads do not exist in the child, so closing it would wait forever. psycopg_pool 3.3 has no public way to discard
        # it.
        if self._pool is not None:
            self._pool._closed = True
        self._lock = threading.RLock()  # a thread of the parent may have held it
        if not self._closing:
            self._open()

    def checkout(self, timeout: float | None = None) -> QueryConnection:
        """Check out a connection for the caller alone, until `release`.

        timeout: seconds to wait for one (default: the pool's). Raises Unavailable if none becomes free in time.
        """
        try:
            return self._idle.pop()  # atomic by itself; taking the lock would cost a call half a microsecond
        except IndexError:
            return self._wait(left(self.timeout if timeout is None else timeout))

    def checkout_live(self, timeout: float | None = None) -> QueryConnection:
        """Check out a connection like `checkout`, but skip ended sessions: for statements that cannot be repeated."""
        connection = self.checkout(timeout)
        if not connection.has_ended():
            return connection
        deadline = monotonic() + (self.timeout if timeout is None else timeout)
        while connection.has_ended():
            self.release(connection)
            connection = self.checkout(max(deadline - monotonic(), 0))
        return connection

    def release(self, connection: QueryConnection) -> None:
        """Release a connection: hand it to the next task, keep it idle, or let psycopg_pool replace it."""
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
        """Close all connections. Running calls may finish within `grace` seconds, then they are cancelled within a second."""
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
        """Cancel all running statements at once, and end the sessions that do not answer in time."""
        running = [c for c in self._at_work() if c.pgconn.transaction_status == _ACTIVE]
        for connection in running:
            with suppress(RuntimeError):  # no thread can be started, so the session is ended
                threading.Thread(target=_cancel_statement, args=(connection,), name=f"{self._name}-cancel", daemon=True).start()
        while monotonic() < deadline and any(c.pgconn.transaction_status == _ACTIVE for c in running):
            sleep(0.01)
        for connection in running:
            if connection.pgconn.transaction_status == _ACTIVE:
                cut(connection)

    def _wait(self, timeout: float) -> QueryConnection:
        """Wait in the queue for a connection. The wait is added to the connection's counters, which need no lock."""
        began = monotonic()
        waiter = _Waiter()
        try:
            with self._lock:
                if self._closing:
                    raise Unavailable("the database is closed")
                with suppress(IndexError):  # one may have been released in the meantime
                    return self._idle.pop()
                waiting = len(self._waiters)
                if waiting < self._opening.max_waiting:
                    self._waiters.append(waiter)
            if waiting >= self._opening.max_waiting:
                raise self._reject(self._opening.full(waiting))
            self._grow()
            if not acquire(waiter.ready, timeout):
                self._leave(waiter)
                raise self._reject(f"no connection free after {timeout:.3g} s")
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
        """Remove a task from the queue. If it was handed a connection meanwhile, pass that to the next task."""
        with self._lock:
            with suppress(ValueError):
                self._waiters.remove(waiter)
            connection, waiter.connection = waiter.connection, None
        if connection is not None:
            self.release(connection)

    def _grow(self) -> None:
        """Request a connection for each waiting task, up to the pool's size.

        This runs in separate threads, since a task that is interrupted while it waits inside psycopg_pool loses a connection.
        If no thread can be started, tasks wait for connections in use; if none is in use either, they are refused.
        """
        with self._lock:
            if self._pool is None and self._waiters and not self._closing:
                try:
                    self._pool = self._started()
                except Unavailable as error:
                    self._refuse_all(str(error))
            while self._coming < len(self._waiters) and self._taken < self.size and not self._closing:
                cancelled = threading.Event()
                fetch = threading.Thread(target=self._fetch, args=(cancelled,), name=f"{self._name}-fetch", daemon=True)
                try:
                    self._taken += 1
                    self._coming += 1
                    fetch.start()
                except BaseException as error:
                    cancelled.set()  # an interrupt may come after the thread has started
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
        """Empty the queue: its tasks raise Unavailable. The caller holds the lock."""
        while self._waiters:
            waiter = self._waiters.popleft()
            waiter.refusal = refusal
            waiter.ready.release()

    def _fetch(self, cancelled: threading.Event) -> None:
        """Check out one more connection from psycopg_pool, trying as long as a task waits."""
        with self._lock:  # held by _grow until it has counted this thread
            pool = self._pool
            if cancelled.is_set() or pool is None:
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
                    self.release(connection)
                except BaseException:
                    connection.close()
                    self._return([connection])
                    raise
                return

    def _reject(self, how: str) -> Unavailable:
        """Count a rejected task and return its error."""
        with self._lock:
            self.counts.rejected += 1
        idle = list(self._idle)
        busy = [c for c in self._open_now() if c not in idle]
        return rejected(how, self.size, busy, len(self._open_now()), len(self._waiters), self._name.refusal)

    def _open_now(self) -> list[QueryConnection]:
        with self._lock:
            return [connection for connection in self._all if not connection.closed]

    def observe(self, observer: Observer | None) -> None:
        """Report all further calls, waits and transactions to an observer; None ends that."""
        with self._lock:  # a connection that is opened now either appears here or reads the new observer
            self._opening.observer = observer
            for connection in self._open_now():
                self._opening.watch(connection)

    def observed(self) -> AbstractContextManager[None]:
        """Return the observer's context manager for a transaction."""
        return self._opening.observed()

    def stats(self) -> PoolStats:
        """Return the pool's current statistics."""
        connections = len(self._open_now())
        waits, waited = self.counts.waits()
        kept = self._pool.get_stats()["pool_available"] if self._pool is not None else 0
        idle = min(len(self._idle) + kept, connections)
        return PoolStats(self.size, connections, idle, len(self._waiters), waits, waited, self.counts.rejected)

    def _return(self, connections: Sequence[QueryConnection]) -> None:
        """Return connections to psycopg_pool, which replaces broken and expired ones."""
        if not connections:
            return
        with ExitStack() as all_steps:  # each one is returned, even if another one fails
            all_steps.callback(self._grow)
            all_steps.callback(self._untake, len(connections))
            for connection in connections:
                all_steps.callback(self._put, connection)

    def _put(self, connection: QueryConnection) -> None:
        """Return a connection to psycopg_pool. Retry if that fails, since its place would stay taken forever."""
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
        """Leave a server that turned read-only: close idle sessions, so that new ones search for a writable server."""
        logger.warning("the pool of %s leaves a server that has become read-only, and looks for a writable one", self._name)
        self._kwargs["target_session_attrs"] = self._seeks_writable
        idle = []
        with self._lock, suppress(IndexError):  # a checkout may take the last one meanwhile
            while True:
                idle.append(self._idle.popleft())
        for connection in idle:
            connection.close()
        self._return(idle)

    def return_idle(self, *, unused_since: float = inf) -> None:
        """Return idle connections to psycopg_pool: those unused since a time of the monotonic clock (default: all)."""
        unused = []
        with self._lock, suppress(IndexError):  # a checkout may take the last one meanwhile
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
        connection.position_query = self._opening.position_query
        connection.asks_id = bool(self._seeks_writable)
        connection.expires_at = monotonic() + LIFETIME
        connection.seeks_writable = bool(self._seeks_writable) and not connection.wait(connection.role_reads_only())
        self.counts.assign(connection)
        pins.settle(connection)
        connection.server = server_of(connection)
        with self._lock:
            self._all.add(connection)
            self._opening.watch(connection)


def _cancel_statement(connection: QueryConnection) -> None:
    with suppress(psycopg.Error):
        connection.cancel_safe(timeout=_GRACE)


def _no_thread(error: BaseException) -> str:
    return f"cannot start a thread to open a connection, as this process is at its limit: {error}"


def _tidy(pool: "ref[Pool]", closed: threading.Event) -> None:
    """Return unused connections to psycopg_pool, which closes surplus ones, as long as the pool exists."""
    while not closed.wait(IDLE_AFTER / 2) and (found := pool()) is not None:
        found.return_idle(unused_since=monotonic() - IDLE_AFTER)
        del found

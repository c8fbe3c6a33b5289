"""Execution of named queries: prepared once per connection, binary parameters and results, rows built by position.

psycopg's cursor costs more than the rest of a call, so statements are sent through the connection's libpq handle. Values are
converted by psycopg's adapters, and waiting is done by psycopg's wait function, so that Ctrl-C and cancellation work.
Everything but the waiting is written as generators, like psycopg's own, which `QueryConnection` and `aio.connection` both run.
"""

import select
from bisect import bisect_left
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from math import inf
from secrets import token_hex
from time import monotonic
from typing import Any, LiteralString

import psycopg
from psycopg import pq
from psycopg.abc import PQGen
from psycopg.errors import error_from_result
from psycopg.generators import execute
from psycopg.pq.abc import PGresult
from psycopg.rows import tuple_row

from ..errors import STANDBY, InvalidValue
from . import pins
from .counters import BOUNDS, LEAST, ConnectionCounts, log_plan, log_slow
from .observing import Explainer, Observer
from .pipelines import Committer
from .prepared import Shape, Statement
from .query import Query
from .rows import RawJson
from .timing import TimedConnection, ending

_TUPLES, _DONE = pq.ExecStatus.TUPLES_OK, pq.ExecStatus.COMMAND_OK
_IDLE = pq.TransactionStatus.IDLE
_LONGEST_NAME = 48  # bytes of a query's name in its statement's name, which “deallocate” would truncate to 63
# SQLSTATE classes of a statement that a change of the schema has made stale: its result type has changed, or the statement, an
# object that it names, or one of its types does not exist any more.
_STALE = ("0A", "26", "42", "XX")
# SQLSTATEs with which the server ends the session.
_ENDED = ("57P01", "57P02", "57P03", "08")
CLEANING = 5  # seconds allowed for cleaning a session; after that it is closed instead
_BASE_TYPE = b"""
with recursive base as (
  select t.oid, t.typbasetype from pg_type t where t.oid = $1
  union all
  select t.oid, t.typbasetype from base b inner join pg_type t on t.oid = b.typbasetype
)
select b.oid::int8 from base b where b.typbasetype = 0
"""
# Commands that begin, end and undo a unit of work: outside of a transaction, and inside one.
_ALONE = (b"begin", b"commit", b"rollback")
_NESTED = (b"savepoint described", b"release described", b"rollback to described; release described")
_SOURCE = b"select source from pg_settings where name = 'default_transaction_read_only'"
_GENERIC_PLANS = 160000  # the first server version that explains a statement without values
_LAST_WORDS = ("FATAL", "PANIC")  # severities of the server's last message before it ends a session
READ_ONLY_TRANSACTION = "25006"  # the server refuses it before it has changed anything
# `discard all` without the parts that would drop our prepared statements, in one round trip.
CLEAN: LiteralString = (
    "close all; reset session authorization; reset all; unlisten *; select pg_advisory_unlock_all(); discard temp"
)


class QueryRunner(Committer):
    """The part of a connection that runs named queries, without the waiting. It keeps their prepared statements.

    shapes: descriptions of queries that are sent unprepared, behind a pooler that does not keep prepared statements; None if
    statements are prepared. used_at, expires_at: set by the pool, in seconds of the monotonic clock. counts: its counters.
    query, began: the running or latest query and its start. slow: seconds after which a call is reported. labels: data that the
    observer keeps for each query. failure: the query that failed in the current transaction, if any. seeks_writable: whether
    the URL makes libpq search for a writable server. moved: whether the session was closed because its server turned read-only.
    server: the identity of its server, if known.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.shapes: dict[Query, Shape] | None = None
        self.used_at = self.expires_at = self.began = monotonic()
        self.counts = ConnectionCounts()
        self.query: Query | None = None
        self.failure = ""
        self.labels: dict[Query, Any] = {}
        self.watch(inf, None, None)
        self.seeks_writable = self.moved = False
        self.server: Any = None
        poll = select.poll()
        poll.register(self.pgconn.socket, select.POLLIN)
        self._poll = poll.poll
        self._last_words: list[str] = []
        self.add_notice_handler(partial(_note_last_words, self._last_words))
        self._raw_json: RawJson | None = None
        self._statements: dict[Query, Statement] = {}
        self._base_types: dict[int, int] = {}
        self._count = 0
        self._marks: dict[Query, bytes] = {}  # appended to the text of a query that was prepared again

    def watch(self, slow: float, explainer: Explainer | None, observer: Observer | None) -> None:
        """Log calls that take longer than *slow* seconds, explain slow reads, and report all calls to the observer."""
        self._log_after = slow
        self._explain_after = inf if explainer is None else explainer.seconds
        # A single comparison decides whether a call is reported anywhere, so that it costs a fast call almost nothing.
        self.slow = min(slow, self._explain_after, LEAST) if observer is None else -1.0
        self._explainer, self._observer = explainer, observer

    def running(self, query: Query, values: Sequence[object]) -> PQGen[Any]:
        """Run a query. Return its rows, or the number of affected rows if it returns none.

        Raises psycopg's class for the server's SQLSTATE, and InvalidValue for a value of a wrong type or range. Outside a
        transaction, a statement that a change of the schema has made stale is prepared and run again: it has failed without
        changing anything. A statement that the server may have executed is never repeated.
        """
        tally = self.counts.tallies.get(query) or self.counts.begin(query)
        self.query = query
        parent = None if self._observer is None else self._observer.inside()
        failed: BaseException | None = None
        is_write = not query.reads_only
        if is_write:
            self.reset_commit("begun")
        for attempts_left in (5, 4, 3, 2, 1, 0):  # several in a row, since a migration changes a table several times
            statement = known = self._statements.get(query)
            self.began = began = monotonic()
            try:
                if statement is None:
                    statement = self._statements[query] = yield from self._prepare(query)
                if is_write and self.pgconn.transaction_status == _IDLE:
                    return statement.read((yield from self._write(query.name, partial(statement.send, values))))
                statement.send(values)
                return statement.read((yield from execute(self.pgconn))[-1])
            except InvalidValue as error:
                failed = error
                tally.errors += 1
                if known is None or not (yield from self._has_changed(known)):
                    raise
                yield from self._forget(query)  # the value may fit the new types
            except psycopg.Error as error:
                failed = error
                tally.errors += 1
                if not (error.sqlstate or "").startswith(_STALE):
                    raise
                yield from self._forget(query)
                self._beside.clear()
                if not attempts_left or self.pgconn.transaction_status != _IDLE:
                    raise
            except BaseException as error:
                failed = error
                raise
            finally:
                self.used_at = now = monotonic()
                tally.calls += 1
                tally.seconds += (seconds := now - began)
                if seconds > self.slow:
                    self._tell(query, parent, seconds, failed)
                    if failed is None and seconds > self._explain_after:
                        yield from self._explain(query, seconds)
                failed = None  # otherwise the error would keep this frame alive
        raise AssertionError("the last attempt returns or raises")

    def _tell(self, query: Query, parent: Any, seconds: float, failed: BaseException | None) -> None:
        if seconds > LEAST:
            self.counts.tallies[query].buckets[bisect_left(BOUNDS, seconds)] += 1
        if seconds > self._log_after:
            log_slow(query, seconds)
        if self._observer is not None:
            self._observer.called(self, query, parent, seconds, failed)

    def _explain(self, query: Query, seconds: float) -> PQGen[None]:
        """Log the server's plan of a slow read. A failure here does not fail the call."""
        if self._explainer is None or not self._explainer.is_due(query):
            return
        begin, _, undo = _ALONE if self.pgconn.transaction_status == _IDLE else _NESTED
        is_old = self.pgconn.server_version < _GENERIC_PLANS
        try:
            yield from self._ask(begin)
            try:
                plan = yield from self._plan(query.sql.encode(), len(query.parameters), is_old)
            except psycopg.Error:
                yield from self._ask(undo)
                if is_old:
                    yield from self._ask(begin)
                    with suppress(psycopg.Error):  # it was not prepared
                        yield from self._ask(b"deallocate explained")
                    yield from self._ask(undo)
                return
            yield from self._ask(undo)
        except psycopg.Error:
            return
        log_plan(query, seconds, plan)

    def _plan(self, sql: bytes, parameters: int, is_old: bool) -> PQGen[list[str]]:
        if is_old:
            yield from self._ask(b"set local plan_cache_mode = force_generic_plan; prepare explained as " + sql)
            nulls = b"(" + b", ".join([b"null"] * parameters) + b")" if parameters else b""
            told = yield from self._ask(b"explain execute explained" + nulls)
            yield from self._ask(b"deallocate explained")  # before a pooler hands the session to another client
        else:
            told = yield from self._ask(b"explain (generic_plan) " + sql)
        return [(told.get_value(row, 0) or b"").decode() for row in range(told.ntuples)]

    def answer(self) -> Any:
        """Return the result of the last write, whose commit's answer was lost."""
        assert self.query is not None  # noqa: S101
        assert self.returned is not None  # noqa: S101
        return self._statements[self.query].read(self.returned)

    def ended(self, error: psycopg.Error) -> bool:
        """Return whether an error means that the session has ended. If so, close the connection."""
        state = error.sqlstate or ""
        if state == READ_ONLY_TRANSACTION and self.pgconn.parameter_status(b"in_hot_standby") == b"on":
            error.add_note(STANDBY)
        if state == READ_ONLY_TRANSACTION and self._is_server_read_only():
            self.moved = True
        elif not self.broken and not state.startswith(_ENDED):
            return False
        self.end()
        return True

    def has_ended(self) -> bool:
        """Return whether the server has ended the session. If so, close the connection. Takes no round trip."""
        try:
            while self._poll(0) and not self._last_words:
                self.pgconn.consume_input()
                self.pgconn.is_busy()  # reads pending data; the server's last message arrives as a notice
            if not self._last_words:
                return False
        except psycopg.Error:  # the connection was closed without a message
            pass
        self.end()
        return True

    def end(self) -> None:
        """Close the connection without waiting."""
        self._closed = True
        self.pgconn.finish()

    def _is_server_read_only(self) -> bool:
        """Return whether the server, rather than the transaction or the role, has turned read-only."""
        if not self.seeks_writable or self.read_only:
            return False
        status = self.pgconn.parameter_status
        return status(b"in_hot_standby") == b"on" or status(b"default_transaction_read_only") == b"on"

    def role_reads_only(self) -> PQGen[bool]:
        """Return whether role, database or URL make the session read-only, so that another server would not help."""
        if self.pgconn.parameter_status(b"default_transaction_read_only") != b"on":
            return False
        source = (yield from self._ask(_SOURCE)).get_value(0, 0)
        return source not in (b"configuration file", b"command line")

    def raw_json(self) -> RawJson:
        """Return this connection's adapters that load JSON as bytes. They are created on first use."""
        if self._raw_json is None:
            self._raw_json = RawJson(self)
        return self._raw_json

    def _forget(self, query: Query) -> PQGen[None]:
        """Drop a query's prepared statement, so that the next call prepares it again."""
        statement = self._statements.pop(query, None)
        self._marks[query] = b" -- " + token_hex(4).encode()  # PgBouncer keeps one statement for each text, even a stale one
        if self.shapes is not None:
            self.shapes.pop(query, None)
        elif statement and statement.name and self.pgconn.transaction_status == _IDLE:
            with suppress(psycopg.Error):  # it may not exist any more
                yield from self._ask(b'deallocate "%b"' % statement.name)

    def _has_changed(self, statement: "Statement") -> PQGen[bool]:
        """Return whether the server describes other types for a query than when the statement was prepared."""
        if self.pgconn.transaction_status == pq.TransactionStatus.INERROR:
            return False
        return (yield from self._describe_alone(statement.query)) != statement.shape

    def _prepare(self, query: Query) -> PQGen["Statement"]:
        if self.shapes is None:
            self._count += 1
            name = f"{query.name[:_LONGEST_NAME]}:{self._count}".encode()
            return Statement(self, query, (yield from self._describe(name, query)), name)
        shape = self.shapes.get(query)
        if shape is None:
            shape = self.shapes[query] = yield from self._describe_alone(query)
        return Statement(self, query, shape, b"")

    def _describe_alone(self, query: Query) -> PQGen[Shape]:
        """Return the shape of a query without keeping a prepared statement."""
        begin, end, undo = _ALONE if self.pgconn.transaction_status == _IDLE else _NESTED
        yield from self._ask(begin)  # in a transaction, so that a pooler sends both steps to the same session
        try:
            shape = yield from self._describe(b"", query)
        except psycopg.Error:
            if self.pgconn.transaction_status == pq.TransactionStatus.INERROR:
                yield from self._ask(undo)
            raise
        yield from self._ask(end)
        return shape

    def _describe(self, name: bytes, query: Query) -> PQGen[Shape]:
        self.pgconn.send_prepare(name, query.sql.encode() + self._marks.get(query, b""))
        yield from self._result()
        self.pgconn.send_describe_prepared(name)
        described = yield from self._result()
        types = [described.param_type(n) for n in range(described.nparams)]
        columns = [described.ftype(n) for n in range(described.nfields)]
        for oid in types:
            if oid not in self._base_types and not self.adapters.types.get(oid):
                yield from self._ask_for_base_type(oid)
        return Shape(tuple(types), tuple(self._base_types.get(oid, oid) for oid in types), tuple(columns))

    def _ask_for_base_type(self, oid: int) -> PQGen[None]:
        """Look up the base type of a domain. Any other type is its own base type."""
        self.pgconn.send_query_params(_BASE_TYPE, [str(oid).encode()])
        base = (yield from self._result()).get_value(0, 0)
        self._base_types[oid] = int(base) if base else oid

    def _ask(self, statements: bytes) -> PQGen[PGresult]:
        self.pgconn.send_query(statements)
        return (yield from self._result())

    def _result(self) -> PQGen[PGresult]:
        result: PGresult = (yield from execute(self.pgconn))[-1]
        if result.status not in (_TUPLES, _DONE):
            raise error_from_result(result)
        return result


class QueryConnection(QueryRunner, TimedConnection):
    """A psycopg connection that runs named queries."""

    def run(self, query: Query, values: Sequence[object]) -> Any:
        """Return the rows of a query, or the number of affected rows. Raises the errors of `running`."""
        return self.wait(self.running(query, values))

    def clean(self) -> None:
        """Reset all session state that a user of `connection()` may have left. If that fails, close the connection."""
        if self.closed:
            return
        with ending(CLEANING):
            try:
                self.rollback()
                self.autocommit = True
                self.isolation_level = self.read_only = self.deferrable = None
                self.row_factory = tuple_row
                self.execute(CLEAN)
                pins.settle(self)
            except psycopg.Error:
                self.close()


def _note_last_words(last_words: list[str], diagnostic: psycopg.errors.Diagnostic) -> None:
    if diagnostic.severity_nonlocalized in _LAST_WORDS:
        last_words.append(diagnostic.message_primary or "")

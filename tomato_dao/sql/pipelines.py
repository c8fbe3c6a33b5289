"""Commits in libpq's pipeline mode: transaction id, commit and position in one round trip."""

from collections.abc import Callable
from contextlib import suppress
from itertools import count
from typing import TYPE_CHECKING, Any, Literal

import psycopg
from psycopg import pq
from psycopg.abc import PQGen
from psycopg.errors import error_from_result
from psycopg.generators import execute, fetch_many, send
from psycopg.pq.abc import PGresult
from psycopg.rows import TupleRow

_TUPLES, _DONE, _SYNC = pq.ExecStatus.TUPLES_OK, pq.ExecStatus.COMMAND_OK, pq.ExecStatus.PIPELINE_SYNC
_TRANSACTION_ID = b"select pg_current_xact_id_if_assigned()"
_numbers = count(1)  # of prepared statements
CommitState = Literal["", "begun", "sent", "failed", "done"]

if TYPE_CHECKING:
    from psycopg._connection_base import BaseConnection  # psycopg has no public name for it

    _Base = BaseConnection[TupleRow]
else:
    _Base = object


class Committer(_Base):
    """The part of a connection that commits transactions, and statements that are a transaction by themselves.

    The transaction's id is read before the commit begins, so that its outcome can be looked up if the answer is lost.

    keeps_statements: whether prepared statements are kept. asks_id: whether the id is also requested for a single statement,
    which costs the server one more. position_query: a statement that is sent after each commit, so that it sees the commit.
    position: its answer, or None. transaction_id: the id of the last commit, 0 if it has written nothing, None if it is
    unknown. commit_state: the outcome of that commit. returned: the result of a statement that is a transaction by itself.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.keeps_statements = True
        self.asks_id = False
        self.position_query = b""
        self._beside: dict[bytes, bytes] = {}  # the names of the prepared statements that are sent with commits
        self.reset_commit()

    def reset_commit(self, state: CommitState = "") -> None:
        """Reset the state of the last commit."""
        self.position: bytes | None = None
        self.transaction_id: int | None = None
        self.commit_state: CommitState = state
        self.returned: PGresult | None = None

    def _exec_command(self, command: Any, *args: Any, **kwargs: Any) -> PQGen[PGresult | None]:
        """Override psycopg's method that begins and ends transactions: psycopg 3.2 and 3.3 have no public one."""
        self.reset_commit()
        if command != b"COMMIT" or self._pipeline:
            result: PGresult | None = yield from super()._exec_command(command, *args, **kwargs)
            return result
        return (yield from self._commit())

    def _commit(self) -> PQGen[PGresult]:
        """Commit a transaction. Raises psycopg's error if that fails."""
        pgconn = self.pgconn
        position_query = self.position_query if pgconn.transaction_status == pq.TransactionStatus.INTRANS else b""
        yield from self._prepare_beside(position_query)
        pgconn.enter_pipeline_mode()
        try:
            pgconn.send_query_params(_TRANSACTION_ID, None)
            pgconn.send_flush_request()
            pgconn.send_query_params(b"COMMIT", None)  # takes effect when it is executed, before the Sync
            if position_query:
                self._send_beside(position_query)
            yield from self._send_all()
            told = yield from self._next_result()
            if told.status != _TUPLES:
                self.commit_state = "failed"
                raise error_from_result(told)  # nothing is read after it, so the session ends
            self.transaction_id = int(told.get_value(0, 0) or 0)
            committed = yield from self._next_result()
            if committed.status == _DONE:
                self.commit_state = "done" if committed.command_status == b"COMMIT" else "failed"
            elif not _ends_session(committed):
                self.commit_state = "failed"
            if position_query:
                yield from self._read_after_commit(position_query)
            else:
                yield from self._next_result()  # the result of the Sync
        finally:
            self._leave_pipeline()
        if committed.status != _DONE:
            raise error_from_result(committed)
        return committed

    def _write(self, name: str, send_statement: Callable[[], None]) -> PQGen[PGresult]:
        """Run a prepared statement as a transaction by itself. Return its result, or the result of the step that failed.

        Raises psycopg's error if the session is lost.
        """
        if self.asks_id or self.position_query:
            return (yield from self._write_and_ask(name, send_statement))
        self.commit_state = "sent"
        send_statement()
        results = yield from execute(self.pgconn)
        last: PGresult = results[-1]
        if last.status in (_TUPLES, _DONE):
            self.commit_state, self.returned = "done", last
        elif len(results) == 1 or not _ends_session(last):  # otherwise the session ended after the statement, during its commit
            self.commit_state = "failed"
        return last

    def _write_and_ask(self, name: str, send_statement: Callable[[], None]) -> PQGen[PGresult]:
        pgconn, position_query = self.pgconn, self.position_query
        ask_id = _TRANSACTION_ID.replace(b"select", b"select /* %b */" % name.encode())  # shown during the commit
        yield from self._prepare_beside(ask_id, position_query)
        pgconn.enter_pipeline_mode()
        try:
            send_statement()
            self._send_beside(ask_id)
            pgconn.send_flush_request()
            if position_query:
                pgconn.pipeline_sync()  # commits, so that the position lies behind the commit
                self._send_beside(position_query)
            yield from self._send_all()
            told = yield from self._next_result()
            if _ends_session(told):
                self.commit_state = "failed"
                return told
            asked = yield from self._next_result()
            if asked.status == _TUPLES:
                self.returned = told
                self.transaction_id = int(asked.get_value(0, 0) or 0)
            else:
                self.commit_state = "failed"
                told = told if told.status not in (_TUPLES, _DONE) else asked  # as when the statement was cancelled
            end = yield from self._next_result()
            if end.status == _SYNC:
                self.commit_state = "done" if self.commit_state == "sent" else "failed"
            else:  # the commit was refused, for example by a deferred constraint, or the session ended
                told = end
                if _ends_session(end):
                    return told
                self.commit_state = "failed"
                yield from self._next_result()
            if position_query:
                yield from self._read_after_commit(position_query)
        finally:
            self._leave_pipeline()
        return told

    def _prepare_beside(self, *statements: bytes) -> PQGen[None]:
        """Prepare the statements that are sent with commits, once in a session."""
        for sql in statements:
            if sql and self.keeps_statements and sql not in self._beside:
                name = b"beside:%d" % next(_numbers)
                self.pgconn.send_prepare(name, sql)
                result = (yield from execute(self.pgconn))[-1]
                if result.status != _DONE:
                    raise error_from_result(result)
                self._beside[sql] = name

    def _send_beside(self, sql: bytes) -> None:
        if self.keeps_statements:
            self.pgconn.send_query_prepared(self._beside[sql], None)
        else:
            self.pgconn.send_query_params(sql, None)

    def _send_all(self) -> PQGen[None]:
        self.commit_state = "sent"  # before it is: an interrupt may come as soon as it is
        self.pgconn.pipeline_sync()
        yield from send(self.pgconn)

    def _read_after_commit(self, position_query: bytes) -> PQGen[None]:
        """Read the answer of the statement after a commit, and its Sync. An error there leaves position None."""
        with suppress(psycopg.Error):
            told = yield from self._next_result()
            if told.status == _TUPLES:
                self.position = told.get_value(0, 0)
            elif told.status != pq.ExecStatus.PIPELINE_ABORTED:  # by a commit that failed
                self._beside.pop(position_query, None)
            yield from self._next_result()

    def _next_result(self) -> PQGen[PGresult]:
        results = yield from fetch_many(self.pgconn)
        if not results:
            raise psycopg.OperationalError("the connection is lost")
        last: PGresult = results[-1]
        return last

    def _leave_pipeline(self) -> None:
        """Leave pipeline mode. If results are outstanding, the session counts as active and is not used again."""
        with suppress(psycopg.Error):
            self.pgconn.exit_pipeline_mode()


def _ends_session(result: PGresult) -> bool:
    """Return whether a result reports the end of the session, after which nothing follows."""
    state = result.error_field(pq.DiagnosticField.SQLSTATE) if result.status == pq.ExecStatus.FATAL_ERROR else None
    return state is not None and state.startswith((b"57P", b"08"))

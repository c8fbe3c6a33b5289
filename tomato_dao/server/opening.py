"""Settings of a pool, and the check of the server before it is opened. Shared by threads and asyncio tasks."""

import logging
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from math import inf
from typing import Any

from ..sql.observing import Explainer, Observer
from ..sql.statements import QueryRunner
from ..sql.timing import at_most
from ..sql.wording import counted
from . import arguments, poolers, rolling, schema
from .capacity import BESIDE, capacity
from .positions import OF_PRIMARY
from .probe import probe, seeks_writable, session_settings, takes_options

logger = logging.getLogger(__name__)

_GRACE = 0.5  # seconds beyond the caller's timeout, for a slow server


class Opening:
    """The checked parameters of a pool. `tomato_dao.connect` documents them and their errors.

    worker: accept all schemas that `rolling.check_worker` accepts, not only this code's, and show the code's schema version.
    migrations: the versions that the database must have instead of this code's. tokens: whether each commit returns its
    position. max_waiting, slow: infinite if not limited. seeks_writable: the target_session_attrs that makes libpq search for a
    writable server, set by `examine`.
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
        self.url = url
        self.size = arguments.count("a pool's size", size, 1)
        self.timeout = arguments.seconds("timeout", timeout)
        self.max_waiting = inf if max_waiting is None else arguments.count("max_waiting", max_waiting, 0)
        self.slow = inf if log_slower_than is None else arguments.seconds("log_slower_than", log_slower_than)
        explain = arguments.seconds("explain_slower_than", explain_slower_than) if explain_slower_than is not None else inf
        self._explainer = None if explain == inf else Explainer(explain)
        self.observer: Observer | None = None
        self.statement_timeout = arguments.limit("statement_timeout", statement_timeout)
        self.application_name = arguments.text("application_name", application_name)
        self.prepare = prepare
        self.position_query = OF_PRIMARY.sql.encode() if tokens else b""
        self._worker = worker
        self._migrations = migrations
        self.seeks_writable = ""
        self._settings: dict[str, object] = {}

    def examine(self, timeout: float, patience: float | None = None) -> None:
        """Check that the server is available and suitable. Logs a warning if it has too few connections.

        timeout: seconds to retry a server that is full or unavailable. patience: seconds for the whole check (default: the
        same). Raises the errors of `probe`.
        """
        patience = timeout if patience is None else patience
        with at_most(patience + _GRACE), probe(self.url, timeout) as connection:
            if self.prepare and not takes_options(connection):
                raise poolers.KeepsNoStatements("the pooler accepts no session settings: connect with prepare=False")
            rolling.check_worker(connection) if self._worker else schema.check(connection, self._migrations)
            version, is_pooled = connection.info.server_version, poolers.is_between(connection)
            if self.prepare and (shortage := capacity(connection).shortage(self.size, BESIDE if self._worker else 0)):
                logger.warning("%s", shortage)
        limit = self.statement_timeout if self.prepare else None
        self._settings = session_settings(self.url, self.application_name, limit, version)
        self.seeks_writable = seeks_writable(self._settings)
        if self.prepare and is_pooled:
            poolers.check_statements(self._settings)

    def kwargs(self) -> dict[str, Any]:
        """Return the arguments of psycopg's connections. Only the pool may change the result."""
        kwargs = {**self._settings, "autocommit": True, "prepare_threshold": None}
        if self._worker:
            kwargs["application_name"] = rolling.marked(str(self._settings["application_name"]))
        return kwargs

    def watch(self, connection: QueryRunner) -> None:
        """Apply the settings for logging, explaining and observing to a connection."""
        connection.watch(self.slow, self._explainer, self.observer)

    def waited(self, seconds: float) -> None:
        """Report a task's wait for a connection to the observer."""
        if self.observer is not None:
            self.observer.waited(seconds)

    def observed(self) -> AbstractContextManager[None]:
        """Return the observer's context manager for a transaction."""
        return nullcontext() if self.observer is None else self.observer.transaction()

    def full(self, waiting: int) -> str:
        """Describe a full queue, for a message."""
        return f"the queue has {counted(waiting, 'task')} already, the limit"

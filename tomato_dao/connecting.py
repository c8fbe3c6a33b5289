"""`connect()` and `connect_async()`: find the database, migrate it where that is asked for, and open a Database on it."""

import asyncio
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

from .database import Database
from .events import Events
from .locks import Locks
from .ops.urls import database_url, direct_database_url
from .pool import Pool
from .replicas import Replicas
from .server import arguments
from .server.opening import Opening

if TYPE_CHECKING:
    from opentelemetry.metrics import MeterProvider
    from opentelemetry.trace import TracerProvider

    from .aio.connecting import Connecting
    from .aio.database import AsyncDatabase


_PATIENCE = 2  # seconds for which a standby is waited for at first


def connect(
    url: str | None = None,
    *,
    pool_size: int = 8,
    timeout: float = 30,
    max_waiting: int | None = None,
    statement_timeout: float = 60,
    application_name: str = "tomato-dao",
    prepare: bool = True,
    log_slower_than: float | None = None,
    explain_slower_than: float | None = None,
    tracer_provider: "TracerProvider | None" = None,
    meter_provider: "MeterProvider | None" = None,
    migrate: bool = False,
    replicas: Sequence[str] = (),
) -> Database:
    """Connect to a database whose schema is this code's, or another one that supports this code (a warning tells of it once).

    url: a PostgreSQL URL (default: DATABASE_URL, else the embedded server; with DATABASE_URL goes DIRECT_DATABASE_URL, for
    `exclusive` and `listen`, where a pooler in transaction mode is in between). pool_size: how many connections this
    process holds at most. timeout: seconds that a call waits for one of them, and that a server which is at its limit,
    starting or not there is waited for, also here. max_waiting: how many calls may wait at once; one more is refused at
    once (default: any number). statement_timeout: seconds that a statement may run, and a transaction may idle (0: any number).
    application_name: how the server shows this process, followed by “/” and the code's schema version. prepare: False for a
    server behind a transaction pooler that can't keep prepared statements; the timeout is the role's then. log_slower_than:
    seconds after which a call gets a warning in the log (default: never). explain_slower_than: seconds after which the log
    also gets the server's plan of a read, once a minute for each query at most (default: never). tracer_provider,
    meter_provider: who gets spans and metrics by OpenTelemetry, which needs the extra “otel” (default: nobody). migrate: bring
    the database to this code's schema first, where it isn't, as OWNER_DATABASE_URL where that is set; any number of processes
    may do it at once. A contract migration that can't be applied yet stays pending. replicas: the URLs of
    standbys, on each of which a pool of the same size serves `reads()`.

    Raises InvalidValue for a parameter that can't be, Unavailable where the server can't be reached, WrongSchema where it,
    its encoding or its schema doesn't fit, NotAllowed where it would have to be migrated and the user may not.
    """
    url, direct_url = _urls(url)
    arguments.seconds("timeout", timeout)
    if migrate:
        _migrate(url, timeout)

    def pool(url: str, timeout: float = timeout) -> Pool:
        return Pool(
            url,
            size=pool_size,
            timeout=timeout,
            max_waiting=max_waiting,
            statement_timeout=statement_timeout,
            application_name=application_name,
            prepare=prepare,
            log_slower_than=log_slower_than,
            explain_slower_than=explain_slower_than,
            worker=True,
        )

    standbys = [partial(pool, arguments.url(standby), _PATIENCE) for standby in replicas]
    db = Database(
        pool(url),
        Locks(direct_url, application_name),
        Events(direct_url, application_name, timeout),
        Replicas(standbys) if standbys else None,
    )
    _instrument(db, tracer_provider, meter_provider)
    return db


def connect_async(
    url: str | None = None,
    *,
    pool_size: int = 8,
    timeout: float = 30,
    max_waiting: int | None = None,
    statement_timeout: float = 60,
    application_name: str = "tomato-dao",
    prepare: bool = True,
    log_slower_than: float | None = None,
    explain_slower_than: float | None = None,
    tracer_provider: "TracerProvider | None" = None,
    meter_provider: "MeterProvider | None" = None,
    migrate: bool = False,
    replicas: Sequence[str] = (),
) -> "Connecting":
    """Connect to a database from asyncio: `async with connect_async() as db`, or `db = await connect_async()`.

    Parameters and errors are those of `connect`; the errors come when it is awaited. The database belongs to the event loop
    that runs then.
    """
    from .aio.connecting import Connecting  # costs 20 ms that programs with threads do not need

    def opening(url: str, timeout: float = timeout) -> Opening:
        return Opening(
            url,
            size=pool_size,
            timeout=timeout,
            max_waiting=max_waiting,
            statement_timeout=statement_timeout,
            application_name=application_name,
            prepare=prepare,
            log_slower_than=log_slower_than,
            explain_slower_than=explain_slower_than,
            worker=True,
        )

    async def prepared() -> tuple[Opening, str, list[Opening]]:
        own, direct = await asyncio.to_thread(_urls, url)
        found = opening(own)
        standbys = [opening(arguments.url(standby), _PATIENCE) for standby in replicas]
        if migrate:
            await asyncio.to_thread(_migrate, own, timeout)
        return found, direct, standbys

    return Connecting(prepared, lambda db: _instrument(db, tracer_provider, meter_provider))


def _urls(url: str | None) -> tuple[str, str]:
    """Return the URL of the database, and that of the server itself where a pooler is in between."""
    if url is not None:
        url = arguments.url(url)
    direct_url = url or direct_database_url()
    url = url or database_url()
    return url, direct_url or url


def _instrument(
    db: "Database | AsyncDatabase", tracer_provider: "TracerProvider | None", meter_provider: "MeterProvider | None"
) -> None:
    if tracer_provider is not None or meter_provider is not None:
        from .otel import instrument  # needs an extra

        instrument(db, tracer_provider=tracer_provider, meter_provider=meter_provider)


def _migrate(url: str, timeout: float) -> None:
    from .ops.migrate import migrate_for  # costs 10 ms that most programs do not need

    migrate_for(url, timeout)

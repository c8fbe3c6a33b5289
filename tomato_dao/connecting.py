"""`connect()` and `connect_async()`: find the database, migrate it on request, and open a Database on it."""

import asyncio
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

from .database import Database
from .events import Events
from .locks import Locks
from .ops.urls import database_url, direct_database_url
from .pool import Pool
from .replicas import Readings, Replicas
from .server import arguments
from .server.opening import Opening

if TYPE_CHECKING:
    from opentelemetry.metrics import MeterProvider
    from opentelemetry.trace import TracerProvider

    from .aio.connecting import Connecting
    from .aio.database import AsyncDatabase


_PATIENCE = 2  # seconds to wait for a standby at first


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
    tokens: bool = False,
) -> Database:
    """Connect to a database and return it; its schema must be this code's, or one that still supports this code.

    With a newer schema that supports this code, a warning is logged once. See docs/guides/connecting.md.

    Args:
        url: A PostgreSQL URL (default: DATABASE_URL, else the embedded server). DIRECT_DATABASE_URL, used with DATABASE_URL,
            names the server itself for `exclusive` and `listen` if DATABASE_URL is a pooler in transaction mode.
        pool_size: The maximum number of connections of this process.
        timeout: Seconds that a call waits for a connection. Also the seconds to wait for a server that is full, starting or
            out of reach, here and later.
        max_waiting: The maximum number of waiting calls; further ones are rejected immediately (default: no limit).
        statement_timeout: Seconds that a statement may run and a transaction may be idle (0: no limit).
        application_name: The name that the server shows for this process, followed by “/” and the code's schema version.
        prepare: Use prepared statements. Use False behind a transaction pooler that cannot keep them; the role's statement
            timeout applies then.
        log_slower_than: Seconds after which a call is logged as a warning (default: never).
        explain_slower_than: Seconds after which a read's query plan is logged too, at most once a minute per query
            (default: never).
        tracer_provider: An OpenTelemetry provider that receives spans (default: none); needs the extra “otel”.
        meter_provider: An OpenTelemetry provider that receives metrics (default: none); needs the extra “otel”.
        migrate: Bring the schema up to date first, as the user of OWNER_DATABASE_URL if it is set. Any number of processes
            may do so at once. A contract migration that cannot be applied yet stays pending.
        replicas: URLs of standbys that serve `reads()`; each gets a separate pool of the same size.
        tokens: Let each write return the position that `token(own=True)` needs (default: only with replicas).

    Raises:
        InvalidValue: A parameter is invalid.
        Unavailable: The server cannot be reached.
        WrongSchema: The server's version, the database's encoding or its schema does not fit this code.
        NotAllowed: A migration is needed, and the user may not apply it.

    Example::

        with tomato_dao.connect(pool_size=4) as db:
            db.hosts.get_by_name("host1")
    """
    url, direct_url = _urls(url)
    arguments.seconds("timeout", timeout)
    if migrate:
        _migrate(url, timeout)

    def pool(url: str, timeout: float, tokens: bool) -> Pool:
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
            tokens=tokens,
        )

    standbys = [partial(pool, arguments.url(standby), _PATIENCE, False) for standby in replicas]
    with_tokens = tokens or bool(standbys)
    db = Database(
        pool(url, timeout, with_tokens),
        Locks(direct_url, application_name),
        Events(direct_url, application_name, timeout),
        Replicas(standbys) if standbys else None,
        Readings() if with_tokens else None,
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
    tokens: bool = False,
) -> "Connecting":
    """Connect to a database from asyncio: `async with connect_async() as db`, or `db = await connect_async()`.

    Parameters and errors are those of `connect`; errors are raised when the result is awaited. The database belongs to the
    event loop that runs then. See docs/guides/asyncio.md.
    """
    from .aio.connecting import Connecting  # costs 20 ms that programs with threads do not need

    def opening(url: str, timeout: float, tokens: bool) -> Opening:
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
            tokens=tokens,
        )

    async def prepared() -> tuple[Opening, str, list[Opening]]:
        own, direct = await asyncio.to_thread(_urls, url)
        found = opening(own, timeout, tokens or bool(replicas))
        standbys = [opening(arguments.url(standby), _PATIENCE, False) for standby in replicas]
        if migrate:
            await asyncio.to_thread(_migrate, own, timeout)
        return found, direct, standbys

    return Connecting(prepared, lambda db: _instrument(db, tracer_provider, meter_provider))


def _urls(url: str | None) -> tuple[str, str]:
    """Return the URL of the database, and that of the server itself if there is a pooler."""
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

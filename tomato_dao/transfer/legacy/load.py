"""`load_legacy`: load an old backend's dump, all or nothing."""

import os
import time
from contextlib import suppress
from datetime import timedelta
from typing import IO

import psycopg

from ...server import schema
from ...server.planted import refuse_planted
from ...server.session import SCHEMA
from ...transactions import Transactions
from .. import engine
from ..files import Source, source
from ..report import Report
from .report import InvalidRecords, LegacySummary
from .staging import Staging


def load_legacy(
    db: Transactions,
    file: str | os.PathLike[str] | IO[bytes] | Source,
    *,
    replace: bool = False,
    skip_invalid: bool = False,
    extend_timeouts: timedelta | None = None,
    check: bool = False,
    progress: Report | None = None,
) -> LegacySummary:
    """Load a dump of the old backend, all or nothing; ids are kept. See docs/moving-from-django.md.

    Args:
        db: A Database, or any other `Transactions`, whose user owns the tables; two of its connections are used.
        file: As for `load`.
        replace: First delete everything in the database; otherwise it must be empty.
        skip_invalid: Drop values that break a rule if a default or null can replace them, else their records and what
            depends on them.
        extend_timeouts: Postpone all topology timeouts to at least this period from now.
        check: Do everything but write; the database may have rows.
        progress: A function that is called now and then with a `Progress`.

    Raises:
        WrongSchema: The dump is not of the old backend's schema 0038.
        InvalidRecords: Records break rules; the error lists all of them.
        InvalidValue: The file is damaged.
        NotEmpty: The database has rows.
        NotAllowed: The user does not own the tables.
        Unavailable: The file cannot be read, or the connection fails.
    """
    start = time.monotonic()
    with source(file) as chunks, db.connection() as connection:
        try:
            refuse_planted(connection)
            schema.check(connection)
            # In the search_path the temporary tables come after PostgreSQL's own objects and before the schema.
            connection.execute(f"set search_path = pg_temp, {SCHEMA}".encode())
            staging = Staging(connection, progress)
            staging.read(chunks)
            staging.join()
            refused = staging.judge(skip_invalid=skip_invalid)
            if refused and not skip_invalid:
                raise InvalidRecords(LegacySummary({}, time.monotonic() - start, refused=refused))
            if extend_timeouts is not None:
                staging.extend_timeouts(extend_timeouts)
            staging.settle()
            if not check:
                engine.load_blocks(db, staging.blocks, replace=replace, progress=progress)
            return staging.summary(refused, time.monotonic() - start)
        except psycopg.errors.InsufficientPrivilege as error:
            raise engine.owner_needed(error) from error
        except psycopg.Error as error:
            raise engine.failure(error, connection) from error
        finally:
            with suppress(psycopg.Error):
                connection.rollback()
                connection.execute("discard temp")

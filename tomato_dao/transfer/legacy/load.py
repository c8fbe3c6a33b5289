"""`load_legacy`: an old dump into the database, all or nothing."""

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
    """Load a dump of the old backend (docs/moving-from-django.md), all or nothing; ids are kept.

    db: its user must own the tables; two of its connections are used. file: as for `load`. replace: remove all that is
    in the database first; else it must be empty. skip_invalid: leave out values that break a rule, where there is a default or
    null may be, else their records and what depends on them. extend_timeouts: no topology times out before this period from
    now. check: do everything but write, whatever is in the database. progress: is told now and then.

    Raises WrongSchema for a dump of another schema than 0038, InvalidRecords for one whose records break rules, InvalidValue
    where the file is damaged; NotEmpty, NotAllowed, Unavailable.
    """
    start = time.monotonic()
    with source(file) as chunks, db.connection() as connection:
        try:
            refuse_planted(connection)
            schema.check(connection)
            # Its temporary tables come before those of the schema, and after PostgreSQL's own.
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

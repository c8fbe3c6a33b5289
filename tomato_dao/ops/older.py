"""Load of a dump of an older schema, through a scratch database of that schema, which is then migrated."""

import os
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace as changed
from typing import IO

from ..errors import NotAllowed, TomatoError
from ..pool import Pool
from ..server.probe import probe
from ..server.target import target_of
from ..transactions import Transactions
from ..transfer import catalog, engine
from ..transfer.dump import dump
from ..transfer.files import Source
from ..transfer.reader import DumpReader
from ..transfer.report import Progress, Report, Summary
from . import backfills, rollout
from .dbmate import dbmate
from .migrate import migrate
from .scratch import scratch_database

_CHUNK = 1 << 18  # bytes per read
_NAME = "tomato-dao load"


def load_older(
    url: str,
    file: Source,
    *,
    replace: bool = False,
    merge: bool = False,
    progress: Report | None = None,
) -> Summary:
    """Load a dump of an older schema, all or nothing, into a database with this code's schema.

    The rows are loaded into a scratch database with the dump's schema on the same server. It is migrated, including backfills,
    and its rows are then loaded in one transaction. This needs space for a copy of the rows, and a user who may create
    databases. The scratch database is dropped at the end, or, after a kill, by the next process that creates one.

    url: the URL of the tables' owner. replace, merge, progress and errors: as for `transfer.load.load`; also raises NotAllowed
    if the user may not create databases.
    """
    start = time.monotonic()

    def tell(doing: str, part: float | None = None, told: Progress | None = None) -> None:
        if progress:
            progress(changed(told or Progress(doing, part, 0, 0), doing=doing, part=part))

    with _transactions(url) as target:
        if not replace and not merge:
            with target.connection() as connection:
                engine.refuse_rows(connection, catalog.tables(connection))
        reader = DumpReader(file)
        versions = reader.header.migrations
        tell("making a scratch database")
        with _scratch(url) as scratch:
            with probe(scratch, application_name=_NAME) as connection:
                dbmate(target_of(connection), "migrate", upto=versions[-1])
            with _transactions(scratch, versions) as old:
                engine.load_blocks(
                    old, reader.blocks, migrations=versions, progress=lambda told: tell(f"1/3 {told.doing}", file.part(), told)
                )
            _migrate(scratch, lambda told: tell(f"2/3 {told.doing}", told.part, told))
            with _transactions(scratch) as new:
                counts = _carry(
                    new, target, replace=replace, merge=merge, progress=lambda told: tell(f"3/3 {told.doing}", None, told)
                )
    return Summary(counts, time.monotonic() - start)


@contextmanager
def _scratch(url: str) -> Iterator[str]:
    """Provide a scratch database. The error for a user who may not create one explains its purpose."""
    with ExitStack() as stack:
        try:
            scratch = stack.enter_context(scratch_database(url, migrated=False))
        except NotAllowed as error:
            raise NotAllowed(f"a dump of an older schema is migrated in a scratch database, which failed: {error}") from error
        yield scratch


def _transactions(url: str, versions: Sequence[str] | None = None) -> Transactions:
    return Transactions(Pool(url, size=1, application_name=_NAME, migrations=versions))


def _migrate(url: str, progress: Report) -> None:
    """Migrate a scratch database to this code's schema, and run the backfills that contract migrations require."""
    progress(Progress("migrating", None, 0, 0))
    with probe(url, application_name=_NAME) as connection:
        while migrate(url, save=False) or rollout.next_contract(connection):
            if (contract := rollout.next_contract(connection)) is None:
                return
            if contract.backfill:
                backfills.backfill(connection, contract.backfill, batch=10_000, pause=0, progress=progress)


def _carry(source: Transactions, target: Transactions, *, replace: bool, merge: bool, progress: Report) -> dict[str, int]:
    """Copy the rows of one database into another, by a dump and load without a file."""
    failures: list[BaseException] = []
    reading, writing = os.pipe()

    def write() -> None:
        try:
            with os.fdopen(writing, "wb") as output:
                dump(source, output)
        except BrokenPipeError:
            pass  # the other side failed and reports the reason
        except BaseException as error:  # noqa: BLE001 (raised below, in the waiting thread)
            failures.append(error)

    writer = threading.Thread(target=write, name="tomato-dao carry", daemon=True)
    try:
        with os.fdopen(reading, "rb", buffering=0) as input_:
            writer.start()
            return engine.load_blocks(
                target, DumpReader(_chunks(input_)).blocks, replace=replace, merge=merge, progress=progress
            )
    except TomatoError:
        writer.join()
        if failures:
            raise failures[0] from None
        raise
    finally:
        writer.join()


def _chunks(file: IO[bytes]) -> Iterator[bytes]:
    while chunk := file.read(_CHUNK):
        yield chunk

"""Check of the headers of migrations, which declare the older code that still works."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from tomato_dao.errors import InvalidValue, NotFound
from tomato_dao.ops import backfills
from tomato_dao.server.rolling import Migration


def header_faults(found: Sequence[Migration], released: Sequence[str]) -> Iterator[str]:
    """Yield the faults of headers of migrations after the first release, a line each."""
    versions = [migration.version for migration in found]
    for migration in found:
        if migration.path.name in released:
            continue
        place = f"{os.path.relpath(migration.path)}:{header_line(migration.path)}"
        if (migration.compatible is None) == (migration.breaks is None):
            yield f"{place}: its header must say either “-- compatible: VERSION” or “-- breaks: why”"
        elif migration.compatible is not None and (
            migration.compatible not in versions or migration.compatible > migration.version
        ):
            yield f"{place}: “compatible” names the version of a migration up to this one, not {migration.compatible!r}"
        elif migration.breaks == "":
            yield f"{place}: “breaks” says why"
        if migration.backfill is not None:
            yield from _backfill_faults(migration, place)


def _backfill_faults(migration: Migration, place: str) -> Iterator[str]:
    if not migration.is_contract:
        yield f"{place}: only a migration that breaks older code waits for a backfill"
    try:
        backfills.read(migration.backfill or "")
    except (NotFound, InvalidValue) as error:
        yield f"{place}: {error}"


def header_line(path: Path) -> int:
    """Return the line of a migration's header."""
    lines = path.read_text("utf-8").splitlines()
    return next((n for n, line in enumerate(lines, 1) if line.startswith(("-- compatible:", "-- breaks:"))), 1)

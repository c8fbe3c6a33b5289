"""`make check-rollout BASE=1.0.0`: check this schema with older code, and new code with the schemas where it may start.

BASE is a release of db/releases, or a git ref, whose contract is made with its own checks. A testbed of the base's schema is
made on the tests' embedded server, and the migrations that are new are applied to it one after another. After each, the base's
statements are held against the schema: that each is accepted, with the same types, what can be null, the number of rows, and
no plan that reads beyond need; that no rule, key or trigger refuses what older code writes. Headers that are not true are told.
"""

import argparse
import io
import os
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import psycopg

from tomato_dao.database import QUERIES
from tomato_dao.errors import NotFound, TomatoError
from tomato_dao.ops import backfills, embedded
from tomato_dao.ops.cli import run_command
from tomato_dao.ops.dbmate import dbmate
from tomato_dao.ops.scratch import scratch_database
from tomato_dao.printable import one_line, quoted
from tomato_dao.server import rolling, schema
from tomato_dao.server.probe import probe
from tomato_dao.server.rolling import Migration
from tomato_dao.server.target import target_of
from tomato_dao.sql.query import Query
from tomato_dao.sql.wording import counted

from . import release
from .breaking import Break, Outcomes, breaks, changes_meaning, lets_pass, outcomes, refused
from .headers import header_faults, header_line
from .plans import FULL_SIZE, fill
from .release import NO_ROW, Release, Statement, differences, promised
from .schema_state import State, state
from .writes import Writes, writes


@dataclass(slots=True)
class Rollout:
    """A base's contract, on a database that has its schema and a testbed; `broken` tells what a later schema breaks.

    size: the testbed's, in topologies. known: what is broken already, by earlier migrations.
    """

    base: Release
    connection: psycopg.Connection
    size: int
    plans: bool = True
    schema: State = field(init=False)
    writes: Writes = field(init=False)
    outcomes: Outcomes = field(init=False)
    known: set[str] = field(init=False, default_factory=set)

    def __post_init__(self) -> None:
        """Read the schema of the base's code."""
        self.schema = state(self.connection)
        self.writes = writes(statement.sql for statement in self.base.queries.values())
        self.outcomes = outcomes(self.connection, self.schema, set(self.schema.tables))

    def broken(self) -> list[Break]:
        """Return the new breakages of the base's code by the database's schema."""
        now = state(self.connection)
        changed = self.schema.changed(now)
        statements = self.base.only(changed)
        found = [
            Break(difference.name, difference.message)
            for difference in differences(self.connection, statements, self.size, plans=self.plans)
            if difference.message != NO_ROW or not self._lets_pass(difference.statement, now)
        ]
        found += breaks(self.schema, now, self.writes, self.connection)
        found += refused(self.outcomes, outcomes(self.connection, self.schema, changed))
        fresh = [broken for broken in found if str(broken) not in self.known]
        self.known |= {str(broken) for broken in fresh}
        return fresh

    def _lets_pass(self, statement: Statement, now: State) -> bool:
        """Return whether the rows of a statement are inserted in spite of new triggers.

        The proof that a row is always returned ends where a trigger may leave it out.
        """
        tables = writes([statement.sql]).inserts
        return bool(tables) and all(
            name in now.tables and name in self.schema.tables and lets_pass(self.schema.tables[name], now.tables[name])
            for name in tables
        )


def findings(rollout: Rollout, migration: Migration) -> Iterator[str]:
    """Yield false claims in the header of a migration that was just applied, a line each."""
    place = f"{os.path.relpath(migration.path)}:{header_line(migration.path)}"
    found = rollout.broken()
    base = rollout.base.schema_version
    if migration.compatible is not None and migration.compatible <= base:
        for broken in found:
            yield f"{place}: it says “compatible: {migration.compatible}”, but breaks code of {rollout.base.version}: {broken}"
    elif not found and not changes_meaning(upward(migration.path)):
        says = "breaks" if migration.compatible is None else f"compatible: {migration.compatible}"
        yield f"{place}: it says “{says}”, but breaks nothing of {rollout.base.version}: say “compatible: {base}”"
    told = rolling.oldest_supported(rollout.connection)
    if told != migration.oldest:
        named = told or "no version"
        yield f"{place}: the database names {named} as the oldest supported version, the headers {migration.oldest}"


def upward(path: Path) -> str:
    """Return the statements of a migration's way up without comments."""
    up = path.read_text("utf-8").partition("\n-- migrate:down")[0]
    return "\n".join(line for line in up.splitlines() if not line.startswith("--"))


def check(base: Release, size: int, queries: Sequence[Query], *, plans: bool = True) -> Iterator[str]:
    """Yield all findings of this code's migrations and queries against a base, on a testbed of that many topologies."""
    found = rolling.migrations()
    new = [migration for migration in found if migration.path.name not in base.migrations]
    for path in (migration.path for migration in found if migration.path.name in base.migrations):
        if schema.file_hash(path) != base.migrations[path.name]:
            yield f"{os.path.relpath(path)}:1: it was edited since {base.version}"
    yield from header_faults(found, list(base.migrations))
    with (
        embedded.started_for_tests() as server_url,
        scratch_database(server_url, migrated=False) as url,
        probe(url) as connection,
    ):
        dbmate(target_of(connection), "migrate", upto=base.schema_version)
        fill(connection, size, base.testbed)
        rollout = Rollout(base, connection, size, plans)
        starts: list[tuple[Migration, dict[str, str]]] = []
        for n, migration in enumerate(new):
            if migration.is_contract and all(other.is_contract for other in new[n:]):
                starts.append((migration, _new_code(connection, queries)))
            if migration.backfill:
                backfills.backfill(connection, migration.backfill, batch=10_000, pause=0)
            dbmate(target_of(connection), "migrate", upto=migration.version)
            yield from findings(rollout, migration)
        yield from _started(connection, queries, starts)


def _new_code(connection: psycopg.Connection, queries: Sequence[Query]) -> dict[str, str]:
    """Return why this code's statements are refused by a schema that lacks a contract migration, by their names."""
    from .described import Refused, describe

    variants = [variant for query in queries for variant in query.variants()]
    return {found.query.name: found.message for found in describe(connection, variants) if isinstance(found, Refused)}


def _started(
    connection: psycopg.Connection, queries: Sequence[Query], starts: Sequence[tuple[Migration, dict[str, str]]]
) -> Iterator[str]:
    refused_now = _new_code(connection, queries) if starts else {}
    for migration, refused_then in starts:
        place = f"{os.path.relpath(migration.path)}:{header_line(migration.path)}"
        for name in sorted(refused_then.keys() - refused_now.keys()):
            yield f"{place}: new code starts before it, but {name} does not work then: {refused_then[name]}"


def base_of(name: str, size: int = FULL_SIZE) -> Release:
    """Return the contract of a release, or of a git ref, whose plans are of a testbed of that size. NotFound for neither."""
    if name in release.versions():
        return release.read(name)
    root = schema.DB_DIR.parent
    archive = subprocess.run(["git", "archive", name], cwd=root, capture_output=True, check=False)  # noqa: S607
    if archive.returncode:
        known = ", ".join(release.versions()) or "none"
        raise NotFound(f"{quoted(name)} is neither a release of db/releases ({known}) nor a git ref")
    with tempfile.TemporaryDirectory(prefix="tomato-dao-base-") as directory:
        with tarfile.open(fileobj=io.BytesIO(archive.stdout)) as files:
            files.extractall(directory, filter="data")
        command = [sys.executable, "-m", "checks.rollout", "--contract", name, "--topologies", str(size)]
        done = subprocess.run(command, cwd=directory, capture_output=True, check=False)
        if done.returncode:
            raise TomatoError(f"no contract of {quoted(name)} can be made by its own checks: {one_line(done.stderr.decode())}")
        return release.decode(done.stdout)


def made(version: str, size: int = FULL_SIZE) -> Release:
    """Return the contract of this code."""
    from .plans import testbed

    with testbed(size) as connection:
        statements: dict[str, Statement] = promised(connection, QUERIES.values(), size)
    return release.contract(version, statements)


def main() -> None:
    """Run `python -m checks.rollout [BASE] [--topologies N]`."""
    parser = argparse.ArgumentParser(prog="check-rollout", description="Hold this schema and its queries against older code.")
    parser.add_argument("base", nargs="?", help="a release of db/releases or a git ref (default: the last release)")
    parser.add_argument("--topologies", type=int, default=FULL_SIZE, help="of the testbed (default: %(default)s)")
    parser.add_argument("--contract", action="store_true", help="write this code's contract to standard output")
    options = parser.parse_args()
    if options.contract:
        sys.stdout.buffer.write(release.encode(made(options.base, options.topologies)))
        return
    versions = release.versions()
    if not options.base and not versions:
        print("there is no release yet, against which this could be checked")
        return
    base = base_of(options.base or versions[-1], options.topologies)
    found = list(check(base, options.topologies, list(QUERIES.values())))
    for line in found:
        print(line, file=sys.stderr)
    if found:
        raise TomatoError(f"{counted(len(found), 'finding')} against {base.version}")


if __name__ == "__main__":
    run_command(main, "check-rollout")

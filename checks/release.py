"""The contract of a release, stored in db/releases: its promises to callers and its requirements of the database.

The contract has each query (a statement for each variant) with the types of its parameters and columns, their nullability, its
number of rows and needless reads in its plan; the hashes of the migrations; and the testbed's SQL. So a later schema can be
checked against the release without its code.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
import psycopg

from tomato_dao.errors import NotFound, TomatoError
from tomato_dao.printable import quoted
from tomato_dao.server import schema
from tomato_dao.sql.query import Query

from .described import Described, Refused, ResultColumn, describe
from .faces import JSON, PYTHON
from .plans import PLANS, wasteful
from .schema_state import words_of

NO_ROW = "it may return no row, and always returned one"
DIRECTORY = schema.DB_DIR / "releases"


class Part(msgspec.Struct, frozen=True, omit_defaults=True):
    """A column of a query, or a part of a JSON row in one, as `described.ResultColumn` tells of it."""

    name: str
    type: str
    can_be_null: bool | None = None
    can_hold_null: bool | None = None
    is_many: bool = False
    parts: list["Part"] | None = None


class Statement(msgspec.Struct, frozen=True, omit_defaults=True):
    """A query or a variant of one. may_scan: whether it says why its plan is right.

    needs: what its plan reads or sorts beyond need on the testbed, as it did at the release.
    """

    file: str
    line: int
    sql: str
    kind: str = ""
    verb: str = ""
    nullable: list[str] = []
    parameters: dict[str, str] = {}
    columns: list[Part] = []
    at_most_one_row: bool = False
    has_a_row: bool = False
    may_scan: bool = False
    needs: list[str] = []

    def query(self, name: str) -> Query:
        """Return the statement as a query that can be described."""
        return Query(
            name=name,
            parameters=tuple(self.parameters),
            kind=self.kind,
            record_class=None,
            nullable=frozenset(self.nullable),
            claims={},
            doc="",
            sql=self.sql,
            verb=self.verb,
            path=schema.DB_DIR / "queries" / self.file,
            line=self.line,
            sql_line=self.line,
            repeatable=False,
        )


class Release(msgspec.Struct, frozen=True):
    """A release's contract. migrations: file name to hash, in their order. testbed: the SQL that makes one."""

    version: str
    migrations: dict[str, str]
    queries: dict[str, Statement]
    testbed: str

    @property
    def schema_version(self) -> str:
        """The version of its schema."""
        return max(self.migrations).partition("_")[0]

    def only(self, words: Iterable[str]) -> dict[str, Statement]:
        """Return the statements that use any of some names."""
        names = set(words)
        return {name: found for name, found in self.queries.items() if names & words_of([found.sql])}


@dataclass(frozen=True, slots=True)
class Difference:
    """A difference that breaks a release's statement: its name, its place, and the difference."""

    name: str
    statement: Statement
    message: str

    def __str__(self) -> str:
        return f"{self.name}: {self.message}"


def promised(connection: psycopg.Connection, queries: Iterable[Query], size: int) -> dict[str, Statement]:
    """Return the statements of queries as a server describes them. size: the testbed's, as `plans.testbed` takes it."""
    variants = [variant for query in queries for variant in query.variants()]
    found = {}
    for described in describe(connection, variants):
        if isinstance(described, Refused):
            raise TomatoError(f"{described.query.name}: {described.message}")
        query = described.query
        found[query.name] = Statement(
            file=query.path.name,
            line=query.line,
            sql=query.sql,
            kind=query.kind,
            verb=query.verb,
            nullable=sorted(query.nullable),
            parameters=dict(zip(query.parameters, described.parameters, strict=True)),
            columns=[_part(column) for column in described.columns],
            at_most_one_row=described.at_most_one_row,
            has_a_row=described.has_a_row,
            may_scan="plan" in query.claims,
            needs=sorted(wasteful(connection, query, size)),
        )
    return found


def contract(version: str, statements: Mapping[str, Statement]) -> Release:
    """Return the contract of this code as a release."""
    hashes = {path.name: schema.file_hash(path) for path in schema.files()}
    return Release(version, hashes, dict(statements), (PLANS / "data.sql").read_text("utf-8"))


def write(release: Release, directory: Path = DIRECTORY) -> Path:
    """Write a contract into a directory of them and return the file."""
    directory.mkdir(exist_ok=True)
    path = directory / f"{release.version}.json"
    path.write_bytes(encode(release))
    return path


def encode(release: Release) -> bytes:
    """Return the text of a contract's file."""
    return msgspec.json.format(msgspec.json.encode(release), indent=1) + b"\n"


def read(version: str, directory: Path = DIRECTORY) -> Release:
    """Return a release's contract. Raises NotFound where there is none of that version."""
    path = directory / f"{version}.json"
    if not path.is_file():
        raise NotFound(
            f"there is no release {quoted(version)} in db/releases (there are: {', '.join(versions(directory)) or 'none'})"
        )
    return decode(path.read_bytes())


def decode(text: bytes) -> Release:
    """Return a contract from its file's text."""
    return msgspec.json.decode(text, type=Release)


def versions(directory: Path = DIRECTORY) -> list[str]:
    """Return the versions whose contracts are in a directory, oldest first."""
    found = [path.stem for path in directory.glob("*.json") if path.stem[:1].isdigit()] if directory.is_dir() else []
    return sorted(found, key=lambda version: [int(part) if part.isdigit() else 0 for part in version.split(".")])


def differences(
    connection: psycopg.Connection, statements: Mapping[str, Statement], size: int, *, plans: bool = True
) -> Iterator[Difference]:
    """Yield differences that break the promises of statements on a database."""
    queries = [statement.query(name) for name, statement in statements.items()]
    for described in describe(connection, queries):
        name = described.query.name
        statement = statements[name]
        messages = list(_messages(described, statement))
        if not messages:
            try:
                with connection.transaction(force_rollback=True):
                    needs = wasteful(connection, described.query, size)
            except psycopg.Error as error:  # what is only found in planning, as a key that “on conflict” names
                messages = [str(error.diag.message_primary)]
            else:
                messages = (
                    [f"its plan {what}" for what in needs if what not in statement.needs]
                    if plans and not statement.may_scan
                    else []
                )
        for message in messages:
            yield Difference(name, statement, message)


def _messages(found: Described | Refused, statement: Statement) -> Iterator[str]:
    if isinstance(found, Refused):
        yield found.message
        return
    for (name, was), now in zip(statement.parameters.items(), found.parameters, strict=True):
        if _python(was) != _python(now):
            yield f"the parameter {name} is of {now}, and was of {was}"
    yield from _parts(statement.columns, [_part(column) for column in found.columns], "")
    if statement.at_most_one_row and not found.at_most_one_row:
        yield "it may return several rows, and returned one at most"
    if statement.has_a_row and not found.has_a_row:
        yield NO_ROW


def _parts(before: Sequence[Part], after: Sequence[Part], where: str) -> Iterator[str]:
    if [part.name for part in before] != [part.name for part in after]:
        names = [", ".join(part.name for part in parts) or "none" for parts in (after, before)]
        yield f"{where or 'it'} returns the columns {names[0]}, and returned {names[1]}"
        return
    for was, now in zip(before, after, strict=True):
        name = f"{where}{was.name or 'a part'}"
        if _python(was.type) != _python(now.type) or was.is_many != now.is_many:
            yield f"{name} is of {now.type}, and was of {was.type}"
        elif was.can_be_null is False and now.can_be_null is not False:
            yield f"{name} can be null, and could not be"
        elif was.can_hold_null is False and now.can_hold_null is not False:
            yield f"{name} can hold null, and could not"
        if was.parts is not None:
            yield from _parts(was.parts, now.parts or [], f"{name}.")


def _python(type_: str) -> object:
    """Return the Python class of a type. Older code accepts another type with the same class."""
    inner = type_.removesuffix("[]")
    return ("json" if inner in JSON else PYTHON.get(inner, inner)), inner != type_


def _part(column: ResultColumn) -> Part:
    parts = None if column.parts is None else [_part(part) for part in column.parts]
    return Part(column.name, column.type, column.can_be_null, column.can_hold_null, column.is_many, parts)

"""`tomato-dao query`: list the named queries, or run one and print its result."""

import json
import os
import re
import sys
from collections.abc import Sequence
from datetime import datetime
from math import inf, isfinite

import psycopg
from psycopg.abc import Buffer
from psycopg.types.string import TextLoader

from .. import patches
from ..database import QUERIES
from ..errors import InvalidValue, TomatoError, from_driver
from ..printable import json_escaped, one_line, printable
from ..server import schema
from ..server.commits import server_of, was_committed
from ..server.probe import probe
from ..sql.choices import Null
from ..sql.query import Query
from ..sql.wording import counted
from .cli import Parser, discard_output
from .urls import database_url

_PATIENCE = 10  # seconds to find out the outcome of a commit
_WIDEST = 40  # maximum characters of a cell if there are several rows


def main(prog: str, arguments: Sequence[str]) -> None:
    """Run `tomato-dao query [NAME [PARAMETER=VALUE …]]`."""
    parser = Parser(
        prog=prog,
        description="List the named queries of db/queries, or run one and print a table.",
        epilog="Values are written as PostgreSQL reads them: id=5 'ids={1,2}' 'patch={\"address\": \"10.0.0.1\"}'. "
        "Omitted parameters that may be null are null; omitted optional ones mean all.",
    )
    parser.add_argument("name", nargs="?", help="of the query, as hosts.get_by_name; without one: list all")
    parser.add_argument("parameters", nargs="*", metavar="parameter=value")
    parser.add_argument("--null", action="append", default=[], metavar="PARAMETER", help="pass null for an optional parameter")
    parser.add_argument("--json", action="store_true", help="print a JSON array of objects; NaN and infinities are strings")
    parser.add_argument("--write", action="store_true", help="allow changes (default: a read-only transaction)")
    options = parser.parse_intermixed_args(arguments)
    if options.name is None:
        _print_list()
        return
    if options.name not in QUERIES:
        parser.error(f"unknown query {options.name!r}; run {prog} without a name to list all")
    query, values = _chosen(parser, QUERIES[options.name], options.parameters, options.null)
    try:
        columns, rows = _run(query, values, write=options.write)
    except psycopg.errors.ReadOnlySqlTransaction:
        parser.error(f"{query.base} changes the database: pass --write to allow it")
    except psycopg.Error as error:
        if parameter := _rejected(query, error):
            parser.error(f"{query.base}: {parameter}: {one_line(error.diag.message_primary)}")
        raise from_driver(error, query.call(values)) from error
    try:
        _print(query, columns, rows, as_json=options.json)
        sys.stdout.flush()
    except OSError as error:
        if not options.write:
            raise
        discard_output()
        raise TomatoError(f"{query.base} was committed, but its result can't be printed: {error.strerror}") from error


def _print(query: Query, columns: list[str], rows: list[tuple[object, ...]], *, as_json: bool) -> None:
    if as_json:
        _print_json(columns, rows)
    elif query.kind == "!":
        print(counted(int(str(rows[0][0])), "row"))
    elif query.kind and rows:
        _print_record(columns, rows[0])
    else:
        _print_table(columns, rows)


def _chosen(parser: Parser, query: Query, given: Sequence[str], nulls: Sequence[str]) -> tuple[Query, Sequence[object]]:
    """Return the query, or its variant for the given parameters, and its values. Misuse exits with 2."""
    values = _values(parser, query, given, nulls)
    missing = [p for p in query.parameters if p not in values and p not in query.nullable and p not in _optional(query)]
    if missing:
        more = f"; it takes {_signature(query)}" if query.choices else ""
        parser.error(f"{query.name} needs {', '.join(f'{p}=…' for p in missing)} as well{more}")
    required = query.choices.required if query.choices else query.parameters
    given_ = [None if value is Null else value for value in (values.pop(p, None) for p in required)]
    if query.choices is None:
        return query, given_
    order = str(values.pop("order", query.choices.default))
    try:
        return query.choices.choose(given_, order, values)
    except InvalidValue as error:
        parser.error(one_line(error))


def _values(parser: Parser, query: Query, given: Sequence[str], nulls: Sequence[str]) -> dict[str, str | type[Null]]:
    """Return the values by name. Unknown parameters or orders are misuse (exit code 2)."""
    values: dict[str, str | type[Null]] = {}
    names = {*query.parameters, *(["order"] if query.choices and query.choices.orders else [])}
    for pair in given:
        name, equals, value = pair.partition("=")
        if not equals or name not in names:
            parser.error(f"{query.name} takes {_signature(query) or 'no parameters'}, not {pair!r}")
        if name in values:
            parser.error(f"{query.name}: {name} is given twice")
        try:
            values[name] = _as_utf8(value)
        except UnicodeDecodeError:
            parser.error(f"{query.name}: {name} is not valid UTF-8")
        if name == "patch" and (unknown := _unknown_columns(query, value)):
            parser.error(f"{query.name}: a patch cannot have {', '.join(sorted(unknown))}")
    for name in nulls:
        if name not in query.nullable - {"result"}:
            parser.error(f"{query.name}: {name} can't be null")
        if name in values:
            parser.error(f"{query.name}: {name} is given twice")
        values[name] = Null
    return values


def _optional(query: Query) -> Sequence[str]:
    return query.choices.optional if query.choices else ()


def _as_utf8(argument: str) -> str:
    """Decode an argument as UTF-8 that Python could not decode with the locale's encoding."""
    try:
        argument.encode()
    except UnicodeEncodeError:
        return os.fsencode(argument).decode()
    return argument


def _unknown_columns(query: Query, patch: str) -> set[str]:
    """Return the keys of a patch that its query would ignore. For other JSON the server reports the error."""
    try:
        keys = set(json.loads(patch))
    except (ValueError, TypeError):
        return set()
    record = query.record_class.__name__ if query.record_class else ""
    return keys - set(getattr(patches, f"{record}Patch").__annotations__)


def _run(query: Query, values: Sequence[object], *, write: bool) -> tuple[list[str], list[tuple[object, ...]]]:
    """Run the query. Return the names of the columns and the rows, or the number of affected rows.

    Raises psycopg's errors, and OutcomeUnknown if the answer to the commit was lost and the outcome cannot be determined.
    """
    url = database_url()
    with probe(url) as connection:
        schema.check(connection)
        connection.read_only = not write
        for name in ("json", "jsonb"):
            connection.adapters.register_loader(name, _JsonLoader)
        server, transaction = server_of(connection), None
        try:
            with connection.transaction(), psycopg.RawCursor(connection) as cursor:
                cursor.execute(query.sql.encode(), values)
                if cursor.description is None:
                    found: list[tuple[object, ...]] = [(cursor.rowcount,)]
                    columns = ["rows"]
                else:
                    columns, found = [column.name for column in cursor.description], cursor.fetchall()
                ((transaction,),) = connection.execute("select pg_current_xact_id_if_assigned()::text::int8").fetchall()
        except psycopg.Error:
            if transaction is None or not connection.broken or not was_committed(url, server, transaction, _PATIENCE):
                raise
        return columns, found


def _rejected(query: Query, error: psycopg.Error) -> str | None:
    """Return the parameter that the server could not parse. In any language its message ends in “… parameter $1 = '…'”."""
    number = re.search(r"^[^$'\n]*\$(\d+)[^$'\n]*('([^']|'')*')?\Z", error.diag.context or "", re.MULTILINE)
    if not number or not isinstance(error, psycopg.DataError):
        return None
    return dict(enumerate(query.parameters, 1)).get(int(number[1]))


class _Json(str):
    """JSON text from the server, in which each number keeps all its digits."""

    __slots__ = ()


class _JsonLoader(TextLoader):
    def load(self, data: Buffer) -> _Json:
        return _Json(bytes(data).decode())


def _print_json(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print a JSON array of objects, with ASCII escapes for characters that the output's encoding lacks."""
    objects = []
    for row in rows:
        members = dict(zip(columns, row, strict=True))
        objects.append(",\n".join(f"    {_to_json(name)}: {_to_json(value)}" for name, value in members.items()))
    text = json_escaped("[" + ",".join(f"\n  {{\n{members}\n  }}" for members in objects) + ("\n]" if objects else "]"))
    try:
        text.encode(sys.stdout.encoding)
    except UnicodeEncodeError:  # such characters only occur in strings
        text = re.sub(r"[^\x00-\x7f]", lambda found: json.dumps(found[0])[1:-1], text)
    print(text)


def _to_json(value: object) -> str:
    if isinstance(value, _Json):
        return str(value)
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_to_json, value))}]"
    if isinstance(value, float) and not isfinite(value):  # JSON has no such numbers; written like PostgreSQL's to_json
        return {inf: '"Infinity"', -inf: '"-Infinity"'}.get(value, '"NaN"')
    if value is None or isinstance(value, str | int | float):
        return json.dumps(value, ensure_ascii=False)
    return json.dumps(_as_text(value), ensure_ascii=False)


def _print_list() -> None:
    width = max(len(f"{q.name} {_signature(q)}") for q in QUERIES.values() if len(q.parameters) < 4)
    for query in QUERIES.values():
        print(f"{f'{query.name} {_signature(query)}':{width}}  {' '.join(query.doc.split())}")


def _signature(query: Query) -> str:
    """Return the parameters as typed on the command line, optional ones in brackets."""
    parts = [f"[{p}=…]" if p in query.nullable or p in _optional(query) else f"{p}=…" for p in query.parameters]
    orders = "|".join(query.choices.orders) if query.choices else ""
    return " ".join([*parts, f"[order={orders}]"] if orders else parts)


def _print_record(columns: Sequence[str], row: Sequence[object]) -> None:
    width = max(map(len, columns))
    for column, value in zip(columns, row, strict=True):
        print(f"{column:{width}}  {printable(_as_text(value), None)}")


def _print_table(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    if not rows:
        print("no rows")
        return
    cells = [[printable(_as_text(value), _WIDEST) for value in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(columns, *cells, strict=True)]
    for line in [columns, ["-" * width for width in widths], *cells]:
        print("  ".join(f"{cell:{width}}" for cell, width in zip(line, widths, strict=True)).rstrip())
    print(counted(len(rows), "row"))


def _as_text(value: object) -> str:
    if isinstance(value, datetime):
        return value.isoformat(sep=" ")
    if isinstance(value, dict | list):
        return json.dumps(value, ensure_ascii=False, default=str)
    return "" if value is None else str(value)

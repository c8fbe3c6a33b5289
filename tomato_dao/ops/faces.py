"""tomato_dao/dao/faces.pyi: what each named query takes and returns, as the server tells, for type checkers and editors."""

import argparse
from pathlib import Path

import psycopg
from psycopg import pq

from .. import dao
from ..database import QUERIES
from ..errors import QueryFileError, TomatoError
from ..queries import Query
from . import embedded
from .cli import run_command
from .scratch import scratch_database

FACES_FILE = Path(dao.__file__).with_name("faces.pyi")

_RESULTS = {
    "bool": "bool", "int2": "int", "int4": "int", "int8": "int", "float8": "float", "text": "str",
    "timestamptz": "datetime", "interval": "timedelta", "json": "rows.Json", "jsonb": "rows.Json",
    "text[]": "builtins.list[str]", "int8[]": "builtins.list[int]", "float8[]": "builtins.list[float]",
    "timestamptz[]": "builtins.list[datetime]",
}  # fmt: skip
_PARAMETERS = _RESULTS | {
    "json": "rows.JsonIn", "jsonb": "rows.JsonIn", "text[]": "Sequence[str]", "int8[]": "Sequence[int]",
    "float8[]": "Sequence[float]", "timestamptz[]": "Sequence[datetime]",
}  # fmt: skip


def faces() -> str:
    """The text of the file: a Protocol per file of queries."""
    lines = [
        "# Generated from db/queries by “make schema”; not to be edited.",
        "import builtins",
        "from collections.abc import Sequence",
        "from datetime import datetime, timedelta",
        "from typing import Protocol",
        "",
        "from .. import rows",
    ]
    with scratch_database(embedded.start()) as url, psycopg.connect(url, autocommit=True) as connection:
        file = ""
        for query in QUERIES.values():
            if query.file != file:
                file = query.file
                lines += ["", f"class {''.join(word.capitalize() for word in file.split('_'))}Queries(Protocol):"]
            lines.append(_method(connection, query))
    return "\n".join(lines) + "\n"


def _method(connection: psycopg.Connection, query: Query) -> str:
    pgconn = connection.pgconn
    prepared = pgconn.prepare(b"", query.sql.encode())
    if prepared.status != pq.ExecStatus.COMMAND_OK:
        raise QueryFileError(f"{query.path}:{query.line}: {query.name}: {prepared.get_error_message()}")
    described = pgconn.describe_prepared(b"")
    parameters = ["self"]
    for n, name in enumerate(query.parameters):
        type_ = _PARAMETERS[_type_name(connection, query, described.param_type(n))]
        parameters.append(f"{name}: {type_}{' | None' if name in query.nullable else ''}")
    row = "int"
    if query.kind != "!":
        row = f"rows.{query.record_class.__name__}" if query.record_class else _scalar(connection, query, described)
        row = {"": f"builtins.list[{row}]", "^": f"{row} | None"}.get(query.kind, row)
    return f"    def {query.name.partition('.')[2]}({', '.join(parameters)}, /) -> {row}: ..."


def _scalar(connection: psycopg.Connection, query: Query, described: pq.abc.PGresult) -> str:
    if described.nfields != 1:
        raise QueryFileError(
            f"{query.path}:{query.line}: {query.name} returns {described.nfields} columns, and no record class"
        )
    # attrs is checked to be an object by the layout
    is_attrs = described.fname(0) == b"attrs"
    type_ = "rows.JsonObject" if is_attrs else _RESULTS[_type_name(connection, query, described.ftype(0))]
    return f"{type_} | None" if "result" in query.nullable else type_


def _type_name(connection: psycopg.Connection, query: Query, oid: int) -> str:
    """The name of a type as in the tables above, "int8[]"; of a domain, its base type's."""
    row = connection.execute(
        """
        select coalesce(b.typname || '[]', d.typname, t.typname)
        from pg_type t
        left join pg_type b on b.oid = t.typelem and t.typcategory = 'A'
        left join pg_type d on d.oid = t.typbasetype
        where t.oid = %s
        """,
        [oid],
    ).fetchone()
    if row is None or row[0] not in _RESULTS:
        raise QueryFileError(f"{query.path}:{query.line}: {query.name} has a type that faces.py does not know: {row}")
    return str(row[0])


def main() -> None:
    """`python -m tomato_dao.ops.faces [--check]`"""
    parser = argparse.ArgumentParser(prog="faces", description="Write tomato_dao/dao/faces.pyi from db/queries.")
    parser.add_argument("--check", action="store_true", help="only say whether it is up to date (exit 1 where it isn't)")
    check = parser.parse_args().check
    made = faces()
    if not check:
        FACES_FILE.write_text(made, "utf-8")
    elif not FACES_FILE.exists() or FACES_FILE.read_text("utf-8") != made:
        raise TomatoError("tomato_dao/dao/faces.pyi is stale: run make schema")


if __name__ == "__main__":
    run_command(main)

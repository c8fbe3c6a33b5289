"""Generator of tomato_dao/dao/faces.pyi: the types of each named query, for type checkers and editors."""

from collections.abc import Sequence
from datetime import date, datetime, timedelta
from pathlib import Path
from uuid import UUID

from tomato_dao import dao
from tomato_dao.sql.query import Query

from .described import Described

FACES_FILE = Path(dao.__file__).with_name("faces.pyi")

# The Python classes of the server's types; for an array, of its elements.
PYTHON: dict[str, type] = {
    "bool": bool, "int2": int, "int4": int, "int8": int, "float4": float, "float8": float, "text": str, "varchar": str,
    "name": str, "bytea": bytes, "uuid": UUID, "date": date, "timestamptz": datetime, "interval": timedelta,
}  # fmt: skip
JSON = {"json", "jsonb"}


def is_known(type_: str) -> bool:
    """Return whether a server type has a Python class."""
    return type_.removesuffix("[]") in PYTHON.keys() | JSON


def faces(queries: Sequence[Described]) -> str:
    """Return the text of the file: a Protocol per file of queries."""
    lines = [
        "# Generated from db/queries by “make schema”; not to be edited.",
        "import builtins",
        "from collections.abc import Sequence",
        "from datetime import date, datetime, timedelta",
        "from typing import Literal, Protocol",
        "from uuid import UUID",
        "",
        "from .. import rows",
        "from ..sql.choices import Null",
    ]
    file = ""
    for described in queries:
        if described.query.file != file:
            file = described.query.file
            lines += ["", f"class {face_of(file)}(Protocol):"]
        lines.append(_method(described))
    return "\n".join(lines) + "\n"


def face_of(file: str) -> str:
    """Return the name of the Protocol of a file of queries."""
    return f"{''.join(word.capitalize() for word in file.split('_'))}Queries"


def _method(described: Described) -> str:
    query = described.query
    types = dict(zip(query.parameters, described.parameters, strict=True))
    optional = query.choices.optional if query.choices else ()
    parameters = ["self", *(f"{name}: {_given(query, name, types[name])}" for name in types if name not in optional), "/"]
    if query.choices:
        parameters += ["*", *(f"{name}: {_given(query, name, types[name])} = None" for name in types if name in optional)]
        if orders := [f'"{order}"' for order in query.choices.orders]:
            parameters.append(f"order: Literal[{', '.join(orders)}] = {orders[0]}")
    return f"    def {query.name.partition('.')[2]}({', '.join(parameters)}) -> {_returned(described)}: ..."


def _given(query: Query, name: str, type_: str) -> str:
    """Return the annotation of a parameter. None omits an optional one, so Null stands for null."""
    given = _annotation(type_, json="rows.JsonIn", array="Sequence")
    is_optional = query.choices is not None and name in query.choices.optional
    if name in query.nullable and given.endswith("]"):  # of an array: what it holds
        given = f"{given[:-1]} | None]"
    elif name in query.nullable:
        given += " | type[Null]" if is_optional else " | None"
    return f"{given} | None" if is_optional else given


def _returned(described: Described) -> str:
    query = described.query
    if query.kind == "!":
        return "int"
    if query.record_class:
        row = f"rows.{query.record_class.__name__}"
    else:
        column = described.columns[0]
        # attrs is checked to be an object by the schema
        json = "rows.JsonObject" if column.name == "attrs" else "rows.Json"
        row = _annotation(column.type, json=json, array="builtins.list")
        row += " | None" if "result" in query.nullable else ""
    return {"": f"builtins.list[{row}]", "^": f"{row} | None"}.get(query.kind, row)


def _annotation(type_: str, *, json: str, array: str) -> str:
    inner = type_.removesuffix("[]")
    name = json if inner in JSON else PYTHON[inner].__name__
    return f"{array}[{name}]" if inner != type_ else name

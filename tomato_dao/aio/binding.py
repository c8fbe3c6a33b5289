# Generated from tomato_dao/sql/statements.py by “make schema”; not to be edited.
"""Queries as functions of their parameters, to be awaited."""

from collections.abc import Callable, Iterable, Sequence
from types import SimpleNamespace
from typing import Any

from ..sql.query import Query

# Errors that adapting a value of a wrong type or range raises, in Python or in psycopg.
# Classes of SQLSTATEs of a statement that a change of the schema has made stale: its result, itself, what it names and
# the types that it was prepared for are not there any more.
# SQLSTATEs after which the server has ended the session, or is about to.
# To begin, end and undo what is one unit: by itself, and in a transaction.
# The parts of `discard all` that keep our prepared statements, in one round trip.


def bound(queries: Iterable[Query], run: Callable[[Query, Sequence[object]], Any], file: str) -> Any:
    """Return the queries of one file as functions of their parameters, typed by the face of the same name in dao/faces.

    run: what returns a query's rows, or the number of rows that it changed.
    """
    own = (query for query in queries if query.name.startswith(f"{file}."))
    return SimpleNamespace(**{query.name.partition(".")[2]: _function(query, run) for query in own})


def _function(query: Query, run: Callable[[Query, Sequence[object]], Any]) -> Callable[..., Any]:
    if query.choices is not None:
        return _finished(query, query.choices.caller(run))

    async def many(*values: object) -> Any:
        return await run(query, values)

    async def first(*values: object) -> Any:
        rows = await run(query, values)
        return rows[0] if rows else None

    async def only(*values: object) -> Any:
        return (await run(query, values))[0]

    return {"^": first, "<!": only, "$": only}.get(query.kind, many)


def _finished(query: Query, many: Callable[..., Any]) -> Callable[..., Any]:
    """Return the function of a query with choices, by its suffix."""

    async def first(*values: object, **chosen: object) -> Any:
        rows = await many(*values, **chosen)
        return rows[0] if rows else None

    async def only(*values: object, **chosen: object) -> Any:
        return (await many(*values, **chosen))[0]

    return {"^": first, "<!": only, "$": only}.get(query.kind, many)

# Generated from tomato_dao/sql/binding.py by “make schema”; not to be edited.
"""Queries as functions of their parameters, to be awaited."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ..sql.query import Query


class Bound:
    """The queries of one file as functions of their parameters, with the types that dao/faces declares for them.

    Each function is created on first use, so that a program only reads the files of the DAOs that it uses.
    """

    def __init__(self, queries: Mapping[str, Query], run: Callable[[Query, Sequence[object]], Any], file: str) -> None:
        self._queries = queries
        self._run = run
        self._file = file

    def __getattr__(self, name: str) -> Callable[..., Any]:
        """Create the function of a query and keep it as an attribute."""
        query = self._queries.get(f"{self._file}.{name}")
        if query is None:
            raise AttributeError(f"{self._file}.sql has no query {name}")
        function = _function(query, self._run)
        setattr(self, name, function)
        return function


def bound(queries: Mapping[str, Query], run: Callable[[Query, Sequence[object]], Any], file: str) -> Any:
    """Return the queries of one file as functions of their parameters.

    run: a function that runs a query and returns its rows, or the number of affected rows.
    """
    return Bound(queries, run, file)


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
    """Return the function of a query with choices, according to its suffix."""

    async def first(*values: object, **chosen: object) -> Any:
        rows = await many(*values, **chosen)
        return rows[0] if rows else None

    async def only(*values: object, **chosen: object) -> Any:
        return (await many(*values, **chosen))[0]

    return {"^": first, "<!": only, "$": only}.get(query.kind, many)

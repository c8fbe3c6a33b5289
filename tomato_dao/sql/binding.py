"""Queries as functions of their parameters, which DAOs call."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from .query import Query


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

    def many(*values: object) -> Any:
        return run(query, values)

    def first(*values: object) -> Any:
        rows = run(query, values)
        return rows[0] if rows else None

    def only(*values: object) -> Any:
        return run(query, values)[0]

    return {"^": first, "<!": only, "$": only}.get(query.kind, many)


def _finished(query: Query, many: Callable[..., Any]) -> Callable[..., Any]:
    """Return the function of a query with choices, according to its suffix."""

    def first(*values: object, **chosen: object) -> Any:
        rows = many(*values, **chosen)
        return rows[0] if rows else None

    def only(*values: object, **chosen: object) -> Any:
        return many(*values, **chosen)[0]

    return {"^": first, "<!": only, "$": only}.get(query.kind, many)

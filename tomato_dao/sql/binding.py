"""Queries as functions of their parameters, as DAOs call them."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from .query import Query


class Bound:
    """The queries of one file as functions of their parameters, typed by the face of the same name in dao/faces.

    Each is made when it is first used, so that a program reads only the files of the DAOs that it uses.
    """

    def __init__(self, queries: Mapping[str, Query], run: Callable[[Query, Sequence[object]], Any], file: str) -> None:
        self._queries = queries
        self._run = run
        self._file = file

    def __getattr__(self, name: str) -> Callable[..., Any]:
        """Make the function of a query, which is an attribute from then on."""
        query = self._queries.get(f"{self._file}.{name}")
        if query is None:
            raise AttributeError(f"{self._file}.sql has no query {name}")
        function = _function(query, self._run)
        setattr(self, name, function)
        return function


def bound(queries: Mapping[str, Query], run: Callable[[Query, Sequence[object]], Any], file: str) -> Any:
    """Return the queries of one file as functions of their parameters.

    run: what returns a query's rows, or the number of rows that it changed.
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
    """Return the function of a query with choices, by its suffix."""

    def first(*values: object, **chosen: object) -> Any:
        rows = many(*values, **chosen)
        return rows[0] if rows else None

    def only(*values: object, **chosen: object) -> Any:
        return many(*values, **chosen)[0]

    return {"^": first, "<!": only, "$": only}.get(query.kind, many)

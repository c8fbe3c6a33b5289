"""Prepared statements: the conversion of a query's values and results on one connection."""

import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from operator import call
from types import NoneType
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg import pq
from psycopg.abc import Buffer
from psycopg.abc import Transformer as TransformerProtocol
from psycopg.adapt import PyFormat, Transformer
from psycopg.errors import error_from_result
from psycopg.pq.abc import PGresult

from ..errors import InvalidValue
from ..printable import one_line, quoted
from .query import Query
from .rows import has_raw_json, row_builder

if TYPE_CHECKING:
    from .statements import QueryRunner

_BINARY, _TEXT = pq.Format.BINARY, pq.Format.TEXT
_TUPLES, _DONE = pq.ExecStatus.TUPLES_OK, pq.ExecStatus.COMMAND_OK
# Errors raised by Python or psycopg when a value of a wrong type or range is adapted.
_ADAPTATION_ERRORS = (TypeError, ValueError, ArithmeticError, AttributeError, RecursionError, struct.error, psycopg.Error)


@dataclass(frozen=True, slots=True)
class Shape:
    """The server's description of a query: the types of its parameters, their base types, and the types of its columns."""

    types: tuple[int, ...]
    parameters: tuple[int, ...]
    columns: tuple[int, ...]


class Statement:
    """A query prepared on one connection."""

    __slots__ = (
        "_connection",
        "_dumpers",
        "_formats",
        "_make_rows",
        "_packers",
        "_result_format",
        "_transformer",
        "name",
        "query",
        "shape",
    )

    def __init__(self, connection: "QueryRunner", query: Query, shape: Shape, name: bytes) -> None:
        self._connection = connection
        self.query = query
        self.shape = shape
        self.name = name  # empty if the query is sent unprepared
        self._expect(shape.columns)
        self._dumpers: list[Callable[[Any], Buffer | None]] = []
        self._packers: list[Callable[[Any], Buffer | None]] = []  # faster, and correct if no value is a bool
        self._formats: list[int] = []
        for parameter, oid in zip(query.parameters, shape.parameters, strict=True):
            try:
                dumper = connection.adapters.get_dumper_by_oid(oid, _BINARY)(NoneType, self._transformer)
                dump, pack = dumper.dump, getattr(dumper, "pack", dumper.dump)
                self._formats.append(_BINARY)
            except psycopg.ProgrammingError:  # psycopg does not know the type (an enum), so the value's class decides
                dump = pack = partial(_dump_as_text, self._transformer, oid)
                self._formats.append(_TEXT)
            if parameter in query.nullable:
                dump = pack = partial(_dump_or_null, dump)
            self._dumpers.append(dump)
            self._packers.append(pack)

    def _expect(self, columns: tuple[int, ...]) -> None:
        """Set up the loading of results with columns of these types."""
        connection = self._connection
        self._make_rows = row_builder(self.query.record_class, columns)
        self._transformer = Transformer(connection.raw_json() if has_raw_json(columns) else connection)
        # If psycopg has no binary loader for a column's type (an enum), the whole row is requested as text.
        known = all(connection.adapters.get_loader(oid, _BINARY) for oid in columns)
        self._result_format = _BINARY if known else _TEXT
        self._transformer.set_loader_types(columns, self._result_format)

    def send(self, values: Sequence[object]) -> None:
        """Send a call with these values. Raises InvalidValue for a value of a wrong type or range."""
        try:
            if bool in map(type, values) or len(values) != len(self._packers):
                dumped = [dump(value) for dump, value in zip(self._dumpers, values, strict=True)]
            else:  # entirely in C: after the server has used the CPU, each Python function costs a microsecond
                dumped = list(map(call, self._packers, values))
        except _ADAPTATION_ERRORS:
            raise self._invalid(values) from None
        pgconn = self._connection.pgconn
        if self.name:
            pgconn.send_query_prepared(self.name, dumped, self._formats, self._result_format)
        else:
            pgconn.send_query_params(self.query.sql.encode(), dumped, self.shape.types, self._formats, self._result_format)

    def read(self, result: PGresult) -> Any:
        """Return the rows of a result, or the number of affected rows."""
        status = result.status
        if status == _TUPLES:
            if not self.name:  # the types may have changed since the query was described
                columns = tuple(result.ftype(n) for n in range(result.nfields))
                if columns != self.shape.columns:
                    self.shape = replace(self.shape, columns=columns)
                    self._expect(columns)
            transformer = self._transformer
            transformer.set_pgresult(result, set_loaders=not self.name)
            try:
                return self._make_rows(transformer.load_rows(0, result.ntuples, tuple))
            finally:
                transformer.set_pgresult(None, set_loaders=False)
        if status == _DONE:
            return result.command_tuples or 0
        raise error_from_result(result)

    def _invalid(self, values: Sequence[object]) -> InvalidValue:
        """Return the error for the first value that cannot be adapted, with the adaptation's error as its cause."""
        entity = self.query.entity
        for name, oid, dump, value in zip(self.query.parameters, self.shape.parameters, self._dumpers, values, strict=True):
            try:
                dump(value)
            except _ADAPTATION_ERRORS as error:
                type_ = self._connection.adapters.types.get(oid)
                given = quoted(value) if isinstance(value, int | float | None) else f"a {type(value).__name__}"
                text = f"{entity}: {name}: {given} does not fit {type_.name if type_ else 'the type'}"
                if value is not None:
                    text += f": {one_line(error, 300)}"
                invalid = InvalidValue(text, entity=entity, key=name)
                invalid.__cause__ = error
                return invalid
        raise AssertionError("all values can be adapted")


def _dump_or_null(dump: Callable[[Any], Buffer | None], value: object) -> Buffer | None:
    return None if value is None else dump(value)


def _dump_as_text(transformer: TransformerProtocol, oid: int, value: object) -> Buffer | None:
    """Dump a value with psycopg's dumper for its class, unless that dumper is for another server type."""
    dumper = transformer.get_dumper(value, PyFormat.TEXT)
    if value is None or dumper.oid not in (0, oid):
        raise TypeError(f"a {type(value).__name__} is of another type")
    return dumper.dump(value)

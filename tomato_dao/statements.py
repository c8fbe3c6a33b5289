"""How a named query runs: prepared once per connection, parameters and results in binary, rows built positionally.

psycopg's cursor costs more than the rest of a call, so statements go through the connection's libpq handle; parameters
and rows go through psycopg's own adapters, and waiting through psycopg's own wait, so that Ctrl-C and cancellation work.
"""

import json
import struct
from collections.abc import Sequence
from datetime import datetime
from types import NoneType
from typing import Any

import orjson
import psycopg
from psycopg import pq
from psycopg.abc import AdaptContext, Buffer
from psycopg.abc import Dumper as DumperProtocol
from psycopg.adapt import AdaptersMap, Dumper, PyFormat, Transformer
from psycopg.errors import error_from_result
from psycopg.generators import execute
from psycopg.pq.abc import PGresult
from psycopg.rows import TupleRow
from psycopg.types.json import Json, Jsonb, set_json_dumps, set_json_loads
from psycopg.types.string import StrBinaryDumper

from .errors import InvalidValue, entity_of
from .queries import Query

_OK = (pq.ExecStatus.TUPLES_OK, pq.ExecStatus.COMMAND_OK)
# What adapting a value of a wrong type or range raises, in Python or in psycopg.
_ADAPTATION_ERRORS = (TypeError, ValueError, ArithmeticError, AttributeError, struct.error, psycopg.Error)
# SQLSTATEs of a prepared statement that a change of the layout has made stale.
_STALE = frozenset({"0A000", "26000", "42883"})


class Connection(psycopg.Connection[TupleRow]):
    """A connection that keeps the statements it has prepared."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.prepared: dict[Query, Prepared] = {}
        self.prepared_count = 0


class Prepared:
    """A statement on one connection: its name there, and how its parameters and columns are adapted."""

    __slots__ = ("_dumpers", "_formats", "_transformer", "name", "query")

    def __init__(self, connection: Connection, query: Query) -> None:
        self.query = query
        connection.prepared_count += 1
        self.name = f"{query.name}:{connection.prepared_count}".encode()
        pgconn = connection.pgconn
        pgconn.send_prepare(self.name, query.sql.encode())
        _result(connection)
        pgconn.send_describe_prepared(self.name)
        described = _result(connection)
        self._transformer = Transformer(connection)
        self._dumpers = [
            _dumper(connection.adapters, self._transformer, described.param_type(n)) for n in range(described.nparams)
        ]
        self._formats = [d.format if d else pq.Format.TEXT for d in self._dumpers]
        columns = [described.ftype(n) for n in range(described.nfields)]
        self._transformer.set_loader_types(columns, pq.Format.BINARY)

    def dump(self, values: Sequence[object]) -> list[Buffer | None]:
        """The values in the types that the server has found for the parameters; InvalidValue where one does not fit."""
        dumped: list[Buffer | None] = []
        try:
            for dumper, value in zip(self._dumpers, values, strict=True):
                if value is None:
                    dumped.append(None)
                elif dumper:
                    dumped.append(dumper.dump(value))
                else:
                    dumped.append(self._transformer.get_dumper(value, PyFormat.TEXT).dump(value))
        except _ADAPTATION_ERRORS as error:
            name, entity = self.query.parameters[len(dumped)], entity_of(self.query.entity)
            raise InvalidValue(f"{entity}: {name}: {error}", entity=entity, key=name) from error
        return dumped

    def run(self, connection: Connection, values: Sequence[Buffer | None]) -> PGresult:
        """Send, wait, and return the result; raises psycopg's class for the SQLSTATE."""
        connection.pgconn.send_query_prepared(self.name, values, param_formats=self._formats, result_format=pq.Format.BINARY)
        return _result(connection)

    def rows(self, result: PGresult) -> list[Any]:
        """The rows of a result, each made by the query's record class."""
        transformer = self._transformer
        transformer.set_pgresult(result, set_loaders=False)
        try:
            return transformer.load_rows(0, result.ntuples, self.query.make_row)
        finally:
            transformer.set_pgresult(None, set_loaders=False)


def run(connection: Connection, query: Query, values: Sequence[object]) -> tuple[Prepared, PGresult]:
    """Run a query on a connection that nobody else uses meanwhile.

    A statement that a change of the layout made stale is prepared and run again; outside a transaction only, since the
    error has ended what was open. Nothing is repeated that the server may have carried out.
    """
    prepared = connection.prepared.get(query)
    if prepared is None:
        prepared = connection.prepared[query] = Prepared(connection, query)
        return prepared, prepared.run(connection, prepared.dump(values))
    try:
        return prepared, prepared.run(connection, prepared.dump(values))
    except psycopg.Error as error:
        if error.sqlstate not in _STALE:
            raise
        del connection.prepared[query]
        if connection.pgconn.transaction_status != pq.TransactionStatus.IDLE:
            raise
    prepared = connection.prepared[query] = Prepared(connection, query)
    return prepared, prepared.run(connection, prepared.dump(values))


def _result(connection: Connection) -> PGresult:
    result: PGresult = connection.wait(execute(connection.pgconn))[-1]
    if result.status not in _OK:
        raise error_from_result(result, encoding="utf-8")
    return result


def _dumper(adapters: AdaptersMap, context: AdaptContext, oid: int) -> DumperProtocol | None:
    """psycopg's dumper for a type of the server; None where it has none (enums, domains): then the value decides."""
    try:
        return adapters.get_dumper_by_oid(oid, pq.Format.BINARY)(NoneType, context)
    except psycopg.ProgrammingError:
        return None


# psycopg's own dumpers by type trust the value: 2**31 for an int4 would be stored as -2**31, "x" for a boolean as true.


class _Int2(Dumper):
    format = pq.Format.BINARY
    oid = psycopg.postgres.types["int2"].oid

    def dump(self, obj: Any) -> Buffer:
        return struct.pack("!h", obj)


class _Int4(_Int2):
    oid = psycopg.postgres.types["int4"].oid

    def dump(self, obj: Any) -> Buffer:
        return struct.pack("!i", obj)


class _Int8(_Int2):
    oid = psycopg.postgres.types["int8"].oid

    def dump(self, obj: Any) -> Buffer:
        return struct.pack("!q", obj)


class _Float8(_Int2):
    oid = psycopg.postgres.types["float8"].oid

    def dump(self, obj: Any) -> Buffer:
        return struct.pack("!d", obj)


class _Bool(_Int2):
    oid = psycopg.postgres.types["bool"].oid

    def dump(self, obj: Any) -> Buffer:
        if obj is True or obj is False:
            return b"\x01" if obj else b"\x00"
        raise TypeError(f"required is True or False, not {obj!r}")


class _Text(StrBinaryDumper):
    def dump(self, obj: Any) -> Buffer | None:
        if not isinstance(obj, str):
            raise TypeError(f"required is a str, not {type(obj).__name__}")
        return super().dump(obj)


def dump_json(value: object) -> str:
    """JSON that keeps every digit; ValueError for what JSON does not have: NaN and infinities."""
    return _ENCODER.encode(value)


class _Encoder(json.JSONEncoder):
    def default(self, o: object) -> object:
        if isinstance(o, datetime):
            return o.isoformat()
        return super().default(o)


_ENCODER = _Encoder(allow_nan=False, ensure_ascii=False, separators=(",", ":"))


def configure(connection: Connection) -> None:
    """Give a new connection the adapters of this layer; its cursors use psycopg's own for Python's types."""
    for dumper in (_Int2, _Int4, _Int8, _Float8, _Bool, _Text):
        connection.adapters.register_dumper(None, dumper)
    set_json_dumps(dump_json, connection)
    connection.adapters.register_dumper(None, connection.adapters.get_dumper(Jsonb, PyFormat.BINARY))
    connection.adapters.register_dumper(None, connection.adapters.get_dumper(Json, PyFormat.BINARY))
    set_json_loads(orjson.loads, connection)
